"""Train the network on generated composites: ``rb2v train-matting``."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from rb2v.core.metrics import alpha_errors
from rb2v.device import check_torch_device, torch_device_of
from rb2v.errors import InputError
from rb2v.io.store import SCHEMA, output_folder, write_json
from rb2v.matting.background.composites import Composite, Pictures, draw_composite, find_pictures
from rb2v.matting.background.config import TrainMattingConfig
from rb2v.matting.background.network import (
    Coarse,
    MattingNetwork,
    Prediction,
    Refinement,
    hold,
    make_network,
)
from rb2v.matting.background.weights import digest, load_network, save_network
from rb2v.progress import Progress, label_count
from rb2v.training.loop import run_steps
from rb2v.training.optimizers import Adam
from rb2v.training.ranks import Ranks
from rb2v.training.state import STATE_NAME, Stateful, TrainingState
from rb2v.training.steps import optimizer_step

CHECKPOINT_NAME = "checkpoint.safetensors"
METRICS_NAME = "metrics.json"

_SCALE = 0.5  # of the base network while the refiner is trained; images are twice as large then
_BASE_SLOWDOWN = 0.2  # of the base network's learning rate from then on
_HELD_OUT_STREAM = 2**32  # as a seed's step: one that training never comes to


def run(
    out_dir: Path,
    config: TrainMattingConfig,
    *,
    foregrounds: Path | None = None,
    backgrounds: Path | None = None,
    init: Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Path:
    """Train a network and score it on composites of images that were held out.

    A stopped run resumes from its last state and ends in the same bytes as one that was never stopped, given the
    same device and number of threads; a finished one is skipped.

    Parameters
    ----------
    out_dir : Path
        A new folder, or the folder of this very run.
    config : TrainMattingConfig
        What to train, and how.
    foregrounds : Path, optional
        Folder of RGBA images; random shapes cut out of photographs by default.
    backgrounds : Path, optional
        Folder of images; the photographs that scikit-image ships by default.
    init : Path, optional
        Weights to start from.
    device : {"auto", "cpu", "cuda"}
        Where to train; "auto" takes CUDA where there is one.
    progress : callable, optional
        Called with the work done, all of it, and what it is.

    Returns
    -------
    Path
        The checkpoint.

    Raises
    ------
    InputError
        If images or weights cannot be read, ``out_dir`` belongs to another run, there is no such device, or
        ``torchrun`` started several processes.
    """
    check_torch_device(device)
    place = torch_device_of(device)
    ranks = Ranks(place)
    if ranks.size > 1:
        raise InputError("torchrun", f"started {ranks.size} processes", expected="one, which trains this network alone")
    start = None if init is None else _read_start(init, config)
    label = label_count(progress, "reading images")
    pictures, data_sha256 = find_pictures(foregrounds, backgrounds, label)
    settings = {
        "schema": SCHEMA,
        "stage": "train-matting",
        **dataclasses.asdict(config),
        "data_sha256": data_sha256,
        "init_sha256": None if init is None else digest(init),
    }
    training, held_out = pictures.split()
    checkpoint = out_dir / CHECKPOINT_NAME
    with output_folder(out_dir, settings):
        if not checkpoint.exists():
            network = start or make_network(config.backbone, config.seed)
            _train(network.to(place), training, out_dir, config, settings, ranks, progress)
        (out_dir / STATE_NAME).unlink(missing_ok=True)
        if not (out_dir / METRICS_NAME).exists():
            network = copy.deepcopy(load_network(checkpoint)).to(place)
            # Last, because its presence says that the run is finished.
            write_json(out_dir / METRICS_NAME, {"schema": SCHEMA, **_score(network, held_out, config, progress)})
    return checkpoint


def _read_start(init: Path, config: TrainMattingConfig) -> MattingNetwork:
    loaded = load_network(init)
    if loaded.backbone_name != config.backbone:
        raise InputError(init, f"is a {loaded.backbone_name} network", "backbone", expected=config.backbone)
    return copy.deepcopy(loaded).requires_grad_(requires_grad=True)


def _train(
    network: MattingNetwork,
    pictures: Pictures,
    out_dir: Path,
    config: TrainMattingConfig,
    settings: dict[str, Any],
    ranks: Ranks,
    progress: Progress | None,
) -> None:
    place = next(network.parameters()).device
    base = [p for name, p in network.named_parameters() if not name.startswith("refiner.")]
    plain_optimizer = Adam([{"params": base}, {"params": list(network.refiner.parameters())}], lr=config.lr)
    fabric = ranks.make_fabric(mixed=False)
    wrapped, optimizer = fabric.setup(network, plain_optimizer)
    parts: dict[str, Stateful] = {"network": network, "optimizer": plain_optimizer}
    state = TrainingState(out_dir, settings, settings["data_sha256"], config.steps, ranks, parts)
    state.resume()
    network.train()

    def take_step(step: int) -> dict[str, float]:
        refines = step >= config.base_steps
        truth = _draw_batch(pictures, config.batch_size, config.size * (2 if refines else 1), (config.seed, step))
        torch.manual_seed(_seed_of(config.seed, step))  # of drop-out
        terms = _measure(network, truth.to(place), refines)
        return optimizer_step(fabric, ranks, wrapped, optimizer, torch.stack(list(terms.values())).sum(), terms)

    with _private_randomness(place):
        run_steps(*(state, config, optimizer, take_step), rates=partial(_learning_rates, config), progress=progress)
    save_network(out_dir / CHECKPOINT_NAME, network, settings)


@contextmanager
def _private_randomness(place: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if place.type == "cuda" else []):
        yield


def _seed_of(*entropy: int) -> int:
    return int(np.random.default_rng(entropy).integers(2**63))


def _learning_rates(config: TrainMattingConfig, step: int) -> tuple[float, float]:
    """Return the rates of the base network and of the refiner."""
    refines = step >= config.base_steps
    first, n_steps = (config.base_steps, config.steps - config.base_steps) if refines else (0, config.base_steps)
    warm_up = min(1.0, (step - first + 1) / (config.warmup_steps + 1))
    rate = config.lr * warm_up * 0.5 * (1 + math.cos(math.pi * (step - first) / n_steps))
    return (_BASE_SLOWDOWN * rate, rate) if refines else (rate, 0.0)


@dataclass(frozen=True, eq=False)
class _Batch:
    """Composites as (B, C, H, W) tensors."""

    picture: Tensor
    plate: Tensor
    alpha: Tensor
    foreground: Tensor

    def to(self, place: torch.device) -> _Batch:
        return _Batch(*(getattr(self, entry.name).to(place) for entry in dataclasses.fields(self)))


def _draw_batch(pictures: Pictures, n_composites: int, size_px: int, seed: tuple[int, ...]) -> _Batch:
    rng = np.random.default_rng(seed)
    return _stack([draw_composite(pictures, size_px, rng) for _ in range(n_composites)])


def _stack(composites: list[Composite]) -> _Batch:
    def stack(images: list[Any]) -> Tensor:
        stacked = torch.from_numpy(np.stack(images).astype(np.float32))
        return stacked[:, None] if stacked.ndim == 3 else stacked.permute(0, 3, 1, 2).contiguous()

    return _Batch(*(stack([getattr(one, entry.name) for one in composites]) for entry in dataclasses.fields(_Batch)))


def _measure(network: MattingNetwork, truth: _Batch, refines: bool) -> dict[str, Tensor]:
    """Return the parts of the loss of a batch."""
    if not refines:
        return _measure_base(network.estimate(truth.picture, truth.plate), truth)
    # Over the whole image, because squares give the same, slower; see Refinement.
    prediction: Prediction = network(truth.picture, truth.plate, _SCALE, Refinement("full"))
    small = _Batch(*(_shrink(getattr(truth, entry.name)) for entry in dataclasses.fields(truth)))
    base = _measure_base(prediction.coarse, small)
    fine = _measure_matte(prediction.alpha, prediction.foreground, truth)
    return {name: value + fine.get(name, 0) for name, value in base.items()}


def _shrink(image: Tensor) -> Tensor:
    return F.interpolate(image, scale_factor=_SCALE, mode="bilinear", align_corners=False)


def _measure_base(coarse: Coarse, truth: _Batch) -> dict[str, Tensor]:
    foreground = hold(truth.picture + coarse.residual)
    true_error = (coarse.alpha.detach() - truth.alpha).abs()
    return _measure_matte(coarse.alpha, foreground, truth) | {"error": F.mse_loss(coarse.error, true_error)}


def _measure_matte(alpha: Tensor, foreground: Tensor, truth: _Batch) -> dict[str, Tensor]:
    seen = truth.alpha > 0
    return {
        "alpha": F.l1_loss(alpha, truth.alpha),
        "gradient": F.l1_loss(_sobel(alpha), _sobel(truth.alpha)),
        "foreground": F.l1_loss(foreground * seen, truth.foreground * seen),
    }


def _sobel(alpha: Tensor) -> Tensor:
    """Return the gradient of (B, 1, H, W) planes, per pixel, as (B, 2, H, W)."""
    along, across = torch.tensor([-0.5, 0.0, 0.5]), torch.tensor([0.25, 0.5, 0.25])
    kernels = torch.stack([torch.outer(across, along), torch.outer(along, across)])[:, None]
    return F.conv2d(F.pad(alpha, (1, 1, 1, 1), mode="replicate"), kernels.to(alpha))


def _score(
    network: MattingNetwork, pictures: Pictures, config: TrainMattingConfig, progress: Progress | None
) -> dict[str, float]:
    """Return the mean errors over composites of held-out images."""
    place = next(network.parameters()).device
    rng = np.random.default_rng((config.seed, _HELD_OUT_STREAM))
    rows = []
    for index in range(config.n_held_out):
        truth = _stack([draw_composite(pictures, 2 * config.size, rng)]).to(place)
        with torch.inference_mode():
            prediction: Prediction = network(truth.picture, truth.plate, _SCALE, Refinement())
        errors = alpha_errors(prediction.alpha.cpu().numpy(), truth.alpha.cpu().numpy())
        seen = truth.alpha > 0
        difference = ((prediction.foreground - truth.foreground).abs() * seen).sum() / (3 * seen.sum()).clamp(min=1)
        rows.append({"alpha_mad": errors.mad, "alpha_mse": errors.mse, "foreground_mad": float(difference)})
        if progress is not None:
            progress(index + 1, config.n_held_out, "scoring")
    means = pd.DataFrame(rows).mean()
    return {"n_held_out": config.n_held_out, **{str(name): float(value) for name, value in means.items()}}
