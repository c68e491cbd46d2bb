"""The grid of the deblurring suite: backbones, methods, weights of the regularizer, seeds, and the toy."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from rb2v.benchmark.suites.deblur.config import (
    BASELINE,
    METHODS,
    REGULARIZED,
    REGULARIZED_WINDOWED,
    SIGN_ORDER,
    WINDOWED,
    DeblurSuiteConfig,
)
from rb2v.blur2vid.config import SIGN_REGULARIZERS, TrainBlur2VidConfig, recommend
from rb2v.hypercut.config import TrainHyperCutConfig
from rb2v.hypercut.config import recommend as recommend_order

TOY_NAME = "toy"
TOY_SIZE_PX = 32  # small, because the toy compares losses and not images
TOY_BACKBONE = "unet"


@dataclass(frozen=True)
class NetworkCell:
    """One training of a backbone."""

    backbone: str
    method: str
    seed: int
    alpha: float | None = None
    """Weight of the regularizer; None for methods without one."""
    toy: bool = False
    """Whether it is trained on the toy."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        weight = "" if self.alpha is None else f"-a{self.alpha:g}"
        return f"{'toy-' if self.toy else ''}{self.backbone}-{self.method}{weight}-s{self.seed}"


@dataclass(frozen=True)
class OrderNetworkCell:
    """The training of the order network of either data set."""

    toy: bool
    arch: str = "motion"

    @property
    def name(self) -> str:
        """Name of its folder."""
        kind = "order" if self.arch == "motion" else f"order-{self.arch}"
        return f"toy-{kind}" if self.toy else kind


DeblurCell = NetworkCell | OrderNetworkCell


def main_cells(config: DeblurSuiteConfig, backbone: str, method: str) -> list[NetworkCell]:
    """Return the runs of a backbone and a method, one a seed."""
    made = METHODS[method]
    usual = config.usual_alpha if made.alpha is None else made.alpha
    alpha = usual if made.regularizer != "none" else None
    return [NetworkCell(backbone, method, seed, alpha) for seed in range(config.seeds)]


def alpha_cells(config: DeblurSuiteConfig) -> dict[str, dict[float, NetworkCell]]:
    """Return the runs of Table 6 by method and the regularizer's weight; without any, it is the method without."""
    backbone = config.backbones[0]
    pairs = {REGULARIZED: BASELINE} if config.alphas else {}
    if config.alphas and REGULARIZED_WINDOWED in config.methods:
        pairs[REGULARIZED_WINDOWED] = WINDOWED
    return {
        method: {
            alpha: NetworkCell(backbone, method, 0, alpha) if alpha else NetworkCell(backbone, plain, 0)
            for alpha in config.alphas
        }
        for method, plain in pairs.items()
    }


def toy_cells(config: DeblurSuiteConfig) -> dict[str, NetworkCell]:
    """Return the runs of Figure 2 by method."""
    if not config.toy_steps:
        return {}
    cells = {method: main_cells(config, TOY_BACKBONE, method)[0] for method in config.methods}
    return {method: dataclasses.replace(cell, toy=True) for method, cell in cells.items()}


def all_cells(config: DeblurSuiteConfig) -> list[NetworkCell]:
    """Return all runs, each once."""
    cells = [
        cell
        for backbone in config.backbones
        for method in config.methods
        for cell in main_cells(config, backbone, method)
    ]
    weighted = [cell for by_alpha in alpha_cells(config).values() for cell in by_alpha.values()]
    return list(dict.fromkeys([*cells, *weighted, *toy_cells(config).values()]))


def training_config(cell: NetworkCell, config: DeblurSuiteConfig) -> TrainBlur2VidConfig:
    """Return the configuration of a run's training."""
    method = METHODS[cell.method]
    steps = config.toy_steps if cell.toy else config.steps
    return recommend(
        cell.backbone,
        loss=method.loss,
        window_px=method.window_px,
        regularizer=method.regularizer,
        alpha=cell.alpha,
        image_size=None if cell.toy else config.image_size,
        crop_size=TOY_SIZE_PX if cell.toy else config.crop_size,
        batch_size=config.batch_size,
        steps=steps,
        pretrain_steps=int(config.pretrain_shares.get(cell.backbone, 0) * steps),
        seed=cell.seed,
    )


def order_cell(cell: NetworkCell, config: DeblurSuiteConfig) -> OrderNetworkCell | None:
    """Return the order network that a run asks for."""
    method = METHODS[cell.method]
    if method.regularizer in SIGN_REGULARIZERS or method.regions == SIGN_ORDER:
        return OrderNetworkCell(cell.toy, "signs")
    return OrderNetworkCell(cell.toy) if training_config(cell, config).needs_order else None


def order_config(cell: OrderNetworkCell, config: DeblurSuiteConfig) -> TrainHyperCutConfig:
    """Return the configuration of the order network's training."""
    size = TOY_SIZE_PX if cell.toy else config.order_size
    steps = min(config.order_steps, config.toy_steps) if cell.toy else config.order_steps
    return recommend_order(cell.arch, image_size=size, steps=steps, seed=0)
