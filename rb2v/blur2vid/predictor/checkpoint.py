"""Trained predictors in files that hold their configuration."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from rb2v import __version__
from rb2v.blur2vid.checkpoint import CHECKPOINT_NAME
from rb2v.blur2vid.predictor.config import TrainPredictorConfig
from rb2v.blur2vid.predictor.networks import Predictor, make_predictor
from rb2v.core.motion_classes import CLASS_NAMES
from rb2v.errors import InputError
from rb2v.io.store import SCHEMA, check_schema, validate
from rb2v.training.tensor_files import check_header, fill, read_tensors, write_tensors

KIND = "guidance-predictor"
FORMAT = 1
"""Raised when weights of before would give other guidance."""

_EXPECTED = "a checkpoint that 'rb2v train-guidance' wrote"


@dataclass(frozen=True)
class TrainedPredictor:
    """A trained predictor and what it was trained with."""

    network: Predictor
    """On the CPU, in evaluation mode."""
    config: TrainPredictorConfig


def save_predictor(
    path: Path,
    weights: Mapping[str, Tensor],
    config: TrainPredictorConfig,
    sources: Mapping[str, str],
    *,
    is_symmetric: bool,
) -> Path:
    """Write a checkpoint, atomically; the same weights give the same bytes.

    Parameters
    ----------
    path : Path
        The file to write.
    weights : mapping of str to tensor
        ``Predictor.state_dict()``.
    config : TrainPredictorConfig
        What the network was built and trained with.
    sources : mapping of str to str
        Digests of what it was trained on and with.
    is_symmetric : bool
        Whether a sequence and its reversal were as likely in training.
    """
    header = {
        "schema": SCHEMA,
        "kind": KIND,
        "format": FORMAT,
        "version": __version__,
        "classes": list(CLASS_NAMES),
        "is_symmetric": is_symmetric,
        "config": dataclasses.asdict(config),
        **sources,
    }
    return write_tensors(path, weights, json.dumps(header))


def load_predictor(path: Path) -> TrainedPredictor:
    """Read a trained predictor; nothing in the file is executed.

    Parameters
    ----------
    path : Path
        A file that `save_predictor` wrote, or the folder of a run.

    Raises
    ------
    InputError
        If the file is missing, too large, not safetensors, not such a checkpoint, of another version or class order, or
        a tensor is missing, unknown, of another shape or type, or not finite, named in the message.
    """
    if path.is_dir():
        path = path / CHECKPOINT_NAME
    header, tensors = read_tensors(path, _EXPECTED)
    check_schema(path, header)
    check_header(path, header, kind=KIND, format_version=FORMAT)
    if header.get("classes") != list(CLASS_NAMES):
        raise InputError(path, f"is {header.get('classes')!r}"[:200], "classes", f"the order {', '.join(CLASS_NAMES)}")
    if not isinstance(header.get("config"), dict) or not isinstance(header.get("is_symmetric"), bool):
        key = "is_symmetric" if isinstance(header.get("config"), dict) else "config"
        raise InputError(path, "is missing, or of another kind", key, _EXPECTED)
    config = validate(TrainPredictorConfig, header["config"], path)
    network = make_predictor(config.network, config.image_size, is_symmetric=header["is_symmetric"], seed=config.seed)
    fill(path, network, tensors, f"a {config.network!r} predictor", _EXPECTED)
    return TrainedPredictor(network.eval(), config)
