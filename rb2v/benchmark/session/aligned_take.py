"""An aligned take as a report needs it: read once, with the truth where there is one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import AlignedFrame, Category, Crop, Rig, Timing
from rb2v.benchmark.report.scores import Score
from rb2v.benchmark.session.inputs import Aligned
from rb2v.core.homography import warp_points
from rb2v.io.aligned import FrameChecks, ScoreCurves
from rb2v.simulator.camera import SimulatedCamera
from rb2v.simulator.plans import TakePlan
from rb2v.simulator.rig import SimulatedRig
from rb2v.simulator.truth import Truth
from rb2v.stages.align import AlignConfig

SUITE, STAGE = "alignment", "align"

_N_COLUMNS = 9  # points on a row, which lenses bend: their mean stands for it


@dataclass(frozen=True, eq=False)
class TrueTiming:
    """How a simulated take's two recordings lie in time."""

    positions: NDArray[np.float64]
    """(n_frames,) fine-track positions, to a fraction."""
    offset_seconds: float
    """Sharp-camera time at blurry-camera time 0."""
    drift: float
    exposure_seconds: float
    """Of the blurry camera."""
    skew_seconds: float
    """What the blurry camera's last output row lags behind its first, less the same of the sharp camera."""


@dataclass(frozen=True, eq=False)
class AlignedTake:
    """What a report tells of a take."""

    name: str
    category: Category
    rig: Rig
    config: AlignConfig
    """How it was aligned."""
    frames: list[AlignedFrame]
    curves: ScoreCurves
    checks: FrameChecks
    timing: Timing
    truth: TrueTiming | None

    @property
    def accepted(self) -> list[int]:
        """Indices of the accepted frames."""
        return [index for index, frame in enumerate(self.frames) if frame.accepted]

    @property
    def rejected(self) -> list[int]:
        """Indices of the other frames."""
        return [index for index, frame in enumerate(self.frames) if not frame.accepted]

    @property
    def times(self) -> NDArray[np.float64]:
        """(n_frames,) times of the blurry frames in seconds."""
        return np.array([frame.blurry_time for frame in self.frames], dtype=np.float64)

    def score(self, metric: str, value: float | None, unit: str, *, checked: bool = False) -> Score:
        """Return a figure of this take."""
        return Score(SUITE, STAGE, metric, value, unit, self.name, checked)


def read_take(aligned: Aligned, name: str, truth: Truth | None) -> AlignedTake:
    """Read a take of an aligned folder.

    Raises
    ------
    InputError
        If its file is damaged.
    """
    with aligned.open_take(name) as reader:
        frames = reader.read_frames()
        true = None
        if truth is not None:
            true = _true_timing(truth.rig, truth.take(name), frames, aligned)
        return AlignedTake(
            name=name,
            category=reader.category,
            rig=aligned.rig,
            config=aligned.config,
            frames=frames,
            curves=reader.read_curves(),
            checks=reader.read_checks(),
            timing=reader.timing,
            truth=true,
        )


def true_positions(rig: SimulatedRig, plan: TakePlan, frames: list[AlignedFrame]) -> NDArray[np.float64]:
    """Return the fine-track positions of blurry frames, to a fraction, as (n_frames,)."""
    return np.array([rig.true_position(plan, frame.blurry_time) for frame in frames], dtype=np.float64)


def position_errors(
    frames: list[AlignedFrame], positions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far the accepted frames' sub-frame and integer positions lie from the truth, in fine frames."""
    pairs = [(frame, float(true)) for frame, true in zip(frames, positions, strict=True) if frame.accepted]
    fine = np.array([abs(frame.position_fine - true) for frame, true in pairs], dtype=np.float64)
    whole = np.array([abs(frame.position - true) for frame, true in pairs], dtype=np.float64)
    return fine, whole


def _true_timing(rig: SimulatedRig, plan: TakePlan, frames: list[AlignedFrame], aligned: Aligned) -> TrueTiming:
    return TrueTiming(
        positions=true_positions(rig, plan, frames),
        offset_seconds=plan.offset_seconds,
        drift=rig.config.drift_ppm * 1e-6,
        exposure_seconds=rig.blurry.exposure_seconds,
        skew_seconds=true_skew_seconds(rig, aligned.crop, aligned.rig.output_size[1]),
    )


def true_skew_seconds(rig: SimulatedRig, crop: Crop, output_height: int) -> float:
    """Return how much later the last output row is exposed than the first, by the blurry camera less by the sharp one.

    Parameters
    ----------
    rig : SimulatedRig
        The true cameras.
    crop : Crop
        Part of the blurry camera's frame that is shown.
    output_height : int
        Rows of the output.
    """
    edge = crop.height / (2 * output_height) - 0.5
    rows = np.array([crop.y + edge, crop.y + crop.height - 1 - edge])
    columns = np.linspace(crop.x, crop.x + crop.width - 1, _N_COLUMNS)
    points = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    sharp_points = rig.sharp.distort(warp_points(np.linalg.inv(rig.homography), points))
    sharp_rows = sharp_points[:, 1].reshape(2, -1).mean(axis=1)
    blurry_rows = rig.blurry.distort(points)[:, 1].reshape(2, -1).mean(axis=1)
    return _delay(rig.blurry, blurry_rows) - _delay(rig.sharp, sharp_rows)


def _delay(camera: SimulatedCamera, rows: NDArray[np.float64]) -> float:
    return camera.readout_seconds * float(rows[1] - rows[0]) / (camera.size[1] - 1)
