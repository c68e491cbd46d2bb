"""Trained backbones in files that hold their configuration."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rb2v import __version__
from rb2v.blur2vid.backbones import Backbone, make_backbone
from rb2v.blur2vid.config import TrainBlur2VidConfig
from rb2v.errors import InputError, Rb2vError
from rb2v.io.store import SCHEMA, check_schema, validate
from rb2v.training.tensor_files import check_header, fill, read_tensors, write_tensors

KIND = "blur2vid"
FORMAT = 1
"""Raised when weights of before would give other frames."""
CHECKPOINT_NAME = "checkpoint.safetensors"
"""Of the checkpoint in the folder of a run."""
GUIDANCE_DIGEST = "guidance_sha256"
"""Key of the digest of the guidance that a network was trained with; absent where it was trained without."""
MAX_FRAMES = 101  # as a rig's frames_per_sequence

_EXPECTED = "a checkpoint that 'rb2v train-blur2vid' wrote"


@dataclass(frozen=True)
class Trained:
    """A trained backbone and what it was trained with."""

    network: Backbone
    """On the CPU, in evaluation mode."""
    config: TrainBlur2VidConfig
    n_frames: int
    """Frames of a sequence."""


def save_backbone(
    path: Path, weights: Mapping[str, Tensor], config: TrainBlur2VidConfig, n_frames: int, sources: Mapping[str, str]
) -> Path:
    """Write a checkpoint whole or not at all; the same weights give the same bytes.

    Parameters
    ----------
    path : Path
        The file to write.
    weights : mapping of str to tensor
        ``Backbone.state_dict()``.
    config : TrainBlur2VidConfig
        What the network was built and trained with.
    n_frames : int
        Frames of a sequence.
    sources : mapping of str to str
        Digests of what it was trained on and with: ``data_sha256``; where an order took part, ``order_sha256``; where
        guidance did, ``guidance_sha256``.
    """
    header = {
        "schema": SCHEMA,
        "kind": KIND,
        "format": FORMAT,
        "version": __version__,
        "n_frames": n_frames,
        "config": dataclasses.asdict(config),
        **sources,
    }
    return write_tensors(path, weights, json.dumps(header))


def load_backbone(path: Path) -> Trained:
    """Read a trained backbone; nothing in the file is executed.

    Parameters
    ----------
    path : Path
        A file that `save_backbone` wrote, in half or full precision, or the folder of a run.

    Raises
    ------
    InputError
        If the file is missing, too large, no safetensors, no such checkpoint, of another version, or lacks a tensor or
        holds one that is unknown, of another shape or type, or not finite, named in the message.
    """
    if path.is_dir():
        path = path / CHECKPOINT_NAME
    header, tensors = read_tensors(path, _EXPECTED)
    check_schema(path, header)
    check_header(path, header, kind=KIND, format_version=FORMAT)
    if not isinstance(header.get("config"), dict):
        raise InputError(path, "is missing, or no JSON object", "config", _EXPECTED)
    config = validate(TrainBlur2VidConfig, header["config"], path)
    n_frames = check_frame_count(path, "n_frames", header.get("n_frames"))
    try:
        network = make_backbone(config.backbone, n_frames, config.seed)
    except Rb2vError as error:
        raise InputError(path, str(error), "n_frames") from error
    fill(path, network, tensors, f"a {config.backbone!r} backbone", _EXPECTED)
    network.needs_guidance = network.takes_guidance and GUIDANCE_DIGEST in header
    return Trained(network.eval(), config, n_frames)


def check_frame_count(path: Path, key: str, value: Any) -> int:  # noqa: ANN401 - whatever the file says
    """Return a number of frames, if sequences of that length can be trained on and read back.

    Raises
    ------
    InputError
        If it is not an odd number from 3 to ``MAX_FRAMES``; the message names the file and the key.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 3 <= value <= MAX_FRAMES or value % 2 == 0:
        raise InputError(path, f"is {value!r}", key, f"an odd number, 3 to {MAX_FRAMES}")
    return value
