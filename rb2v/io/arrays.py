"""Arrays in ``.npy`` and ``.flo`` files, as data: nothing in them is executed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError, require_file

MAX_ARRAY_BYTES = 2**30
"""Of an array that is read whole: flow of a dozen frame pairs at 4K takes 0.8 GB."""
_FLO_MAGIC = 202021.25  # of Middlebury's format, by which its byte order is checked
_FLO_HEADER_BYTES = 12  # magic number, width and height, four bytes each


def read_npy(path: Path, expected: str) -> NDArray[Any]:
    """Read an array of numbers.

    Parameters
    ----------
    path : Path
        A ``.npy`` file.
    expected : str
        What the file should be, for messages.

    Raises
    ------
    InputError
        If it is missing, cut short, too large, not an array, or holds objects.
    """
    require_file(path, expected)
    try:
        # A mapping fails where the file is shorter than its header says, before any memory is taken.
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise InputError(path, "is not a .npy array, or is cut short", expected=expected) from error
    if not isinstance(mapped, np.ndarray):
        mapped.close()
        raise InputError(path, "holds several arrays", expected=expected)
    if mapped.dtype.kind not in "iufb":
        raise InputError(path, f"holds {mapped.dtype}", "dtype", "numbers")
    if mapped.nbytes > MAX_ARRAY_BYTES:
        raise InputError(path, f"holds {mapped.nbytes} bytes", "shape", f"at most {MAX_ARRAY_BYTES}")
    return np.array(mapped)


def read_flo(path: Path, expected: str) -> NDArray[np.float32]:
    """Read optical flow in Middlebury's format.

    Parameters
    ----------
    path : Path
        A ``.flo`` file.
    expected : str
        What the file should be, for messages.

    Returns
    -------
    (H, W, 2) ndarray of float32
        x and y, in pixels.

    Raises
    ------
    InputError
        If it is missing, cut short, too large, or not such a file.
    """
    require_file(path, expected)
    with path.open("rb") as file:
        header = file.read(_FLO_HEADER_BYTES)
        if len(header) < _FLO_HEADER_BYTES or np.frombuffer(header, "<f4", 1)[0] != np.float32(_FLO_MAGIC):
            raise InputError(path, "is not a .flo file", expected=expected)
        width, height = (int(side) for side in np.frombuffer(header, "<i4", 2, 4))
        n_bytes = 8 * width * height
        if min(width, height) < 1 or n_bytes > MAX_ARRAY_BYTES:
            raise InputError(path, f"is {width}x{height}", "size", f"at most {MAX_ARRAY_BYTES} bytes")
        body = file.read(n_bytes + 1)
    if len(body) != n_bytes:
        problem = (
            f"holds {len(body)} bytes behind its header" if len(body) < n_bytes else "is longer than its header says"
        )
        raise InputError(path, problem, "size", f"{n_bytes} for {width}x{height}")
    return np.frombuffer(body, "<f4").reshape(height, width, 2).astype(np.float32)


def check_finite(values: NDArray[Any], path: Path) -> None:
    """Check that an array holds no NaN and no infinity.

    Raises
    ------
    InputError
        If it does.
    """
    known = np.isfinite(values)
    if not known.all():
        n_wrong = math.prod(values.shape) - int(np.count_nonzero(known))
        place = ", ".join(str(int(one)) for one in np.argwhere(~known)[0])
        raise InputError(path, f"{n_wrong} of its values are not finite", f"[{place}]", "finite numbers")
