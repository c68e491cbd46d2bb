"""The command that trains a network to recover sequences."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from rb2v.blur2vid.config import TrainBlur2VidConfig, recommend
from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import EXECUTION, METHOD, Device, echo, files, make_command
from rb2v.cli.training import run_training

app, command = make_command(
    "train-blur2vid",
    "rb2v train-blur2vid --shards session/shards --loss label --order-run session/hypercut --out session/blur2vid",
)


@command
@OptionsOf(
    TrainBlur2VidConfig,
    {
        METHOD: ("backbone", "loss", "window_px", "shared_windows", "regularizer", "alpha"),
        "Training": ("steps", "pretrain_steps", "batch_size", "image_size", "lr", "augment"),
        EXECUTION: ("seed",),
    },
)
def train_blur2vid(
    shards: Annotated[Path, files("Folder that 'rb2v build-shards' wrote.")],
    out: Annotated[Path, files("Folder for the checkpoint and the scores.")],
    given: Given,
    order_run: Annotated[
        Path | None,
        files(
            "Folder that 'rb2v train-hypercut' wrote, its checkpoint, or the HyperCUT authors' .pth file, for the "
            "loss label and the regularizer."
        ),
    ] = None,
    guidance: Annotated[
        Path | None,
        files(
            "Table that 'rb2v guidance' wrote, for zhong and zhong_small, which are given none without it, and for the "
            "loss region_label."
        ),
    ] = None,
    crop_size: Annotated[
        int | None,
        typer.Option(
            min=0, help="Side of the parts that are trained on, in px; 0 for whole frames.", rich_help_panel="Training"
        ),
    ] = None,
    lpips: Annotated[bool, typer.Option("--lpips", help="Measure LPIPS too; see 'rb2v models fetch lpips'.")] = False,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that read samples ahead.", rich_help_panel=EXECUTION)
    ] = 0,
    device: Device = "auto",
) -> None:
    """Train a network that recovers seven sharp frames from one blurry image, and score it on the test split.

    What is not given is what is recommended for the backbone.
    """
    from rb2v.blur2vid import train as stage

    config = recommend(**{"backbone": TrainBlur2VidConfig.backbone, **given, "crop_size": crop_size or None})
    if crop_size == 0:
        config = dataclasses.replace(config, crop_size=None)
    sources: dict[str, Any] = {"order_run": order_run, "guidance": guidance}
    train = partial(stage.run, shards, out, config, **sources, lpips=lpips, workers=workers, device=device)
    run_training(train, out / stage.METRICS_NAME, _print_sequence_scores)


def _print_sequence_scores(metrics: Mapping[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    if metrics["test"] is None:
        echo("the test split is empty: nothing to score; another take or subject makes one")
        return
    titles = {
        "ppsnr_seq": "pPSNR\nseq",
        "ppsnr_seq_border": "border\nseq",
        "ppsnr_frame": "pPSNR\nframe",
        "pssim_seq": "pSSIM\nseq",
        "plpips_seq": "pLPIPS\nseq",
        "reblur_psnr": "reblur\nPSNR",
        "direction_agreement": "direc-\ntion",
        "amplitude": "ampli-\ntude",
    }
    titles = {name: title for name, title in titles.items() if name in metrics["test"]["network"]}
    tables = {f"{metrics['test_sequences']} test sequences": metrics["test"]}
    if "test_recorded" in metrics:
        tables["the same, recorded frames alone"] = metrics["test_recorded"]
    for heading, tested in tables.items():
        table = Table(title=heading, box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
        table.add_column("estimate", no_wrap=True)
        for title in titles.values():
            table.add_column(title, justify="right", no_wrap=True)
        for estimator, scores in tested.items():
            cells = ("-" if scores[name] is None else _digits(name, scores[name]) for name in titles)
            table.add_row(_label_estimator(estimator, metrics), *cells)
        echo(table)
    echo(
        "PSNR in dB; border: first and last frame; direction: share of sequences whose\n"
        "pairs agree on one; amplitude: motion against the true one"
    )


def _label_estimator(estimator: str, metrics: Mapping[str, Any]) -> str:
    if estimator == "network" and metrics["oracle_center"]:
        return "true center fed"
    if estimator == "network" and metrics.get("true_guidance"):
        return "true guidance fed"
    return estimator.replace("_", " ")


def _digits(name: str, value: float) -> str:
    return f"{value:.3f}" if name in ("pssim_seq", "plpips_seq") else f"{value:.2f}"
