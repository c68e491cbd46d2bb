"""Devices: large matrices are multiplied by numpy or on a GPU through torch, and networks compute there."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rb2v.core.temporal import MatrixProduct
from rb2v.errors import InputError, Rb2vError

Device = Literal["auto", "cpu", "cuda"]

_DRIVERS = ("libcuda.so.1", "nvcuda.dll")

THREADS_VARIABLE = "RB2V_THREADS"
"""Threads of the CPU that a training computes on."""


def make_matrix_product(device: Device) -> MatrixProduct:
    """Return the matrix product of a device; auto takes CUDA where there is one.

    Raises
    ------
    Rb2vError
        If CUDA is asked for and there is none.
    """
    if device == "cpu" or (device == "auto" and not _has_driver()):
        return np.matmul
    import torch

    if torch.cuda.is_available():
        return _multiply_on_gpu
    if device == "cuda":
        raise Rb2vError("--device cuda: PyTorch finds no CUDA device")
    return np.matmul


def check_torch_device(device: str) -> None:
    """Check the name of the device that networks are to compute on.

    Raises
    ------
    InputError
        If it is none of auto, cpu and cuda, or CUDA is asked for and there is none.
    """
    if device not in get_args(Device):
        raise InputError("device", f"{device!r} is not known", expected="auto, cpu or cuda")
    if device == "cuda" and torch_device_of(device) == "cpu":
        raise InputError("device", "there is no CUDA device", expected="auto or cpu")


def torch_device_of(device: str) -> Literal["cpu", "cuda"]:
    """Return where networks compute: on CUDA, where there is one and the CPU is not asked for."""
    import torch

    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch compute on one thread: sums over several depend on their number, and the cores may be taken already."""
    with _torch_threads(1):
        yield


@contextmanager
def training_threads() -> Iterator[None]:
    """Let torch train on as many threads as ``$RB2V_THREADS`` says, one by default.

    Threads wait for each other after every layer, and where the cores are busy they burn their time in waiting. Sums
    over several threads depend on their number in the last bits.

    Raises
    ------
    InputError
        If the variable is not a number of at least 1.
    """
    text = os.environ.get(THREADS_VARIABLE) or "1"
    if not text.isdecimal() or not int(text):
        raise InputError(THREADS_VARIABLE, f"is {text!r}", expected="a number of threads, at least 1")
    with _torch_threads(int(text)):
        yield


@contextmanager
def _torch_threads(n: int) -> Iterator[None]:
    import torch

    n_before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(n_before)


def _has_driver() -> bool:
    # Loading torch takes seconds and most machines that align have no GPU; a search by name starts three programs.
    for name in _DRIVERS:
        with suppress(OSError):
            ctypes.CDLL(name)
            return True
    return False


def _multiply_on_gpu(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    import torch

    on_gpu = [torch.from_numpy(np.ascontiguousarray(matrix)).cuda() for matrix in (a, b)]
    return np.asarray((on_gpu[0] @ on_gpu[1]).cpu().numpy(), dtype=np.float64)
