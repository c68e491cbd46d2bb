"""The commands that train on shards and score what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from rb2v.artifacts import SPLITS
from rb2v.cli.shared import Device, app, console, make_config, show_progress
from rb2v.errors import InputError


@app.command(epilog="Example: rb2v train-hypercut --shards session/shards --out session/hypercut")
def train_hypercut(
    shards: Annotated[Path, typer.Option(help="Folder that 'rb2v build-shards' wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint, metrics and order labels.")],
    arch: Annotated[
        str, typer.Option(help="Order network: motion, antisymmetric, paper, or upstream, the one that was released.")
    ] = "motion",
    loss: Annotated[
        str | None, typer.Option(help="Loss: agreement, product, or upstream (product and consistency).")
    ] = None,
    dimensions: Annotated[int | None, typer.Option(help="Dimension of the space that the plane divides.")] = None,
    agreement_weight: Annotated[float | None, typer.Option(help="Weight of the agreement in the loss.")] = None,
    product_weight: Annotated[float | None, typer.Option(help="Weight of the product in the loss.")] = None,
    consistency_weight: Annotated[float | None, typer.Option(help="Weight of the consistency in the loss.")] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Sequences per step.")] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Shorter side of the frames that the network sees, in px.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights and batches.")] = 0,
    device: Device = "auto",
) -> None:
    """Train the order network, score it on the test split and label every sequence.

    What is not given is what is recommended for the network.
    """
    from rb2v.hypercut import train as stage
    from rb2v.hypercut.config import recommend
    from rb2v.io.store import read_json
    from rb2v.training.ranks import is_first_process

    config = make_config(
        lambda: recommend(
            arch,
            loss=loss,
            n_dimensions=dimensions,
            agreement_weight=agreement_weight,
            product_weight=product_weight,
            consistency_weight=consistency_weight,
            steps=steps,
            batch_size=batch_size,
            image_size=image_size,
            lr=lr,
            seed=seed,
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
    tested = metrics["test"]
    all_pairs = f"con@{len(tested['hit_pairs'])}"
    headers = {
        "hit": "hit",
        "con@2": "con@2",
        "con@2_outer": "outer\ncon@2",
        all_pairs: all_pairs,
        "labels_flipped": "back-\nward",
        "contrast_reversed": "nega-\ntive",
        "contrast_scaled": "pale",
        "brightness_shifted": "brigh-\nter",
    }
    table = Table(
        title=f"order on {metrics['test_sequences']} test sequences, %", box=SIMPLE_HEAD, padding=(0, 0, 0, 1)
    )
    table.add_column("scorer", no_wrap=True)
    for header in headers.values():
        table.add_column(header, justify="right", no_wrap=True)
    table.add_row("network", *(f"{100 * tested[name]:.1f}" for name in headers))
    intervals = tested["intervals"]
    if intervals["hit"] is not None:
        for label, end in (("  95 % from", 0), ("  95 % to", 1)):
            table.add_row(label, *(f"{100 * intervals[name][end]:.1f}" for name in headers))
    for scorer, scores in (metrics["controls"] or {}).items():
        table.add_row(scorer.replace("_", " "), *(f"{100 * scores[name]:.1f}" for name in headers))
    console.print(table)
    console.print(
        "hit and con: pairs that turn, and that agree; backward: labels that turn with\n"
        "the sequence; the rest: labels that stay in the negative, paler, brighter"
    )


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


@app.command(
    epilog="Example: rb2v train-blur2vid --shards session/shards --loss label --order-run session/hypercut "
    "--out session/blur2vid"
)
def train_blur2vid(
    shards: Annotated[Path, typer.Option(help="Folder that 'rb2v build-shards' wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint and the scores.")],
    backbone: Annotated[
        str, typer.Option(help="unet, jin, purohit, or purohit_oracle, which is fed the true centre frame.")
    ] = "unet",
    loss: Annotated[
        str, typer.Option(help="naive (eq. 4), order_invariant (eq. 3), label or best_direction.")
    ] = "best_direction",
    order_run: Annotated[
        Path | None,
        typer.Option(
            help="Folder that 'rb2v train-hypercut' wrote, its checkpoint, or the HyperCUT authors' .pth file, for the "
            "loss label and the regularizer."
        ),
    ] = None,
    regularizer: Annotated[str, typer.Option(help="HyperCUT regularizer: none, softplus or linear (eq. 7).")] = "none",
    alpha: Annotated[float | None, typer.Option(help="Weight of the regularizer.")] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    pretrain_steps: Annotated[
        int | None, typer.Option(help="The first of them, for the autoencoder of purohit.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Sequences per step.")] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Shorter side to which frames are shrunk, in px; as they are by default.")
    ] = None,
    crop_size: Annotated[
        int | None, typer.Option(help="Side of the parts that are trained on, in px; 0 for whole frames.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    lpips: Annotated[bool, typer.Option("--lpips", help="Measure LPIPS too; see 'rb2v models fetch lpips'.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read samples ahead.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of weights and batches.")] = 0,
    device: Device = "auto",
) -> None:
    """Train a network that recovers seven sharp frames from one blurry image, and score it on the test split.

    What is not given is what is recommended for the backbone.
    """
    from rb2v.blur2vid import train as stage
    from rb2v.blur2vid.config import recommend
    from rb2v.io.store import read_json
    from rb2v.training.ranks import is_first_process

    config = make_config(
        lambda: recommend(
            backbone,
            loss=loss,
            regularizer=regularizer,
            alpha=alpha,
            steps=steps,
            pretrain_steps=pretrain_steps,
            batch_size=batch_size,
            image_size=image_size,
            crop_size=crop_size or None,
            lr=lr,
            seed=seed,
        )
    )
    if crop_size == 0:
        config = dataclasses.replace(config, crop_size=None)
    options: dict[str, Any] = {"order_run": order_run, "lpips": lpips, "workers": workers, "device": device}
    if not is_first_process():
        stage.run(shards, out, config, **options)
        return
    with show_progress("training") as show:
        checkpoint = stage.run(shards, out, config, **options, progress=show)
    try:
        _print_sequence_scores(read_json(out / stage.METRICS_NAME))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(out / stage.METRICS_NAME, "is not what this command writes", str(error)) from error
    console.print(str(checkpoint), soft_wrap=True)


def _print_sequence_scores(metrics: Mapping[str, Any]) -> None:
    if metrics["test"] is None:
        console.print("the test split is empty: nothing to score")
        return
    tested = metrics["test"]
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
    titles = {name: title for name, title in titles.items() if name in tested["network"]}
    table = Table(title=f"{metrics['test_sequences']} test sequences", box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    table.add_column("estimate", no_wrap=True)
    for title in titles.values():
        table.add_column(title, justify="right", no_wrap=True)
    for estimator, scores in tested.items():
        fed = estimator == "network" and metrics["oracle_center"]
        cells = ("-" if scores[name] is None else _digits(name, scores[name]) for name in titles)
        table.add_row("true centre fed" if fed else estimator.replace("_", " "), *cells)
    console.print(table)
    console.print(
        "PSNR in dB; border: first and last frame; direction: share of sequences whose\n"
        "pairs agree on one; amplitude: motion against the true one"
    )


def _digits(name: str, value: float) -> str:
    return f"{value:.3f}" if name in ("pssim_seq", "plpips_seq") else f"{value:.2f}"


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


@app.command(epilog="Example: rb2v train-interpolator --out cdfi --clips clips --device cuda --workers 8")
def train_interpolator(
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint and metrics.")],
    clips: Annotated[
        Path | None,
        typer.Option(help="Folder of videos and folders of pictures; moving layers are generated by default."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Training steps.")] = 100_000,
    batch_size: Annotated[int, typer.Option(help="Triplets of frames per step.")] = 8,
    crop_size: Annotated[
        int, typer.Option(help="Side of the frames that are trained on, in px, a multiple of 32.")
    ] = 128,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 5e-4,
    motion_share: Annotated[
        float, typer.Option(help="Share of the steps, the first ones, that only teach where to look; none with --init.")
    ] = 0.05,
    init: Annotated[Path | None, typer.Option(help="Checkpoint of this command to start from.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make batches ahead.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of weights and triplets.")] = 0,
    device: Device = "auto",
) -> None:
    """Train the network of the interpolator 'cdfi'; a stopped training goes on where it was."""
    from rb2v.interpolation.learned.cdfi import train as stage
    from rb2v.interpolation.learned.cdfi.config import TrainInterpolatorConfig
    from rb2v.io.store import read_json
    from rb2v.training.ranks import is_first_process

    config = make_config(
        lambda: TrainInterpolatorConfig(
            crop_size=crop_size, batch_size=batch_size, steps=steps, lr=lr, motion_share=motion_share, seed=seed
        )
    )
    options: dict[str, Any] = {"clips": clips, "init": init, "workers": workers, "device": device}
    if not is_first_process():
        stage.run(out, config, **options)
        return
    with show_progress("training") as show:
        checkpoint = stage.run(out, config, **options, progress=show)
    try:
        scores = read_json(out / stage.METRICS_NAME)
        figures = f"{scores['psnr']:.2f} dB, the mean of two frames {scores['psnr_of_mean']:.2f} dB"
        console.print(f"{scores['n_held_out']} generated triplets of held-out photographs: {figures}")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(out / stage.METRICS_NAME, "is not what this command writes", str(error)) from error
    console.print(str(checkpoint), soft_wrap=True)
