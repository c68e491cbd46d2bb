"""True images of a simulated take: the scene itself, in the data set's geometry and colors."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Camera, Crop, Lens
from rb2v.core.color import encode
from rb2v.core.lens import border_points, distort_points
from rb2v.core.resampling import FrameWarp
from rb2v.matting import Matte
from rb2v.simulator.camera import SimulatedCamera
from rb2v.simulator.plans import TakePlan
from rb2v.simulator.rig import SimulatedRig

_MARGIN_PX = 8  # for interpolation and smoothing at the crop's edge
_MAX_INSTANTS = 64  # of a window, three times as many as `blur_samples`: the limit that these approach


class TruthRenderer:
    """Renders what a take's frames would be without noise, coding, borders and errors of the pipeline.

    Frames are exposed through the blurry camera's view and brought to the output as the pipeline brings its own, so
    that no difference of the resampling is counted.

    Parameters
    ----------
    rig : SimulatedRig
        The cameras.
    plan : TakePlan
        The take.
    crop : Crop
        Part of the blurry camera's frame that is shown.
    output_size : tuple of int
        Width and height in pixels.
    """

    def __init__(self, rig: SimulatedRig, plan: TakePlan, crop: Crop, output_size: tuple[int, int]) -> None:
        self._rig, self._plan = rig, plan
        self._scene = rig.scene(plan)
        self._sharp_frames: dict[tuple[int, Camera], NDArray[np.uint8]] = {}
        # The calibration's lens differs from the true one by less than what is compared here shows.
        lens = rig.blurry.lens
        # Only what is shown is rendered, and as much around it as resampling reaches for.
        x, y, size = _shown_part(crop, lens)
        to_part = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]], dtype=np.float64)
        from_part = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], dtype=np.float64)
        self._warp = FrameWarp(
            np.eye(3),
            (crop.x - x, crop.y - y, crop.width, crop.height),
            output_size,
            rig.rig.response,
            _moved(lens, x, y),
        )
        self._blurry = dataclasses.replace(
            rig.blurry,
            size=size,
            scene_to_view=to_part @ rig.blurry.scene_to_view,
            sensor_height=rig.blurry.size[1],
            view_to_sensor=from_part,
            lens=_moved(rig.blurry.lens, x, y),
            sensor_lens=rig.blurry.lens,
        )
        self._sharp_in_blurry_rows = dataclasses.replace(
            self._blurry, exposure_seconds=rig.sharp.exposure_seconds, n_instants=rig.sharp.n_instants
        )
        # Each pixel at the time at which the sharp camera's own row sees it.
        self._sharp = dataclasses.replace(
            self._sharp_in_blurry_rows,
            readout_seconds=rig.sharp.readout_seconds,
            sensor_height=rig.sharp.size[1],
            view_to_sensor=np.asarray(np.linalg.solve(rig.homography, from_part), dtype=np.float64),
            sensor_lens=rig.sharp.lens,
        )

    @property
    def rig(self) -> SimulatedRig:
        """The true cameras."""
        return self._rig

    def position(self, time_seconds: float) -> float:
        """Return the fine-track position, to a fraction, of the blurry frame shown at a time."""
        return self._rig.true_position(self._plan, time_seconds)

    def sharp(self, fine_index: int, rows: Camera = "sharp") -> NDArray[np.uint8]:
        """Return the (H, W, 3) frame of the fine track, as the sharp camera exposes and the blurry one colors it.

        Its rows are read out as those of a camera are: the sharp one, or the blurry one where sharp frames were made
        up for the difference.
        """
        # Kept, because several alignments of a take are compared with the same few frames.
        if (fine_index, rows) not in self._sharp_frames:
            camera = self._sharp_camera(rows)
            linear = camera.expose(self._scene, self._scene_time(fine_index))
            self._sharp_frames[fine_index, rows] = self._warp(encode(linear, camera.response))
        return self._sharp_frames[fine_index, rows]

    def blurry(self, time_seconds: float) -> NDArray[np.uint8]:
        """Return the (H, W, 3) blurry frame shown at a time."""
        return self._warp(encode(self._blurry.expose(self._scene, time_seconds), self._blurry.response))

    def synthetic_blur(self, position: int) -> NDArray[np.uint8]:
        """Return the (H, W, 3) mean of up to 64 instants spread over the time that the window at a position averages.

        A clip, which is known at whole ticks only, is averaged over those.
        """
        rig = self._rig.rig
        seconds = rig.blur_samples / (rig.fine_fps * rig.blur_factor)
        camera = dataclasses.replace(self._sharp, exposure_seconds=seconds, n_instants=_MAX_INSTANTS)
        middle = self._scene_time(position + (rig.frames_per_sequence - 1) / 2)
        return self._warp(encode(camera.expose(self._scene, middle), camera.response))

    def sharp_matte(self, fine_index: int, rows: Camera = "sharp") -> Matte | None:
        """Return the true matte of `sharp`: what a perfect matting method would find in it.

        Parameters
        ----------
        fine_index : int
            On the fine track.
        rows : {"sharp", "blurry"}
            As for `sharp`.

        Returns
        -------
        Matte or None
            Alpha (H, W) and the foreground's light times alpha (H, W, 3), without the light that the screen spills on
            it, in the blurry camera's colors; None where nobody knows what is foreground.
        """
        return self._matte(self._sharp_camera(rows), self._scene_time(fine_index))

    def blurry_matte(self, time_seconds: float) -> Matte | None:
        """Return the true matte of the blurry frame shown at a time; see `sharp_matte`."""
        return self._matte(self._blurry, time_seconds)

    def _sharp_camera(self, rows: Camera) -> SimulatedCamera:
        return self._sharp if rows == "sharp" else self._sharp_in_blurry_rows

    def _scene_time(self, fine_index: float) -> float:
        # The simulator shows its frame i at i / fps exactly.
        return self._rig.scene_time(self._plan, fine_index / self._rig.rig.fine_fps)

    def _matte(self, camera: SimulatedCamera, time_seconds: float) -> Matte | None:
        exposed = camera.expose_foreground(self._scene, time_seconds)
        if exposed is None:
            return None
        # Cubic resampling overshoots a little.
        foreground = np.maximum(self._warp.warp_linear(exposed), 0)
        return Matte(np.minimum(foreground[..., 3], 1), np.ascontiguousarray(foreground[..., :3]))


def _shown_part(crop: Crop, lens: Lens | None) -> tuple[int, int, tuple[int, int]]:
    """Return the corner and the size of the recorded pixels that a crop shows, and a margin."""
    if lens is None:
        size = (crop.width + 2 * _MARGIN_PX, crop.height + 2 * _MARGIN_PX)
        return crop.x - _MARGIN_PX, crop.y - _MARGIN_PX, size
    border = border_points((crop.width, crop.height)) + np.array([crop.x, crop.y])
    recorded = distort_points(border, lens.matrix, lens.distortion)
    low = np.floor(recorded.min(axis=0)).astype(int) - _MARGIN_PX
    high = np.ceil(recorded.max(axis=0)).astype(int) + _MARGIN_PX
    return int(low[0]), int(low[1]), (int(high[0] - low[0]) + 1, int(high[1] - low[1]) + 1)


def _moved(lens: Lens | None, x: int, y: int) -> Lens | None:
    """Return the lens of a camera of which a part is seen, from a corner on."""
    if lens is None:
        return None
    return Lens(lens.matrix - np.array([[0, 0, x], [0, 0, y], [0, 0, 0]]), lens.distortion)


def spread_indices(n: int, n_wanted: int) -> list[int]:
    """Return evenly spaced indices of ``n`` things, the first and the last included.

    Examples
    --------
    >>> spread_indices(10, 4), spread_indices(2, 4), spread_indices(0, 4), spread_indices(5, 1)
    ([0, 3, 6, 9], [0, 1], [], [2])
    """
    if n == 0:
        return []
    if n_wanted == 1:
        return [n // 2]
    return sorted({int(index) for index in np.linspace(0, n - 1, n_wanted).round()})
