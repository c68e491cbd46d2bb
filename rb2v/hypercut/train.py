"""Train the order network on a data set: ``rb2v train-hypercut``."""

from __future__ import annotations

import dataclasses
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from rb2v.artifacts import SPLITS
from rb2v.device import check_torch_device, torch_device_of, training_threads
from rb2v.errors import InputError
from rb2v.hypercut.augmentation import draw_batch, min_frame_side
from rb2v.hypercut.checkpoint import CHECKPOINT_NAME, load_order_network, save_order_network
from rb2v.hypercut.config import LIKELIHOOD, TrainHyperCutConfig
from rb2v.hypercut.evaluate import consistency, has_collapsed, predict, score_predictions
from rb2v.hypercut.labels import write_labels
from rb2v.hypercut.losses import LOSSES, likelihood
from rb2v.hypercut.networks import OrderNetwork, make_order_network
from rb2v.hypercut.networks.signs import SignNetwork
from rb2v.hypercut.samples import write_samples
from rb2v.hypercut.sequences import check_frame_size, load_sequences
from rb2v.io.store import SCHEMA, output_folder, write_json
from rb2v.progress import Progress, label_count
from rb2v.shards import ShardReader, manifest_path, sha256_of
from rb2v.training.loop import run_steps, should_log
from rb2v.training.optimizers import AdamW
from rb2v.training.ranks import Placement, Ranks
from rb2v.training.state import STATE_NAME, TRAINING_NAME, Stateful, TrainingState, write_table
from rb2v.training.steps import optimizer_step
from rb2v.training.windows import Windows

__all__ = ["TrainHyperCutConfig", "run"]

logger = logging.getLogger(__name__)

PREDICTIONS_NAME = "predictions.csv"
METRICS_NAME = "metrics.json"
LABELS_NAME = "order_labels.csv"
SAMPLES_NAME = "samples.png"

MIN_PAIRS = 2  # of a sequence, whose orders can then agree or not


def run(
    shards_dir: Path,
    out_dir: Path,
    config: TrainHyperCutConfig,
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> Path:
    """Train an order network, evaluate it on the test split and label every sequence.

    A stopped run resumes from its last state and ends in the same bytes as one that was never stopped, given the
    same device and number of threads, but for the files of TensorBoard; a finished one is skipped.

    Processes that ``torchrun`` started share every batch and train one network. Only the first of them writes, calls
    ``progress``, and evaluates; the others return when the training is done.

    Parameters
    ----------
    shards_dir : Path
        A folder that ``rb2v build-shards`` wrote.
    out_dir : Path
        A new folder, or the folder of this very run.
    config : TrainHyperCutConfig
        What to train, and how.
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
        If the shards cannot be read, hold no training sequence, sequences of fewer than two pairs, or frames too small
        for the network, ``out_dir`` belongs to another run or data set, there is no such device, or the processes
        cannot share a batch.
    """
    ranks = Ranks(torch_device_of(device))
    with ExitStack() as stack:
        with ranks.sync_errors():
            stack.enter_context(training_threads())
            check_torch_device(device)
            network = make_order_network(config.arch, config.n_dimensions, config.seed)
            train_reader = _open_training_data(shards_dir)
            check_frame_size(train_reader, config.image_size, min_frame_side(network.min_size_px))
            ranks.check_batch_size(config.batch_size)
            data_sha256 = sha256_of(manifest_path(shards_dir))
            settings = {"schema": SCHEMA, "stage": "train-hypercut", **dataclasses.asdict(config)}
            if ranks.is_main_process:
                stack.enter_context(output_folder(out_dir, {**settings, "data_sha256": data_sha256}))
        checkpoint = out_dir / CHECKPOINT_NAME
        if not ranks.broadcast(checkpoint.exists()):
            _train(
                train_reader, network, out_dir, config, data_sha256, ranks, progress if ranks.is_main_process else None
            )
        ranks.destroy()
        if ranks.is_main_process:
            (out_dir / STATE_NAME).unlink(missing_ok=True)
            if not (out_dir / LABELS_NAME).exists():
                _evaluate(shards_dir, out_dir, config, ranks.accelerator, progress)
        return checkpoint


def _open_training_data(shards_dir: Path) -> ShardReader:
    train_reader = ShardReader(shards_dir, "train")
    if not len(train_reader):
        raise InputError(manifest_path(shards_dir), "holds no sequence to train on", "splits.train")
    n_frames = train_reader.manifest.frames_per_sequence
    if n_frames // 2 < MIN_PAIRS:
        raise InputError(
            manifest_path(shards_dir),
            f"sequences of {n_frames} frames have no two pairs that could agree on an order",
            "frames_per_sequence",
            f"at least {2 * MIN_PAIRS + 1}",
        )
    return train_reader


def _train(
    reader: ShardReader,
    plain_network: OrderNetwork,
    out_dir: Path,
    config: TrainHyperCutConfig,
    data_sha256: str,
    ranks: Ranks,
    progress: Progress | None,
) -> None:
    with ranks.sync_errors():
        fabric = ranks.make_fabric()
    plain_optimizer = AdamW(plain_network.parameters(), weight_decay=config.weight_decay)
    shown = _Surprise(plain_network) if isinstance(plain_network, SignNetwork) else plain_network
    network, optimizer = fabric.setup(shown, plain_optimizer)
    settings = dataclasses.asdict(config)
    parts: dict[str, Stateful] = {"network": plain_network, "optimizer": plain_optimizer}
    state = TrainingState(out_dir, settings, data_sha256, config.steps, ranks, parts)
    state.resume()
    with ranks.sync_errors():
        sequences = load_sequences(reader, config.image_size, label_count(progress, "reading train sequences"))
        if ranks.is_main_process and not state.step:
            write_samples(out_dir / SAMPLES_NAME, plain_network, sequences, config.batch_size, config.seed)
    share = ranks.share_of(config.batch_size)

    def take_step(step: int) -> dict[str, float]:
        pairs = draw_batch(sequences, config.batch_size, config.seed, step, share)
        scores, losses = _take_step(fabric, ranks, network, optimizer, config, pairs, step)
        if not should_log(config, step):
            return losses
        both = ranks.gather(scores.transpose(0, 1))
        return losses | _batch_figures(both[:, 0], both[:, 1])

    run_steps(state, config, optimizer, take_step, progress=progress)
    with ranks.sync_errors():
        if ranks.is_main_process:
            save_order_network(out_dir / CHECKPOINT_NAME, plain_network.state_dict(), config, data_sha256)


class _Surprise(torch.nn.Module):
    """What one call of the network is in training, which processes that train together have to share."""

    def __init__(self, network: SignNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `SignNetwork.surprise` does."""
        return self.network.surprise(first, second)


def _take_step(
    fabric: Placement,
    ranks: Ranks,
    network: torch.nn.Module,
    optimizer: Optimizer,
    config: TrainHyperCutConfig,
    pairs: tuple[Tensor, Tensor],
    step: int,
) -> tuple[Tensor, dict[str, float]]:
    """Take a step, unless what leads to it is not finite on any process.

    Returns
    -------
    scores : (2, B, P) tensor of float32
        Of this process's pairs in both orders.
    losses : dict of str to float
        Of the whole batch: the loss, its terms, and the norm of its gradient.
    """
    # A mean over sequences: that of all processes is the mean of theirs, and so is its gradient.
    if config.loss == LIKELIHOOD:
        ahead, back = network(*map(fabric.to_device, pairs))
        odds = (ahead - back).mean(dim=(2, 3, 4))
        both, loss = torch.stack([odds, -odds]), torch.zeros((), device=odds.device)
        windows = Windows(config.window_px).shifted(config.seed, step)
        terms: dict[str, Tensor] = {LIKELIHOOD: likelihood(ahead, back, windows)}
    else:
        scores, reversed_scores = network(*map(fabric.to_device, pairs))
        both = torch.stack([scores, reversed_scores])
        terms = {name: term(scores, reversed_scores) for name, term in LOSSES[config.loss].items()}
        # Where one order is the negative of the other, their squares are the same.
        loss = config.score_decay * (scores if network.antisymmetric else both).square().mean()
    for name, weight in config.term_weights.items():
        loss = loss + weight * terms[name]
    return both, optimizer_step(fabric, ranks, network, optimizer, loss, terms)


def _batch_figures(scores: NDArray[np.float32], reversed_scores: NDArray[np.float32]) -> dict[str, float]:
    hit = float(np.mean(np.sign(scores) * np.sign(reversed_scores) < 0))
    return {"hit": hit, **consistency(scores), "score_rms": _rms(scores)}


def _rms(scores: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(scores))))


def _evaluate(
    shards_dir: Path, out_dir: Path, config: TrainHyperCutConfig, accelerator: str, progress: Progress | None
) -> None:
    network, trained_with = load_order_network(out_dir / CHECKPOINT_NAME)
    for name, value in dataclasses.asdict(config).items():
        if getattr(trained_with, name) != value:
            found = getattr(trained_with, name)
            raise InputError(out_dir / CHECKPOINT_NAME, f"is of another run, with {found!r}", name, repr(value))
    network.to(accelerator)
    readers = {split: ShardReader(shards_dir, split) for split in SPLITS}
    test = readers["test"]
    sequences = load_sequences(test, config.image_size, label_count(progress, "reading test sequences"))
    predictions = predict(network, config.arch, config.n_dimensions, config.seed, sequences, test.table)
    write_table(out_dir / PREDICTIONS_NAME, predictions)
    by_scorer = score_predictions(predictions)
    metrics: dict[str, Any] = {
        "schema": SCHEMA,
        **{f"{split}_sequences": len(reader) for split, reader in readers.items()},
        "collapsed": _report_collapse(out_dir / TRAINING_NAME, predictions, by_scorer),
        "test": by_scorer.pop("network", None),
        "controls": by_scorer or None,
    }
    write_json(out_dir / METRICS_NAME, metrics)
    # Last, because its presence says that the run is finished.
    write_labels(out_dir / LABELS_NAME, network, shards_dir, config.image_size, progress=progress)


def _report_collapse(training: Path, predictions: pd.DataFrame, by_scorer: dict[str, dict[str, Any]]) -> bool:
    """Return whether the network has collapsed, by the test split or else the last batch, and warn where it has."""
    if by_scorer:
        of_network = predictions[(predictions["scorer"] == "network") & (predictions["variant"] == "plain")]
        scores = of_network[[name for name in of_network.columns if name.startswith("s_")]]
        rms, hit = _rms(scores.to_numpy(np.float64)), by_scorer["network"]["hit"]
    else:
        last = pd.read_csv(training).iloc[-1]
        rms, hit = float(last["score_rms"]), float(last["hit"])
    collapsed = has_collapsed(rms, hit)
    if collapsed:
        logger.warning(
            "%s: the network collapsed: its scores are %.2g on average, and %.0f %% of pairs hit",
            *(training.parent, rms, 100 * hit),
        )
    return collapsed
