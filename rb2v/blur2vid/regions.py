"""Scores of what moves apart: every object, and what moves with or against most of the motion.

A blurry image tells neither which way its sequence ran nor which way each of its objects did. So every region here
chooses its own direction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rb2v.blur2vid.backbones import Backbone
from rb2v.blur2vid.evaluate import MAX_PSNR_DB, REGION_FIGURES, estimate_frames, iter_samples
from rb2v.core.metrics import mse_to_psnr
from rb2v.shards import ShardReader
from rb2v.shards.displacement_table import Displacement, DisplacementReader
from rb2v.training.tables import read_table

REGIONS_NAME = "regions.csv"
_MOVING_PX = 1.0  # of the frame: what moves less shows hardly any direction
_LEAST_PIXELS = 16  # of a region: fewer are an edge, and no object

Frames = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def measure_regions(frames: Frames, sharp: Frames, truth: Displacement) -> dict[str, float]:
    """Measure the first and the last frame where something moves, each region in the direction that suits it better.

    Parameters
    ----------
    frames, sharp : (N + 1, H, W, 3) ndarray of uint8
        The estimate and the true frames.
    truth : Displacement
        True displacement of the pixels of frames of any size.

    Returns
    -------
    dict of str to float
        ``psnr_with`` and ``psnr_against``, PSNR in dB of what moves with and against the mean motion of all moving
        pixels; ``psnr_objects``, mean over the objects that move; and ``against``, share of the moving pixels that
        move against the mean. NaN where there is no such region. A region is all that it passes on its way.
    """
    height, width = sharp.shape[1:3]
    scale = width / truth.layers.shape[1]
    size = (width, height)
    moved = cv2.resize(truth.moved_px, size, interpolation=cv2.INTER_NEAREST) * scale
    layers = cv2.resize(truth.layers, size, interpolation=cv2.INTER_NEAREST)
    moving = np.hypot(moved[..., 0], moved[..., 1]) >= _MOVING_PX * scale
    along = moved @ (moved[moving].mean(axis=0) if moving.any() else np.zeros(2, dtype=np.float32))
    against = moving & (along < 0)
    errors = [_border_errors(frames, true) for true in (sharp, sharp[::-1])]

    def score(mask: Mask) -> float:
        if np.count_nonzero(mask) < _LEAST_PIXELS:
            return math.nan
        passed = _passed(mask, moved)
        return min(mse_to_psnr(min(float(error[passed].mean()) for error in errors)), MAX_PSNR_DB)

    objects = [score(moving & (layers == layer)) for layer in np.unique(layers) if layer]
    known = [value for value in objects if not math.isnan(value)]
    return {
        "psnr_with": score(moving & ~against),
        "psnr_against": score(against),
        "psnr_objects": float(np.mean(known)) if known else math.nan,
        "against": float(against.sum() / moving.sum()) if moving.any() else math.nan,
    }


def _border_errors(frames: Frames, sharp: Frames) -> NDArray[np.float64]:
    """Return the squared errors of the first and last frame in [0, 1], (H, W), mean over both and the colors."""
    ends = (frames[[0, -1]].astype(np.float64) - sharp[[0, -1]]) / 255
    return np.asarray(np.square(ends).mean(axis=(0, 3)))


def _passed(mask: Mask, moved: NDArray[np.float32]) -> Mask:
    """Return where pixels are that move by (H, W, 2) pixels: half-way, first and last."""
    passed = mask.copy()
    places = np.argwhere(mask)
    for share in (-0.5, 0.5):
        rows, columns = np.rint(places + share * moved[mask][:, ::-1]).astype(int).T
        inside = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
        passed[rows[inside], columns[inside]] = True
    return passed


def measure_all(
    network: Backbone, reader: ShardReader, truth: DisplacementReader, image_size: int | None = None
) -> pd.DataFrame:
    """Measure the regions of every sample.

    Parameters
    ----------
    network : Backbone
        On the device that is to compute, in evaluation mode.
    reader : ShardReader
        The samples.
    truth : DisplacementReader
        Their true displacement.
    image_size : int, optional
        Shorter side to which larger frames are area-resized, in pixels.

    Returns
    -------
    DataFrame
        A row for every sample and estimator, ``network`` and ``blurry``: ``estimator``, ``take``, ``blurry_index`` and
        what `measure_regions` returns.
    """
    keys = reader.table[["take", "blurry_index"]].to_dict("records")
    rows = []
    for index, (blurry, sharp) in enumerate(iter_samples(reader, image_size)):
        found = truth.read(index)
        estimates: Mapping[str, Frames] = {
            "network": estimate_frames(network, blurry, sharp),
            "blurry": np.repeat(blurry[None], len(sharp), axis=0),
        }
        rows += [
            {"estimator": name, **keys[index], **measure_regions(frames, sharp, found)}
            for name, frames in estimates.items()
        ]
    return pd.DataFrame(rows)


def read_regions(path: Path) -> pd.DataFrame:
    """Read the table that `measure_all` made.

    Raises
    ------
    InputError
        If the file is missing, no table, or lacks a column.
    """
    columns = ("estimator", "take", "blurry_index", *REGION_FIGURES)
    return read_table(path, columns, texts=("estimator", "take"), expected="regions that 'rb2v benchmark' measured")
