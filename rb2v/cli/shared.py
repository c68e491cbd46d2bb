"""What the commands share: the application, consoles, options, and the reading of what was typed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.text import Text

from rb2v.errors import Rb2vError

if TYPE_CHECKING:
    from rb2v.stages.calibrate.boards import CharucoSpec

app = typer.Typer(
    name="rb2v",
    help="Blur-to-video data sets from beam-splitter rigs, and HyperCUT trained on them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


class PlainConsole(Console):
    """A console that spells out what would steer a terminal: names come from files, and may hold anything."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render anything; control sequences of rich's own pass, those within a text do not."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=_spell_out(segment.text))

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - as the base class has them
        """Render a text, spelled out before anyone measures how wide it is."""
        return super().render_str(_spell_out(text), **options)


def _spell_out(text: str) -> str:
    """Return a text with control characters, marks of direction and the like as Python spells them."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else letter.encode("unicode_escape").decode()
        for letter in text
    )


console = PlainConsole(highlight=False, markup=False, emoji=False)
error_console = PlainConsole(stderr=True, highlight=False, markup=False, emoji=False)

Config = TypeVar("Config")

RawDir = Annotated[Path, typer.Option("--raw-dir", help="Raw directory: capture.yaml, calibration/, takes/.")]
Workers = Annotated[int | None, typer.Option(help="Worker processes; one per core by default.", min=1)]
ExecutorName = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="NAME|ADDRESS",
        help="Where the work runs: serial, processes, dask (a cluster of processes on this machine), the address of a "
        "Dask scheduler, tcp://host:8786 for example, or auto: serial for one worker and processes otherwise.",
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute; auto takes CUDA where there is one.")
]


def make_config(make: Callable[[], Config]) -> Config:
    """Return a stage's config; a value that it refuses is the user's mistake."""
    try:
        return make()
    except Rb2vError:
        raise
    except ValueError as error:
        raise Rb2vError(f"options: {error}") from error


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
    from rb2v.stages.calibrate.boards import CharucoSpec

    dictionary, *others = text.split(",")
    try:
        squares, side = (others[0], 0.5) if len(others) == 1 else (others[0], float(*others[1:]))
    except (IndexError, TypeError, ValueError):
        expected = "expected DICTIONARY,SQUARES or DICTIONARY,SQUARES,SHARE, DICT_6X6_250,5x7,0.5 for example"
        raise Rb2vError(f"{option}: {text!r} is no ChArUco board; {expected}") from None
    return CharucoSpec(dictionary, parse_size(squares, option, "5x7"), side)


def parse_labelled(texts: Iterable[str], option: str) -> dict[str, Path]:
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
        raise Rb2vError(f"{option}: {text!r} is no size; expected WIDTHxHEIGHT, {example} for example")
    return int(width), int(height)


def parse_response(text: str, option: str, *others: str) -> str | float:
    """Read a camera response: its name, the exponent of a gamma, or another word that an option knows."""
    if text in ("linear", "srgb", *others):
        return text
    try:
        return float(text)
    except ValueError:
        names = ", ".join((*others, "linear", "srgb"))
        raise Rb2vError(f"{option}: {text!r} is no response; expected {names} or the exponent of a gamma") from None


@contextmanager
def show_progress(label: str) -> Iterator[Callable[..., None]]:
    """Show a progress bar on a terminal, and nothing elsewhere.

    Parameters
    ----------
    label : str
        What goes on.

    Yields
    ------
    callable
        ``show(done, total, label)`` moves the bar; each may be left out or None, and stays as it was.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=error_console, transient=True, disable=not error_console.is_terminal) as progress:
        task = progress.add_task(label, total=None)

        def show(done: int | None = None, total: int | None = None, label: str | None = None) -> None:
            progress.update(task, completed=done, total=total, description=label)

        yield show


def print_splits(shards: Path, *, with_shards: bool = True) -> None:
    """Print how many samples, and in how many shards, each split of a data set holds."""
    from rb2v.shards import read_manifest

    for split, entry in read_manifest(shards).splits.items():
        ending = f" in {len(entry.shards)} shards" if with_shards else ""
        console.print(f"{split}: {entry.samples} samples{ending}")
