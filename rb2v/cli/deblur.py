"""The command that deblurs any image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rb2v.cli.shared import Command, Device, echo, make_app, make_config, show_progress

if TYPE_CHECKING:
    from rb2v.deblurring import Deblurred

app = make_app()


@app.command("deblur", cls=Command, epilog="Example: rb2v deblur photo.jpg --run session/blur2vid --out photo.mp4")
def deblur(
    image: Annotated[
        Path,
        typer.Argument(help="A blurry picture, a folder of them, or a video whose frames are blurry.", metavar="IMAGE"),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="A .mp4 or .gif file, or a folder for frame_1.png and so on; for a folder of pictures a folder, for a "
            "video a .mp4 file."
        ),
    ],
    run: Annotated[
        Path | None,
        typer.Option(
            help="Folder that 'rb2v train-blur2vid' wrote, or its checkpoint; the weights that rb2v ships by default."
        ),
    ] = None,
    format_: Annotated[
        Literal["mp4", "gif", "png"] | None,
        typer.Option("--format", help="What each picture of a folder becomes: mp4 (the default), gif, or png frames."),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(help="Frames per second; 10 by default, for a video 7 times its own."),
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Play back to the first frame again.")] = False,
    tile: Annotated[
        int | None, typer.Option(help="Side of the tiles of larger pictures, in px; less needs less memory.")
    ] = None,
    overlap: Annotated[int | None, typer.Option(help="What neighboring tiles share, in px.")] = None,
    device: Device = "auto",
) -> None:
    """Recover seven sharp frames, a short video, from a blurry picture.

    Which of its two ends came first a blurry picture does not tell: the video may run backward.
    """
    from rb2v.blur2vid.tiles import OVERLAP_PX, TILE_PX
    from rb2v.deblurring import DeblurConfig, deblur_files

    side = TILE_PX if tile is None else tile
    shared = min(OVERLAP_PX, max(side // 2, 0)) if overlap is None else overlap
    config = make_config(lambda: DeblurConfig(format=format_, fps=fps, loop=loop, tile=side, overlap=shared))
    with show_progress("deblurring") as show:
        deblur_files(image, out, config, run=run, device=device, on_done=_print_one, progress=show)
    if image.is_dir():
        echo(str(out), soft_wrap=True)


def _print_one(done: Deblurred) -> None:
    score = "done before" if done.reblur_psnr is None else f"reblur PSNR {done.reblur_psnr:.2f} dB"
    echo(f"{done.source.name}: {score}; {done.out}", soft_wrap=True)
