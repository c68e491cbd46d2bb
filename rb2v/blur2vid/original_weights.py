"""Weights that others published or trained for the backbones, as state dicts of ours."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from rb2v.blur2vid.backbones.jin import N_FRAMES, Jin
from rb2v.errors import InputError
from rb2v.training.state_dicts import read_state_dict
from rb2v.training.tensor_files import describe

JIN_FILES: Mapping[str, str] = {
    "f4": "center_v3.pth",
    "f35": "F35_N8.pth",
    "f26": "F26_N9_from_F35_N8.pth",
    "f17": "F17_N9_from_F26_N9_from_F35_N8.pth",
}
"""The authors' files, by the network of `Jin` that each holds."""

_ORIGINAL_ENTRY = "state_dict_G"
_EXPECTED_ORIGINAL = "one of the four files of Jin et al.: " + ", ".join(JIN_FILES.values())
_EXPECTED_FOLDER = f"the folder of {', '.join(JIN_FILES.values())}"
_EXPECTED_HYPERCUT = (
    "the state dict of a 'Jin' network from HyperCUT's train_blur2vid.py, or all four files of Jin et al. at once"
)
_PARALLEL_PREFIX = "module."
_HYPERCUT_PREFIX = "model."
_HYPERCUT_LOSS = "model.loss."
_HYPERCUT_MEAN, _HYPERCUT_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
_NORM_BUFFERS = {"running_mean", "running_var", "num_batches_tracked"}
"""Buffers that early versions of torch kept in norms which do not use them."""
_N_NAMED = 5  # names in a message
_MAX_NAME = 160  # letters of one, which a file may make as long as it likes


def read_jin(paths: Path | Sequence[Path]) -> dict[str, Tensor]:
    """Read weights of the network of Jin et al., whoever trained them.

    Weights that HyperCUT's code trained are for images in BGR, normalized with the constants that are meant for RGB.
    What they give for our images is the same: the order of colors is changed in the weights, and the constants are in
    ``mean`` and ``std``.

    Parameters
    ----------
    paths : Path or sequence of Path
        The folder of the authors' four files, those files, or one state dict in the layout of HyperCUT.

    Returns
    -------
    dict of str to tensor
        State dict of `Jin`: float32, on the CPU.

    Raises
    ------
    InputError
        If a file is missing, damaged, holds another network or one of them twice, or anything but tensors; or tensors
        are missing, unknown, of another shape or type, or not finite: one message names them.
    """
    paths = [paths] if isinstance(paths, Path) else list(paths)
    if len(paths) == 1 and paths[0].is_dir():
        paths = _find_files(paths[0])
    if len(paths) == 1:
        return _read_hypercut(paths[0])
    if len(paths) != len(JIN_FILES):
        named = ", ".join(str(path) for path in paths)
        raise InputError(
            named or "no file", f"{len(paths)} files are given", expected="one file, a folder, or four files"
        )
    return _read_originals(paths)


def _find_files(folder: Path) -> list[Path]:
    missing = [name for name in JIN_FILES.values() if not (folder / name).is_file()]
    if missing:
        raise InputError(folder, f"lacks {', '.join(missing)}", expected=_EXPECTED_FOLDER)
    return [folder / name for name in JIN_FILES.values()]


def _read_originals(paths: Sequence[Path]) -> dict[str, Tensor]:
    with torch.device("meta"):
        network = Jin(N_FRAMES)
    parts = {part: network.get_submodule(part).state_dict() for part in JIN_FILES}
    found: dict[str, Path] = {}
    weights = {"mean": torch.zeros(3), "std": torch.ones(3)}
    for path in paths:
        tensors = read_state_dict(path, _EXPECTED_ORIGINAL, entry=_ORIGINAL_ENTRY, allow_older_form=True)
        tensors = _without_prefix(tensors, _PARALLEL_PREFIX)
        # By what is in it: files are renamed easily. No name of one of the networks is one of another.
        part = max(parts, key=lambda part: len(parts[part].keys() & tensors.keys()))
        if not parts[part].keys() & tensors.keys():
            raise InputError(path, "holds no tensor of the four networks", _ORIGINAL_ENTRY, _EXPECTED_ORIGINAL)
        if part in found:
            raise InputError(path, f"holds the same network as {found[part]}", expected=_EXPECTED_ORIGINAL)
        found[part] = path
        checked = _check(path, tensors, parts[part], _EXPECTED_ORIGINAL)
        weights |= {f"{part}.{name}": tensor for name, tensor in checked.items()}
    return weights


def _read_hypercut(path: Path) -> dict[str, Tensor]:
    tensors = _without_prefix(read_state_dict(path, _EXPECTED_HYPERCUT), _PARALLEL_PREFIX)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(_HYPERCUT_LOSS)}
    with torch.device("meta"):
        wanted = Jin(N_FRAMES).state_dict()
    wanted = {_HYPERCUT_PREFIX + name: wanted[name] for name in wanted.keys() - {"mean", "std"}}
    checked = _check(path, tensors, wanted, _EXPECTED_HYPERCUT)
    weights = _without_prefix(checked, _HYPERCUT_PREFIX)
    for name, tensor in weights.items():
        # These two see the colors together, all other layers one by one.
        if name.endswith(".conv2.weight") and tensor.shape[1] == len(_HYPERCUT_MEAN):
            weights[name] = tensor.flip(1)
        elif name.endswith(".conv3.weight"):
            weights[name] = tensor.flip(0)
    return weights | {"mean": torch.tensor(_HYPERCUT_MEAN).flip(0), "std": torch.tensor(_HYPERCUT_STD).flip(0)}


def _without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    if not all(name.startswith(prefix) for name in tensors):
        return dict(tensors)
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _check(path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], expected: str) -> dict[str, Tensor]:
    """Return the tensors as the network takes them, or name all that is wrong with them in one error."""
    tensors = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[2] not in _NORM_BUFFERS}
    known = sorted(wanted.keys() & tensors.keys())
    other = [
        f"{name} {describe(tensors[name])} instead of {describe(wanted[name])}"
        for name in known
        if tensors[name].layout != torch.strided or describe(tensors[name]) != describe(wanted[name])
    ]
    problems = [
        f"{problem} {_list(names)}"
        for problem, names in (
            ("lacks", wanted.keys() - tensors.keys()),
            ("holds the unknown", tensors.keys() - wanted.keys()),
            ("holds", other),
        )
        if names
    ]
    if not problems:  # only then are their sizes what memory was made for
        infinite = [name for name in known if tensors[name].is_meta or not tensors[name].isfinite().all()]
        problems = [f"holds values that are not finite in {_list(infinite)}"] if infinite else []
    if problems:
        raise InputError(path, "; ".join(problems), expected=expected)
    return {name: tensors[name].detach().clone(memory_format=torch.contiguous_format) for name in known}


def _list(names: Collection[str]) -> str:
    shown = [name.encode("unicode_escape").decode()[:_MAX_NAME] for name in sorted(names)[:_N_NAMED]]
    return ", ".join(shown) + (f" and {len(names) - _N_NAMED} more" if len(names) > _N_NAMED else "")
