"""Weights of the two decomposers of Animation from Blur, as their authors publish them."""

from __future__ import annotations

from pathlib import Path

from rb2v.blur2vid.backbones.zhong import UpstreamZhong
from rb2v.errors import InputError
from rb2v.training.state_dicts import read_state_dict
from rb2v.training.tensor_files import fill

STAGE_FILES = ("decomposer_s1.pth", "decomposer_s2.pth")
"""The authors' files, of the first and the second stage."""
N_FRAMES = 7  # of the sequences that they trained on

_EXPECTED = "the state dict of a decomposer of Animation from Blur: " + " or ".join(STAGE_FILES)
_PREFIX = "module."
"""Of every name in the files, which hold networks that were trained in parallel."""


def read_zhong(folder: Path) -> UpstreamZhong:
    """Read both stages; nothing in the files is executed.

    Parameters
    ----------
    folder : Path
        Holds `STAGE_FILES`, with 233 tensors each; every name may begin with ``module.``.

    Returns
    -------
    UpstreamZhong
        On the CPU, in evaluation mode.

    Raises
    ------
    InputError
        If a file is missing, damaged or holds anything but tensors; or a tensor is missing, unknown, of another shape
        or type, or not finite, named in the message.
    """
    for name in STAGE_FILES:
        if not (folder / name).is_file():
            raise InputError(folder / name, "there is no such file", expected=_EXPECTED)
    network = UpstreamZhong(N_FRAMES)
    for name, stage in zip(STAGE_FILES, (network.decomposer_s1, network.decomposer_s2), strict=True):
        tensors = read_state_dict(folder / name, _EXPECTED)
        if all(key.startswith(_PREFIX) for key in tensors):
            tensors = {key.removeprefix(_PREFIX): tensor for key, tensor in tensors.items()}
        fill(folder / name, stage, tensors, f"the decomposer in {name}", _EXPECTED)
    return network.eval()
