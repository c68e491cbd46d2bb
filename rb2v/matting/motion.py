"""Shares along the motion: neighboring sharp frames agree on what they show.

Every second sharp frame is interpolated between its neighbors as a rule, softer than they are, and its share is better
told from theirs. What the motion tells is trusted as far as the frames before and behind, and the frame itself, say the
same: a thin thing may move by more than its width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.matting.screen import Plane

_MIN_SIDE_PX = 32  # of a part in which motion is measured: DIS starts from patches of 8 px on a quarter of the size
_STRIDE_PX = 6  # between patches of 8 px on a quarter of the size; 4 takes twice as long and is no better here
_AGREED, _APART = 0.3, 0.6  # difference of two shares: noise and edges of interpolated frames, and other things


class Motion:
    """The motion between neighboring frames of a sequence.

    Parameters
    ----------
    frames : sequence of (h, w, 3) ndarray of uint8
        RGB, coded.
    """

    def __init__(self, frames: Sequence[NDArray[np.uint8]]) -> None:
        height, width = frames[0].shape[:2]
        self._place = [
            np.ascontiguousarray(np.broadcast_to(line, (height, width)), dtype=np.float32)
            for line in (np.arange(width), np.arange(height)[:, None])
        ]
        self._gray = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in frames]
        # A new one for every sequence: it keeps the coarsest scale of the first pair that it sees.
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._dis.setPatchStride(_STRIDE_PX)

    def __len__(self) -> int:
        return len(self._gray)

    def bring(self, plane: Plane, source: int, target: int) -> Plane:
        """Return an (h, w) plane of a frame as another one next to it shows it."""
        if min(plane.shape) < _MIN_SIDE_PX:
            return plane
        flow = self._dis.calc(self._gray[target], self._gray[source], None)  # type: ignore[call-overload]
        x, y = (cv2.add(place, part) for place, part in zip(self._place, cv2.split(flow), strict=True))
        return np.asarray(cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), dtype=np.float32)


class FrameKey(Protocol):
    """What the frames of a sequence say of the screen's share, each by itself."""

    def key(self, index: int) -> Plane:
        """Return the (h, w) share in a frame."""
        ...

    def key_pixels(self, index: int, chosen: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return it in some pixels, by their flat indices, in haste."""
        ...

    def miss(self, index: int, share: Plane) -> Plane:
        """Return how far an (h, w) share is from what the frame says, noise apart."""
        ...


def key_along(motion: Motion, frames: FrameKey) -> list[Plane]:
    """Return the screen's share in every frame of a sequence.

    Parameters
    ----------
    motion : Motion
        Between its frames.
    frames : FrameKey
        Their own keys.
    """
    n_frames = len(motion)
    between = range(1, n_frames - 1, 2)
    shares = [np.empty(0, dtype=np.float32) if index in between else frames.key(index) for index in range(n_frames)]
    for index in between:
        before, behind = (motion.bring(shares[index + step], index + step, index) for step in (-1, 1))
        share = np.asarray(cv2.addWeighted(before, 0.5, behind, 0.5, 0), dtype=np.float32)
        apart = np.maximum(cv2.absdiff(before, behind), frames.miss(index, share)).reshape(-1)
        chosen = np.flatnonzero(apart > _AGREED)
        flat = share.reshape(-1)
        flat[chosen] += _distrust(apart[chosen]) * (frames.key_pixels(index, chosen) - flat[chosen])
        shares[index] = share
    return shares


def _distrust(apart: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how sure it is, 0..1, that shares are those of different things."""
    return np.asarray(np.minimum((apart - _AGREED) / (_APART - _AGREED), 1), dtype=np.float32)
