"""The commands that list and clear the cache of frames."""

from __future__ import annotations

from datetime import datetime

from rb2v.cli.shared import Command, echo, make_app

app = make_app(
    help="List and clear the cache of frames, which trainings decode and shrink once for each data set and size.",
    no_args_is_help=True,
    epilog="Example: rb2v cache list",
)


@app.command("list", cls=Command, epilog="Example: rb2v cache list")
def list_() -> None:
    """List the cached frames, those used last first, and how much room they take.

    The folder is $RB2V_FRAME_CACHE, else frames in the cache of 'rb2v models'. It grows to $RB2V_FRAME_CACHE_GB
    gigabytes, 20 by default; then the frames that were not used for the longest time make room.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from rb2v.shards.prepared import frames_folder, limit_bytes, list_cached

    entries = list_cached()
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for title, justify in (("data set", "left"), ("split", "left"), ("size", "right"), ("sequences", "right")):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("MB", justify="right", no_wrap=True)
    table.add_column("last used", no_wrap=True)
    for entry in entries:
        key = entry.key
        cells = ("damaged", "", "", "") if key is None else (key.data_sha256[:16], *key.described)
        when = datetime.fromtimestamp(entry.last_used).strftime("%Y-%m-%d %H:%M")  # the user's own time
        table.add_row(*cells, f"{entry.bytes / 1e6:.1f}", when)
    if entries:
        echo(table)
    total = sum(entry.bytes for entry in entries)
    echo(f"{total / 1e9:.2f} of {limit_bytes() / 1e9:g} GB in {frames_folder()}", soft_wrap=True)


@app.command("clear", cls=Command, epilog="Example: rb2v cache clear")
def clear() -> None:
    """Remove all cached frames; the next training makes those it needs anew."""
    from rb2v.shards.prepared import clear_cached, frames_folder

    echo(f"removed {clear_cached() / 1e9:.2f} GB from {frames_folder()}", soft_wrap=True)
