"""A simulated recording session: a raw directory as the two cameras would write it, and the answer apart from it."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from rb2v.artifacts import CAMERAS, Camera, Category, Lens, Rig, Split
from rb2v.core.homography import Homography, mirror_homography, normalized, warp_points
from rb2v.core.lens import largest_displacement_px
from rb2v.errors import InputError, Rb2vError, require_file
from rb2v.execution import Executor, SerialExecutor
from rb2v.io.config import find_rig, read_rig
from rb2v.io.gopro import Telemetry
from rb2v.io.store import (
    CONFIG_NAME,
    SCHEMA,
    check_schema,
    output_folder,
    read_json,
    sha256_of,
    whole_file,
    write_json,
    write_text,
)
from rb2v.io.video import Sound, write_image, write_video
from rb2v.progress import Count
from rb2v.simulator import instruments, targets, textures
from rb2v.simulator.camera import NoiseBank, SimulatedCamera
from rb2v.simulator.config import SimulateConfig
from rb2v.simulator.scene import ClipScene, LayeredScene, Scene, street_scene
from rb2v.simulator.studio import studio_scene

logger = logging.getLogger(__name__)

TRUTH_NAME = "truth.json"
SCENES_VERSION = 4
"""Raised whenever a configuration comes to give other recordings, so that an older truth is not rendered wrongly."""

_SOUND_RATE = 48_000  # per second, as cameras record it
_N_BOARDS = 6  # one more than a focal length takes (`calibrate.lenses`)
_N_WALLS = 2  # textures beside the boards, so that a board's symmetry decides nothing
_SHARP_TAIL_SECONDS = 0.2  # by which the sharp recording goes on, for windows of the last blurry frames
_MAX_CLOCK_ERROR_SECONDS = 1.0  # either way: two cameras are within the 2.5 s that timecodes are believed to
_FILMING_HOURS = (8, 18)  # daylight
_FOCAL_WIDTHS = 0.8  # focal length in widths of the picture: 64 degrees across
_MAX_OFF_CENTER = 0.01  # of the principal point, in widths of the picture


@dataclass(frozen=True)
class TakePlan:
    """A take that is to be simulated."""

    name: str
    category: Category
    subject: str
    split: Split
    seconds: float
    scene_seed: int
    offset_seconds: float
    """Sharp-camera time at blurry-camera time 0."""
    clip: str | None = None
    """Path of the clip that is the scene; None for a built one."""

    @property
    def green_screen(self) -> bool:
        """Whether the take is shot before a green screen."""
        return self.category != "street"


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
        """The true (3, 4) colour map in linear light, sharp camera to blurry camera."""
        return np.column_stack([self.blurry.mixing @ np.linalg.inv(self.sharp.mixing), np.zeros(3)])

    def to_sharp(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where the sharp camera records what the blurry one records at (n, 2) pixels; NaN beyond its lens."""
        undistorted = self.blurry.undistort(points)
        return self.sharp.distort(warp_points(np.linalg.inv(self.homography), undistorted))

    def camera(self, which: Camera) -> SimulatedCamera:
        """Return one of the two cameras."""
        return self.blurry if which == "blurry" else self.sharp

    def during(self, plan: TakePlan) -> SimulatedRig:
        """Return the rig as it stands in a take: knocked out of place since the calibration, if at all."""
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
                small_screen=self.config.screen == "small",
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
        If an exposure or a read-out is longer than a frame of the rig, or a lens bends the picture's corners back.
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
            raise Rb2vError(f"distortion {k1:g} bends the picture's corners back; expected a weaker one")
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
    """Return a sensor's colour mixing: each row sums to its channel's gain, so that grey stays nearly grey."""
    crosstalk = rng.uniform(0.0, 0.07, (3, 3))
    np.fill_diagonal(crosstalk, 0.0)
    mixing = np.eye(3) * (1 - crosstalk.sum(axis=1, keepdims=True)) + crosstalk
    return np.asarray(mixing * rng.uniform(0.88, 1.0, (3, 1)), dtype=np.float64)


def plan_takes(config: SimulateConfig, video: Path | None = None, green_screen: bool = False) -> tuple[TakePlan, ...]:
    """Return the takes of a configuration: per category one for training and one for the test, or one clip.

    A clip is a street, or a face where it was filmed before a green screen.
    """
    rng = np.random.default_rng([config.seed, 2])

    def offset() -> float:
        return float(rng.uniform(0.05, max(config.max_offset_seconds, 0.05)))

    if video is not None:
        seconds = ClipScene(video, (64, 64)).duration_seconds
        category: Category = "face" if green_screen else "street"
        return (TakePlan("clip_train", category, "clip", "train", seconds, 0, offset(), str(video.resolve())),)
    splits: tuple[Split, ...] = ("train", "test") if config.test_takes else ("train",)
    return tuple(
        TakePlan(
            name=f"{category}_{split}",
            category=category,
            subject=f"{category}-{split}",
            split=split,
            seconds=config.seconds if split == "train" else config.test_seconds,
            scene_seed=config.seed * 1000 + index * 10 + (split == "test"),
            offset_seconds=offset(),
        )
        for index, category in enumerate(config.categories)
        for split in splits
    )


def simulate(
    out_dir: Path,
    config: SimulateConfig,
    *,
    photos_dir: Path | None = None,
    video: Path | None = None,
    green_screen: bool = False,
    executor: Executor | None = None,
    on_done: Count | None = None,
) -> Path:
    """Write a raw directory and, beside it, the truth; what is there already is kept.

    Parameters
    ----------
    out_dir : Path
        The raw directory to write.
    config : SimulateConfig
        What to simulate.
    photos_dir : Path, optional
        Folder of pictures to take textures from, in place of those that scikit-image ships.
    video : Path, optional
        A clip that becomes the scene of a single take, one of its frames per tick of the 600 fps blur track.
    green_screen : bool
        Whether the clip was filmed before a green screen; it has no clean plate, and its foreground nobody knows.
    executor : Executor, optional
        Where recordings are rendered; serial by default.
    on_done : callable, optional
        Called with the number of recordings that are finished and their total.

    Returns
    -------
    Path
        The truth folder, ``out_dir/../truth``.

    Raises
    ------
    InputError
        If a picture or clip cannot be read, or the clip is to be shown with a shutter or a motion that needs more
        than its ticks.
    ConfigMismatchError
        If the folders were made with another configuration.
    Rb2vError
        If a green screen is said to be in a clip, and there is no clip.
    """
    executor = executor or SerialExecutor()
    if green_screen and video is None:
        raise Rb2vError("green_screen is about a clip, and none is given; expected a video beside it")
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError(out_dir, "is a file", expected="a folder to write to")
    truth_dir = out_dir.resolve().parent / "truth"
    if config.rig.endswith((".yaml", ".yml")):
        config = dataclasses.replace(config, rig=str(Path(config.rig).resolve()))
    photos = tuple(textures.list_photos(photos_dir))
    rig = build_rig(config, photos)
    if video is not None:
        _check_clip(video, config)
    plans = plan_takes(config, video, green_screen)
    record = dataclasses.asdict(config) | _digests(rig)
    record["video"] = None if video is None else _digest(video)
    record["green_screen"] = green_screen
    if not (truth_dir / CONFIG_NAME).exists() and out_dir.is_dir() and any(out_dir.iterdir()):
        raise InputError(out_dir, "is not empty and its truth is missing", expected="a new or empty folder")
    with output_folder(truth_dir, record, contents=(out_dir,)):
        _write_descriptions(out_dir, rig, plans)
        jobs: list[_Job] = [_Job(out_dir, None, "blurry")]
        # The longest first, so that no core waits for a last long one.
        longest_first = sorted(plans, key=lambda plan: -plan.seconds)
        jobs += [_Job(out_dir, plan, camera) for plan in longest_first for camera in ("blurry", "sharp")]
        if on_done is not None:
            on_done(0, len(jobs))
        for done, name in enumerate(executor.map(partial(_run_job, config=config, photos=photos), jobs), start=1):
            logger.info("%s", name)
            if on_done is not None:
                on_done(done, len(jobs))
        _write_truth(truth_dir, rig, plans, photos_dir)
        return truth_dir


def _check_clip(video: Path, config: SimulateConfig) -> None:
    # A clip is known at its ticks only: nothing lies between them, and what moves in it moves as it does.
    for name in ("blurry_exposure_seconds", "blurry_readout_seconds", "sharp_readout_seconds", "motion"):
        value, default = getattr(config, name), getattr(SimulateConfig, name)
        if value != default:
            raise InputError(video, f"a clip cannot be shown with {name} = {value:g}", expected=f"{name} = {default}")


def _digests(rig: SimulatedRig) -> dict[str, Any]:
    """Return what, beside the configuration, decides what the pictures show."""
    return {
        "scenes_version": SCENES_VERSION,
        "rig_settings": dataclasses.asdict(rig.rig),
        "photos": [_digest(path) for path in rig.photos],
    }


def _digest(path: Path) -> str:
    require_file(path)
    return sha256_of(path)


@dataclass(frozen=True)
class _Job:
    """The calibration captures, or one camera's recording of a take."""

    out_dir: Path
    plan: TakePlan | None
    camera: Camera


def _run_job(job: _Job, config: SimulateConfig, photos: tuple[Path, ...]) -> str:
    rig = build_rig(config, photos)
    if job.plan is None:
        return _capture_targets(job.out_dir, rig)
    return _record(job.out_dir, rig.during(job.plan), job.plan, job.camera)


def _write_descriptions(out_dir: Path, rig: SimulatedRig, plans: tuple[TakePlan, ...]) -> None:
    write_text(out_dir / "capture.yaml", _yaml({"schema": SCHEMA, "rig": rig.config.rig}))
    for plan in plans:
        description = {
            "category": plan.category,
            "subject": plan.subject,
            "green_screen": plan.green_screen,
            "split": plan.split,
        }
        write_text(out_dir / "takes" / plan.name / "take.yaml", _yaml(description))


def _yaml(document: dict[str, object]) -> str:
    return yaml.safe_dump(document, sort_keys=False)


def _capture_targets(out_dir: Path, rig: SimulatedRig) -> str:
    size, seed = rig.config.size, rig.config.seed
    scenes: dict[str, LayeredScene] = {
        f"board_{index:02d}": targets.chessboard_scene(rig.photos, size, seed * 1000 + 100 + index)
        for index in range(_N_BOARDS)
    }
    for index in range(_N_WALLS):
        scenes[f"wall_{index:02d}"] = targets.wall_scene(rig.photos, size, seed * 1000 + 200 + index)
    cameras: tuple[Camera, ...] = ("blurry", "sharp")
    for which in cameras:
        noise = NoiseBank(np.random.default_rng([rig.config.seed, 3, which == "sharp"]))
        for name, scene in scenes.items():
            _capture(rig, which, scene, out_dir / "calibration" / "geometry" / which / f"{name}.png", noise)
        checker = targets.checker_scene(size)
        _capture(rig, which, checker, out_dir / "calibration" / "color" / f"{which}.png", noise)
    return "calibration"


def _capture(rig: SimulatedRig, which: Camera, scene: Scene, path: Path, noise: NoiseBank) -> None:
    # Of what stands still an instant is enough, under any shutter.
    camera = dataclasses.replace(rig.camera(which), n_instants=1, readout_seconds=0.0)
    image = camera.develop(camera.expose(scene, 0.0), noise if rig.config.noise else None)
    with whole_file(path) as temporary:
        write_image(temporary, image)


def _record(out_dir: Path, rig: SimulatedRig, plan: TakePlan, which: Camera) -> str:
    folder = out_dir / "takes" / plan.name
    name = f"{plan.name}/{which}.mp4"
    scene = rig.scene(plan)
    if rig.config.plates and plan.green_screen and isinstance(scene, LayeredScene):
        plate_path = folder / f"plate_{which}.png"
        if not plate_path.exists():
            noise = NoiseBank(np.random.default_rng([rig.config.seed, 5, plan.scene_seed, which == "sharp"]))
            _capture(rig, which, scene.without_movers(), plate_path, noise)
    path = folder / f"{which}.mp4"
    if path.exists():
        return name
    fps = rig.rig.blurry_fps if which == "blurry" else rig.rig.sharp_fps
    times = frame_times(rig, plan, which)
    sound = _record_sound(rig, plan, which, len(times) / fps)
    with whole_file(path) as temporary:
        write_video(
            temporary,
            _pictures(rig, plan, which, scene, times),
            fps,
            sound=sound,
            crf=rig.config.crf,
            telemetry=_record_telemetry(rig, plan, which, scene, len(times) / fps),
            timecode=instruments.timecode(rig.day_seconds(plan, which), fps),
        )
    return name


def frame_times(rig: SimulatedRig, plan: TakePlan, which: Camera) -> NDArray[np.float64]:
    """Return the scene times, in seconds, at the centres of a recording's exposures."""
    if which == "blurry":
        return np.arange(max(int(plan.seconds * rig.rig.blurry_fps), 1)) / rig.rig.blurry_fps
    n_frames = int((plan.offset_seconds + plan.seconds + _SHARP_TAIL_SECONDS) * rig.rig.sharp_fps)
    return np.array([rig.scene_time(plan, index / rig.rig.sharp_fps) for index in range(n_frames)])


def _pictures(
    rig: SimulatedRig, plan: TakePlan, which: Camera, scene: Scene, times: NDArray[np.float64]
) -> Iterator[NDArray[np.uint8]]:
    camera = rig.camera(which)
    noise = NoiseBank(np.random.default_rng([rig.config.seed, 4, plan.scene_seed, which == "sharp"]))
    for time_seconds in times:
        yield camera.develop(camera.expose(scene, float(time_seconds)), noise if rig.config.noise else None)


def _record_sound(rig: SimulatedRig, plan: TakePlan, which: Camera, seconds: float) -> Sound:
    """Return the world's sound as one camera's clock samples it, with that camera's own noise."""
    file_times = np.arange(int(seconds * _SOUND_RATE)) / _SOUND_RATE
    world_start = -1.0 - plan.offset_seconds
    world = _world_sound(np.random.default_rng([rig.config.seed, 6, plan.scene_seed]), plan, world_start)
    times = file_times if which == "blurry" else np.vectorize(partial(rig.scene_time, plan))(file_times)
    samples = np.interp(times, world_start + np.arange(len(world)) / _SOUND_RATE, world)
    hiss = np.random.default_rng([rig.config.seed, 7, plan.scene_seed, which == "sharp"])
    samples = samples + 0.005 * hiss.standard_normal(len(samples))
    return Sound(np.clip(samples, -1, 1).astype(np.float32), _SOUND_RATE, 0.0)


def _world_sound(rng: np.random.Generator, plan: TakePlan, start_seconds: float) -> NDArray[np.float64]:
    """Return a street's sound: low rumble and, a few times a second, short bursts."""
    n = int((plan.seconds + 2.0 - start_seconds) * _SOUND_RATE)
    rumble = np.convolve(rng.standard_normal(n), np.ones(200) / 200, mode="same")
    sound = 0.3 * rumble
    burst_length = int(0.04 * _SOUND_RATE)
    envelope = np.exp(-np.arange(burst_length) / (0.008 * _SOUND_RATE))
    for start in rng.integers(0, n - burst_length, size=max(int(6 * n / _SOUND_RATE), 3)):
        sound[start : start + burst_length] += rng.uniform(0.1, 0.5) * envelope * rng.standard_normal(burst_length)
    return np.asarray(sound, dtype=np.float64)


def _record_telemetry(rig: SimulatedRig, plan: TakePlan, which: Camera, scene: Scene, seconds: float) -> Telemetry:
    """Return what a camera states of itself, by its own clock."""
    camera, is_sharp = rig.camera(which), which == "sharp"
    gyro_times = np.arange(max(int(seconds * instruments.GYRO_RATE_HZ), 1)) / instruments.GYRO_RATE_HZ
    shutter_times = np.arange(max(int(seconds * instruments.SHUTTER_RATE_HZ), 1)) / instruments.SHUTTER_RATE_HZ
    scene_times = np.array([rig.scene_time(plan, time) for time in gyro_times]) if is_sharp else gyro_times
    motion = scene.rig_motion if isinstance(scene, LayeredScene) else None
    return Telemetry(
        model=rig.rig.sharp_model if is_sharp else rig.rig.blurry_model,
        gyro=instruments.read_gyro(
            instruments.rotation_speed(motion, scene_times, camera.size[0]),
            np.random.default_rng([rig.config.seed, 10, is_sharp]),
            np.random.default_rng([rig.config.seed, 11, plan.scene_seed, is_sharp]),
        ),
        gyro_times=gyro_times,
        shutter_seconds=np.full(len(shutter_times), camera.exposure_seconds),
        shutter_times=shutter_times,
        settings={"EISE": "N", "SROT": camera.readout_seconds},
    )


def _describe_lens(lens: Lens | None) -> dict[str, Any] | None:
    return None if lens is None else {"matrix": lens.matrix.tolist(), "distortion": lens.distortion.tolist()}


def _write_truth(truth_dir: Path, rig: SimulatedRig, plans: tuple[TakePlan, ...], photos_dir: Path | None) -> None:
    write_json(
        truth_dir / TRUTH_NAME,
        {
            "schema": SCHEMA,
            "config": dataclasses.asdict(rig.config),
            "photos_dir": None if photos_dir is None else str(photos_dir.resolve()),
            "homography": rig.homography.tolist(),
            "mirrored": rig.config.mirrored,
            "lens": {camera: _describe_lens(rig.camera(camera).lens) for camera in CAMERAS},
            "color": rig.color.tolist(),
            "drift_ppm": rig.config.drift_ppm,
            "exposure_seconds": {"blurry": rig.blurry.exposure_seconds, "sharp": rig.sharp.exposure_seconds},
            "readout_seconds": {"blurry": rig.blurry.readout_seconds, "sharp": rig.sharp.readout_seconds},
            "clock_error_seconds": rig.clock_error_seconds,
            "takes": [
                dataclasses.asdict(plan)
                | {
                    "homography": rig.during(plan).homography.tolist(),
                    "positions": [
                        round(rig.true_position(plan, index / rig.rig.blurry_fps), 6)
                        for index in range(len(frame_times(rig, plan, "blurry")))
                    ],
                }
                for plan in plans
            ],
        },
    )


@dataclass(frozen=True, eq=False)
class Truth:
    """The answer to a simulated session: the cameras and the takes, from which every picture can be rendered again."""

    rig: SimulatedRig
    takes: tuple[TakePlan, ...]

    def take(self, name: str) -> TakePlan:
        """Return a take by its name.

        Raises
        ------
        KeyError
            If the session has no such take.
        """
        for plan in self.takes:
            if plan.name == name:
                return plan
        raise KeyError(name)


def read_truth(truth_dir: Path) -> Truth:
    """Read the truth of a simulated session.

    Raises
    ------
    InputError
        If the folder holds no truth, or one that contradicts this version's simulator.
    """
    path = truth_dir / TRUTH_NAME
    document = read_json(path)
    check_schema(path, document)
    try:
        values = document["config"] | {
            "size": tuple(document["config"]["size"]),
            "categories": tuple(document["config"]["categories"]),
            "distortion": tuple(document["config"].get("distortion", (0.0, 0.0))),
        }
        config = SimulateConfig(**values)
        plans = tuple(
            TakePlan(**{key: value for key, value in take.items() if key not in ("positions", "homography")})
            for take in document["takes"]
        )
        photos_dir = document["photos_dir"]
        stated = np.array(document["homography"], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(path, f"cannot be understood ({error})", expected="what 'rb2v simulate' writes") from error
    rig = build_rig(config, tuple(textures.list_photos(None if photos_dir is None else Path(photos_dir))))
    if not np.allclose(rig.homography, stated, rtol=1e-9, atol=1e-9):
        raise InputError(path, "was written by another version of the simulator", "homography")
    record = read_json(truth_dir / CONFIG_NAME)
    for key, value in json.loads(json.dumps(_digests(rig))).items():
        if record.get(key) != value:
            expected = "what it was when the session was simulated"
            raise InputError(truth_dir / CONFIG_NAME, "is not what this machine has", key, expected=expected)
    return Truth(rig, plans)
