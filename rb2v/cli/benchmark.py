"""The commands that score: a data set and a run, or many methods compared with each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from typer.core import TyperGroup

from rb2v.benchmark.suites.deblur.config import DeblurSuiteConfig
from rb2v.benchmark.suites.guidance.config import GuidanceSuiteConfig
from rb2v.benchmark.suites.order.config import OrderSuiteConfig
from rb2v.benchmark.suites.trajectories.config import TrajectorySuiteConfig
from rb2v.choices import DeblurMethodName, InterpolatorName, OrderNetworkName, TrainedBackboneName
from rb2v.cli.options import Given, OptionsOf, repeated_choice
from rb2v.cli.shared import (
    FILES,
    METHOD,
    Command,
    Device,
    ExecutorName,
    Workers,
    echo,
    files,
    make_app,
    parse_labeled,
    show_progress,
)

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

    from rb2v.benchmark.suites.suite import Suite
    from rb2v.execution import Executor

_DATA = "data"


class SuiteGroup(TyperGroup):
    """A group whose first command is meant where no other is named; its help shows that command's options."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Put the command first that the arguments mean: a suite, or the scores of a data set."""
        args = self._without_suite(list(args))
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args.insert(0, _DATA)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the options of the first command, and the names of the others."""
        self.commands[_DATA].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def _without_suite(self, args: list[str]) -> list[str]:
        """Move the name that follows the former option ``--suite`` to the front."""
        for place, argument in enumerate(args):
            option, equals, name = argument.partition("=")
            if option == "--suite" and (equals or place + 1 < len(args)):
                name = name if equals else args[place + 1]
                rest = args[:place] + args[place + (1 if equals else 2) :]
                typer.echo(f"note: --suite {name} is now 'rb2v benchmark {name}'".removesuffix(f" {_DATA}'"), err=True)
                return [name, *rest]
        return args


app = make_app(
    cls=SuiteGroup,
    help="Score a data set and a run, or train networks on it and compare them, and write a report.",
    subcommand_metavar="[SUITE [ARGS]...]",
    epilog="Example: rb2v benchmark --shards session/shards --run session/hypercut --out session/report",
)

Shards = Annotated[Path, files("Folder that 'rb2v build-shards' wrote.")]
Out = Annotated[Path, files("Folder for results.json, results.csv and report.html.")]
Preset = Annotated[
    Literal["small", "full"], typer.Option(help="small for two cores, full for a GPU.", rich_help_panel=METHOD)
]
Lpips = Annotated[
    bool, typer.Option("--lpips", help="Measure LPIPS too; see 'rb2v models fetch lpips'.", rich_help_panel=METHOD)
]


@app.command(
    _DATA,
    cls=Command,
    epilog="Example: rb2v benchmark --shards session/shards --run session/hypercut --out session/report",
)
def score_data(
    shards: Shards,
    out: Out,
    run: Annotated[Path | None, files("Folder that 'rb2v train-hypercut' wrote.")] = None,
    aligned: Annotated[Path | None, files("Folder that 'rb2v align' wrote.")] = None,
    calibration: Annotated[Path | None, files("The rig's calibration.json.")] = None,
    raw_dir: Annotated[Path | None, typer.Option("--raw-dir", help="The raw directory.", rich_help_panel=FILES)] = None,
    truth: Annotated[Path | None, files("Truth folder of what was simulated.")] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=ALIGNED",
            help="Another alignment of the same recordings; may be repeated.",
            rich_help_panel=FILES,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        files("Weights that the data set was keyed with, if its matting method has some."),
    ] = None,
    interpolator_weights: Annotated[
        Path | None,
        files("Weights that the takes were aligned with, where they were given to 'rb2v align'."),
    ] = None,
    backgrounds: Annotated[
        Path | None,
        files("Folder of images that the data set was built with, if not the default."),
    ] = None,
    blur_method: Annotated[
        list[str] | None,
        repeated_choice(InterpolatorName, "A further method whose synthetic blur is compared with the truth", METHOD),
    ] = None,
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Score a data set and a run; meant where no suite is named."""
    from rb2v import benchmark
    from rb2v.execution import make_executor

    paths = benchmark.SessionPaths(
        shards,
        run_dir=run,
        aligned_dir=aligned,
        raw_dir=raw_dir,
        calibration_path=calibration,
        truth_dir=truth,
        compared_dirs=parse_labeled(compare or [], "--compare"),
        weights=weights,
        interpolator_weights=interpolator_weights,
        backgrounds_dir=backgrounds,
    )
    with show_progress("scoring") as show:
        report = benchmark.run(
            paths,
            out,
            config=benchmark.BenchmarkConfig(blur_methods=cast("Any", tuple(blur_method or ()))),
            executor=make_executor(workers, executor),
            on_step=lambda name: show(label=name),
        )
    echo(str(report), soft_wrap=True)


@app.command("order", cls=Command, epilog="Example: rb2v benchmark order --shards session/shards --out session/order")
@OptionsOf(OrderSuiteConfig, {METHOD: ("seeds", "steps", "recorded_only")}, recommended=("steps",))
def compare_order_networks(
    shards: Shards,
    out: Out,
    given: Given,
    truth: Annotated[Path | None, files("Truth folder of what was simulated.")] = None,
    preset: Preset = "small",
    arch: Annotated[
        list[str] | None, repeated_choice(OrderNetworkName, "A network to compare, all by default", METHOD)
    ] = None,
    dimensions: Annotated[
        bool,
        typer.Option(help="Also compare dimensions of the plane's space, the paper's Table 7.", rich_help_panel=METHOD),
    ] = True,
    device: Device = "auto",
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Train all order networks from several seeds and compare them."""
    from rb2v.benchmark.suites.order import PRESETS, OrderSuite

    config = PRESETS[preset].chosen(archs=arch, dimensions=dimensions, **given)
    suite = OrderSuite(shards, config, truth_dir=truth, device=device)
    _run(suite, out, _make_training_executor(workers, executor, device))


@app.command(
    "deblur", cls=Command, epilog="Example: rb2v benchmark deblur --shards session/shards --out session/deblur"
)
@OptionsOf(
    DeblurSuiteConfig,
    {METHOD: ("seeds", "steps", "crop_size", "batch_size", "recorded_only", "held_out")},
    recommended=("steps", "crop_size", "batch_size"),
)
def compare_deblurring(
    shards: Shards,
    out: Out,
    given: Given,
    order_run: Annotated[
        Path | None,
        files("Folder that 'rb2v train-hypercut' wrote; an order network is trained by default."),
    ] = None,
    run: Annotated[Path | None, typer.Option("--run", hidden=True)] = None,
    truth: Annotated[
        Path | None, files("Truth folder of 'rb2v simulate-shards --motion opposed', to score what moves apart.")
    ] = None,
    pictures: Annotated[Path | None, files("Folder of blurry images to try the networks on.")] = None,
    preset: Preset = "small",
    backbone: Annotated[
        list[str] | None,
        repeated_choice(TrainedBackboneName, "A network to compare, the preset's by default", METHOD),
    ] = None,
    method: Annotated[
        list[str] | None, repeated_choice(DeblurMethodName, "A way to train to compare, all by default", METHOD)
    ] = None,
    alphas: Annotated[
        bool,
        typer.Option(help="Also compare weights of the regularizer, the paper's Table 6.", rich_help_panel=METHOD),
    ] = True,
    lpips: Lpips = False,
    device: Device = "auto",
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Train networks that recover sequences by every loss and compare them."""
    from rb2v.benchmark.suites.deblur import PRESETS, DeblurSuite

    config = PRESETS[preset].chosen(backbones=backbone, methods=method, alphas=alphas, **given)
    given_paths: Any = {"order_run": order_run or run, "pictures_dir": pictures, "truth_dir": truth}
    suite = DeblurSuite(shards, config, **given_paths, lpips=lpips, device=device)
    _run(suite, out, _make_training_executor(workers, executor, device))


@app.command(
    "guidance", cls=Command, epilog="Example: rb2v benchmark guidance --shards session/shards --out session/guidance"
)
@OptionsOf(GuidanceSuiteConfig, {METHOD: ("seeds", "steps")}, recommended=("steps",))
def compare_guidance(
    shards: Shards,
    out: Out,
    given: Given,
    guidance: Annotated[
        Path | None,
        files("Table that 'rb2v guidance' wrote; one is written from DIS flow by default."),
    ] = None,
    order_run: Annotated[
        Path | None,
        files("Folder that 'rb2v train-hypercut' wrote; an order network is trained by default."),
    ] = None,
    preset: Preset = "small",
    lpips: Lpips = False,
    device: Device = "auto",
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Train networks with motion guidance and predictors of it and compare them, the paper's Table 4."""
    from rb2v.benchmark.suites.guidance import PRESETS, GuidanceSuite

    config = PRESETS[preset].chosen(**given)
    suite = GuidanceSuite(shards, config, guidance=guidance, order_run=order_run, lpips=lpips, device=device)
    _run(suite, out, _make_training_executor(workers, executor, device))


@app.command(
    "trajectories",
    cls=Command,
    epilog="Example: rb2v benchmark trajectories --shards session/shards --out session/trajectories",
)
@OptionsOf(TrajectorySuiteConfig, {METHOD: ("seeds", "steps", "max_samples")}, recommended=("steps", "max_samples"))
def compare_trajectories(
    shards: Shards,
    out: Out,
    given: Given,
    run: Annotated[
        list[str] | None,
        files("A network that 'rb2v train-blur2vid' trained; may be repeated.", metavar="LABEL=RUN"),
    ] = None,
    order_run: Annotated[
        Path | None,
        files("Folder that 'rb2v train-hypercut' wrote; an order network is trained by default."),
    ] = None,
    preset: Preset = "small",
    method: Annotated[
        list[str] | None,
        repeated_choice(DeblurMethodName, "A way to train to compare, the preset's by default", METHOD),
    ] = None,
    train: Annotated[
        bool, typer.Option(help="Train networks beside those that are given.", rich_help_panel=METHOD)
    ] = True,
    device: Device = "auto",
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Compare networks by the landmarks of faces and hands in what they recover."""
    from rb2v.benchmark.suites.trajectories import PRESETS, TrajectorySuite

    config = PRESETS[preset].chosen(methods=method if train else (), **given)
    runs = parse_labeled(run or [], "--run")
    suite = TrajectorySuite(shards, config, runs=runs, order_run=order_run, device=device)
    _run(suite, out, _make_training_executor(workers, executor, device))


@app.command(
    "interpolation",
    cls=Command,
    epilog="Example: rb2v benchmark interpolation --data triplets --out session/interpolation",
)
def compare_interpolation(
    data: Annotated[
        Path,
        files("Folder of triplets, each a folder of three images: first, true middle, last."),
    ],
    out: Out,
    weights: Annotated[Path | None, files("Weights of the one method that is given.")] = None,
    method: Annotated[
        list[str] | None, repeated_choice(InterpolatorName, "A method to compare, the usual ones by default", METHOD)
    ] = None,
    lpips: Lpips = False,
    device: Device = "auto",
) -> None:
    """Compare methods that make frames between two frames."""
    from rb2v.benchmark.suites.interpolation import InterpolationSuite, InterpolationSuiteConfig

    config = InterpolationSuiteConfig()
    if method is not None:
        config = InterpolationSuiteConfig(methods=cast("Any", tuple(dict.fromkeys(method))))
    _run(InterpolationSuite(data, config, weights=weights, lpips=lpips, device=device), out)


def _make_training_executor(workers: int | None, executor: str, device: str) -> Executor:
    """Return where trainings run; one GPU trains one network at a time, unless something else is asked for."""
    import torch

    from rb2v.execution import make_executor

    is_on_gpu = device != "cpu" and torch.cuda.is_available()
    return make_executor(1 if is_on_gpu and workers is None and executor == "auto" else workers, executor)


def _run(suite: Suite[Any], out: Path, executor: Executor | None = None) -> None:
    """Run a suite, and print its main table and the path of its report."""
    from rich.table import Table

    from rb2v.benchmark.report.output import RESULTS_NAME
    from rb2v.io.store import read_json

    with show_progress(suite.name) as show:
        report = suite.run(out, executor=executor, progress=show)
    header, rows = suite.main_table(read_json(out / RESULTS_NAME))
    table = Table(title=suite.title)
    for place, name in enumerate(header):
        table.add_column(name, justify="right" if place else "left")
    for row in rows:
        table.add_row(*row)
    echo(table)
    echo(str(report), soft_wrap=True)
