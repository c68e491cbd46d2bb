"""Train the order network on a data set: ``rb2v train-hypercut``."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import math
import pickle
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from rb2v.artifacts import SPLITS
from rb2v.errors import InputError
from rb2v.hypercut.augmentation import draw_batch
from rb2v.hypercut.checkpoint import load_order_network, save_order_network
from rb2v.hypercut.config import TrainHyperCutConfig, learning_rate
from rb2v.hypercut.data import load_sequences
from rb2v.hypercut.evaluate import consistency, label_orders, predict, score_predictions
from rb2v.hypercut.losses import LOSSES
from rb2v.hypercut.networks import make_order_network
from rb2v.hypercut.ranks import Ranks
from rb2v.io.store import SCHEMA, output_folder, whole_file, write_json
from rb2v.shards import ShardReader, manifest_path, sha256_of

__all__ = ["TrainHyperCutConfig", "run"]

logger = logging.getLogger(__name__)

CHECKPOINT_NAME = "checkpoint.safetensors"
STATE_NAME = "state.pt"
TRAINING_NAME = "metrics.csv"
PREDICTIONS_NAME = "predictions.csv"
METRICS_NAME = "metrics.json"
LABELS_NAME = "order_labels.csv"

MAX_GRADIENT_NORM = 1.0
MIN_PAIRS = 2

Progress = Callable[[int, int, str], None]


def run(
    shards_dir: Path,
    out_dir: Path,
    config: TrainHyperCutConfig,
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> Path:
    """Train an order network, evaluate it on the test split and label every sequence.

    A stopped run goes on from its last state and ends in the same bytes as one that was never stopped, given the
    same device and number of threads; a finished one is skipped.

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
        If the shards cannot be read, hold no training sequence, or sequences of fewer than two pairs, ``out_dir``
        belongs to another run or data set, there is no such device, or the processes cannot share a batch.
    """
    ranks = Ranks(_available_accelerator(device))
    with ExitStack() as stack:
        with ranks.together():
            _check_device(device)
            train_reader = _open_training_data(shards_dir)
            if config.batch_size % ranks.size:
                problem = f"{config.batch_size} sequences cannot be shared by {ranks.size} processes"
                raise InputError("options", problem, "batch_size", f"a multiple of {ranks.size}")
            data_sha256 = sha256_of(manifest_path(shards_dir))
            settings = {"schema": SCHEMA, "stage": "train-hypercut", **dataclasses.asdict(config)}
            if ranks.leads:
                stack.enter_context(output_folder(out_dir, {**settings, "data_sha256": data_sha256}))
        checkpoint = out_dir / CHECKPOINT_NAME
        if not ranks.from_first(checkpoint.exists()):
            _train(train_reader, out_dir, config, data_sha256, ranks, progress if ranks.leads else None)
        ranks.leave()
        if ranks.leads:
            (out_dir / STATE_NAME).unlink(missing_ok=True)
            if not (out_dir / LABELS_NAME).exists():
                _evaluate(shards_dir, out_dir, config, ranks.accelerator, progress)
        return checkpoint


def _available_accelerator(device: str) -> str:
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def _check_device(device: str) -> None:
    if device not in ("auto", "cpu", "cuda"):
        raise InputError("device", f"{device!r} is not known", expected="auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device", "there is no CUDA device", expected="auto or cpu")


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


@dataclass
class _Done:
    """What of a training is behind it."""

    step: int = 0
    skipped: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)


def _train(
    reader: ShardReader,
    out_dir: Path,
    config: TrainHyperCutConfig,
    data_sha256: str,
    ranks: Ranks,
    progress: Progress | None,
) -> None:
    with ranks.together():
        fabric = ranks.make_fabric()
    plain_network = make_order_network(config.arch, config.n_dimensions, config.seed)
    plain_optimizer = torch.optim.AdamW(plain_network.parameters(), weight_decay=config.weight_decay)
    network, optimizer = fabric.setup(plain_network, plain_optimizer)
    terms = LOSSES[config.loss]
    weights = {name: getattr(config, f"{name}_weight") for name in terms}

    done = _resume(out_dir, config, data_sha256, ranks, plain_network, plain_optimizer)
    with ranks.together():
        sequences = load_sequences(reader, config.image_size, _labelled(progress, "reading train sequences"))
    share = ranks.share_of(config.batch_size)
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        for step in range(done.step, config.steps):
            rate = learning_rate(config, step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            first, second = draw_batch(sequences, config.batch_size, config.seed, step, share)
            scores, reversed_scores = network(fabric.to_device(first), fabric.to_device(second))
            # A mean over sequences: that of all processes is the mean of theirs, and so is its gradient.
            loss = config.score_decay * scores.square().mean()
            for name, term in terms.items():
                loss = loss + weights[name] * term(scores, reversed_scores)
            optimizer.zero_grad()
            fabric.backward(loss)
            norm = fabric.clip_gradients(network, optimizer, max_norm=MAX_GRADIENT_NORM, error_if_nonfinite=False)
            loss_value = ranks.mean(loss)
            if math.isfinite(loss_value) and norm is not None and torch.isfinite(norm):
                optimizer.step()
            else:
                done.skipped += 1
                if ranks.leads:
                    logger.warning("step %d skipped: its loss or gradient is not finite", step)

            done.step = step + 1
            if done.step % config.log_every == 0 or done.step == config.steps:
                done.rows.append(_log_row(done.step, rate, loss_value, ranks.gather(scores), done.skipped))
            if done.step % config.checkpoint_every == 0 or done.step == config.steps:
                _save(out_dir, config, data_sha256, ranks, plain_network, plain_optimizer, done)
            if progress is not None:
                progress(done.step, config.steps, "training")
    with ranks.together():
        if ranks.leads:
            save_order_network(out_dir / CHECKPOINT_NAME, plain_network.state_dict(), config, data_sha256)


def _resume(
    out_dir: Path,
    config: TrainHyperCutConfig,
    data_sha256: str,
    ranks: Ranks,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
) -> _Done:
    path = out_dir / STATE_NAME
    with ranks.together():
        found = _read_state(path) if ranks.leads and path.exists() else None
    state = ranks.from_first(found)
    if state is None:
        return _Done()
    with ranks.together():
        if state.get("config") != json.dumps(dataclasses.asdict(config)) or state.get("data_sha256") != data_sha256:
            raise InputError(path, "is of another run", expected="the state of this run, or none to start anew")
        try:
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            done = _Done(int(state["step"]), int(state["skipped"]), list(state["rows"]))
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(path, "holds no state of training; remove it to train from the beginning") from error
        if not 0 < done.step <= config.steps:
            raise InputError(path, f"is {done.step}", "step", expected=f"1 to {config.steps}")
    if ranks.leads:
        logger.info("going on at step %d of %d", done.step, config.steps)
    return done


def _save(
    out_dir: Path,
    config: TrainHyperCutConfig,
    data_sha256: str,
    ranks: Ranks,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    done: _Done,
) -> None:
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "config": json.dumps(dataclasses.asdict(config)),
        "data_sha256": data_sha256,
        "step": done.step,
        "skipped": done.skipped,
        "rows": done.rows,
    }
    with ranks.together():
        if ranks.leads:
            _write_state(out_dir, state)


def _write_state(out_dir: Path, state: dict[str, Any]) -> None:
    # The table first: a run stopped between the two goes over these steps again, and writes both.
    _write_table(out_dir / TRAINING_NAME, pd.DataFrame(state["rows"]))
    with whole_file(out_dir / STATE_NAME) as temporary:
        # Through memory: on a full disk torch's own writer fails with an error that does not say so.
        buffer = io.BytesIO()
        torch.save(state, buffer)
        temporary.write_bytes(buffer.getvalue())


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(path, "cannot be read; remove it to train from the beginning") from error
    if not isinstance(state, dict):
        raise InputError(path, "holds no state of training; remove it to train from the beginning")
    return state


def _log_row(step: int, rate: float, loss: float, scores: np.ndarray[Any, Any], skipped: int) -> dict[str, float]:
    spread = float(np.sqrt(np.mean(np.square(scores))))
    return {"step": step, "lr": rate, "loss": loss, **consistency(scores), "score_rms": spread, "skipped": skipped}


def _evaluate(
    shards_dir: Path, out_dir: Path, config: TrainHyperCutConfig, accelerator: str, progress: Progress | None
) -> None:
    network, trained_with = load_order_network(out_dir / CHECKPOINT_NAME)
    for name, value in dataclasses.asdict(config).items():
        if getattr(trained_with, name) != value:
            found = getattr(trained_with, name)
            raise InputError(out_dir / CHECKPOINT_NAME, f"is of another run, with {found!r}", name, repr(value))
    network.to(accelerator)
    labels = []
    metrics: dict[str, Any] = {"schema": SCHEMA}
    for split in SPLITS:
        reader = ShardReader(shards_dir, split)
        sequences = load_sequences(reader, config.image_size, _labelled(progress, f"reading {split} sequences"))
        orders, margins, scores = label_orders(network, sequences)
        table = reader.table[["take", "blurry_index"]].copy()
        table.insert(0, "split", split)
        table["order"] = orders
        table["margin"] = margins
        table[[f"s_{k}" for k in range(scores.shape[1])]] = scores
        table["consistent"] = ((scores > 0).all(axis=1) | (scores < 0).all(axis=1)).astype(int)
        labels.append(table)
        metrics[f"{split}_sequences"] = len(reader)
        if split == "test":
            predictions = predict(network, config.arch, config.n_dimensions, config.seed, sequences, reader.table)
            _write_table(out_dir / PREDICTIONS_NAME, predictions)
            by_scorer = score_predictions(predictions)
            metrics["test"] = by_scorer.pop("network", None)
            metrics["controls"] = by_scorer or None
    write_json(out_dir / METRICS_NAME, metrics)
    # Last, because its presence says that the run is finished.
    _write_table(out_dir / LABELS_NAME, pd.concat(labels, ignore_index=True))


def _write_table(path: Path, table: pd.DataFrame) -> None:
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.9g")


def _labelled(progress: Progress | None, label: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(done, total, label)
