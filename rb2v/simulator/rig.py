"""The simulated rig: two cameras, their lenses, clocks and scenes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import CAMERAS, Camera, Lens, Rig
from rb2v.core.homography import Homography, mirror_homography, normalized, warp_points
from rb2v.core.lens import largest_displacement_px
from rb2v.errors import Rb2vError
from rb2v.io.config import find_rig, read_rig
from rb2v.simulator.camera import SimulatedCamera
from rb2v.simulator.config import SimulateConfig
from rb2v.simulator.plans import TakePlan
from rb2v.simulator.scene import ClipScene, Scene, street_scene
from rb2v.simulator.studio import StudioScreen, studio_scene

_SHARP_TAIL_SECONDS = 0.2  # by which the sharp recording goes on, for windows of the last blurry frames
_MAX_CLOCK_ERROR_SECONDS = 1.0  # either way: two cameras are within the 2.5 s that timecodes are believed to
_FILMING_HOURS = (8, 18)  # daylight
_FOCAL_WIDTHS = 0.8  # focal length in widths of the image: 64 degrees across
_MAX_OFF_CENTER = 0.01  # of the principal point, in widths of the image


@dataclass(frozen=True, eq=False)
class SimulatedRig:
    """The two cameras, their clocks, and everything that a scene is built from."""

    rig: Rig
    config: SimulateConfig
    blurry: SimulatedCamera
    sharp: SimulatedCamera
    photos: tuple[Path, ...]

    @property
    def homography(self) -> Homography:
        """The true homography, sharp-camera pixels to blurry-camera pixels; undistorted ones where there are lenses."""
        return normalized(self.blurry.scene_to_view @ np.linalg.inv(self.sharp.scene_to_view))

    @property
    def color(self) -> NDArray[np.float64]:
        """The true (3, 4) color map in linear light, sharp camera to blurry camera."""
        return np.column_stack([self.blurry.mixing @ np.linalg.inv(self.sharp.mixing), np.zeros(3)])

    def to_sharp(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where the sharp camera records what the blurry one records at (n, 2) pixels; NaN beyond its lens."""
        undistorted = self.blurry.undistort(points)
        return self.sharp.distort(warp_points(np.linalg.inv(self.homography), undistorted))

    def camera(self, which: Camera) -> SimulatedCamera:
        """Return one of the two cameras."""
        return self.blurry if which == "blurry" else self.sharp

    def during(self, plan: TakePlan) -> SimulatedRig:
        """Return the rig as it stands in a take: misaligned out of place since the calibration, if at all."""
        if not self.config.bump_px:
            return self
        rng = np.random.default_rng([self.config.seed, 12, plan.scene_seed])
        direction, turn = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])
        width, height = self.config.size
        # A turn that moves the sides by half as much as the whole is moved.
        angle = turn * self.config.bump_px / width
        cosine, sine = np.cos(angle), np.sin(angle)
        x, y = (width - 1) / 2, (height - 1) / 2
        shift = self.config.bump_px * np.array([np.cos(direction), np.sin(direction)])
        knock = np.array(
            [
                [cosine, -sine, x - cosine * x + sine * y + shift[0]],
                [sine, cosine, y - sine * x - cosine * y + shift[1]],
                [0, 0, 1],
            ]
        )
        sharp = dataclasses.replace(self.sharp, scene_to_view=knock @ self.sharp.scene_to_view)
        return dataclasses.replace(self, sharp=sharp)

    def scene(self, plan: TakePlan) -> Scene:
        """Return the scene of a take."""
        if plan.clip is not None:
            return ClipScene(Path(plan.clip), self.config.size)
        if plan.category == "street":
            scene = street_scene(self.photos, self.config.size, plan.scene_seed)
        else:
            scene = studio_scene(
                self.photos,
                self.config.size,
                plan.scene_seed,
                hand=plan.category == "hand",
                screen=StudioScreen(self.config.screen == "small", self.config.screen_color),
            )
        return scene.with_motion(self.config.motion)

    def scene_time(self, plan: TakePlan, sharp_time_seconds: float) -> float:
        """Return the scene's time, which is the blurry camera's, at a time of the sharp camera."""
        return (sharp_time_seconds - plan.offset_seconds) / (1.0 + self.config.drift_ppm * 1e-6)

    @property
    def clock_error_seconds(self) -> dict[Camera, float]:
        """How far each camera's time of day is ahead of the common one."""
        errors = np.random.default_rng([self.config.seed, 8]).uniform(-1, 1, 2) * _MAX_CLOCK_ERROR_SECONDS
        return {"blurry": float(errors[0]), "sharp": float(errors[1])}

    def day_seconds(self, plan: TakePlan, which: Camera) -> float:
        """Return the time of day, in seconds, that a camera's clock shows when its recording of a take begins."""
        first, last = _FILMING_HOURS
        common = np.random.default_rng([self.config.seed, 9, plan.scene_seed]).uniform(3600 * first, 3600 * last)
        start = 0.0 if which == "blurry" else self.scene_time(plan, 0.0)
        return float(common + start + self.clock_error_seconds[which])

    def true_position(self, plan: TakePlan, blurry_time_seconds: float) -> float:
        """Return the fine-track position, to a fraction, of the blurry frame shown at a time."""
        sharp_time = plan.offset_seconds + (1.0 + self.config.drift_ppm * 1e-6) * blurry_time_seconds
        return self.rig.fine_fps * sharp_time - (self.rig.frames_per_sequence - 1) / 2


def build_rig(config: SimulateConfig, photos: tuple[Path, ...]) -> SimulatedRig:
    """Return the simulated rig of a configuration; the same configuration gives the same rig.

    Raises
    ------
    InputError
        If the capture configuration cannot be read.
    Rb2vError
        If an exposure or a read-out is longer than a frame of the rig, or a lens bends the image's corners back.
    """
    rig = read_rig(find_rig(config.rig))
    _check_times(config, rig)
    rng = np.random.default_rng([config.seed, 1])
    width, height = config.size
    to_center = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]], dtype=np.float64)
    sharp_view = to_center @ _small_homography(rng, config.size)
    if config.mirrored:
        sharp_view = mirror_homography(width) @ sharp_view

    lenses = _lenses(config)

    def camera(
        which: Camera, view: Homography, exposure_seconds: float, n_instants: int, readout_seconds: float
    ) -> SimulatedCamera:
        return SimulatedCamera(
            size=config.size,
            scene_to_view=view,
            mixing=_mixing(rng),
            response=rig.response,
            exposure_seconds=exposure_seconds,
            n_instants=n_instants,
            shot_noise=1.2e-5,
            read_noise=6e-4,
            border=tuple(rng.uniform(0.01, 0.045, 4).tolist()),
            readout_seconds=readout_seconds,
            lens=lenses[which],
        )

    blur_step_seconds = 1 / (rig.sharp_fps * rig.blur_steps_per_frame)
    blurry_exposure_seconds = config.blurry_exposure_seconds or rig.blur_samples * blur_step_seconds
    return SimulatedRig(
        rig=rig,
        config=config,
        blurry=camera("blurry", to_center, blurry_exposure_seconds, config.n_instants, config.blurry_readout_seconds),
        sharp=camera("sharp", sharp_view, blur_step_seconds / 2, 2, config.sharp_readout_seconds),
        photos=photos,
    )


def _lenses(config: SimulateConfig) -> dict[Camera, Lens | None]:
    """Return the lenses; None for a perfect one."""
    rng = np.random.default_rng([config.seed, 13])
    width, height = config.size
    lenses: dict[Camera, Lens | None] = {}
    for which, k1 in zip(CAMERAS, config.distortion, strict=True):
        focal_px, off_center_px = _FOCAL_WIDTHS * width, _MAX_OFF_CENTER * width * rng.uniform(-1, 1, 2)
        matrix = np.array(
            [
                [focal_px, 0, (width - 1) / 2 + off_center_px[0]],
                [0, focal_px, (height - 1) / 2 + off_center_px[1]],
                [0, 0, 1],
            ]
        )
        lens = Lens(matrix, np.array([k1, 0.0, 0.0, 0.0, 0.0])) if k1 else None
        if lens is not None and not np.isfinite(largest_displacement_px(lens, config.size)):
            raise Rb2vError(f"distortion {k1:g} bends the image's corners back; expected a weaker one")
        lenses[which] = lens
    return lenses


def _check_times(config: SimulateConfig, rig: Rig) -> None:
    for name, fps in (
        ("blurry_exposure_seconds", rig.blurry_fps),
        ("blurry_readout_seconds", rig.blurry_fps),
        ("sharp_readout_seconds", rig.sharp_fps),
    ):
        seconds = getattr(config, name)
        if seconds is not None and seconds > 1 / fps:
            raise Rb2vError(f"{name} must be at most a frame of rig {rig.name!r}, {1 / fps:g} s, got {seconds:g}")


def _small_homography(rng: np.random.Generator, size: tuple[int, int]) -> Homography:
    """Return how one camera is mounted against the other: a small turn, shift, zoom and tilt."""
    angle, scale = np.deg2rad(rng.uniform(-1.5, 1.5)), rng.uniform(0.97, 1.03)
    shift = rng.uniform(-0.015, 0.015, 2) * size[0]
    tilt = rng.uniform(-0.01, 0.01, 2) / size[0]
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]], [tilt[0], tilt[1], 1.0]])


def _mixing(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a sensor's color mixing: each row sums to its channel's gain, so that gray stays nearly gray."""
    crosstalk = rng.uniform(0.0, 0.07, (3, 3))
    np.fill_diagonal(crosstalk, 0.0)
    mixing = np.eye(3) * (1 - crosstalk.sum(axis=1, keepdims=True)) + crosstalk
    return np.asarray(mixing * rng.uniform(0.88, 1.0, (3, 1)), dtype=np.float64)


def frame_times(rig: SimulatedRig, plan: TakePlan, which: Camera) -> NDArray[np.float64]:
    """Return the scene times, in seconds, at the centers of a recording's exposures."""
    if which == "blurry":
        return np.arange(max(int(plan.seconds * rig.rig.blurry_fps), 1)) / rig.rig.blurry_fps
    n_frames = int((plan.offset_seconds + plan.seconds + _SHARP_TAIL_SECONDS) * rig.rig.sharp_fps)
    return np.array([rig.scene_time(plan, index / rig.rig.sharp_fps) for index in range(n_frames)])
