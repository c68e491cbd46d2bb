"""The truth of a simulated session: what decides it, its file, and the scenes made again from it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rb2v.artifacts import CAMERAS, Lens
from rb2v.errors import InputError, require_file
from rb2v.io.store import CONFIG_NAME, SCHEMA, check_schema, read_json, sha256_of, write_json
from rb2v.simulator import textures
from rb2v.simulator.config import SimulateConfig
from rb2v.simulator.plans import TakePlan
from rb2v.simulator.rig import SimulatedRig, build_rig, frame_times

TRUTH_NAME = "truth.json"
SCENES_VERSION = 4
"""Raised whenever a configuration comes to give other recordings, so that an older truth is not rendered wrongly."""


def digest_inputs(rig: SimulatedRig) -> dict[str, Any]:
    """Return what, beside the configuration, decides what the images show."""
    return {
        "scenes_version": SCENES_VERSION,
        "rig_settings": dataclasses.asdict(rig.rig),
        "photos": [digest_file(path) for path in rig.photos],
    }


def digest_file(path: Path) -> str:
    """Return the SHA-256 of an image or a clip.

    Raises
    ------
    InputError
        If there is no such file.
    """
    require_file(path)
    return sha256_of(path)


def _describe_lens(lens: Lens | None) -> dict[str, Any] | None:
    return None if lens is None else {"matrix": lens.matrix.tolist(), "distortion": lens.distortion.tolist()}


def _describe_plan(plan: TakePlan) -> dict[str, Any]:
    """Return a plan for ``truth.json``, which names a clip's screen only where the category does not tell."""
    described = dataclasses.asdict(plan)
    if plan.clip_has_screen is None:
        del described["clip_has_screen"]
    return described


def write_truth(truth_dir: Path, rig: SimulatedRig, plans: tuple[TakePlan, ...], photos_dir: Path | None) -> None:
    """Write ``truth.json``: the configuration and what follows from it."""
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
                _describe_plan(plan)
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
    """The answer to a simulated session: the cameras and the takes, from which every image can be rendered again."""

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
    for key, value in json.loads(json.dumps(digest_inputs(rig))).items():
        if record.get(key) != value:
            expected = "what it was when the session was simulated"
            raise InputError(truth_dir / CONFIG_NAME, "is not what this machine has", key, expected=expected)
    return Truth(rig, plans)
