"""Tracking from frame to frame, with the detector where a track is lost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rb2v.landmarks.anchors import intersection_over_union
from rb2v.landmarks.config import LandmarkConfig
from rb2v.landmarks.crops import Crop
from rb2v.landmarks.instance import Landmarks
from rb2v.landmarks.models import LandmarkModel

_VIDEO_PASSES = (
    2  # with one, a still hand of 290 px that is moved smoothly seems to shake by 0.85 px rms, with two by 0.47
)
_SETTLING_PASSES = 2  # more for what is new: a detector's crop is further off than the one of the frame before
_MIRROR_PASSES = 3  # from here on the last is in a mirrored crop: with two, the first would not be about the hand yet
_SAME_OVERLAP = 0.3  # intersection over union of two instances that are one; MediaPipe's for its boxes
_MAX_CROP_SHARE = 8.0  # of the image's longer side: no face or hand that shows points is larger


class Tracker:
    """Faces, or hands, through the frames of one video.

    Each frame's crops come from the landmarks of the frame before. The detector runs where there are none, and now and
    then while there are fewer than asked for. Points are those that were measured: nothing is smoothed.

    Parameters
    ----------
    model : LandmarkModel
        What finds and measures.
    config : LandmarkConfig
        How many are followed, and how often the detector runs.

    Examples
    --------
    >>> models = load_models(["hand"])  # doctest: +SKIP
    >>> tracker = Tracker(models[0], LandmarkConfig())  # doctest: +SKIP
    >>> [sorted(tracker.update(frame.image)) for frame in iter_frames([path])]  # doctest: +SKIP
    [[0], [0], [0, 1]]
    """

    def __init__(self, model: LandmarkModel, config: LandmarkConfig | None = None) -> None:
        self.model = model
        self.config = config or LandmarkConfig()
        self._alive: dict[int, Landmarks] = {}
        self._n_ids = 0
        self._n_since_search = 0

    def update(self, image: NDArray[np.uint8]) -> dict[int, Landmarks]:
        """Return what is found in the next frame.

        Parameters
        ----------
        image : (H, W, 3) ndarray of uint8
            RGB.

        Returns
        -------
        dict of int to Landmarks
            By the number of the instance, which stays the same while it is tracked and is never used again.
        """
        found: dict[int, Landmarks] = {}
        for index, before in self._alive.items():
            self._measure(image, self.model.follow(before), index, found)
        self._n_since_search += 1
        is_due = self._n_since_search >= self.config.detect_every
        if len(found) < self.config.max_instances and (is_due or not found):
            self._n_since_search = 0
            for crop in self.model.find(image, self.config.min_score):
                if len(found) >= self.config.max_instances:
                    break
                if self._measure(image, crop, self._n_ids, found):
                    self._n_ids += 1
        self._alive = found
        return found

    def _measure(self, image: NDArray[np.uint8], crop: Crop, index: int, found: dict[int, Landmarks]) -> bool:
        """Measure an instance, and return whether it is one that was not found yet."""
        n_passes = self.config.passes or _VIDEO_PASSES
        if n_passes > 1 and index not in self._alive:
            n_passes += _SETTLING_PASSES
        uses_mirror = self.model.can_mirror and (self.config.passes or 0) >= _MIRROR_PASSES
        measured: list[Landmarks] = []
        for number in range(n_passes):
            if measured:
                crop = replace(self.model.follow(measured[-1]), mirrored=uses_mirror and number == n_passes - 1)
            if not crop.is_usable or crop.side > _MAX_CROP_SHARE * max(image.shape[:2]):
                return False
            measured.append(self.model.measure(image, crop))
            if not (measured[-1].score >= self.config.min_score and np.isfinite(measured[-1].points).all()):
                return False
        landmarks = measured[-1]
        if uses_mirror:
            # What the network does otherwise in a mirror then cancels out.
            landmarks = Landmarks((measured[-2].points + landmarks.points) / 2, landmarks.score)
        others = [other.corners for other in found.values()]
        if others and intersection_over_union(landmarks.corners, np.stack(others)).max() > _SAME_OVERLAP:
            return False
        found[index] = landmarks
        return True


def find_landmarks(
    model: LandmarkModel, image: NDArray[np.uint8], config: LandmarkConfig | None = None
) -> list[Landmarks]:
    """Find faces or hands in one image.

    Parameters
    ----------
    model : LandmarkModel
        What finds and measures.
    image : (H, W, 3) ndarray of uint8
        RGB.
    config : LandmarkConfig, optional
        How many are looked for, and how sure they have to be.

    Returns
    -------
    list of Landmarks
        Surest first.
    """
    config = config or LandmarkConfig()
    found = Tracker(model, replace(config, passes=config.passes or 1)).update(image).values()
    return sorted(found, key=lambda landmarks: -landmarks.score)


def track(
    model: LandmarkModel, images: Iterable[NDArray[np.uint8]], config: LandmarkConfig | None = None
) -> list[dict[int, Landmarks]]:
    """Return what a new tracker finds in each of several frames."""
    tracker = Tracker(model, config)
    return [tracker.update(image) for image in images]
