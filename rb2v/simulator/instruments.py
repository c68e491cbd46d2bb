"""Telemetry of a simulated camera: its rotation, its exposure, and the time of day of its clock."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from rb2v.artifacts import Camera
from rb2v.io.gopro import Telemetry
from rb2v.simulator.plans import TakePlan
from rb2v.simulator.rig import SimulatedRig
from rb2v.simulator.scene import LayeredScene, Motion, Scene

GYRO_RATE_HZ = 200.0  # a step of 5 ms, a quarter of what the gyro offset is believed to
SHUTTER_RATE_HZ = 25.0  # one value per blurry frame

_FOCAL_WIDTHS = 1.2  # focal length in widths of the image: 45 degrees across
_GYRO_NOISE = 2e-3  # rad/s, of bias and noise: a tenth of a degree a second
_DAY_SECONDS = 24 * 3600  # timecodes begin again at midnight
_MAX_TIMECODE_RATE = 255  # the number of a frame is one byte


def rotation_speed(
    motion: Motion | None, times_seconds: NDArray[np.float64], picture_width_px: int
) -> NDArray[np.float64]:
    """Return the speed of a rig's rotation about x, y and the optical axis, as its images show it.

    Parameters
    ----------
    motion : Motion or None
        The rig's, from the scene's plane to the image; None where it is static.
    times_seconds : (n,) ndarray of float64
        Times of the scene.
    picture_width_px : int
        Width of the image, of which the focal length is 1.2 times as much.

    Returns
    -------
    (n, 3) ndarray of float64
        In rad/s.
    """
    speed = np.zeros((len(times_seconds), 3))
    if motion is not None:
        focal_px = _FOCAL_WIDTHS * picture_width_px
        for index, time in enumerate(times_seconds.tolist()):
            down, across = motion.y_px.slope(time) / focal_px, motion.x_px.slope(time) / focal_px
            speed[index] = down, across, np.deg2rad(motion.angle_degrees.slope(time))
    return speed


def read_gyro(
    speed: NDArray[np.float64], camera_rng: np.random.Generator, noise_rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return what a camera's gyroscope states of a rotation: in axes of its own, with its bias and noise.

    Parameters
    ----------
    speed : (n, 3) ndarray of float64
        The rig's rotation in rad/s.
    camera_rng : numpy.random.Generator
        Decides the sensor's orientation and bias, which are the camera's in all its recordings.
    noise_rng : numpy.random.Generator
        Decides the noise of the recording.
    """
    orientation = scipy.spatial.transform.Rotation.from_quat(camera_rng.standard_normal(4))
    bias = _GYRO_NOISE * camera_rng.standard_normal(3)
    noise = _GYRO_NOISE * noise_rng.standard_normal(speed.shape)
    return np.asarray(orientation.apply(speed) + bias + noise, dtype=np.float64)


def timecode(day_seconds: float, frame_rate: float) -> str | None:
    """Return a time of day as HH:MM:SS:FF, to the nearest frame; None at a rate for which MP4 has no timecode.

    Examples
    --------
    >>> timecode(3723.48, 25), timecode(59.999, 25), timecode(-0.01, 100)
    ('01:02:03:12', '00:01:00:00', '23:59:59:99')
    """
    frames_per_second = round(frame_rate)
    if not 1 <= frames_per_second <= _MAX_TIMECODE_RATE:
        return None
    # Without dropped numbers it counts frames, of which 29.97 make up a second.
    n_frames = round(day_seconds * frame_rate) % (_DAY_SECONDS * frames_per_second)
    seconds, frames = divmod(n_frames, frames_per_second)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frames:02d}"


def record_telemetry(rig: SimulatedRig, plan: TakePlan, which: Camera, scene: Scene, seconds: float) -> Telemetry:
    """Return what a camera states of itself, by its own clock."""
    camera, is_sharp = rig.camera(which), which == "sharp"
    gyro_times = np.arange(max(int(seconds * GYRO_RATE_HZ), 1)) / GYRO_RATE_HZ
    shutter_times = np.arange(max(int(seconds * SHUTTER_RATE_HZ), 1)) / SHUTTER_RATE_HZ
    scene_times = np.array([rig.scene_time(plan, time) for time in gyro_times]) if is_sharp else gyro_times
    motion = scene.rig_motion if isinstance(scene, LayeredScene) else None
    return Telemetry(
        model=rig.rig.sharp_model if is_sharp else rig.rig.blurry_model,
        gyro=read_gyro(
            rotation_speed(motion, scene_times, camera.size[0]),
            np.random.default_rng([rig.config.seed, 10, is_sharp]),
            np.random.default_rng([rig.config.seed, 11, plan.scene_seed, is_sharp]),
        ),
        gyro_times=gyro_times,
        shutter_seconds=np.full(len(shutter_times), camera.exposure_seconds),
        shutter_times=shutter_times,
        settings={"EISE": "N", "SROT": camera.readout_seconds},
    )
