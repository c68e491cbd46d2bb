"""The command that scores a data set, a run, or many networks against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from rb2v.cli.shared import (
    Command,
    Device,
    ExecutorName,
    Workers,
    echo,
    make_app,
    make_config,
    parse_labelled,
    show_progress,
)
from rb2v.errors import Rb2vError

app = make_app()

Suite = Literal["data", "order", "deblur", "interpolation"]

_OPTIONS: Mapping[Suite, frozenset[str]] = {
    "data": frozenset(
        {
            "shards",
            "workers",
            "executor",
            "run",
            "aligned",
            "calibration",
            "raw_dir",
            "truth",
            "compare",
            "weights",
            "interpolator_weights",
            "backgrounds",
        }
    ),
    "order": frozenset(
        {"shards", "workers", "executor", "preset", "arch", "seeds", "steps", "dimensions", "device", "truth"}
    ),
    "deblur": frozenset(
        {
            "shards",
            "workers",
            "executor",
            "preset",
            "backbone",
            "method",
            "seeds",
            "steps",
            "alphas",
            "run",
            "pictures",
            "lpips",
            "device",
        }
    ),
    "interpolation": frozenset({"data", "method", "weights", "lpips", "device"}),
}
"""Options of ``rb2v benchmark`` that not all suites have, by those that have them."""


@app.command(
    "benchmark",
    cls=Command,
    epilog="Example: rb2v benchmark --shards session/shards --run session/hypercut --out session/report",
)
def benchmark(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for results.json, results.csv and report.html.")],
    shards: Annotated[
        Path | None, typer.Option(help="Folder that 'rb2v build-shards' wrote; all suites but interpolation need it.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Suite interpolation: folder of triplets, each a folder of three pictures: first, true middle, last."
        ),
    ] = None,
    suite: Annotated[
        Suite,
        typer.Option(
            help="data: score a data set and a run; order: train all order networks and compare them; deblur: train "
            "networks that recover sequences by every loss and compare them; interpolation: compare methods that make "
            "frames between two frames."
        ),
    ] = "data",
    run: Annotated[Path | None, typer.Option(help="Folder that 'rb2v train-hypercut' wrote.")] = None,
    aligned: Annotated[Path | None, typer.Option(help="Folder that 'rb2v align' wrote.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="The rig's calibration.json.")] = None,
    raw_dir: Annotated[Path | None, typer.Option("--raw-dir", help="The raw directory.")] = None,
    truth: Annotated[Path | None, typer.Option(help="Truth folder of what was simulated.")] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=ALIGNED", help="Another alignment of the same recordings; may be given several times."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Weights that the data set was keyed with, where its matter has some; suite interpolation: those of "
            "the one method that is given."
        ),
    ] = None,
    interpolator_weights: Annotated[
        Path | None,
        typer.Option(help="Weights that the takes were aligned with, where they were given to 'rb2v align'."),
    ] = None,
    backgrounds: Annotated[
        Path | None, typer.Option(help="Folder of pictures that the data set was built with, if not the default.")
    ] = None,
    preset: Annotated[
        Literal["small", "full"], typer.Option(help="Suites order and deblur: small for two cores, full for a GPU.")
    ] = "small",
    arch: Annotated[
        list[str] | None,
        typer.Option(help="Suite order: a network to compare; may be given several times. All by default."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Suites order and deblur: runs of each network.")] = 3,
    steps: Annotated[
        int | None, typer.Option(help="Suites order and deblur: training steps, in place of the preset's.")
    ] = None,
    dimensions: Annotated[
        bool, typer.Option(help="Suite order: also compare dimensions of the plane's space, the paper's Table 7.")
    ] = True,
    backbone: Annotated[
        list[str] | None,
        typer.Option(help="Suite deblur: unet, jin or purohit; may be given several times. The preset's by default."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Suite deblur: naive, naive_hypercut, order_invariant, hypercut, label or best_direction, all by "
            "default; suite interpolation: flow, quick-flow, linear, rife, ... May be given several times."
        ),
    ] = None,
    alphas: Annotated[
        bool, typer.Option(help="Suite deblur: also compare weights of the regularizer, the paper's Table 6.")
    ] = True,
    pictures: Annotated[
        Path | None, typer.Option(help="Suite deblur: folder of blurry pictures to try the networks on.")
    ] = None,
    lpips: Annotated[
        bool,
        typer.Option(
            "--lpips", help="Suites deblur and interpolation: measure LPIPS too; see 'rb2v models fetch lpips'."
        ),
    ] = False,
    device: Device = "auto",
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Score a data set and a run, or train networks on it and compare them, and write a report."""
    from rb2v.execution import make_executor
    from rb2v.io.store import read_json

    for name in sorted(frozenset().union(*_OPTIONS.values()) - _OPTIONS[suite]):
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise Rb2vError(f"--{name.replace('_', '-')} is no option of the suite {suite}")
    if suite == "interpolation":
        _compare_interpolators(data, out, method, weights, lpips=lpips, device=device)
        return
    if shards is None:
        raise Rb2vError("--shards is missing; expected the folder that 'rb2v build-shards' wrote")
    if suite != "data" and workers is None and executor == "auto" and _is_on_gpu(device):
        workers = 1  # one GPU trains one network at a time
    if suite == "deblur":
        from rb2v.benchmark import deblur_suite

        deblur_base = deblur_suite.PRESETS[preset]
        deblur_config = make_config(
            lambda: deblur_base.chosen(backbones=backbone, methods=method, seeds=seeds, steps=steps, alphas=alphas)
        )
        with show_progress("training") as show:
            report = deblur_suite.run(
                shards,
                out,
                deblur_config,
                order_run=run,
                pictures_dir=pictures,
                lpips=lpips,
                device=device,
                executor=make_executor(workers, executor),
                progress=show,
            )
        results = read_json(out / deblur_suite.RESULTS_NAME)
        _print_comparison(
            "recovered sequences of held-out samples, mean over the seeds", *deblur_suite.read_main_table(results)
        )
        echo(str(report), soft_wrap=True)
        return
    if suite == "order":
        from rb2v.benchmark import order_suite

        base = order_suite.PRESETS[preset]
        config = make_config(lambda: base.chosen(archs=arch, seeds=seeds, steps=steps, dimensions=dimensions))
        with show_progress("training") as show:
            report = order_suite.run(
                shards,
                out,
                config,
                truth_dir=truth,
                device=device,
                executor=make_executor(workers, executor),
                progress=show,
            )
        results = read_json(out / order_suite.RESULTS_NAME)
        _print_comparison("order on held-out sequences, mean over the seeds", *order_suite.read_main_table(results))
        echo(str(report), soft_wrap=True)
        return
    from rb2v import benchmark as stage

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
            interpolator_weights=interpolator_weights,
            backgrounds_dir=backgrounds,
            executor=make_executor(workers, executor),
            on_step=lambda name: show(label=name),
        )
    echo(str(report), soft_wrap=True)


def _compare_interpolators(
    data: Path | None, out: Path, methods: Sequence[str] | None, weights: Path | None, *, lpips: bool, device: Device
) -> None:
    from rb2v.benchmark import interpolation_suite
    from rb2v.io.store import read_json

    if data is None:
        raise Rb2vError("--data is missing; expected a folder of triplets, each a folder of three pictures")
    config = interpolation_suite.InterpolationSuiteConfig()
    if methods is not None:
        config = interpolation_suite.InterpolationSuiteConfig(methods=tuple(dict.fromkeys(methods)))
    with show_progress("interpolating") as show:
        report = interpolation_suite.run(data, out, config, weights=weights, lpips=lpips, device=device, progress=show)
    results = read_json(out / interpolation_suite.RESULTS_NAME)
    _print_comparison("the frame half-way between two frames", *interpolation_suite.read_main_table(results))
    echo(str(report), soft_wrap=True)


def _is_on_gpu(device: str) -> bool:
    import torch

    return device != "cpu" and torch.cuda.is_available()


def _print_comparison(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    table = Table(title=title)
    for place, name in enumerate(header):
        table.add_column(name, justify="right" if place else "left")
    for row in rows:
        table.add_row(*row)
    echo(table)
