"""Files of flow and of guidance that other programs wrote, as classes.

References
----------
.. [1] Zhong et al., "Animation from Blur", ECCV 2022, and its code: the files of B-AIST++.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.motion_classes import classes_of_flow, classes_of_vectors, half_size, resample
from rb2v.errors import InputError
from rb2v.io.arrays import check_finite, read_flo, read_npy

FLOW_NAMES = ("flow/{index:08d}_flow.npy", "{index:08d}_flow.npy", "{index:08d}.flo")
"""Where a take's flow may lie below its folder."""
TREND_NAMES = ("trend+_avg/{index:08d}_trend.npy", "{index:08d}_trend.npy")
"""Where a take's guidance may lie below its folder."""

_EXPECTED_FLOW = "(H, W, 2 k) of numbers: x and y of k frame pairs in turn, in pixels of its own size"
_EXPECTED_TREND = "(h, w, 2) of -1, 0 and 1"


def guidance_of_flow(flow: NDArray[np.floating], n_frames: int, static_px: float) -> NDArray[np.uint8]:
    """Return the guidance of a mean flow from frame to frame, (H, W, 2) in pixels, at half its size."""
    height, width = flow.shape[:2]
    rows, columns = half_size(height, width)
    moved = np.asarray(flow, dtype=np.float32) * np.float32(n_frames - 1)
    return classes_of_flow(np.asarray(cv2.resize(moved, (columns, rows), interpolation=cv2.INTER_AREA)), static_px)


@dataclass(frozen=True)
class FileSource:
    """Guidance from files of flow or of guidance, a folder for each take."""

    folder: Path
    frame_size: tuple[int, int]
    """Width and height of the frames."""
    n_frames: int
    """Of a sequence."""
    static_px: float

    def read(self, take: str, index: int) -> NDArray[np.uint8]:
        """Return the classes of a sample at half the frame's size.

        Raises
        ------
        InputError
            If there is no file of the sample, or it is damaged, of another shape, or not finite.
        """
        path = self._find(take, index)
        width, height = self.frame_size
        if path.name.endswith("_trend.npy"):
            return resample(read_trend(path), half_size(height, width))
        return guidance_of_flow(read_flow(path, self.frame_size), self.n_frames, self.static_px)

    def _find(self, take: str, index: int) -> Path:
        if take in ("", ".", "..") or "/" in take or "\\" in take:
            raise InputError(self.folder, f"{take!r} is not a folder's name", "take", "a take without a slash")
        for name in (*TREND_NAMES, *FLOW_NAMES):
            path = self.folder / take / name.format(index=index)
            if path.is_file():
                if not path.resolve().is_relative_to(self.folder.resolve()):
                    raise InputError(path, "is a link that leads out of the folder", expected="a file in the folder")
                return path
        expected = ", ".join(name.format(index=index) for name in (*FLOW_NAMES, *TREND_NAMES))
        raise InputError(self.folder / take, f"holds no flow of blurry frame {index}", expected=f"one of {expected}")


def read_trend(path: Path) -> NDArray[np.uint8]:
    """Read guidance that is stored as vectors, and return its classes, (h, w) ndarray of uint8.

    Raises
    ------
    InputError
        If the file is damaged, or holds another shape or other vectors.
    """
    vectors = read_npy(path, _EXPECTED_TREND)
    if vectors.ndim != 3 or vectors.shape[2] != 2 or not vectors.size:
        raise InputError(path, f"is {vectors.shape}", "shape", _EXPECTED_TREND)
    check_finite(vectors, path)
    return classes_of_vectors(vectors, path)


def read_flow(path: Path, frame_size: tuple[int, int]) -> NDArray[np.float32]:
    """Read flow and return its mean over the frame pairs at the frame's size, (H, W, 2) in pixels.

    Raises
    ------
    InputError
        If the file is damaged, of another shape or aspect, or not finite.
    """
    flow: NDArray[Any] = read_flo(path, _EXPECTED_FLOW) if path.suffix == ".flo" else read_npy(path, _EXPECTED_FLOW)
    if flow.ndim != 3 or flow.shape[2] % 2 or not flow.size:
        raise InputError(path, f"is {flow.shape}", "shape", _EXPECTED_FLOW)
    check_finite(flow, path)
    mean = np.stack([flow[..., 0::2].mean(axis=-1), flow[..., 1::2].mean(axis=-1)], axis=-1).astype(np.float32)
    width, height = frame_size
    if abs(mean.shape[0] * width - mean.shape[1] * height) > max(width, height):
        raise InputError(path, f"is {mean.shape[1]}x{mean.shape[0]}", "shape", f"the aspect of {width}x{height}")
    if mean.shape[:2] != (height, width):
        scale = np.array([width / mean.shape[1], height / mean.shape[0]], dtype=np.float32)
        mean = np.asarray(cv2.resize(mean, (width, height), interpolation=cv2.INTER_LINEAR) * scale, dtype=np.float32)
    return mean
