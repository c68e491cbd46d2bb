"""The sharp frames against the truth, beside an oracle's: the same recording under the true homography and clock."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import AlignedFrame, Camera, Category, Take
from rb2v.benchmark.report.page import Gallery, Section, Table, make_picture, make_table
from rb2v.benchmark.report.scores import TARGETS, Score
from rb2v.benchmark.session.inputs import Aligned
from rb2v.benchmark.truth.reference import TruthRenderer, spread_indices
from rb2v.core.blur import window_steps
from rb2v.core.color import apply_color_map, encode
from rb2v.core.metrics import psnr
from rb2v.core.resampling import FrameWarp
from rb2v.errors import InputError
from rb2v.interpolation import make_interpolator
from rb2v.io.aligned import AlignedTakeReader
from rb2v.io.video import iter_frames
from rb2v.simulator.rig import SimulatedRig
from rb2v.stages.align import SharpSource, Track

_SUITE, _STAGE = "sharp frames", "align"
_DIFFERENCE_GAIN = 8  # makes 4 levels of 255 visible; 32 are white
_COMPARED_METHODS = ("flow", "quick-flow", "linear")
"""Interpolation methods whose synthetic blur is told of, beside the one that aligned."""


@dataclass(frozen=True, eq=False)
class TakeFidelity:
    """How the sharp frames of a take compare with the truth."""

    take: str
    category: Category
    ours_db: NDArray[np.float64]
    """(S, N + 1) PSNR of the aligned sharp frames."""
    oracle_db: NDArray[np.float64]
    """(S, N + 1) PSNR of the oracle's."""
    is_original: NDArray[np.bool_]
    """(S, N + 1) whether a frame was recorded, and not interpolated."""
    gallery: Gallery
    """One frame of each, and the truth."""
    blur_db: Mapping[str, NDArray[np.float64]] = dataclasses.field(default_factory=dict)
    """(B,) PSNR of the synthetic blur of a few windows, by what interpolates."""
    blur_seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Processor seconds for each frame of such a window, by the same; empty where they were not asked for."""


def report(results: Sequence[TakeFidelity]) -> Section:
    """Return the section on the sharp frames of all takes."""
    lines = [*(_line(result) for result in results), _line_over_all(results)]
    limit, mean_limit = (TARGETS[name].limit for name in ("sharp_psnr_deficit", "sharp_psnr_deficit_mean"))
    table = make_table(
        "Mean PSNR against the truth, in dB. The deficit is the oracle's PSNR less ours; its target is at most "
        f"{mean_limit:g} dB in the mean over all frames, and {limit:g} dB for each street take. Below zero ours is "
        "nearer, for it fits the colors frame by frame. Original frames were recorded, interpolated ones lie between "
        "two of them.",
        ("Take", "Category", "frames", "ours", "oracle", "deficit", "ours, original", "ours, interpolated"),
        lines,
        n_text_columns=2,
    )
    lead = (
        "The truth is the scene rendered again at the sharp frames' times, through the blurry camera's view and "
        "colors, without noise or coding. The oracle is the recorded sharp video under the true homography, clock and "
        "colors, with the same interpolation: what lies below it is lost to calibration and alignment."
    )
    blurs = [result for result in results if result.blur_db]
    blur_lines = [_blur_line(result) for result in blurs]
    tables = [table, _blur_table(blurs, blur_lines)] if blurs else [table]
    timed = [result for result in blurs if result.blur_seconds]
    second_lines = [_second_line(result) for result in timed]
    if timed:
        caption = "Processor seconds for each frame of those windows, most of which are interpolated."
        header = ("Take", "Category", *timed[0].blur_seconds)
        tables.append(make_table(caption, header, second_lines, n_text_columns=2))
    all_lines = (*lines, *blur_lines, *second_lines)
    scores = tuple(cell for line in all_lines for cell in line if isinstance(cell, Score))
    galleries = [result.gallery for result in results]
    return Section("Sharp frames against the truth", lead, (*tables, *galleries), scores)


def _blur_table(blurs: Sequence[TakeFidelity], lines: Sequence[Sequence[str | Score]]) -> Table:
    caption = (
        "Synthetic blur: PSNR, in dB, of the mean of a window's blur track against the scene integrated over the same "
        "time at up to 64 instants, under the true homography, clock and colors. The columns differ in what makes "
        "the frames between the recorded ones; linear blends them."
    )
    return make_table(caption, ("Take", "Category", "windows", *blurs[0].blur_db), lines, n_text_columns=2)


def _blur_line(result: TakeFidelity) -> list[str | Score]:
    scores = [
        Score(_SUITE, _STAGE, f"synthetic_blur_psnr.{name}", float(values.mean()), "dB", result.take)
        for name, values in result.blur_db.items()
    ]
    return [result.take, result.category, str(len(next(iter(result.blur_db.values())))), *scores]


def _second_line(result: TakeFidelity) -> list[str | Score]:
    scores = [
        Score(_SUITE, _STAGE, f"synthetic_blur_seconds.{name}", value, "s", result.take)
        for name, value in result.blur_seconds.items()
    ]
    return [result.take, result.category, *scores]


def _line(result: TakeFidelity) -> list[str | Score]:
    def score(metric: str, values: NDArray[np.float64], *, checked: bool = False) -> Score:
        mean = float(values.mean()) if values.size else None
        return Score(_SUITE, _STAGE, metric, mean, "dB", result.take, checked)

    ours, oracle, original = result.ours_db, result.oracle_db, result.is_original
    return [
        result.take,
        result.category,
        Score(_SUITE, _STAGE, "frames_compared", ours.size, "frames", result.take),
        score("sharp_psnr", ours),
        score("sharp_psnr_oracle", oracle),
        score("sharp_psnr_deficit", oracle - ours, checked=result.category == "street"),
        score("sharp_psnr_original", ours[original]),
        score("sharp_psnr_interpolated", ours[~original]),
    ]


def _line_over_all(results: Sequence[TakeFidelity]) -> list[str | Score]:
    ours, oracle, original = (
        np.concatenate([getattr(result, name).ravel() for result in results])
        for name in ("ours_db", "oracle_db", "is_original")
    )

    def score(metric: str, values: NDArray[np.float64], *, checked: bool = False) -> Score:
        mean = float(values.mean()) if values.size else None
        return Score(_SUITE, _STAGE, f"{metric}_mean", mean, "dB", checked=checked)

    return [
        "all takes",
        "",
        Score(_SUITE, _STAGE, "frames_compared", ours.size, "frames"),
        score("sharp_psnr", ours),
        score("sharp_psnr_oracle", oracle),
        score("sharp_psnr_deficit", oracle - ours, checked=True),
        score("sharp_psnr_original", ours[original]),
        score("sharp_psnr_interpolated", ours[~original]),
    ]


class TakeComparison:
    """What alignments of one take are compared with: its true frames, and the oracle's.

    The recording is decoded, and the oracle's sequence of a window made, once for all alignments.

    Parameters
    ----------
    readers : sequence of AlignedTakeReader
        The take in every alignment that will be compared.
    recorded : Take
        It, as it was recorded.
    aligned : Aligned
        The alignment whose crop and interpolation method the oracle has.
    renderer : TruthRenderer
        The true frames of the take.
    n_samples : int
        Sequences to compare, evenly spaced over the accepted ones.

    Raises
    ------
    InputError
        If the recording cannot be decoded, or has another size than the truth.
    """

    def __init__(
        self,
        readers: Sequence[AlignedTakeReader],
        recorded: Take,
        aligned: Aligned,
        *,
        renderer: TruthRenderer,
        n_samples: int,
    ) -> None:
        self._aligned, self._renderer, self._n_samples = aligned, renderer, n_samples
        positions = [
            round(position) for reader in readers for position in self._choose(_accepted_frames(reader)).values()
        ]
        self._oracle = _Oracle(recorded, aligned, renderer.rig, positions)

    def _choose(self, accepted: Sequence[AlignedFrame]) -> dict[int, float]:
        """Return the true positions of the frames to compare, by index."""
        indices = spread_indices(len(accepted), self._n_samples)
        return {index: self._renderer.position(accepted[index].blurry_time) for index in indices}

    def compare(
        self, reader: AlignedTakeReader, n_blurs: int = 0, blur_methods: Sequence[str] = ()
    ) -> TakeFidelity | None:
        """Compare a few sequences of the take in one alignment with the truth.

        Parameters
        ----------
        reader : AlignedTakeReader
            One of the readers.
        n_blurs : int
            How many of the sequences to compare the synthetic blur of.
        blur_methods : sequence of str
            Further interpolation methods to make that by.

        Returns
        -------
        TakeFidelity or None
            None where no frame was accepted.
        """
        accepted, aligned, renderer, oracle = _accepted_frames(reader), self._aligned, self._renderer, self._oracle
        # At the recording's ends the true window may reach out of it.
        true = {index: position for index, position in self._choose(accepted).items() if oracle.covers(round(position))}
        if not true:
            return None
        ours_db, oracle_db, is_original, shown = [], [], [], []
        ks = range(aligned.rig.frames_per_sequence)
        shutter = reader.timing.rolling_shutter
        rows: Camera = "blurry" if shutter is not None and shutter.compensated else "sharp"
        for index, true_position in true.items():
            frame, best = accepted[index], round(true_position)
            position = _judged_position(frame, true_position)
            truths = [renderer.sharp(position + k, rows) for k in ks]
            sample, oracles = reader.read(index), oracle.sequence(best)
            ours_db.append([psnr(sample.sharp[k], truths[k]) for k in ks])
            oracle_db.append([psnr(oracles[k], renderer.sharp(best + k)) for k in ks])
            is_original.append([(frame.position + k) % aligned.rig.upsampling == 0 for k in ks])
            shown.append(_Shown(frame, sample.sharp[len(ks) // 2], oracles[len(ks) // 2], truths[len(ks) // 2]))
        return TakeFidelity(
            reader.name,
            reader.category,
            np.array(ours_db, dtype=np.float64),
            np.array(oracle_db, dtype=np.float64),
            np.array(is_original, dtype=bool),
            _show(shown[len(shown) // 2], len(ks) // 2),
            *self._compare_blurs([round(position) for position in true.values()], n_blurs, blur_methods),
        )

    def _compare_blurs(
        self, positions: Sequence[int], n_blurs: int, methods: Sequence[str]
    ) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
        """Return PSNRs by method, and processor seconds for each frame that is averaged, which only some ask for."""
        chosen = [positions[index] for index in spread_indices(len(positions), n_blurs)] if n_blurs else []
        if not chosen:
            return {}, {}
        truths = [self._renderer.synthetic_blur(position) for position in chosen]
        found, seconds = {}, {}
        for method in dict.fromkeys((self._aligned.config.interpolator, *_COMPARED_METHODS, *methods)):
            began = time.process_time()
            blurs = self._oracle.synthetic_blurs(chosen, method)
            seconds[method] = (time.process_time() - began) / (len(chosen) * self._aligned.rig.blur_samples)
            found[method] = np.array([psnr(blur, truth) for blur, truth in zip(blurs, truths, strict=True)])
        return found, seconds if methods else {}


def _accepted_frames(reader: AlignedTakeReader) -> list[AlignedFrame]:
    return [frame for frame in reader.read_frames() if frame.accepted]


def _judged_position(frame: AlignedFrame, true_position: float) -> int:
    """Return the position at which our frames have to look like the truth.

    Half-way between two positions either is right. A position further off is wrong, and must not be judged by itself.
    """
    tolerance = TARGETS["position_error_max"].limit
    return frame.position if abs(frame.position - true_position) <= tolerance else round(true_position)


class _Oracle:
    """The sequences that the alignment would make, did it know the homography, the clock and the colors."""

    def __init__(self, recorded: Take, aligned: Aligned, rig: SimulatedRig, positions: list[int]) -> None:
        self._rig, self._color = aligned.rig, rig.color
        ends = [(position, position + self._rig.frames_per_sequence - 1) for position in positions]
        needed = {
            index
            for first, last in ends
            for index in range(first // self._rig.upsampling, -(-last // self._rig.upsampling) + 1)
        }
        crop = dataclasses.astuple(aligned.crop)
        warp = FrameWarp(rig.homography, crop, self._rig.output_size, self._rig.response, rig.sharp.lens)
        track = _load_frames(recorded, warp, rig.config.size, needed)
        self._track, self._aligned = track, aligned
        self._source = SharpSource(track, aligned.rig, aligned.make_interpolator())
        self._sequences: dict[int, list[NDArray[np.uint8]]] = {}

    def covers(self, position: int) -> bool:
        """Return whether the window at a position lies inside the recording."""
        return 0 <= position < self._source.n_positions

    def synthetic_blurs(self, positions: Sequence[int], method: str) -> list[NDArray[np.uint8]]:
        """Return the synthetic blur of the windows at positions, by any interpolation method."""
        rig, ours = self._rig, method == self._aligned.config.interpolator
        interpolator = self._aligned.make_interpolator() if ours else make_interpolator(method, response=rig.response)
        source = SharpSource(self._track, rig, interpolator)
        blurs = (source.window(position)[0] for position in positions)
        return [encode(apply_color_map(self._color, blur), rig.response) for blur in blurs]

    def sequence(self, position: int) -> list[NDArray[np.uint8]]:
        """Return the sharp sequence at a position; kept, because several alignments are compared with the same one."""
        if position not in self._sequences:
            rig = self._rig
            fine_steps = window_steps(position, rig.frames_per_sequence, rig.blur_factor)[:: rig.blur_factor]
            frames = self._source.blur_frames(fine_steps)
            self._sequences[position] = [encode(apply_color_map(self._color, frame), rig.response) for frame in frames]
        return self._sequences[position]


def _load_frames(recorded: Take, warp: FrameWarp, size: tuple[int, int], needed: set[int]) -> Track:
    """Return the sharp recording up to its last needed frame, the needed frames warped and the others black."""
    times, warped = [], {}
    for index, frame in enumerate(iter_frames(recorded.sharp, recorded.sharp_format)):
        if frame.image.shape[1::-1] != size:
            found, wanted = (f"{width}x{height}" for width, height in (frame.image.shape[1::-1], size))
            raise InputError(recorded.sharp[0], f"its frames are {found}", expected=f"{wanted} as in the truth")
        times.append(frame.time_seconds)
        if index in needed:
            warped[index] = warp(frame.image)
        if index >= max(needed, default=0):
            break
    shape = next((image.shape for image in warped.values()), (0, 0, 3))
    frames = np.zeros((len(times), *shape), dtype=np.uint8)  # pages that stay empty take no memory
    for index, image in warped.items():
        frames[index] = image
    return Track(frames, np.array(times, dtype=np.float64), np.zeros(len(times), dtype=bool))


@dataclass(frozen=True, eq=False)
class _Shown:
    """One sharp frame, thrice."""

    frame: AlignedFrame
    ours: NDArray[np.uint8]
    oracle: NDArray[np.uint8]
    truth: NDArray[np.uint8]


def _show(shown: _Shown, k: int) -> Gallery:
    difference = np.abs(shown.ours.astype(np.int16) - shown.truth.astype(np.int16)) * _DIFFERENCE_GAIN
    pictures = (
        make_picture("truth", shown.truth),
        make_picture(f"ours, {psnr(shown.ours, shown.truth):.1f} dB", shown.ours),
        make_picture("oracle", shown.oracle),
        make_picture(
            f"ours against truth, {_DIFFERENCE_GAIN} times amplified", difference.clip(0, 255).astype(np.uint8)
        ),
    )
    return Gallery(f"{shown.frame.take}: sharp frame x{k} of blurry frame {shown.frame.blurry_index}.", pictures)
