"""Parts of all commands: how they are made, options, printing, and the parsing of what was typed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from typer.core import TyperCommand

from rb2v.errors import Rb2vError

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

    from rb2v.stages.calibrate.charuco import CharucoSpec


class Command(TyperCommand):
    """A command whose help lists options by panel, in plain text, and that sets up logging when it runs.

    Typer's own panels are drawn by rich, whose import takes longer than everything else that a help text needs.
    """

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write a section for each help panel, in the order in which the parameters name them."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                usual = "Arguments" if param.param_type_name == "argument" else "Options"
                panels.setdefault(getattr(param, "rich_help_panel", None) or usual, []).append(record)
        for title, records in panels.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def invoke(self, ctx: Context) -> Any:  # noqa: ANN401 - as the base class has it
        """Set up logging and run the command."""
        from rich.logging import RichHandler

        from rb2v.cli.consoles import error_console

        logging.basicConfig(
            level=logging.INFO if ctx.find_root().params.get("verbose") else logging.WARNING,
            format="%(message)s",
            handlers=[RichHandler(console=error_console, show_time=False, show_path=False)],
            force=True,
        )
        return super().invoke(ctx)


def make_app(**options: Any) -> typer.Typer:  # noqa: ANN401 - what typer.Typer takes
    """Return an application for the commands of one module."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **options)


def make_command(name: str, example: str) -> tuple[typer.Typer, Callable[[Function], Function]]:
    """Return an application of one command, and the decorator of its function."""
    app = make_app()
    return app, app.command(name, cls=Command, epilog=f"Example: {example}")


def echo(*objects: Any, soft_wrap: bool = False) -> None:  # noqa: ANN401 - whatever rich can show
    """Print to standard output; texts longer than a line are broken unless ``soft_wrap``."""
    from rb2v.cli.consoles import console

    console.print(*objects, soft_wrap=soft_wrap)


def print_entry(name: str, facts: Mapping[str, str]) -> None:
    """Print an entry of a list: its name, and below it what is known of it, a line for each fact."""
    from rich.table import Table
    from rich.text import Text

    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(overflow="fold")
    for heading, text in facts.items():
        lines.add_row(f"  {heading}", Text(text))
    echo(Text(name, style="bold"))
    echo(lines)


def echo_error(*objects: Any, soft_wrap: bool = False) -> None:  # noqa: ANN401 - whatever rich can show
    """Print to standard error."""
    from rb2v.cli.consoles import error_console

    error_console.print(*objects, soft_wrap=soft_wrap)


Function = TypeVar("Function", bound=Callable[..., Any])

_LINE_SECONDS = 30.0  # between lines of progress in a log: short commands write none
FILES = "Input and output"
METHOD = "Method"
EXECUTION = "Execution"


def files(text: str, **options: Any) -> Any:  # noqa: ANN401 - what typer.Option takes, and its result
    """Return an option of a file or folder, with its help."""
    return typer.Option(help=text, rich_help_panel=FILES, **options)


RawDir = Annotated[
    Path, typer.Option("--raw-dir", help="Raw directory: capture.yaml, calibration/, takes/.", rich_help_panel=FILES)
]
Workers = Annotated[
    int | None, typer.Option(help="Worker processes; one per core by default.", min=1, rich_help_panel=EXECUTION)
]
Weights = Annotated[
    Path | None,
    files("File of the matting method's weights, for one that has some."),
]
ExecutorName = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="NAME|ADDRESS",
        help="Where the work runs: serial, processes, dask (a cluster of processes on this machine), the address of a "
        "Dask scheduler, tcp://host:8786 for example, or auto: serial for one worker and processes otherwise.",
        rich_help_panel=EXECUTION,
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(help="Where to compute; auto takes CUDA where there is one.", rich_help_panel=EXECUTION),
]


def parse_milliseconds(text: str, option: str) -> tuple[float, float]:
    """Read the times of both cameras in milliseconds, and return them in seconds."""
    try:
        blurry, sharp = (float(part) / 1000 for part in text.split(","))
    except ValueError:
        expected = "expected BLURRY,SHARP in milliseconds, 8,5 for example"
        raise Rb2vError(f"{option}: {text!r} is no pair of times; {expected}") from None
    return blurry, sharp


def parse_distortion(text: str, option: str) -> tuple[float, float]:
    """Read k1 of both lenses, or of the blurry and the sharp one."""
    try:
        blurry, *others = (float(part) for part in text.split(","))
        (sharp,) = others or [blurry]
    except ValueError:
        raise Rb2vError(f"{option}: {text!r} is no distortion; expected K1 or K1,K1, -0.12,-0.08 for example") from None
    return blurry, sharp


def parse_charuco(text: str, option: str) -> CharucoSpec:
    """Read ``DICTIONARY,WIDTHxHEIGHT[,SHARE]``: a ChArUco board."""
    from rb2v.stages.calibrate.charuco import CharucoSpec

    dictionary, *others = text.split(",")
    try:
        squares, side = (others[0], 0.5) if len(others) == 1 else (others[0], float(*others[1:]))
    except (IndexError, TypeError, ValueError):
        expected = "expected DICTIONARY,SQUARES or DICTIONARY,SQUARES,SHARE, DICT_6X6_250,5x7,0.5 for example"
        raise Rb2vError(f"{option}: {text!r} is no ChArUco board; {expected}") from None
    size = parse_size(squares, option, "5x7")
    try:
        return CharucoSpec(dictionary, size, side)
    except ValueError as error:
        raise Rb2vError(f"{option}: {error}") from None


def parse_labeled(texts: Iterable[str], option: str) -> dict[str, Path]:
    """Read ``LABEL=FOLDER`` texts, each label once."""
    folders: dict[str, Path] = {}
    for text in texts:
        label, _, folder = text.partition("=")
        if not (label and folder):
            expected = "expected LABEL=FOLDER, paper=session/paper for example"
            raise Rb2vError(f"{option}: {text!r} does not name a folder; {expected}")
        if label in folders:
            raise Rb2vError(f"{option}: the label {label!r} is given twice")
        folders[label] = Path(folder)
    return folders


def parse_size(text: str, option: str, example: str = "448x448") -> tuple[int, int]:
    """Read ``WIDTHxHEIGHT``."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise Rb2vError(f"{option}: {text!r} is not a size; expected WIDTHxHEIGHT, {example} for example")
    return int(width), int(height)


def parse_response(text: str, option: str, words: Sequence[str] = ("linear", "srgb")) -> str | float:
    """Read a camera response: one of the words that an option knows, or the exponent of a gamma."""
    if text in words:
        return text
    try:
        return float(text)
    except ValueError:
        expected = f"{', '.join(words)} or the exponent of a gamma"
        raise Rb2vError(f"{option}: {text!r} is no response; expected {expected}") from None


@contextmanager
def show_progress(label: str) -> Iterator[Callable[..., None]]:
    """Show a progress bar on a terminal, and elsewhere a line on standard error every half minute.

    Parameters
    ----------
    label : str
        What goes on.

    Yields
    ------
    callable
        ``show(done, total, label)`` moves the bar; each may be left out or None, and stays as it was.
    """
    from rb2v.cli.consoles import make_progress

    with make_progress() as progress:
        task = progress.add_task(label, total=None)
        said_seconds = time.monotonic()

        def show(done: int | None = None, total: int | None = None, label: str | None = None) -> None:
            nonlocal said_seconds
            progress.update(task, completed=done, total=total, description=label)
            if progress.disable and time.monotonic() >= said_seconds + _LINE_SECONDS:
                said_seconds = time.monotonic()
                now = progress.tasks[task]
                count = "" if now.total is None else f": {now.completed:.0f} of {now.total:.0f}"
                echo_error(f"{now.description}{count}", soft_wrap=True)

        yield show


def print_splits(shards: Path, *, with_shards: bool = True) -> None:
    """Print how many samples, and in how many shards, each split of a data set holds."""
    from rb2v.shards import read_manifest

    for split, entry in read_manifest(shards).splits.items():
        ending = f" in {len(entry.shards)} {'shard' if len(entry.shards) == 1 else 'shards'}" if with_shards else ""
        echo(f"{split}: {entry.samples} samples{ending}")
