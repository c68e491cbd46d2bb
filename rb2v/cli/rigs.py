"""The command that lists the rigs known by name."""

from __future__ import annotations

from rb2v.cli.shared import echo, make_command

app, command = make_command("rigs", "rb2v rigs")


@command
def rigs() -> None:
    """List the rigs that are known by name, and explain them."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from rb2v.io.config import list_rigs, read_rig, read_rig_description
    from rb2v.stages.doctor import exposure_seconds

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("rig", no_wrap=True)
    for name in ("frames per second", "sharp frames", "exposure [ms]"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("for")
    for name, path in list_rigs().items():
        rig = read_rig(path)
        table.add_row(
            name,
            f"{rig.blurry_fps:.5g} / {rig.sharp_fps:.5g}",
            str(rig.frames_per_sequence),
            f"{1e3 * exposure_seconds(rig):.1f}",
            read_rig_description(path),
        )
    echo(table)
    echo("name one in capture.yaml (rig: gopro_25_100), or write a file of your own: docs/rigs.md", soft_wrap=True)
