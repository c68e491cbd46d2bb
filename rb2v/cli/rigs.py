"""The command that lists the rigs known by name."""

from __future__ import annotations

from rb2v.cli.shared import echo, make_command, print_entry

app, command = make_command("rigs", "rb2v rigs")


@command
def rigs() -> None:
    """List the rigs that are known by name, and explain them."""
    from rb2v.io.config import list_rigs, read_rig, read_rig_description
    from rb2v.stages.doctor import exposure_seconds

    for name, path in list_rigs().items():
        rig = read_rig(path)
        rates = f"{rig.blurry_fps:.5g} and {rig.sharp_fps:.5g} frames per second"
        blur = f"{rig.frames_per_sequence} sharp frames, {1e3 * exposure_seconds(rig):.1f} ms"
        print_entry(name, {"cameras": rates, "blur": blur, "for": read_rig_description(path)})
    echo("name one in capture.yaml (rig: gopro_25_100), or write a file of your own: docs/rigs.md", soft_wrap=True)
