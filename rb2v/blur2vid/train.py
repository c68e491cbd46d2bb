"""Train a network that recovers sequences: ``rb2v train-blur2vid``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rb2v.artifacts import SPLITS, Split
from rb2v.blur2vid.backbones import Backbone, GuidedBackbone, make_backbone
from rb2v.blur2vid.checkpoint import (
    CHECKPOINT_NAME,
    GUIDANCE_DIGEST,
    check_frame_count,
    load_backbone,
    save_backbone,
)
from rb2v.blur2vid.config import INVARIANT_LOSS, LABEL_LOSS, NO_REGULARIZER, REGION_LOSS, TrainBlur2VidConfig
from rb2v.blur2vid.evaluate import (
    RECORDED_COLUMN,
    SAMPLES_NAME,
    Also,
    TrueGuidance,
    check_measurable,
    keep_recorded,
    measure_samples,
    score_samples,
)
from rb2v.blur2vid.guidance import Regularizer
from rb2v.blur2vid.losses import LOSSES, charbonnier, order_invariant, turn_regions
from rb2v.choices import GuidedBackboneName
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
from rb2v.training.optimizers import AdamW
from rb2v.training.ranks import Placement, Ranks
from rb2v.training.state import STATE_NAME, Stateful, TrainingState, write_table
from rb2v.training.steps import optimizer_step
from rb2v.training.tensor_files import check_file
from rb2v.training.transforms import to_vectors
from rb2v.training.windows import Windows

__all__ = ["TrainBlur2VidConfig", "run"]

METRICS_NAME = "metrics.json"
LABELS_NAME = "order_labels.csv"


def run(
    shards_dir: Path,
    out_dir: Path,
    config: TrainBlur2VidConfig,
    *,
    order_run: Path | None = None,
    guidance: Path | None = None,
    lpips: bool = False,
    workers: int = 0,
    device: str = "auto",
    also: Also | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train a backbone and score it on the test split.

    A stopped run resumes from its last state and ends in the same bytes as one that was never stopped, given the
    same number of threads of the CPU, but for the files of TensorBoard; on CUDA, where the gradients of what resizes or
    warps are summed in any order, it ends near them. A finished run is skipped, or scored again if LPIPS is missing.

    Processes that ``torchrun`` started share every batch and train one network. Only the first of them writes, calls
    ``progress``, and evaluates; the others return when the training is done.

    Parameters
    ----------
    shards_dir : Path
        A folder that ``rb2v build-shards`` wrote.
    out_dir : Path
        A new folder, or the folder of this very run.
    config : TrainBlur2VidConfig
        What to train, and how.
    order_run : Path, optional
        A trained order network, where the loss or the regulariser needs one: the folder of a run, a checkpoint, or the
        HyperCUT authors' weights.
    guidance : Path, optional
        A table of ``rb2v guidance``, for backbones that take guidance; without one they are given none. And for the
        loss ``region_label``, which turns regions by it.
    lpips : bool
        Whether to measure LPIPS too, whose weights have to be there.
    workers : int
        Processes that read samples ahead; they change no number.
    device : {"auto", "cpu", "cuda"}
        Where to train; "auto" takes CUDA where there is one.
    also : callable, optional
        What else to measure of the test samples, see `measure_samples`.
    progress : callable, optional
        Called with the work done, all of it, and what it is.

    Returns
    -------
    Path
        The checkpoint.

    Raises
    ------
    InputError
        If the shards cannot be read, hold no training sequence or sequences of an even number of frames, frames are
        smaller than the crop or too small to be scored, LPIPS's weights are not there, an order network is missing, not
        needed or cannot be read, ``out_dir`` belongs to another run or data set, there is no such device, or the
        processes cannot share a batch.
    """
    ranks = Ranks(torch_device_of(device))
    with ExitStack() as stack:
        with ranks.sync_errors():
            stack.enter_context(training_threads())
            check_torch_device(device)
            reader, manifest = ShardReader(shards_dir, "train"), manifest_path(shards_dir)
            if not len(reader):
                raise InputError(manifest, "holds no sequence to train on", "splits.train")
            n_frames = check_frame_count(manifest, "frames_per_sequence", reader.manifest.frames_per_sequence)
            network = make_backbone(config.backbone, n_frames, config.seed)
            _check(config, network, order_run, guidance, ranks)
            if ranks.is_main_process:  # now, and not when everything is trained
                check_measurable(reader, config.image_size, lpips=lpips)
            sources = _digest_sources(shards_dir, order_run, guidance)
            settings = {"schema": SCHEMA, "stage": "train-blur2vid", **dataclasses.asdict(config), **sources}
            if ranks.is_main_process:
                stack.enter_context(output_folder(out_dir, settings))
        checkpoint = out_dir / CHECKPOINT_NAME
        if not ranks.broadcast(checkpoint.exists()):
            inputs = _Inputs(shards_dir, out_dir, order_run, guidance)
            training = _Training(inputs, config, network, ranks, workers)
            training.run(sources, progress)
        ranks.destroy()
        if ranks.is_main_process:
            (out_dir / STATE_NAME).unlink(missing_ok=True)
            if not _is_scored(out_dir, lpips):
                inputs = _Inputs(shards_dir, out_dir, order_run, guidance)
                _evaluate(inputs, config, _Measuring(ranks.accelerator, lpips, also), progress)
        return checkpoint


@dataclass(frozen=True)
class _Inputs:
    """Files that a training reads, and the folder that it writes."""

    shards_dir: Path
    out_dir: Path
    order_run: Path | None
    guidance: Path | None

    @property
    def labels(self) -> Path:
        """The order labels of the run."""
        return self.out_dir / LABELS_NAME


def needs_labels(config: TrainBlur2VidConfig, guidance: Path | None) -> bool:
    """Tell whether every sequence's order is needed: to turn it, or to compare it with what guidance implies."""
    return config.loss == LABEL_LOSS or (guidance is not None and config.regularizer != NO_REGULARIZER)


def _check(
    config: TrainBlur2VidConfig, network: Backbone, order_run: Path | None, guidance: Path | None, ranks: Ranks
) -> None:
    if config.loss == REGION_LOSS:
        if network.takes_guidance or config.needs_order:
            raise InputError(
                "options", f"is {config.loss!r}", "loss", "another beside guided backbones and regularizers"
            )
        if guidance is None:
            problem, expected = (
                "is missing",
                f"what 'rb2v guidance' wrote: the loss {REGION_LOSS!r} turns regions by it",
            )
            raise InputError("options", problem, "guidance", expected)
    elif guidance is not None and not network.takes_guidance:
        problem = f"is given, and {config.backbone!r} makes no use of it"
        raise InputError("options", problem, "guidance", f"a backbone of {', '.join(get_args(GuidedBackboneName))}")
    if config.needs_order and order_run is None:
        asks = f"the loss {LABEL_LOSS!r}" if config.loss == LABEL_LOSS else "the regularizer"
        raise InputError("options", "is missing", "order_run", f"what 'rb2v train-hypercut' wrote: {asks} needs it")
    if order_run is not None and not config.needs_order:
        problem = "is given, and neither the loss nor the regularizer makes use of it"
        raise InputError("options", problem, "order_run", f"the loss {LABEL_LOSS!r}, or a regularizer")
    if config.pretrain_steps and not network.has_autoencoder:
        raise InputError("options", f"{config.backbone!r} has no autoencoder", "pretrain_steps", "0")
    ranks.check_batch_size(config.batch_size)


def _digest_sources(shards_dir: Path, order_run: Path | None, guidance: Path | None) -> dict[str, str]:
    sources = {"data_sha256": sha256_of(manifest_path(shards_dir))}
    if guidance is not None:
        require_file(guidance, "what 'rb2v guidance' wrote")
        sources[GUIDANCE_DIGEST] = sha256_of(guidance)
    if order_run is not None:
        path = order_run / ORDER_CHECKPOINT_NAME if order_run.is_dir() else order_run
        check_file(path, "what 'rb2v train-hypercut' wrote")  # before a digest that might take hours
        sources["order_sha256"] = sha256_of(path)
    return sources


class _Pass(nn.Module):
    """One call of the network for either phase, which is what processes that train together have to share."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, blurry: Tensor, sharp: Tensor, guidance: Tensor | None, pretrains: bool) -> Tensor:
        """Return the frames of every stage, (S, B, N + 1, 3, H, W)."""
        if pretrains:
            return self.backbone.autoencode(sharp)[None]
        if isinstance(self.backbone, GuidedBackbone):
            return self.backbone.stages(blurry, guidance)
        center = sharp[:, sharp.shape[1] // 2] if self.backbone.takes_center else None
        frames: Tensor = self.backbone(blurry, center)
        return frames[None]


class _Training:
    """The loop over the steps, and what takes part in it."""

    def __init__(
        self,
        inputs: _Inputs,
        config: TrainBlur2VidConfig,
        network: Backbone,
        ranks: Ranks,
        workers: int,
    ) -> None:
        self._out_dir, self._config, self._ranks = inputs.out_dir, config, ranks
        self._backbone = network
        self._turns_regions = config.loss == REGION_LOSS
        self._is_guided = inputs.guidance is not None and not self._turns_regions
        self._regularizer: Regularizer | None = None
        order_run = inputs.order_run
        with ranks.sync_errors():
            is_labeled = needs_labels(config, inputs.guidance)
            if order_run is not None and is_labeled and ranks.is_main_process and not inputs.labels.exists():
                # Guidance of test sequences is turned like that of the training's.
                splits: tuple[Split, ...] = SPLITS if self._is_guided else ("train",)
                order_labels.run(inputs.shards_dir, order_run, inputs.labels, splits=splits, device=ranks.accelerator)
        with ranks.sync_errors():
            self._dataset = dataset = make_dataset(inputs.shards_dir, config, inputs.labels, inputs.guidance)
            self._loader = make_loader(dataset, config.batch_size // ranks.size, workers=workers)
            self._fabric: Placement = ranks.make_fabric(all_weights_used=not network.has_autoencoder)
            if order_run is not None and config.regularizer != NO_REGULARIZER:
                form, device = config.regularizer, self._fabric.device
                self._regularizer = Regularizer(order_run, dataset.reader, form, device)
                _check_regularized_size(self._regularizer, dataset)

    def run(self, sources: dict[str, str], progress: Progress | None) -> None:
        config, ranks = self._config, self._ranks
        with ranks.sync_errors():
            self._dataset.prepare(label_count(progress, "reading train sequences"))
        # One call for all weights takes a fifth of the time on a CPU; GPUs have kernels for lists of them anyway.
        is_fused = self._fabric.device.type == "cpu"
        plain_optimizer = AdamW(self._backbone.parameters(), weight_decay=config.weight_decay, fused=is_fused or None)
        network, optimizer = self._fabric.setup(_Pass(self._backbone), plain_optimizer)
        average = MovingAverage(self._backbone, config.ema_decay)
        parts: dict[str, Stateful] = {
            "network": self._backbone,
            "optimizer": plain_optimizer,
            "average": average,
            "loader": self._loader,
        }
        settings = dataclasses.asdict(config)
        state = TrainingState(self._out_dir, settings, sources["data_sha256"], config.steps, ranks, parts)
        state.resume()
        batches = _endless(self._loader)
        run_steps(
            *(state, config, optimizer),
            lambda step: self._take_step(network, optimizer, next(batches), step),
            after_step=lambda step: average.update(self._backbone, step),
            progress=progress,
        )
        with ranks.sync_errors():
            if ranks.is_main_process:
                weights = average.network.state_dict()
                save_backbone(self._out_dir / CHECKPOINT_NAME, weights, config, self._backbone.n_frames, sources)

    def _take_step(
        self, network: nn.Module, optimizer: Optimizer, batch: dict[str, Tensor], step: int
    ) -> dict[str, float]:
        """Take a step, unless what leads to it is not finite on any process; return the whole batch's figures."""
        batch = {name: self._fabric.to_device(values) for name, values in batch.items()}
        blurry, sharp = batch["blurry"].float() / 255, batch["sharp"].float() / 255
        order = batch["order"]
        guidance = to_vectors(batch["guidance"]) if self._is_guided else None
        pretrains = step < self._config.pretrain_steps
        if self._config.loss == LABEL_LOSS and not pretrains:
            sharp = turn_sequences(sharp, order)
            guidance = None if guidance is None else turn_guidance(guidance, order)
        if self._turns_regions and not pretrains:
            sharp = turn_regions(sharp, to_vectors(batch["guidance"])[:, 0])
        stages = network(blurry, sharp, guidance, pretrains)
        zero = torch.zeros((), device=stages.device)
        if pretrains:
            distance, penalty = charbonnier(stages[0], sharp).mean(), zero
        else:
            distance, penalty = self._distance(stages, sharp, order, step), zero
            if self._regularizer is not None:
                penalty = self._penalty(self._regularizer, stages[-1], sharp, order)
        loss = distance + self._config.alpha * penalty
        terms = {"distance": distance, "regularizer": penalty}
        return optimizer_step(self._fabric, self._ranks, network, optimizer, loss, terms)

    def _distance(self, stages: Tensor, sharp: Tensor, order: Tensor, step: int) -> Tensor:
        """Return the loss, the mean over the stages."""
        loss = LOSSES[self._config.loss]
        if self._config.loss == INVARIANT_LOSS:
            windows = Windows(self._config.window_px, self._config.shared_windows)
            loss = partial(order_invariant, windows=windows.shifted(self._config.seed, step))
        losses = torch.stack([loss(frames, sharp) for frames in stages]).mean(dim=0)
        # A sequence without an order does not tell which way round it is right.
        return (losses * (order != 0)).mean() if self._config.loss == LABEL_LOSS else losses.mean()

    def _penalty(self, regularizer: Regularizer, frames: Tensor, sharp: Tensor, order: Tensor) -> Tensor:
        """Return the regularizer; guided frames are compared with the order that the guidance implies."""
        if not self._is_guided:
            return regularizer(frames, sharp).mean()
        implied = frames if self._config.loss == LABEL_LOSS else turn_sequences(frames, order)
        return (regularizer(implied, sharp) * (order != 0)).mean()


def turn_sequences(frames: Tensor, order: Tensor) -> Tensor:
    """Return sequences, (B, T, 3, H, W), backward where their order, (B,), is -1."""
    return torch.where((order < 0)[:, None, None, None, None], frames.flip(1), frames)


def turn_guidance(guidance: Tensor, order: Tensor) -> Tensor:
    """Return the guidance, (B, 2, H, W), of what `turn_sequences` returns."""
    return torch.where((order < 0)[:, None, None, None], -guidance, guidance)


def make_dataset(
    shards_dir: Path, config: TrainBlur2VidConfig, labels: Path | None = None, guidance: Path | None = None
) -> ShardDataset:
    """Open the training sequences as a training sees them: resized, cropped, with labels and guidance where given.

    Raises
    ------
    InputError
        If the shards cannot be read, or the frames are smaller than the crop.
    """
    width, height = ShardReader(shards_dir, "train").manifest.output_size
    side = min(width, height)
    scale = 1.0 if config.image_size is None else max(1.0, side / config.image_size)
    crop = None if config.crop_size is None else round(config.crop_size * scale)
    if crop is not None and crop > side:
        raise InputError(
            "options", f"is {config.crop_size}", "crop_size", f"at most {round(side / scale)} for these frames"
        )
    return ShardDataset(
        shards_dir,
        "train",
        size=config.image_size if crop is None else config.crop_size,
        crop=crop,
        seed=config.seed,
        dtype="uint8",
        labels=labels if needs_labels(config, guidance) else None,
        guidance=guidance,
        augment=config.augment,
    )


def _check_regularized_size(regularizer: Regularizer, dataset: ShardDataset) -> None:
    side = min(dataset.batch_layout(1)["blurry"][0][-2:])
    if side < regularizer.min_size_px:
        expected = f"at least {regularizer.min_size_px} for this order network"
        raise InputError("options", f"is {side}", "crop_size", expected)


def _endless(loader: ShardLoader) -> Iterator[dict[str, Tensor]]:
    while True:
        yield from loader
        loader.set_epoch(loader.epoch + 1)


def _is_scored(out_dir: Path, lpips: bool) -> bool:
    path = out_dir / METRICS_NAME
    if not path.exists() or not lpips:
        return path.exists()
    tested = read_json(path).get("test")
    return not tested or "plpips_seq" in tested["network"]


@dataclass(frozen=True)
class _Measuring:
    """Where to measure, and what beside the usual."""

    accelerator: str
    lpips: bool
    also: Also | None


def _evaluate(inputs: _Inputs, config: TrainBlur2VidConfig, measuring: _Measuring, progress: Progress | None) -> None:
    out_dir, shards_dir = inputs.out_dir, inputs.shards_dir
    trained = load_backbone(out_dir / CHECKPOINT_NAME)
    if trained.config != config:
        raise InputError(out_dir / CHECKPOINT_NAME, "is of another run", "config")
    reader = ShardReader(shards_dir, "test")
    guidance = None
    if inputs.guidance is not None and config.loss != REGION_LOSS:
        orders = read_orders(inputs.labels, reader) if config.loss == LABEL_LOSS else None
        guidance = TrueGuidance(GuidanceReader(inputs.guidance, reader), orders)
    samples = measure_samples(
        trained.network.to(measuring.accelerator),
        reader,
        image_size=config.image_size,
        guidance=guidance,
        lpips=measuring.lpips,
        also=measuring.also,
        progress=progress,
    )
    write_table(out_dir / SAMPLES_NAME, samples)
    metrics: dict[str, Any] = {
        "schema": SCHEMA,
        **{f"{split}_sequences": len(ShardReader(shards_dir, split)) for split in SPLITS},
        "oracle_center": trained.network.takes_center,
        "true_guidance": guidance is not None,
        "test": score_samples(samples) or None,
    }
    if RECORDED_COLUMN in samples and (samples[RECORDED_COLUMN].str.contains("0")).any():
        metrics["test_recorded"] = score_samples(keep_recorded(samples))
    # Last, because its presence says that the run is finished.
    write_json(out_dir / METRICS_NAME, metrics)
