"""The runs of the suite: which there are, and their training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from rb2v.benchmark.deblur_suite.config import BASELINE, METHODS, REGULARIZED, DeblurSuiteConfig
from rb2v.benchmark.stop_watch import StopWatch
from rb2v.blur2vid import train
from rb2v.blur2vid.config import TrainBlur2VidConfig, recommend
from rb2v.device import one_torch_thread
from rb2v.hypercut import train as order_training
from rb2v.hypercut.config import recommend as recommend_order

RUNS_NAME = "runs"
TIMES_NAME = "times"
ORDER_NAME = "order"
TOY_NAME = "toy"
TOY_SIZE_PX = 32  # small, because the toy compares losses and not pictures
TOY_BACKBONE = "unet"


@dataclass(frozen=True)
class Cell:
    """One run of the suite."""

    backbone: str
    method: str
    seed: int
    alpha: float | None = None
    """Weight of the regulariser; None for methods without one."""
    toy: bool = False
    """Whether it is trained on the toy."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        weight = "" if self.alpha is None else f"-a{self.alpha:g}"
        return f"{'toy-' if self.toy else ''}{self.backbone}-{self.method}{weight}-s{self.seed}"


def main_cells(config: DeblurSuiteConfig, backbone: str, method: str) -> list[Cell]:
    """Return the runs of a backbone and a method, one a seed."""
    alpha = config.usual_alpha if METHODS[method].regularizer != "none" else None
    return [Cell(backbone, method, seed, alpha) for seed in range(config.seeds)]


def alpha_cells(config: DeblurSuiteConfig) -> dict[float, Cell]:
    """Return the runs of Table 6 by the regulariser's weight; without any, it is the method that has none."""
    backbone = config.backbones[0]
    return {
        alpha: Cell(backbone, REGULARIZED, 0, alpha) if alpha else Cell(backbone, BASELINE, 0)
        for alpha in config.alphas
    }


def toy_cells(config: DeblurSuiteConfig) -> dict[str, Cell]:
    """Return the runs of Figure 2 by method."""
    if not config.toy_steps:
        return {}
    cells = {method: main_cells(config, TOY_BACKBONE, method)[0] for method in config.methods}
    return {method: dataclasses.replace(cell, toy=True) for method, cell in cells.items()}


def plan(config: DeblurSuiteConfig) -> list[Cell]:
    """Return all runs, each once though several tables show it."""
    cells = [
        cell
        for backbone in config.backbones
        for method in config.methods
        for cell in main_cells(config, backbone, method)
    ]
    return list(dict.fromkeys([*cells, *alpha_cells(config).values(), *toy_cells(config).values()]))


def training_config(cell: Cell, config: DeblurSuiteConfig) -> TrainBlur2VidConfig:
    """Return what a run is trained with."""
    method = METHODS[cell.method]
    steps = config.toy_steps if cell.toy else config.steps
    return recommend(
        cell.backbone,
        loss=method.loss,
        regularizer=method.regularizer,
        alpha=cell.alpha,
        image_size=None if cell.toy else config.image_size,
        crop_size=TOY_SIZE_PX if cell.toy else config.crop_size,
        batch_size=config.batch_size,
        steps=steps,
        pretrain_steps=int(config.pretrain_shares.get(cell.backbone, 0) * steps),
        seed=cell.seed,
    )


@dataclass(frozen=True)
class OrderTraining:
    """What a worker has to know to train the order network of either data set."""

    shards_dir: Path
    out_dir: Path
    config: DeblurSuiteConfig
    device: str

    def __call__(self, toy: bool) -> str:
        """Train the order network, or find it trained; return its name."""
        size = TOY_SIZE_PX if toy else self.config.order_size
        steps = min(self.config.order_steps, self.config.toy_steps) if toy else self.config.order_steps
        settings = recommend_order("motion", image_size=size, steps=steps, seed=0)
        shards_dir = self.out_dir / TOY_NAME if toy else self.shards_dir
        with one_torch_thread():
            order_training.run(shards_dir, order_folder(self.out_dir, toy=toy), settings, device=self.device)
        return f"{TOY_NAME}-{ORDER_NAME}" if toy else ORDER_NAME


def order_folder(out_dir: Path, *, toy: bool = False) -> Path:
    """Return where the suite's own order network lies."""
    return out_dir / RUNS_NAME / (f"{TOY_NAME}-{ORDER_NAME}" if toy else ORDER_NAME)


@dataclass(frozen=True)
class Training:
    """What a worker has to know to train any run of the suite."""

    shards_dir: Path
    out_dir: Path
    config: DeblurSuiteConfig
    order_run: Path
    """The order network for all runs but those of the toy."""
    lpips: bool
    device: str

    def __call__(self, cell: Cell) -> str:
        """Train a run, or finish it, or find it finished; return its name.

        Raises
        ------
        InputError
            If its folder holds a run of other settings, or the data cannot be trained on.
        """
        settings = training_config(cell, self.config)
        order_run = order_folder(self.out_dir, toy=True) if cell.toy else self.order_run
        watch = StopWatch(self.out_dir / TIMES_NAME / f"{cell.name}.json")
        with one_torch_thread():
            train.run(
                self.out_dir / TOY_NAME if cell.toy else self.shards_dir,
                self.out_dir / RUNS_NAME / cell.name,
                settings,
                order_run=order_run if settings.needs_order else None,
                lpips=self.lpips and not cell.toy,
                device=self.device,
                progress=watch.see,
            )
        return cell.name
