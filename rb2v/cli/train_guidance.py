"""The command that trains a predictor of motion guidance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rb2v.blur2vid.predictor.config import TrainPredictorConfig, recommend
from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import EXECUTION, FILES, METHOD, Device, echo, make_command, show_progress

app, command = make_command(
    "train-guidance",
    "rb2v train-guidance --shards session/shards --guidance session/guidance.h5 --out session/predictor",
)


@command
@OptionsOf(
    TrainPredictorConfig,
    {
        METHOD: ("network", "image_size"),
        "Training": ("steps", "batch_size", "candidates", "lr", "augment"),
        EXECUTION: ("seed",),
    },
    recommended=("image_size", "steps", "batch_size", "lr"),
)
def train_guidance(
    shards: Annotated[Path, typer.Option(help="Folder that 'rb2v build-shards' wrote.", rich_help_panel=FILES)],
    guidance: Annotated[Path, typer.Option(help="Table that 'rb2v guidance' wrote.", rich_help_panel=FILES)],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint and the scores.", rich_help_panel=FILES)],
    given: Given,
    order_run: Annotated[
        Path | None,
        typer.Option(
            help="Folder that 'rb2v train-hypercut' wrote: guidance is then turned to the preferred side.",
            rich_help_panel=FILES,
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Train a network that predicts motion guidance from a blurry image, and score it.

    What is not given is what is recommended for the network.
    """
    from rb2v.blur2vid.predictor import train as stage

    config = recommend(**{"network": TrainPredictorConfig.network, **given})
    with show_progress("training") as show:
        checkpoint = stage.run(shards, guidance, out, config, order_run=order_run, device=device, progress=show)
    metrics = stage.read_scores(out)
    tested = metrics["test"]
    if tested is None:
        echo("the test split is empty: nothing to score; another take or subject makes one")
    else:
        echo(
            f"{metrics['test_sequences']} test images, {metrics['samples']} samples each: right pixels "
            f"{100 * tested['accuracy']:.1f} % of the first sample, {100 * tested['best_accuracy']:.1f} % of the best; "
            f"moves or not {100 * tested['static_accuracy']:.1f} %; two samples differ in "
            f"{100 * tested['diversity']:.1f} %; {100 * tested['consistent']:.1f} % consistent within moving regions",
            soft_wrap=True,
        )
    echo(str(checkpoint), soft_wrap=True)
