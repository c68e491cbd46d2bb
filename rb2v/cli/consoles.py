"""The consoles that commands print to, and the progress bar.

Imported on the first line that is printed, because rich costs more than the rest of the command line together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.text import Text


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


def make_progress() -> Progress:
    """Return a progress display for one task; it shows nothing where standard error is no terminal."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=error_console, transient=True, disable=not error_console.is_terminal)
