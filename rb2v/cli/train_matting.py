"""The command that trains a matting network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rb2v.choices import EncoderName
from rb2v.cli.shared import Command, Device, echo, make_app, make_config, show_progress
from rb2v.errors import InputError

app = make_app()


@app.command("train-matting", cls=Command, epilog="Example: rb2v train-matting --out matting --backgrounds photos")
def train_matting(
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint and metrics.")],
    foregrounds: Annotated[
        Path | None, typer.Option(help="Folder of RGBA cut-outs; random shapes of photographs by default.")
    ] = None,
    backgrounds: Annotated[
        Path | None, typer.Option(help="Folder of pictures; those that scikit-image ships by default.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Training steps; the last quarter also trains the refiner.")] = 20_000,
    backbone: Annotated[EncoderName, typer.Option(help="Encoder of the network.")] = "mobilenetv2",
    size: Annotated[int, typer.Option(help="Side of the pictures that the base network sees, in px.")] = 256,
    init: Annotated[Path | None, typer.Option(help="Weights to start from; see docs/matting_network.md.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights and composites.")] = 0,
    device: Device = "auto",
) -> None:
    """Train the network of the matter 'background' on generated composites."""
    from rb2v.io.store import read_json
    from rb2v.matting.background import train as stage

    config = make_config(lambda: stage.TrainMattingConfig(backbone=backbone, size=size, steps=steps, seed=seed))
    with show_progress("training") as show:
        checkpoint = stage.run(
            out, config, foregrounds=foregrounds, backgrounds=backgrounds, init=init, device=device, progress=show
        )
    try:
        scores = read_json(out / stage.METRICS_NAME)
        errors = f"alpha MAD {scores['alpha_mad']:.4f}, foreground MAD {scores['foreground_mad']:.4f}"
        echo(f"{scores['n_held_out']} composites of held-out pictures: {errors}")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(out / stage.METRICS_NAME, "is not what this command writes", str(error)) from error
    echo(str(checkpoint), soft_wrap=True)
