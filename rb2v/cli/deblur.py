"""The command that deblurs any image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import EXECUTION, METHOD, Device, echo, files, make_command, show_progress
from rb2v.deblurring.config import DeblurConfig

if TYPE_CHECKING:
    from rb2v.deblurring import Deblurred

app, command = make_command("deblur", "rb2v deblur photo.jpg --run session/blur2vid --out photo.mp4")


@command
@OptionsOf(DeblurConfig, {METHOD: ("format", "fps", "loop"), EXECUTION: ("tile", "overlap")})
def deblur(
    image: Annotated[
        Path,
        typer.Argument(help="A blurry image, a folder of them, or a video whose frames are blurry.", metavar="IMAGE"),
    ],
    out: Annotated[
        Path,
        files(
            "A .mp4 or .gif file, or a folder for frame_1.png and so on; for a folder of images a folder, for a "
            "video a .mp4 file."
        ),
    ],
    given: Given,
    run: Annotated[
        Path | None,
        files("Folder that 'rb2v train-blur2vid' wrote, or its checkpoint; the weights that rb2v ships by default."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Recover seven sharp frames, a short video, from a blurry image.

    Which of its two ends came first a blurry image does not tell: the video may run backward.
    """
    from rb2v.deblurring import deblur_files

    config = DeblurConfig(**given)
    with show_progress("deblurring") as show:
        deblur_files(image, out, config, run=run, device=device, on_done=_print_one, progress=show)
    if image.is_dir():
        echo(str(out), soft_wrap=True)


def _print_one(done: Deblurred) -> None:
    score = "done before" if done.reblur_psnr is None else f"reblur PSNR {done.reblur_psnr:.2f} dB"
    echo(f"{done.source.name}: {score}; {done.out}", soft_wrap=True)
