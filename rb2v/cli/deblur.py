"""The command that deblurs any image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import EXECUTION, METHOD, Device, echo, files, make_command, show_progress
from rb2v.deblurring.config import DeblurConfig
from rb2v.errors import InputError

if TYPE_CHECKING:
    from rb2v.deblurring import Deblurred, Guide

app, command = make_command("deblur", "rb2v deblur photo.jpg --run session/blur2vid --out photo.mp4")

GUIDANCE = "Motion guidance"


@command
@OptionsOf(DeblurConfig, {METHOD: ("format", "fps", "loop"), EXECUTION: ("tile", "overlap")})
def deblur(
    image: Annotated[
        Path,
        typer.Argument(help="A blurry image, a folder of them, or a video whose frames are blurry.", metavar="IMAGE"),
    ],
    out: Annotated[
        Path | None,
        files(
            "A .mp4 or .gif file, or a folder for frame_1.png and so on; for a folder of images a folder, for a "
            "video a .mp4 file. Not with --serve."
        ),
    ] = None,
    *,
    given: Given,
    run: Annotated[
        Path | None,
        files("Folder that 'rb2v train-blur2vid' wrote, or its checkpoint; the weights that rb2v ships by default."),
    ] = None,
    guidance: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Motion guidance, for a run that was trained with it: predicted; neighbor, by the flow to the image "
            "that follows; an image painted red, green, yellow and blue; or one direction, DX,DY with y down.",
            rich_help_panel=GUIDANCE,
        ),
    ] = None,
    predictor: Annotated[
        Path | None,
        typer.Option(
            help="Folder that 'rb2v train-guidance' wrote, or its checkpoint, for --guidance predicted.",
            rich_help_panel=GUIDANCE,
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            help="Videos of one image, each by another predicted guidance and named by it.",
            min=1,
            max=100,
            rich_help_panel=GUIDANCE,
        ),
    ] = None,
    neighbor: Annotated[
        Path | None,
        typer.Option(help="Image that followed, for --guidance neighbor of a single one.", rich_help_panel=GUIDANCE),
    ] = None,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve",
            help="Show a page to paint the guidance of a single image on, and to see its frames.",
            rich_help_panel=GUIDANCE,
        ),
    ] = False,
    host: Annotated[
        str, typer.Option(help="Address that the page is served at.", rich_help_panel=GUIDANCE)
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            help="Port that the page is served at; 0 takes a free one.", min=0, max=65535, rich_help_panel=GUIDANCE
        ),
    ] = 8000,
    seed: Annotated[int, typer.Option(help="Seed of predicted guidance.", min=0, rich_help_panel=GUIDANCE)] = 0,
    device: Device = "auto",
) -> None:
    """Recover seven sharp frames, a short video, from a blurry image.

    Which of its two ends came first a blurry image does not tell: the video may run backward.
    """
    if serve:
        _serve(image, out, run, predictor, device, (host, port))
        return
    if out is None:
        raise InputError("options", "is missing", "out", "a file or folder to write, or --serve")
    from rb2v.deblurring import deblur_files

    config = DeblurConfig(**given)
    guide = _make_guide(guidance, samples, seed, predictor, device)
    with show_progress("deblurring") as show:
        deblur_files(
            image,
            out,
            config,
            run=run,
            guide=guide,
            neighbor=neighbor,
            device=device,
            on_done=_print_one,
            progress=show,
        )
    if image.is_dir():
        echo(str(out), soft_wrap=True)


def _serve(
    image: Path, out: Path | None, run: Path | None, predictor: Path | None, device: str, address: tuple[str, int]
) -> None:
    from rb2v.blur2vid.deblur import load_network, prepare_image
    from rb2v.blur2vid.predictor.checkpoint import load_predictor
    from rb2v.deblurring.painting import Canvas, PaintingServer
    from rb2v.device import torch_device_of
    from rb2v.inspection.local_server import serve as serve_page
    from rb2v.io.photo import read_photo

    if out is not None:
        raise InputError("options", "is given beside --serve", "out", "none: the page saves what you choose")
    proposer = None if predictor is None else load_predictor(predictor).network.to(torch_device_of(device))
    prepared = prepare_image(read_photo(image), image)
    canvas = Canvas(image.name, prepared, load_network(run, device), proposer)
    server = PaintingServer(canvas, *address)
    echo(f"{server.url()}\nCtrl-C ends it", soft_wrap=True)
    serve_page(server)


def _make_guide(
    guidance: str | None, samples: int | None, seed: int, predictor: Path | None, device: str
) -> Guide | None:
    from rb2v.deblurring import GuideConfig, make_guide

    if guidance is None and (samples is not None or predictor is not None):
        guidance = "predicted"
    if guidance is None:
        return None
    return make_guide(GuideConfig(guidance=guidance, samples=samples, seed=seed), predictor, device)


def _print_one(done: Deblurred) -> None:
    score = "done before" if done.reblur_psnr is None else f"reblur PSNR {done.reblur_psnr:.2f} dB"
    guided = "" if done.guidance is None else f", guidance {done.guidance}"
    echo(f"{done.source.name}: {score}{guided}; {done.out}", soft_wrap=True)
