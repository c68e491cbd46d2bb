"""Shares along the motion: neighboring sharp frames agree on what they show.

Every second sharp frame is interpolated between its neighbors as a rule, softer than they are, and its share is better
told from theirs. What the motion tells is trusted as far as the frames before and behind say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.matting.screen import Plane

_MIN_SIDE_PX = 32  # of a part in which motion is measured: DIS starts from patches of 8 px on a quarter of the size
_STRIDE_PX = 6  # between patches of 8 px on a quarter of the size; 4 takes twice as long and is no better here
_AGREED, _APART = 0.15, 0.45  # difference of two shares: noise and edges of interpolated frames, and other things


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
        self._flows: list[Sequence[Plane]] = []
        if min(height, width) < _MIN_SIDE_PX:
            self._flows = [[np.zeros((height, width), dtype=np.float32)] * 2] * (len(frames) - 1)
            return
        # A new one for every sequence: it keeps the coarsest scale of the first pair that it sees.
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        dis.setPatchStride(_STRIDE_PX)
        gray = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in frames]
        for one, other in pairwise(gray):
            flow = dis.calc(one, other, None)  # type: ignore[call-overload]
            self._flows.append([np.asarray(plane, dtype=np.float32) for plane in cv2.split(flow)])

    def __len__(self) -> int:
        return len(self._flows) + 1

    def bring(self, plane: Plane, source: int, target: int) -> Plane:
        """Return a plane of a frame as the next frame, or the one before, shows it.

        The flow from a frame to the next serves backward, too: it is even where motion is.
        """
        flow = self._flows[min(source, target)]
        move = cv2.add if source > target else cv2.subtract
        x, y = (move(place, part) for place, part in zip(self._place, flow, strict=True))
        return np.asarray(cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), dtype=np.float32)


def key_along(
    motion: Motion, key: Callable[[int], Plane], key_pixels: Callable[[int, NDArray[np.intp]], Plane]
) -> list[Plane]:
    """Return the screen's share in every frame of a sequence.

    Parameters
    ----------
    motion : Motion
        Between its frames.
    key : callable
        Returns the (h, w) share in a frame, by its index.
    key_pixels : callable
        The same in haste in some pixels, by their flat indices: where the frames before and behind do not agree.
    """
    between = range(1, len(motion) - 1, 2)
    shares = [np.empty(0, dtype=np.float32) if index in between else key(index) for index in range(len(motion))]
    for index in between:
        before, behind = (motion.bring(shares[index + step], index + step, index) for step in (-1, 1))
        apart = cv2.absdiff(before, behind).reshape(-1)
        share = np.asarray(cv2.addWeighted(before, 0.5, behind, 0.5, 0), dtype=np.float32)
        chosen = np.flatnonzero(apart > _AGREED)
        trust = np.minimum((apart[chosen] - _AGREED) / (_APART - _AGREED), 1)
        flat = share.reshape(-1)
        flat[chosen] += trust * (key_pixels(index, chosen) - flat[chosen])
        shares[index] = share
    return shares
