"""The command that trains a matting network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import EXECUTION, METHOD, Device, echo, files, make_command
from rb2v.cli.training import run_training
from rb2v.matting.background.config import TrainMattingConfig

app, command = make_command("train-matting", "rb2v train-matting --out matting --backgrounds photos")


@command
@OptionsOf(
    TrainMattingConfig,
    {METHOD: ("backbone",), "Training": ("steps", "batch_size", "size", "lr"), EXECUTION: ("seed",)},
)
def train_matting(
    out: Annotated[Path, files("Folder for the checkpoint and metrics.")],
    given: Given,
    foregrounds: Annotated[
        Path | None,
        files("Folder of RGBA cut-outs; random shapes of photographs by default."),
    ] = None,
    backgrounds: Annotated[
        Path | None,
        files("Folder of images; those that scikit-image ships by default."),
    ] = None,
    init: Annotated[Path | None, files("Weights to start from; see docs/matting_network.md.")] = None,
    device: Device = "auto",
) -> None:
    """Train the network of the matting method 'background' on generated composites."""
    from rb2v.matting.background import train as stage

    config = TrainMattingConfig(**given)
    train = partial(stage.run, out, config, foregrounds=foregrounds, backgrounds=backgrounds, init=init, device=device)
    run_training(train, out / stage.METRICS_NAME, _print_scores)


def _print_scores(metrics: Mapping[str, Any]) -> None:
    errors = f"alpha MAD {metrics['alpha_mad']:.4f}, foreground MAD {metrics['foreground_mad']:.4f}"
    echo(f"{metrics['n_held_out']} composites of held-out images: {errors}")
