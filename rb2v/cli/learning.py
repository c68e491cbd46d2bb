"""The commands that train on shards and score what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from rb2v.artifacts import SPLITS
from rb2v.cli.shared import Device, ExecutorName, Workers, app, console, make_config, parse_labelled, show_progress
from rb2v.errors import InputError


@app.command(epilog="Example: rb2v train-hypercut --shards session/shards --out session/hypercut")
def train_hypercut(
    shards: Annotated[Path, typer.Option(help="Folder that 'rb2v build-shards' wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint, metrics and order labels.")],
    arch: Annotated[str, typer.Option(help="Order network: motion or antisymmetric.")] = "motion",
    loss: Annotated[str, typer.Option(help="Loss: agreement or product.")] = "agreement",
    steps: Annotated[int, typer.Option(help="Training steps.")] = 400,
    batch_size: Annotated[int, typer.Option(help="Sequences per step.")] = 16,
    image_size: Annotated[int, typer.Option(help="Shorter side of the frames that the network sees, in px.")] = 64,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 2e-3,
    seed: Annotated[int, typer.Option(help="Seed of weights and batches.")] = 0,
    device: Device = "auto",
) -> None:
    """Train the order network, score it on the test split and label every sequence."""
    from rb2v.hypercut import train as stage
    from rb2v.hypercut.ranks import is_first_process
    from rb2v.io.store import read_json

    config = make_config(
        lambda: stage.TrainHyperCutConfig(
            arch=arch, loss=loss, steps=steps, batch_size=batch_size, image_size=image_size, lr=lr, seed=seed
        )
    )
    if not is_first_process():
        stage.run(shards, out, config, device=device)
        return
    with show_progress("training") as show:
        checkpoint = stage.run(shards, out, config, device=device, progress=show)
    try:
        _print_order_scores(read_json(out / "metrics.json"))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(out / "metrics.json", "is not what this command writes", str(error)) from error
    console.print(str(checkpoint), soft_wrap=True)


def _print_order_scores(metrics: Mapping[str, Any]) -> None:
    if metrics["test"] is None:
        console.print("the test split is empty: nothing to score")
        return
    table = Table(title=f"order on {metrics['test_sequences']} test sequences, %")
    columns = [name for name, value in metrics["test"].items() if isinstance(value, float)]
    table.add_column("scorer")
    for name in columns:
        table.add_column(name.replace("_", " "), justify="right")
    for scorer, scores in {"network": metrics["test"], **(metrics["controls"] or {})}.items():
        table.add_row(scorer.replace("_", " "), *(f"{100 * scores[name]:.1f}" for name in columns))
    console.print(table)


@app.command(
    epilog="Example: rb2v label-order --shards session/shards --run session/hypercut --out session/order_labels.csv"
)
def label_order(
    shards: Annotated[Path, typer.Option(help="Folder that 'rb2v build-shards' wrote.")],
    run: Annotated[
        Path,
        typer.Option(
            help="Folder that 'rb2v train-hypercut' wrote, its checkpoint, or the HyperCUT authors' .pth file."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Table to write, CSV.")],
    split: Annotated[Literal["train", "test"] | None, typer.Option(help="Split to label; both by default.")] = None,
    device: Device = "auto",
) -> None:
    """Write the order of every sequence of a data set, and how sure it is."""
    from rb2v.hypercut import labels as stage

    with show_progress("labelling") as show:
        table = stage.run(shards, run, out, splits=SPLITS if split is None else (split,), device=device, progress=show)
    for name, rows in table.groupby("split", sort=False):
        counts = f"{(rows['order'] == 1).sum()} keep, {(rows['order'] == -1).sum()} reverse"
        if (rows["order"] == 0).any():
            counts += f", {(rows['order'] == 0).sum()} without order"
        console.print(f"{name}: {len(rows)} sequences, {100 * rows['consistent'].mean():.1f} % consistent, {counts}")
    console.print(str(out), soft_wrap=True)


@app.command(epilog="Example: rb2v train-matting --out matting --backgrounds photos")
def train_matting(
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint and metrics.")],
    foregrounds: Annotated[
        Path | None, typer.Option(help="Folder of RGBA cut-outs; random shapes of photographs by default.")
    ] = None,
    backgrounds: Annotated[
        Path | None, typer.Option(help="Folder of pictures; those that scikit-image ships by default.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Training steps; the last quarter also trains the refiner.")] = 20_000,
    backbone: Annotated[str, typer.Option(help="Encoder: mobilenetv2, resnet50 or resnet101.")] = "mobilenetv2",
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
        console.print(f"{scores['n_held_out']} composites of held-out pictures: {errors}")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(out / stage.METRICS_NAME, "is not what this command writes", str(error)) from error
    console.print(str(checkpoint), soft_wrap=True)


@app.command(epilog="Example: rb2v benchmark --shards session/shards --run session/hypercut --out session/report")
def benchmark(
    shards: Annotated[Path, typer.Option(help="Folder that 'rb2v build-shards' wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for results.json, results.csv and report.html.")],
    run: Annotated[Path | None, typer.Option(help="Folder that 'rb2v train-hypercut' wrote.")] = None,
    aligned: Annotated[Path | None, typer.Option(help="Folder that 'rb2v align' wrote.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="The rig's calibration.json.")] = None,
    raw_dir: Annotated[Path | None, typer.Option("--raw-dir", help="The raw directory.")] = None,
    truth: Annotated[Path | None, typer.Option(help="Truth folder of a simulated session.")] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=ALIGNED", help="Another alignment of the same recordings; may be given several times."
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights that the data set was keyed with, where its matter has some.")
    ] = None,
    backgrounds: Annotated[
        Path | None, typer.Option(help="Folder of pictures that the data set was built with, if not the default.")
    ] = None,
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Score a data set and a run, against the truth where there is one, and write a report."""
    from rb2v import benchmark as stage
    from rb2v.execution import make_executor

    compared = parse_labelled(compare or [], "--compare")
    with show_progress("scoring") as show:
        report = stage.run(
            shards,
            out,
            run_dir=run,
            aligned_dir=aligned,
            raw_dir=raw_dir,
            calibration_path=calibration,
            truth_dir=truth,
            compared_dirs=compared,
            weights=weights,
            backgrounds_dir=backgrounds,
            executor=make_executor(workers, executor),
            on_step=lambda name: show(label=name),
        )
    console.print(str(report), soft_wrap=True)
