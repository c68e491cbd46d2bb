"""Train a predictor of guidance: ``rb2v train-guidance``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rb2v.artifacts import SPLITS
from rb2v.blur2vid.checkpoint import CHECKPOINT_NAME
from rb2v.blur2vid.evaluate import SAMPLES_NAME, TrueGuidance, read_sample
from rb2v.blur2vid.predictor.checkpoint import load_predictor, save_predictor
from rb2v.blur2vid.predictor.config import TrainPredictorConfig
from rb2v.blur2vid.predictor.networks import Categorical, ConditionalVaeGan, Predictor, make_predictor
from rb2v.blur2vid.predictor.networks.predictor import reversed_classes
from rb2v.blur2vid.predictor.objectives import categorical_loss, discriminator_loss, generator_loss
from rb2v.blur2vid.predictor.sampling import sample_guidance
from rb2v.blur2vid.predictor.scores import score_samples_of
from rb2v.blur2vid.train import LABELS_NAME, METRICS_NAME
from rb2v.device import check_torch_device, torch_device_of, training_threads
from rb2v.errors import InputError, require_file
from rb2v.hypercut import labels as order_labels
from rb2v.hypercut.checkpoint import CHECKPOINT_NAME as ORDER_CHECKPOINT_NAME
from rb2v.io.store import SCHEMA, output_folder, read_json, sha256_of, write_json
from rb2v.progress import Progress, label_count
from rb2v.shards import ShardReader, manifest_path
from rb2v.shards.guidance_table import GuidanceReader
from rb2v.shards.labels import read_orders
from rb2v.training.average import MovingAverage
from rb2v.training.data import ShardDataset
from rb2v.training.loader import ShardLoader, make_loader
from rb2v.training.loop import run_steps
from rb2v.training.optimizers import Adam, AdamW
from rb2v.training.ranks import Ranks
from rb2v.training.state import STATE_NAME, Stateful, TrainingState, write_table
from rb2v.training.steps import MAX_GRADIENT_NORM, is_finite
from rb2v.training.tensor_files import check_file

N_SCORED = 5
"""Samples drawn of every test image."""
_BETAS = (0.5, 0.999)  # of Adam in the published training
_STREAM = 7  # of the latents' random numbers


def run(
    shards_dir: Path,
    guidance: Path,
    out_dir: Path,
    config: TrainPredictorConfig,
    *,
    order_run: Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Path:
    """Train a predictor and score it on the test split.

    A stopped run resumes at its last state and ends in the same bytes as one that was never stopped.

    Parameters
    ----------
    shards_dir : Path
        A folder that ``rb2v build-shards`` wrote.
    guidance : Path
        A table of ``rb2v guidance``.
    out_dir : Path
        A new folder, or the folder of this very run.
    config : TrainPredictorConfig
        What to train, and how.
    order_run : Path, optional
        A trained order network, which turns the guidance of every sequence to the preferred side; a sequence and its
        reversal are as likely otherwise.
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
        If the shards, the guidance or the order network cannot be used, there is no training sequence, ``out_dir``
        belongs to another run, there is no such device, or several processes are to train.
    """
    ranks = Ranks(torch_device_of(device))
    check_torch_device(device)
    if ranks.size > 1:
        raise InputError("torchrun", f"starts {ranks.size} processes", expected="one: this training shares no batch")
    if order_run is not None and config.augment:
        config = dataclasses.replace(config, augment=False)
    reader = ShardReader(shards_dir, "train")
    if not len(reader):
        raise InputError(manifest_path(shards_dir), "holds no sequence to train on", "splits.train")
    require_file(guidance, "what 'rb2v guidance' wrote")
    sources = {"data_sha256": sha256_of(manifest_path(shards_dir)), "guidance_sha256": sha256_of(guidance)}
    if order_run is not None:
        path = order_run / ORDER_CHECKPOINT_NAME if order_run.is_dir() else order_run
        check_file(path, "what 'rb2v train-hypercut' wrote")
        sources["order_sha256"] = sha256_of(path)
    settings = {"schema": SCHEMA, "stage": "train-guidance", **dataclasses.asdict(config), **sources}
    inputs = _Inputs(shards_dir, guidance, out_dir, order_run)
    checkpoint = out_dir / CHECKPOINT_NAME
    with training_threads(), output_folder(out_dir, settings):
        if not checkpoint.exists():
            _Training(inputs, config, ranks).run(sources, progress)
        (out_dir / STATE_NAME).unlink(missing_ok=True)
        if not (out_dir / METRICS_NAME).exists():
            _evaluate(inputs, config, ranks.accelerator, progress)
    return checkpoint


@dataclass(frozen=True)
class _Inputs:
    """Files that a training reads, and the folder that it writes."""

    shards_dir: Path
    guidance: Path
    out_dir: Path
    order_run: Path | None

    @property
    def labels(self) -> Path | None:
        """The order labels of the run; None where no order network turns the guidance."""
        return None if self.order_run is None else self.out_dir / LABELS_NAME


class _Training:
    """The loop over the steps, and what takes part in it."""

    def __init__(self, inputs: _Inputs, config: TrainPredictorConfig, ranks: Ranks) -> None:
        self._inputs, self._config, self._ranks = inputs, config, ranks
        self._device = torch.device(ranks.accelerator)
        self._is_symmetric = inputs.order_run is None
        if inputs.order_run is not None and inputs.labels is not None and not inputs.labels.exists():
            order_labels.run(inputs.shards_dir, inputs.order_run, inputs.labels, device=ranks.accelerator)
        self._network = make_predictor(
            config.network, config.image_size, is_symmetric=self._is_symmetric, seed=config.seed
        ).to(self._device)
        self._dataset = ShardDataset(
            inputs.shards_dir,
            "train",
            size=config.image_size,
            seed=config.seed,
            dtype="uint8",
            labels=inputs.labels,
            guidance=inputs.guidance,
            augment=config.augment,
        )
        self._loader = make_loader(self._dataset, config.batch_size, workers=0)

    def run(self, sources: Mapping[str, str], progress: Progress | None) -> None:
        """Train, and write the checkpoint."""
        config, network = self._config, self._network
        self._dataset.prepare(label_count(progress, "reading train sequences"))
        average = MovingAverage(network, config.ema_decay)
        parts: dict[str, Stateful] = {"network": network, "average": average, "loader": self._loader}
        stepper: _CategoricalSteps | _GanSteps
        if isinstance(network, Categorical):
            stepper = _CategoricalSteps(network, config)
        else:
            assert isinstance(network, ConditionalVaeGan)
            stepper = _GanSteps(network, config)
        parts |= stepper.parts
        settings = dataclasses.asdict(config)
        state = TrainingState(self._inputs.out_dir, settings, sources["data_sha256"], config.steps, self._ranks, parts)
        state.resume()
        batches = _endless(self._loader)
        run_steps(
            *(state, config, stepper.optimizer),
            lambda step: stepper.take_step(*self._read(next(batches)), step),
            rates=stepper.rates,
            after_step=lambda step: average.update(network, step),
            progress=progress,
        )
        save_predictor(
            self._inputs.out_dir / CHECKPOINT_NAME,
            average.network.state_dict(),
            config,
            sources,
            is_symmetric=self._is_symmetric,
        )

    def _read(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return images and classes at the size that the network sees, and the weight of every sample."""
        blurry = batch["blurry"].to(self._device).float() / 255
        order = batch["order"].to(self._device)
        classes = batch["guidance"].to(self._device).long()
        if self._is_symmetric:
            return self._network.shrink(blurry), self._network.shrink_classes(classes), torch.ones_like(order).float()
        turned = torch.where((order < 0)[:, None, None], reversed_classes(classes), classes)
        # A sequence without an order does not tell which way round its guidance is.
        return self._network.shrink(blurry), self._network.shrink_classes(turned), (order != 0).float()


class _CategoricalSteps:
    """Steps of the network that cross entropy alone trains."""

    rates = None

    def __init__(self, network: Categorical, config: TrainPredictorConfig) -> None:
        self._network, self._config = network, config
        self.optimizer = AdamW(network.parameters(), weight_decay=config.weight_decay)
        self.parts: dict[str, Stateful] = {"optimizer": self.optimizer}

    def take_step(self, images: Tensor, classes: Tensor, weights: Tensor, step: int) -> dict[str, float]:
        """Take a step, unless its loss or gradient is not finite, and return the figures."""
        generator = _generator(self._config.seed, step)
        self._network.train()
        losses, terms = categorical_loss(self._network, images, classes, self._config, generator)
        loss = (losses * weights).mean()
        return _figures(loss, terms, _optimizer_step(self.optimizer, loss))


class _GanSteps:
    """Steps of the published network: generator and encoder, then the discriminators."""

    def __init__(self, network: ConditionalVaeGan, config: TrainPredictorConfig) -> None:
        self._network, self._config = network, config
        makers = [*network.generator.parameters(), *network.encoder.parameters()]
        self.optimizer = Adam(makers, lr=config.lr, betas=_BETAS)
        self._judges = Adam(network.discriminators.parameters(), lr=config.lr, betas=_BETAS)
        self.parts: dict[str, Stateful] = {"optimizer": self.optimizer, "judges": self._judges}

    def rates(self, step: int) -> Sequence[float]:
        """Return the learning rate: constant over the first half of the steps, then falling to zero."""
        left = (self._config.steps - step) / max(self._config.steps / 2, 1)
        return [self._config.lr * min(1.0, left)]

    def take_step(self, images: Tensor, classes: Tensor, weights: Tensor, step: int) -> dict[str, float]:
        """Take a step of both sides, and return the figures."""
        half = len(images) // 2
        network = self._network.train()
        with torch.random.fork_rng(devices=[]):
            # Dropout and the hard samples draw from the global generator: seeded, so that a resumed run draws alike.
            torch.manual_seed(_seed_of(self._config.seed, step))
            noise = torch.randn((2, half, network.n_latent)).to(images.device)
            network.discriminators.requires_grad_(False)
            loss, terms, made = generator_loss(network, images[:half], classes[:half], self._config, noise)
            norm = _optimizer_step(self.optimizer, loss)
            network.discriminators.requires_grad_(True)
            judged = discriminator_loss(network, made, classes[:half], classes[half : 2 * half])
            for group, rate in zip(self._judges.param_groups, self.rates(step), strict=True):
                group["lr"] = rate
            _optimizer_step(self._judges, judged)
        return _figures(loss, {**terms, "discriminators": judged}, norm)


def _optimizer_step(optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    norm = float(torch.nn.utils.clip_grad_norm_(weights, MAX_GRADIENT_NORM, error_if_nonfinite=False))
    if is_finite({"loss": float(loss.detach()), "gradient_norm": norm}):
        optimizer.step()
    return norm


def _figures(loss: Tensor, terms: Mapping[str, Tensor], norm: float) -> dict[str, float]:
    told = {"loss": loss, **terms}
    return {**{name: float(term.detach()) for name, term in told.items()}, "gradient_norm": norm}


def _seed_of(seed: int, step: int) -> int:
    return int(np.random.default_rng((_STREAM, seed, step)).integers(2**63))


def _generator(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(_seed_of(seed, step))


def _endless(loader: ShardLoader) -> Iterator[dict[str, Tensor]]:
    while True:
        yield from loader
        loader.set_epoch(loader.epoch + 1)


def _evaluate(inputs: _Inputs, config: TrainPredictorConfig, accelerator: str, progress: Progress | None) -> None:
    trained = load_predictor(inputs.out_dir / CHECKPOINT_NAME)
    if trained.config != config:
        raise InputError(inputs.out_dir / CHECKPOINT_NAME, "is of another run", "config")
    reader = ShardReader(inputs.shards_dir, "test")
    orders = None if inputs.labels is None else read_orders(inputs.labels, reader)
    truth = TrueGuidance(GuidanceReader(inputs.guidance, reader), orders)
    table = measure_predictor(trained.network.to(accelerator), reader, truth, seed=config.seed, progress=progress)
    write_table(inputs.out_dir / SAMPLES_NAME, table)
    figures = [name for name in table if name not in ("take", "blurry_index")]
    metrics: dict[str, Any] = {
        "schema": SCHEMA,
        **{f"{split}_sequences": len(ShardReader(inputs.shards_dir, split)) for split in SPLITS},
        "samples": N_SCORED,
        "test": {name: float(table[name].mean()) for name in figures} if len(table) else None,
    }
    write_json(inputs.out_dir / METRICS_NAME, metrics)


def measure_predictor(
    network: Predictor,
    reader: ShardReader,
    truth: TrueGuidance,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure a predictor's samples.

    Parameters
    ----------
    network : Predictor
        On the device that is to compute, in evaluation mode.
    reader : ShardReader
        The samples.
    truth : TrueGuidance
        Their true guidance.
    seed : int
        Of the latents.
    progress : callable, optional
        Called with the samples measured, their number, and what it is.

    Returns
    -------
    DataFrame
        One row per sample: ``take``, ``blurry_index``, and the figures of `score_samples_of` at half the frame's size.
    """
    rows = []
    keys = reader.table[["take", "blurry_index"]]
    for index in range(len(reader)):
        blurry, _ = read_sample(reader, index, None)
        samples = sample_guidance(network, np.divide(blurry, 255, dtype=np.float32), N_SCORED, seed=seed, index=index)
        row: dict[Any, Any] = keys.iloc[index].to_dict()
        rows.append(row | dict(score_samples_of(samples, truth.read(index, blurry.shape[:2]))))
        if progress is not None:
            progress(index + 1, len(reader), "scoring test sequences")
    return pd.DataFrame(rows)


def read_scores(run: Path) -> dict[str, Any]:
    """Return the metrics of a finished run."""
    return read_json(run / METRICS_NAME)
