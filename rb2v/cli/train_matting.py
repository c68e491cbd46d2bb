"""The command that trains a matting network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import EXECUTION, FILES, METHOD, Command, Device, echo, make_app, show_progress
from rb2v.errors import InputError
from rb2v.matting.background.config import TrainMattingConfig

app = make_app()


@app.command("train-matting", cls=Command, epilog="Example: rb2v train-matting --out matting --backgrounds photos")
@OptionsOf(
    TrainMattingConfig,
    {METHOD: ("backbone",), "Training": ("steps", "batch_size", "size", "lr"), EXECUTION: ("seed",)},
)
def train_matting(
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint and metrics.", rich_help_panel=FILES)],
    given: Given,
    foregrounds: Annotated[
        Path | None,
        typer.Option(help="Folder of RGBA cut-outs; random shapes of photographs by default.", rich_help_panel=FILES),
    ] = None,
    backgrounds: Annotated[
        Path | None,
        typer.Option(help="Folder of images; those that scikit-image ships by default.", rich_help_panel=FILES),
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Weights to start from; see docs/matting_network.md.", rich_help_panel=FILES)
    ] = None,
    device: Device = "auto",
) -> None:
    """Train the network of the matting method 'background' on generated composites."""
    from rb2v.io.store import read_json
    from rb2v.matting.background import train as stage

    config = TrainMattingConfig(**given)
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
