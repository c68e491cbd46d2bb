"""Evaluation of deblurring networks: measurements per sample first, then scores from them.

References
----------
.. [1] Pham et al., "HyperCUT", CVPR 2023, eq. (11).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from rb2v.blur2vid.backbones import Backbone
from rb2v.core.metrics import SSIM_WINDOW_PX, choose_by_frame, choose_by_pair, choose_by_sequence, psnr, ssim
from rb2v.core.motion_classes import reverse
from rb2v.errors import InputError
from rb2v.progress import Progress
from rb2v.shards import ShardReader
from rb2v.shards.guidance_table import GuidanceReader
from rb2v.shards.prepared import open_frames
from rb2v.shards.resizing import resize_frames, shrunk_size
from rb2v.training.data import to_float, to_tensor
from rb2v.training.intervals import TakeBootstrap, interval_of
from rb2v.training.tables import read_table
from rb2v.training.transforms import to_vectors

SAMPLES_NAME = "samples.csv"
RECORDED_COLUMN = "recorded"
"""Of that table where the data set says it: a digit a frame, 1 where it was recorded and 0 where interpolated."""

TRIVIAL = ("blurry", "mean_frame")
"""Estimates without any learning: the blurry image seven times, and the mean of the true frames seven times."""
CHOICES: Mapping[str, Callable[[Any, Any], NDArray[np.float64]]] = {
    "frame": choose_by_frame,
    "pair": choose_by_pair,
    "seq": choose_by_sequence,
}
"""Who chooses the direction: every frame (eq. 11), every pair, the whole sequence."""
MEASURES: Mapping[str, int] = {"psnr": 1, "ssim": 1, "lpips": -1}
"""What is measured of every frame in both directions, and whether more of it is better (+1) or worse (-1)."""
DIFFERENCES = ("survival", "true_survival", "correlation")
"""What is measured of the difference of the first and the last frame."""
REGION_FIGURES = ("psnr_with", "psnr_against", "psnr_objects")
"""Figures of `rb2v.blur2vid.regions`, where it measured them."""
SIGN_PREFIX = "brighter_"
"""Of the columns that tell the signs of that difference, one for each color and place among 2x2 pixels."""
ORDER_COLUMN = "order"
"""Of the order that an order network gives the true sequence, where there is one: +1, -1 or 0."""
MAX_PSNR_DB = 100.0
"""What an estimate without any error is given, so that means stay finite."""

Frames = NDArray[np.uint8]
Also = Callable[[int, Frames, Frames], Mapping[str, float]]
"""Measures more of an estimate, given its sample's index, itself and the true frames; see `measure_samples`."""


def measure_samples(
    network: Backbone,
    reader: ShardReader,
    *,
    image_size: int | None = None,
    guidance: TrueGuidance | None = None,
    lpips: bool = False,
    with_trivial: bool = True,
    also: Also | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure a network's sequences, and the trivial ones, frame by frame against the true ones in both directions.

    Frames are whole, rounded to 8 bits as a file would hold them.

    Parameters
    ----------
    network : Backbone
        On the device that is to compute, in evaluation mode.
    reader : ShardReader
        The samples.
    image_size : int, optional
        Shorter side to which larger frames are area-resized, in pixels.
    guidance : TrueGuidance, optional
        What a guided network is given; nothing by default.
    lpips : bool
        Whether to measure LPIPS too.
    with_trivial : bool
        Whether to measure the trivial estimates too.
    also : callable, optional
        What else to measure of every estimate, as further columns.
    progress : callable, optional
        Called with the samples measured, their number, and what it is.

    Returns
    -------
    DataFrame
        One row per estimator and sample: ``estimator`` (``network``, ``blurry``, ``mean_frame``), ``take``,
        ``blurry_index``; ``psnr_forward_k`` in dB of estimate k against true frame k, ``psnr_backward_k`` against true
        frame N - k, SSIM and LPIPS alike; ``reblur_psnr``, of the mean of the estimates against the blurry image, in
        dB; ``amplitude``, the mean absolute difference of the estimates of a pair over that of the true pair, mean over
        the pairs: 1 for the truth, 0 for what is static; what `measure_difference` returns; and ``recorded`` where the
        data set says which frames are, see `keep_recorded`.
    """
    scorers = make_scorers(next(network.parameters()).device, lpips=lpips)
    tables = []
    keys = reader.table[["take", "blurry_index"]]
    for index, (blurry, sharp) in enumerate(iter_samples(reader, image_size)):
        marks = reader.read_marks(index)
        said = {} if marks is None else {RECORDED_COLUMN: "".join("01"[not mark] for mark in marks)}
        classes = None if guidance is None else guidance.read(index, blurry.shape[:2])
        estimates = {"network": estimate_frames(network, blurry, sharp, classes)}
        if with_trivial:
            estimates |= {"blurry": _still(blurry, len(sharp)), "mean_frame": _still(_mean(sharp), len(sharp))}
        for name, frames in estimates.items():
            row: dict[Any, Any] = {"estimator": name, **keys.iloc[index].to_dict(), **said}
            row |= measure_frames(frames, blurry, sharp, scorers, is_still=name in TRIVIAL)
            tables.append(row if also is None else {**row, **also(index, frames, sharp)})
        if progress is not None:
            progress(index + 1, len(reader), "scoring test sequences")
    table = pd.DataFrame(tables)
    return table.sort_values("estimator", key=_rank, kind="stable", ignore_index=True) if len(table) else table


def iter_samples(reader: ShardReader, image_size: int | None = None) -> Iterator[tuple[Frames, Frames]]:
    """Yield every sample as `read_sample` returns it, from prepared frames where they are to be made small."""
    width, height = reader.manifest.output_size
    prepared = open_frames(reader, image_size) if shrunk_size(height, width, image_size) else None
    for index in range(len(reader)):
        yield read_sample(reader, index, image_size) if prepared is None else _take(prepared[index])


Scorer = Callable[[Frames, Frames], NDArray[np.float64]]
"""Scores the frames of a sequence against others, (N + 1,)."""


def make_scorers(device: torch.device, *, lpips: bool = False) -> dict[str, Scorer]:
    """Return what `measure_frames` measures, by name: PSNR, SSIM and, on the device, LPIPS.

    Raises
    ------
    InputError
        If the weights of LPIPS are not there.
    """
    scorers: dict[str, Scorer] = {"psnr": _each(_bounded_psnr), "ssim": _each(ssim)}
    if lpips:
        from rb2v.lpips import load_lpips

        perceptual = load_lpips("alex").to(device)
        scorers["lpips"] = lambda ours, true: perceptual.distance(ours, true)
    return scorers


def measure_frames(
    frames: Frames, blurry: Frames, sharp: Frames, scorers: Mapping[str, Scorer], *, is_still: bool = False
) -> dict[str, float]:
    """Measure one estimate against the true frames in both directions.

    Parameters
    ----------
    frames, sharp : (N + 1, H, W, 3) ndarray of uint8
        The estimate and the true frames.
    blurry : (H, W, 3) ndarray of uint8
        The blurry image.
    scorers : mapping
        What `make_scorers` returned.
    is_still : bool
        Whether all frames are alike, so that one direction tells the other.

    Returns
    -------
    dict of str to float
        Columns of `measure_samples`, without the sample's own.
    """
    row: dict[str, float] = {}
    for measure, score in scorers.items():
        ahead = score(frames, sharp)
        # What is static is as far from the frames whichever way round they come.
        back = ahead[::-1] if is_still else score(frames, sharp[::-1])
        row |= {f"{measure}_forward_{k}": value for k, value in enumerate(ahead)}
        row |= {f"{measure}_backward_{k}": value for k, value in enumerate(back)}
    return row | {
        "reblur_psnr": _bounded_psnr(_mean(frames), blurry),
        "amplitude": _amplitude(frames, sharp),
        **measure_difference(frames, sharp),
    }


def measure_difference(frames: Frames, sharp: Frames) -> dict[str, float]:
    """Measure the difference of the first and the last frame, in which PSNR does not tell noise from motion.

    Parameters
    ----------
    frames, sharp : (N + 1, H, W, 3) ndarray of uint8
        The estimate and the true frames.

    Returns
    -------
    dict of str to float
        ``survival`` and ``true_survival``, shares of the difference's energy that are left after every 2x2 pixels were
        averaged; ``correlation`` with the true difference, below 0 where the estimate runs backward; and
        ``brighter_c_y_x``, share of the pixels that differ of which the first frame is the brighter one, of color c
        and of rows and columns that leave y and x when divided by 2. NaN where nothing differs.
    """
    ours, true = (sequence[0].astype(np.float64) - sequence[-1] for sequence in (frames, sharp))
    inner, energy, true_energy = np.vdot(ours, true), np.vdot(ours, ours), np.vdot(true, true)
    found = {
        "survival": _survival(ours),
        "true_survival": _survival(true),
        "correlation": float(inner / math.sqrt(energy * true_energy)) if energy * true_energy else math.nan,
    }
    for y, x, color in np.ndindex(2, 2, ours.shape[-1]):
        part = ours[y::2, x::2, color]
        n_differing = np.count_nonzero(part)
        found[f"{SIGN_PREFIX}{color}_{y}_{x}"] = np.count_nonzero(part > 0) / n_differing if n_differing else math.nan
    return found


def _survival(difference: NDArray[np.float64]) -> float:
    """Return which share of a difference's energy an average of 2x2 pixels leaves; NaN where there is none."""
    height, width = (side // 2 * 2 for side in difference.shape[:2])
    even = difference[:height, :width]
    means = even.reshape(height // 2, 2, width // 2, 2, -1).mean(axis=(1, 3))
    energy = np.vdot(even, even)
    return float(means.size and 4 * np.vdot(means, means) / energy) if energy else math.nan


@dataclass(frozen=True)
class TrueGuidance:
    """Guidance of the samples that are measured, from their true frames."""

    table: GuidanceReader
    orders: Sequence[int] | None = None
    """Order of every sample, where guidance is turned to the preferred side."""

    def read(self, index: int, size: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return a sample's classes at a size, (H, W) ndarray of uint8."""
        classes = self.table.fit(self.table.read(index), (size[0], size[1]))
        is_turned = self.orders is not None and self.orders[index] < 0
        return reverse(classes) if is_turned else classes


def check_measurable(reader: ShardReader, image_size: int | None, *, lpips: bool = False) -> None:
    """Check that `measure_samples` will be able to measure.

    Parameters
    ----------
    reader : ShardReader
        The samples.
    image_size : int, optional
        Shorter side to which larger frames will be area-resized, in pixels.
    lpips : bool
        Whether LPIPS will be measured too.

    Raises
    ------
    InputError
        If frames are too small for SSIM or LPIPS, or the weights of LPIPS are not there.
    """
    least = SSIM_WINDOW_PX
    if lpips:
        from rb2v.lpips import load_lpips

        least = max(least, load_lpips("alex").min_size_px)
    width, height = reader.manifest.output_size
    expected = f"at least {least} pixels a side, to be scored"
    if min(width, height) < least:
        raise InputError(reader.folder, f"frames are {width}x{height}", "output_size", expected)
    if image_size is not None and image_size < least:
        raise InputError("options", f"is {image_size}", "image_size", expected)


def read_sample(reader: ShardReader, index: int, image_size: int | None) -> tuple[Frames, Frames]:
    """Return a sample's blurry frame, (H, W, 3), and its sharp ones, (N + 1, H, W, 3), area-resized where larger."""
    frames = np.concatenate([reader.read_blurry(index)[None], reader.read_sharp(index)])
    if image_size is not None:
        frames = resize_frames(frames, image_size)
    return frames[0], frames[1:]


def _take(planes: Frames) -> tuple[Frames, Frames]:
    frames = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    return frames[0], frames[1:]


def estimate_frames(
    network: Backbone, blurry: Frames, sharp: Frames | None = None, guidance: NDArray[np.uint8] | None = None
) -> Frames:
    """Return the sequence of a blurry image in 8 bits.

    Parameters
    ----------
    network : Backbone
        In evaluation mode.
    blurry : (H, W, 3) ndarray of uint8
        RGB.
    sharp : (N + 1, H, W, 3) ndarray of uint8, optional
        The true frames, of which networks that take the true center frame see that one.
    guidance : (H, W) ndarray of uint8, optional
        Classes of `rb2v.core.motion_classes`, for networks that take guidance.

    Returns
    -------
    (N + 1, H, W, 3) ndarray of uint8
    """
    device = next(network.parameters()).device
    inputs = [to_float(to_tensor(blurry[None])).to(device)]
    if network.takes_center and sharp is not None:
        inputs.append(to_float(to_tensor(sharp[len(sharp) // 2][None])).to(device))
    given = {} if guidance is None else {"guidance": to_vectors(torch.from_numpy(guidance[None].copy())).to(device)}
    with torch.inference_mode():
        frames = network(*inputs, **given)[0].clamp(0, 1).mul(255).round().to(torch.uint8)
    return np.ascontiguousarray(frames.permute(0, 2, 3, 1).cpu().numpy())


def _still(frame: Frames, n_frames: int) -> Frames:
    return np.repeat(frame[None], n_frames, axis=0)


def _mean(frames: Frames) -> Frames:
    return np.asarray(np.rint(frames.mean(axis=0)), dtype=np.uint8)


def _each(score: Callable[[Any, Any], float]) -> Callable[[Frames, Frames], NDArray[np.float64]]:
    return lambda ours, true: np.array([score(one, other) for one, other in zip(ours, true, strict=True)])


def _bounded_psnr(estimate: Frames, truth: Frames) -> float:
    return min(psnr(estimate, truth), MAX_PSNR_DB)


def _amplitude(frames: Frames, sharp: Frames) -> float:
    """Return how much of the true pairs' difference the estimates have; NaN where nothing moves."""
    n_pairs = len(sharp) // 2
    ours, true = (
        np.abs(sequence[:n_pairs].astype(np.int16) - sequence[::-1][:n_pairs]).mean() for sequence in (frames, sharp)
    )
    return float(ours / true) if true else math.nan


def _rank(names: pd.Series) -> pd.Series:
    order = {name: place for place, name in enumerate(("network", *TRIVIAL))}
    return names.map(order)


def read_samples(path: Path) -> pd.DataFrame:
    """Read the table that `measure_samples` made.

    Raises
    ------
    InputError
        If the file is missing, no table, or lacks a column.
    """
    columns = ("estimator", "take", "blurry_index", "psnr_forward_0", "psnr_backward_0", "reblur_psnr", "amplitude")
    expected = "the table of samples that 'rb2v train-blur2vid' wrote"
    return read_table(path, columns, texts=("estimator", "take", RECORDED_COLUMN), expected=expected)


def keep_recorded(samples: pd.DataFrame, source: Path | str = SAMPLES_NAME) -> pd.DataFrame:
    """Leave interpolated frames out of what `measure_samples` returned, so that scores are of recorded ones alone.

    Estimate k is compared with the true frames k and N - k: both have to be recorded. ``reblur_psnr`` and ``amplitude``
    stay as they are.

    Parameters
    ----------
    samples : DataFrame
        Of one data set.
    source : Path or str
        What the table is called in messages.

    Returns
    -------
    DataFrame
        With the frames that are left, counted from 0.

    Raises
    ------
    InputError
        If the table does not say which frames are recorded, samples differ in it, or none is left.
    """
    if RECORDED_COLUMN not in samples:
        expected = "measurements of a data set that marks interpolated frames, as 'rb2v synthesize' does"
        raise InputError(source, "does not say which frames are recorded", RECORDED_COLUMN, expected)
    patterns = samples[RECORDED_COLUMN].unique().tolist()
    if len(patterns) != 1:
        raise InputError(source, f"samples differ in it: {', '.join(patterns[:3])}", RECORDED_COLUMN, "one for all")
    kept = [index for index, pair in enumerate(zip(patterns[0], patterns[0][::-1], strict=True)) if pair == ("1", "1")]
    if not kept:
        raise InputError(source, f"{patterns[0]} leaves no frame", RECORDED_COLUMN, "a recorded frame at either side")
    columns = {}
    for name in samples:
        prefix, _, number = str(name).rpartition("_")
        if not prefix.endswith(("_forward", "_backward")):
            columns[str(name)] = str(name)
        elif int(number) in kept:
            columns[str(name)] = f"{prefix}_{kept.index(int(number))}"
    return samples[list(columns)].rename(columns=columns)


def score_samples(samples: pd.DataFrame, *, n_resamples: int = 1000, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Score what `measure_samples` returned, and say how far the figures may be off.

    Parameters
    ----------
    samples : DataFrame
        Of one split.
    n_resamples, seed : int
        Of the bootstrap over takes that the intervals come from.

    Returns
    -------
    dict
        Per estimator, means over samples: ``ppsnr_frame`` (eq. 11), ``ppsnr_pair`` and ``ppsnr_seq`` in dB over all
        frames, and ``*_border`` over the first and the last; SSIM and LPIPS alike, where the smaller LPIPS is chosen;
        ``reblur_psnr`` in dB; ``amplitude``; ``direction_agreement``, the share of samples whose pairs all are nearer
        to the true ones in one and the same direction; ``survival`` and ``true_survival`` as `measure_difference`
        returns them, and ``correlation`` in the direction that the sequence chooses; what `rb2v.blur2vid.regions`
        measured, where it did; ``follows_order``, where samples have an order, the share that is nearer to the true
        sequence as the order network turns it; and ``one_sign``, the largest share of differing pixels with one sign
        of any color and place among 2x2 pixels. ``frames`` holds ``psnr`` of every frame with the direction chosen by
        the whole sequence. ``intervals`` holds ``[low, high]`` of each figure by name.
    """
    result: dict[str, dict[str, Any]] = {}
    if not len(samples):
        return result
    for estimator, rows in samples.groupby("estimator", sort=False):
        figures = figures_of_samples(rows)
        values = np.stack(list(figures.values()), axis=1)
        bootstrap = TakeBootstrap(rows["take"].astype(str), n_resamples, seed)
        scored: dict[str, Any] = {}
        intervals: dict[str, Any] = {}
        for name, column in zip(figures, values.T, strict=True):
            known = np.isfinite(column)
            scored[name] = float(column[known].mean()) if known.any() else None
            resampled = bootstrap.means(np.where(known, column, 0.0)[:, None], known)
            intervals[name] = interval_of(resampled[:, 0])
        if (one_sign := _one_sign(rows)) is not None:
            scored["one_sign"] = one_sign
        frames = _chosen(rows, "psnr", choose_by_sequence)
        result[str(estimator)] = {**scored, "frames": {"psnr": frames.mean(axis=0).tolist()}, "intervals": intervals}
    return result


def figures_of_samples(rows: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Return what every sample of one estimator adds to each figure's mean; see `score_samples`.

    Returns
    -------
    dict of str to (n,) ndarray of float64
        By the figure's name.
    """
    figures: dict[str, NDArray[np.float64]] = {}
    for measure in MEASURES:
        if f"{measure}_forward_0" not in rows:
            continue
        for choice, choose in CHOICES.items():
            chosen = _chosen(rows, measure, choose)
            figures[f"p{measure}_{choice}"] = np.asarray(chosen.mean(axis=1), dtype=np.float64)
            figures[f"p{measure}_{choice}_border"] = np.asarray(chosen[:, [0, -1]].mean(axis=1), dtype=np.float64)
    figures["reblur_psnr"] = rows["reblur_psnr"].to_numpy(np.float64)
    figures["amplitude"] = rows["amplitude"].to_numpy(np.float64)
    ahead, back = _directions(rows, "psnr")
    n_pairs = ahead.shape[1] // 2
    # Sums of two first, so that rounding finds no direction where both are alike.
    nearer = np.sign(((ahead + ahead[:, ::-1]) - (back + back[:, ::-1]))[:, :n_pairs])
    agrees = (nearer > 0).all(axis=1) | (nearer < 0).all(axis=1)
    figures["direction_agreement"] = np.asarray(agrees, dtype=np.float64)
    side = np.sign((ahead - back).sum(axis=1))
    for name in DIFFERENCES:
        if name in rows:
            figures[name] = rows[name].to_numpy(np.float64)
    if "correlation" in figures:
        figures["correlation"] = figures["correlation"] * np.where(side < 0, -1, 1)
    for name in REGION_FIGURES:
        if name in rows:
            figures[name] = rows[name].to_numpy(np.float64)
    if ORDER_COLUMN in rows:
        order = rows[ORDER_COLUMN].to_numpy(np.float64)
        figures["follows_order"] = np.where(order * side == 0, np.nan, order == side)
    return figures


def _one_sign(rows: pd.DataFrame) -> float | None:
    """Return the largest share of one sign among the columns that tell of them; None without any."""
    columns = [name for name in rows if str(name).startswith(SIGN_PREFIX)]
    shares = rows[columns].mean().dropna()  # of what differs anywhere
    return float(np.maximum(shares, 1 - shares).max()) if len(shares) else None


def _directions(rows: pd.DataFrame, measure: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n_frames = sum(str(name).startswith(f"{measure}_forward_") for name in rows)
    ahead, back = (
        rows[[f"{measure}_{way}_{k}" for k in range(n_frames)]].to_numpy(np.float64) for way in ("forward", "backward")
    )
    return ahead, back


def _chosen(rows: pd.DataFrame, measure: str, choose: Callable[[Any, Any], NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the measure of every sample and frame, (n, N + 1), in the direction that is better by a choice."""
    sign = MEASURES[measure]
    ahead, back = _directions(rows, measure)
    pairs = zip(sign * ahead, sign * back, strict=True)
    return np.stack([np.asarray(sign * choose(one, other), dtype=np.float64) for one, other in pairs])
