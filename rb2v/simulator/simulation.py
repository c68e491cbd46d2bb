"""The recording of a simulated session: a raw directory as two cameras would write it, and the truth apart from it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from rb2v.artifacts import Camera
from rb2v.errors import InputError, Rb2vError
from rb2v.execution import Executor, SerialExecutor
from rb2v.io.encoder import CameraNotes, write_video
from rb2v.io.store import CONFIG_NAME, SCHEMA, output_folder, whole_file, write_text
from rb2v.io.video import write_image
from rb2v.progress import Count
from rb2v.simulator import instruments, targets, textures
from rb2v.simulator.camera import NoiseBank
from rb2v.simulator.config import SimulateConfig
from rb2v.simulator.plans import TakePlan, plan_takes
from rb2v.simulator.rig import SimulatedRig, build_rig, frame_times
from rb2v.simulator.scene import LayeredScene, Scene
from rb2v.simulator.sound import record_sound
from rb2v.simulator.truth import digest_file, digest_inputs, write_truth

logger = logging.getLogger(__name__)

_N_BOARDS = 6  # one more than a focal length takes (`calibrate.lenses`)
_N_WALLS = 2  # textures beside the boards, so that a board's symmetry decides nothing


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
        Folder of images to take textures from, in place of those that scikit-image ships.
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
        If an image or clip cannot be read, or the clip is to be shown with a shutter or a motion that needs more
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
    record = dataclasses.asdict(config) | digest_inputs(rig)
    record["video"] = None if video is None else digest_file(video)
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
        write_truth(truth_dir, rig, plans, photos_dir)
        return truth_dir


def _check_clip(video: Path, config: SimulateConfig) -> None:
    # A clip is known at its ticks only: nothing lies between them, and what moves in it moves as it does.
    for name in ("blurry_exposure_seconds", "blurry_readout_seconds", "sharp_readout_seconds", "motion"):
        value, default = getattr(config, name), getattr(SimulateConfig, name)
        if value != default:
            raise InputError(video, f"a clip cannot be shown with {name} = {value:g}", expected=f"{name} = {default}")


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
    # Of what is static an instant is enough, under any shutter.
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
    sound = record_sound(rig, plan, which, len(times) / fps)
    with whole_file(path) as temporary:
        write_video(
            temporary,
            _pictures(rig, plan, which, scene, times),
            fps,
            sound=sound,
            crf=rig.config.crf,
            notes=CameraNotes(
                telemetry=instruments.record_telemetry(rig, plan, which, scene, len(times) / fps),
                timecode=instruments.timecode(rig.day_seconds(plan, which), fps),
            ),
        )
    return name


def _pictures(
    rig: SimulatedRig, plan: TakePlan, which: Camera, scene: Scene, times: NDArray[np.float64]
) -> Iterator[NDArray[np.uint8]]:
    camera = rig.camera(which)
    noise = NoiseBank(np.random.default_rng([rig.config.seed, 4, plan.scene_seed, which == "sharp"]))
    for time_seconds in times:
        yield camera.develop(camera.expose(scene, float(time_seconds)), noise if rig.config.noise else None)
