"""True motion of simulated samples, with which an order by motion is compared."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rb2v.core.homography import crop_homography
from rb2v.errors import InputError
from rb2v.io.store import CONFIG_NAME, read_json, read_text
from rb2v.shards import Manifest, ShardReader
from rb2v.simulator.scene import LayeredScene
from rb2v.simulator.truth import TRUTH_NAME, Truth, read_truth
from rb2v.stages.simulate_shards import MOTION_COLUMNS, MOTION_NAME

_ENOUGH_PX = 64  # of the shorter side: a mean over the image needs no more
_MAX_TABLE_BYTES = 2**28  # 256 MB, some millions of samples; more would fill the memory

_Motion = tuple[float, float]
_Key = tuple[str, str, int]


def read_motion(truth: Path, reader: ShardReader) -> pd.DataFrame:
    """Return how the image of every sample moves from its first sharp frame to its last.

    Parameters
    ----------
    truth : Path
        The truth that ``rb2v simulate-shards`` wrote beside the data, with a ``motion.csv`` and the configuration that
        both were made with; or that of a session of ``rb2v simulate``, from whose takes the samples are. Of sessions
        only the rig, the size of the frames and the takes can be compared with the samples.
    reader : ShardReader
        The samples.

    Returns
    -------
    DataFrame
        A row for every sample, in the reader's order: ``split``, ``take``, ``blurry_index``, and ``motion_x_px``,
        ``motion_y_px``, the mean over all pixels in pixels of the frames, positive where what is seen moves right and
        down. NaN where the scene is a clip, whose motion nobody knows.

    Raises
    ------
    InputError
        If the folder holds no truth, one that cannot be read or is another data set's, or none of one of the samples.
    """
    path = truth / MOTION_NAME
    if path.is_file():
        _check_made_with(truth / CONFIG_NAME, reader)
        return _join(reader, _read_table(path), path)
    path = truth / TRUTH_NAME
    if path.is_file():
        return _measure(reader, read_truth(truth), path)
    expected = f"{MOTION_NAME} of 'rb2v simulate-shards', or {TRUTH_NAME} of 'rb2v simulate'"
    raise InputError(truth, "holds no truth", expected=expected)


def _check_made_with(path: Path, reader: ShardReader) -> None:
    # All data sets name their takes alike, so that the names do not tell them apart.
    made_with, provenance = read_json(path), reader.manifest.provenance
    for name, expected in (("config", provenance.config), ("seeds", provenance.seeds)):
        if made_with.get(name) != expected:
            raise InputError(path, "is of another data set", name, f"that of {reader.folder}")


def _to_frame(keys: Sequence[_Key], motions: list[_Motion]) -> pd.DataFrame:
    rows = [(*key, *motion) for key, motion in zip(keys, motions, strict=True)]
    return pd.DataFrame(rows, columns=list(MOTION_COLUMNS)).astype(dict.fromkeys(MOTION_COLUMNS[3:], float))


def _join(reader: ShardReader, known: dict[_Key, _Motion], path: Path) -> pd.DataFrame:
    keys = reader.keys
    for split, take, index in keys:
        if (split, take, index) not in known:
            sample = f"frame {index} of take {take!r} of the {split} split"
            raise InputError(path, f"tells nothing of {sample}", expected=_every(reader))
    return _to_frame(keys, [known[key] for key in keys])


def _every(reader: ShardReader) -> str:
    return f"every sample of {reader.folder}"


def _read_table(path: Path) -> dict[_Key, _Motion]:
    if path.stat().st_size > _MAX_TABLE_BYTES:
        raise InputError(path, f"has {path.stat().st_size} bytes", expected=f"at most {_MAX_TABLE_BYTES}")
    rows = csv.reader(io.StringIO(read_text(path)), strict=True)
    known: dict[_Key, _Motion] = {}
    try:
        if next(rows, None) != list(MOTION_COLUMNS):
            raise InputError(path, "has other columns", expected=",".join(MOTION_COLUMNS))
        for line, row in enumerate(rows, start=2):
            key, motion = _parse(row, path, line)
            if key in known:
                raise InputError(path, f"line {line} tells of frame {key[2]} of take {key[1]!r} once more")
            known[key] = motion
    except csv.Error as error:
        raise InputError(path, f"is not a table ({error})", expected="what 'rb2v simulate-shards' writes") from error
    return known


def _parse(row: list[str], path: Path, line: int) -> tuple[_Key, _Motion]:
    try:
        split, take, index, x, y = row
        motion = float(x), float(y)
        if not all(math.isfinite(value) for value in motion):
            raise ValueError("not finite")
        return (split, take, int(index)), motion
    except ValueError as error:
        raise InputError(path, f"line {line} is {','.join(row)!r}", expected=",".join(MOTION_COLUMNS)) from error


def _measure(reader: ShardReader, truth: Truth, path: Path) -> pd.DataFrame:
    keys = reader.keys
    _check_session(reader.manifest, truth, path)
    plans = {plan.name: plan for plan in truth.takes}
    width, height = reader.manifest.output_size
    reduction = max(1, min(width, height) // _ENOUGH_PX)
    size = (width // reduction, height // reduction)
    crop = reader.manifest.crop
    view = crop_homography((crop.x, crop.y, crop.width, crop.height), size) @ truth.rig.blurry.scene_to_view
    to_pixels = np.array([width / size[0], height / size[1]])
    rig = truth.rig.rig
    scenes: dict[str, LayeredScene] = {}
    motions: list[_Motion] = []
    for _, take, index in keys:
        if take not in plans or not 0 <= index < plans[take].seconds * rig.blurry_fps:
            raise InputError(path, f"tells nothing of frame {index} of take {take!r}", expected=_every(reader))
        if plans[take].clip is not None:
            motions.append((math.nan, math.nan))
            continue
        if take not in scenes:
            scenes = {take: _build_scene(truth, take)}
        position = truth.rig.true_position(plans[take], index / rig.blurry_fps)
        first, last = (
            truth.rig.scene_time(plans[take], place / rig.fine_fps)
            for place in (position, position + rig.frames_per_sequence - 1)
        )
        # Whoever stands before a green screen alone moves: that rig is static, as the images put behind do.
        moved = scenes[take].displacement(first, last, view, size).mean(axis=(0, 1), dtype=np.float64) * to_pixels
        motions.append((float(moved[0]), float(moved[1])))
    return _to_frame(keys, motions)


def _build_scene(truth: Truth, take: str) -> LayeredScene:
    scene = truth.rig.scene(truth.take(take))
    if not isinstance(scene, LayeredScene):
        raise TypeError(f"the scene of take {take!r} is a {type(scene).__name__}")
    return scene


def _check_session(manifest: Manifest, truth: Truth, path: Path) -> None:
    if truth.rig.rig.name != manifest.rig:
        raise InputError(path, f"is of {truth.rig.rig.name!r}", "config.rig", f"{manifest.rig!r} as in the data set")
    crop, (width, height) = manifest.crop, truth.rig.config.size
    if crop.x + crop.width > width or crop.y + crop.height > height:
        raise InputError(
            path, f"is of {width}x{height} frames", "config.size", expected=f"the data set's {crop} within"
        )
    n_frames = truth.rig.rig.frames_per_sequence
    if n_frames != manifest.frames_per_sequence:
        expected = f"{manifest.frames_per_sequence} as in the data set"
        raise InputError(path, f"is of a rig with {n_frames} frames in a sequence", "config.rig", expected=expected)
