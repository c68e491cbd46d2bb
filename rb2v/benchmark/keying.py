"""Green-screen takes: the mattes against the true ones, and whether composites still blur as light does (eq. 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import AlignedFrame, CameraResponse
from rb2v.benchmark.page import Gallery, Picture, Section, Table, make_picture, make_table
from rb2v.benchmark.reference import TruthRenderer, spread_indices
from rb2v.benchmark.scores import Score
from rb2v.core.color import to_linear
from rb2v.core.compositing import blur_residual_psnr
from rb2v.core.metrics import alpha_errors
from rb2v.errors import InputError
from rb2v.io.aligned import AlignedSample, AlignedTakeReader
from rb2v.matting import Matte, fit_to_take, make_matter
from rb2v.shards import ShardReader, manifest_path

_SUITE, _STAGE = "mattes", "build-shards"
_SOFT = (0.01, 0.99)

_ERRORS = {"mad": "", "mse": "", "sad": "pixels", "mad_soft": ""}


@dataclass(frozen=True)
class TakeKeying:
    """What is measured of a green-screen take."""

    take: str
    sharp_errors: dict[str, float | None] | None
    """Mean errors of the sharp frames' mattes; None without a truth."""
    blurry_errors: dict[str, float | None] | None
    aligned_residual_db: float
    """Mean PSNR, in linear light, of the sharp frames' mean against the blurry frame, before the screen is replaced."""
    composite_residual_db: float
    """The same in the shards."""
    gallery: Gallery


def report(results: Sequence[TakeKeying], matter_name: str) -> Section:
    """Return the section on the data set's green-screen takes."""
    blocks: list[Table | Gallery] = []
    errors = [line for result in results for line in _error_lines(result)]
    if errors:
        header = (
            "Take",
            "Frames",
            "mean absolute difference",
            "mean squared difference",
            "sum of absolute differences [pixels]",
            "mean absolute difference on soft edges",
        )
        caption = (
            f"Alpha of the matter '{matter_name}', 0..1, against the rendered one. Soft edges are pixels whose true "
            f"alpha is between {_SOFT[0]:g} and {_SOFT[1]:g}."
        )
        blocks.append(make_table(caption, header, errors, n_text_columns=2))
    residuals = [_residual_line(result) for result in results]
    caption = (
        "How well the mean of the sharp frames explains the blurry frame (eq. 1), as PSNR in linear light, in dB: as "
        "aligned, and after the screen was replaced. The blurry camera also sees the time between the sharp frames, "
        "so that even perfect ones leave a residual."
    )
    blocks.append(make_table(caption, ("Take", "aligned", "in the shards", "change"), residuals))
    scores = tuple(cell for line in (*errors, *residuals) for cell in line if isinstance(cell, Score))
    lead = "Mattes of green-screen takes, and the composites that the data set holds."
    return Section("Green-screen takes", lead, (*blocks, *(result.gallery for result in results)), scores)


def find_matter(shards: ShardReader) -> str:
    """Return the name of the matter that a data set was keyed with.

    Raises
    ------
    InputError
        If its manifest does not say.
    """
    build = shards.manifest.provenance.config.get("build_shards")
    matter = build.get("matter") if isinstance(build, dict) else None
    if not isinstance(matter, str):
        path = manifest_path(shards.folder)
        raise InputError(path, f"is {matter!r}", "provenance.config.build_shards.matter", "the name of a matter")
    return matter


def _error_lines(result: TakeKeying) -> list[list[str | Score]]:
    lines: list[list[str | Score]] = []
    for kind, errors in (("sharp", result.sharp_errors), ("blurry", result.blurry_errors)):
        if errors is not None:
            scores = [
                Score(_SUITE, _STAGE, f"alpha_{name}.{kind}", errors[name], unit, result.take)
                for name, unit in _ERRORS.items()
            ]
            lines.append([result.take, kind, *scores])
    return lines


def _residual_line(result: TakeKeying) -> list[str | Score]:
    values = {
        "blur_residual.aligned": result.aligned_residual_db,
        "blur_residual.composite": result.composite_residual_db,
        "blur_residual.change": result.composite_residual_db - result.aligned_residual_db,
    }
    return [result.take, *(Score(_SUITE, _STAGE, name, value, "dB", result.take) for name, value in values.items())]


def measure_take(
    reader: AlignedTakeReader,
    shards: ShardReader,
    response: CameraResponse,
    renderer: TruthRenderer | None,
    matter_name: str,
    n_samples: int,
) -> TakeKeying:
    """Key a few frames of a green-screen take, and compare them with the truth and with the shards.

    Parameters
    ----------
    reader : AlignedTakeReader
        The aligned take.
    shards : ShardReader
        The data set that was built from it.
    response : {"linear", "srgb"} or float
        The camera response that is coded in the frames.
    renderer : TruthRenderer or None
        The take's true mattes, where it was simulated.
    matter_name : str
        How the data set was keyed.
    n_samples : int
        Frames to key, evenly spaced over those in the shards.

    Raises
    ------
    InputError
        If none of the take's frames is in the shards.
    Rb2vError
        If the take cannot be keyed.
    """
    in_shards = shards.table[shards.table["take"] == reader.name]
    rows = dict(zip(in_shards["blurry_index"].tolist(), in_shards.index.tolist(), strict=True))
    frames = [frame for frame in reader.read_frames() if frame.accepted]
    kept = [index for index, frame in enumerate(frames) if frame.blurry_index in rows]
    if not kept:
        raise InputError(reader.path, "none of its frames is in the shards", expected="the take they were built from")
    matter = fit_to_take(reader, make_matter(matter_name), response)
    chosen = [kept[index] for index in spread_indices(len(kept), n_samples)]
    residuals: list[tuple[float, float]] = []
    errors: dict[str, list[dict[str, float]]] = {"sharp": [], "blurry": []}
    for index in chosen:
        sample = reader.read(index)
        stored = shards.read(rows[frames[index].blurry_index])
        composite = AlignedSample(stored.blurry, stored.sharp)
        residuals.append((_blur_residual(sample, response), _blur_residual(composite, response)))
        sharp, blurry = matter.matte(sample.sharp, sample.blurry)
        true = None if renderer is None else _render_alphas(renderer, frames[index], len(sample.sharp))
        if true is not None:
            errors["sharp"] += [_measure(sharp.alpha[k], alpha) for k, alpha in true.sharp.items()]
            errors["blurry"].append(_measure(blurry.alpha, true.blurry))
        if index == chosen[len(chosen) // 2]:
            gallery = _show(frames[index], sample, composite, sharp, blurry, true)
    aligned_db, composite_db = np.mean(residuals, axis=0).tolist()
    return TakeKeying(reader.name, _mean(errors["sharp"]), _mean(errors["blurry"]), aligned_db, composite_db, gallery)


@dataclass(frozen=True, eq=False)
class _TrueAlphas:
    sharp: dict[int, NDArray[np.float32]]
    """Of the first, middle and last sharp frame, by index."""
    blurry: NDArray[np.float32]


def _render_alphas(renderer: TruthRenderer, frame: AlignedFrame, n_sharp: int) -> _TrueAlphas | None:
    blurry = renderer.blurry_matte(frame.blurry_time)
    sharp = {k: renderer.sharp_matte(frame.position + k) for k in (0, n_sharp // 2, n_sharp - 1)}
    known = {k: matte.alpha for k, matte in sharp.items() if matte is not None}
    return None if blurry is None else _TrueAlphas(known, blurry.alpha)


def _blur_residual(sample: AlignedSample, response: CameraResponse) -> float:
    sharp_linear = np.stack([to_linear(frame, response) for frame in sample.sharp])
    return blur_residual_psnr(sharp_linear, to_linear(sample.blurry, response))


def _measure(alpha: NDArray[np.float32], true: NDArray[np.float32]) -> dict[str, float]:
    errors = alpha_errors(alpha, true)
    soft = (true > _SOFT[0]) & (true < _SOFT[1])
    mad_soft = float(np.abs(alpha - true)[soft].mean()) if soft.any() else math.nan
    return {"mad": errors.mad, "mse": errors.mse, "sad": errors.sad, "mad_soft": mad_soft}


def _mean(errors: Sequence[dict[str, float]]) -> dict[str, float | None] | None:
    if not errors:
        return None
    known = {name: [error[name] for error in errors if not math.isnan(error[name])] for name in _ERRORS}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}


def _show(
    frame: AlignedFrame,
    sample: AlignedSample,
    composite: AlignedSample,
    sharp: Matte,
    blurry: Matte,
    true: _TrueAlphas | None,
) -> Gallery:
    k = len(sample.sharp) // 2
    true_sharp, true_blurry = (None, None) if true is None else (true.sharp[k], true.blurry)
    pictures = [
        *_show_row(f"x{k}", sample.sharp[k], sharp.alpha[k], true_sharp, composite.sharp[k]),
        *_show_row("y", sample.blurry, blurry.alpha, true_blurry, composite.blurry),
    ]
    caption = (
        f"{frame.take}: sharp frame x{k} and blurry frame y of blurry frame {frame.blurry_index} as aligned, "
        "their mattes, and the composites in the shards."
    )
    return Gallery(caption, tuple(pictures), columns=len(pictures) // 2)


def _show_row(
    name: str,
    image: NDArray[np.uint8],
    alpha: NDArray[np.float32],
    true_alpha: NDArray[np.float32] | None,
    composite: NDArray[np.uint8],
) -> list[Picture]:
    row = [make_picture(f"{name} as aligned", image), make_picture(f"alpha of {name}", _to_gray(alpha))]
    if true_alpha is not None:
        row.append(make_picture(f"true alpha of {name}", _to_gray(true_alpha)))
    return [*row, make_picture(f"{name} in the shards", composite)]


def _to_gray(alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(alpha.clip(0, 1) * 255), dtype=np.uint8)
