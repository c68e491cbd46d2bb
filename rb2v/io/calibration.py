"""``calibration.json``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from rb2v.artifacts import (
    Calibration,
    CalibrationQuality,
    CameraResponse,
    ChromaSiting,
    Crop,
    GainField,
    GrayTone,
    Lens,
    LocalResidual,
    SharpTone,
)
from rb2v.errors import InputError
from rb2v.io.store import SCHEMA, check_schema, read_json, validate, write_json

_MAX_SCALE_ERROR = 1e-9  # of the homography's last entry


def write_calibration(path: Path, calibration: Calibration) -> Path:
    """Write ``calibration.json`` and return its path."""
    document = {
        "schema": SCHEMA,
        "homography": calibration.homography.tolist(),
        "mirrored": calibration.mirrored,
        "size": {"blurry": list(calibration.size_blurry), "sharp": list(calibration.size_sharp)},
        "crop": dataclasses.asdict(calibration.crop),
        "color": _to_list(calibration.color),
        "color_coded": _to_list(calibration.color_coded),
        "color_response": calibration.color_response,
        "response": calibration.response,
        "lens": {"blurry": _to_lens(calibration.lens_blurry), "sharp": _to_lens(calibration.lens_sharp)},
        "chroma": {"blurry": _to_dict(calibration.chroma_blurry), "sharp": _to_dict(calibration.chroma_sharp)},
        "tone_sharp": _to_dict(calibration.tone_sharp),
        "gray_row": {"blurry": _to_dict(calibration.gray_blurry), "sharp": _to_dict(calibration.gray_sharp)},
        "gain_field": _to_gains(calibration.gain_field),
        "quality": dataclasses.asdict(calibration.quality),
        "residuals": [dataclasses.asdict(residual) for residual in calibration.residuals],
    }
    return write_json(path, document)


def _to_list(matrix: NDArray[np.float64] | None) -> list[Any] | None:
    return None if matrix is None else matrix.tolist()


def _to_dict(record: ChromaSiting | GrayTone | SharpTone | None) -> dict[str, Any] | None:
    return None if record is None else dataclasses.asdict(record)


def _to_lens(lens: Lens | None) -> dict[str, Any] | None:
    return None if lens is None else {"matrix": lens.matrix.tolist(), "distortion": lens.distortion.tolist()}


def _to_gains(field: GainField | None) -> dict[str, Any] | None:
    return None if field is None else dataclasses.asdict(field) | {"coefficients": field.coefficients.tolist()}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _SizeDocument(_Strict):
    blurry: tuple[int, int]
    sharp: tuple[int, int]


_Row3 = tuple[float, float, float]
_Row4 = tuple[float, float, float, float]


class _LensDocument(_Strict):
    matrix: tuple[_Row3, _Row3, _Row3]
    distortion: tuple[float, float, float, float, float]

    def to_lens(self) -> Lens:
        return Lens(np.array(self.matrix, dtype=np.float64), np.array(self.distortion, dtype=np.float64))


class _LensesDocument(_Strict):
    blurry: _LensDocument | None = None
    sharp: _LensDocument | None = None


class _ChromaDocument(_Strict):
    blurry: ChromaSiting | None = None
    sharp: ChromaSiting | None = None


class _GrayRowDocument(_Strict):
    blurry: GrayTone | None = None
    sharp: GrayTone | None = None


_Row5 = tuple[float, float, float, float, float]


class _GainFieldDocument(_Strict):
    coefficients: tuple[_Row5, _Row5, _Row5]
    response: CameraResponse
    error_before: float
    error_after: float

    def to_field(self) -> GainField:
        coefficients = np.array(self.coefficients, dtype=np.float64)
        return GainField(coefficients, self.response, self.error_before, self.error_after)


class _CalibrationDocument(_Strict):
    homography: tuple[_Row3, _Row3, _Row3]
    mirrored: bool
    size: _SizeDocument
    crop: Crop
    color: tuple[_Row4, _Row4, _Row4] | None
    quality: CalibrationQuality
    # What files of earlier versions lack.
    color_coded: tuple[_Row4, _Row4, _Row4] | None = None
    color_response: CameraResponse | None = None
    response: CameraResponse | None = None
    lens: _LensesDocument = _LensesDocument()
    residuals: tuple[LocalResidual, ...] = ()
    chroma: _ChromaDocument = _ChromaDocument()
    tone_sharp: SharpTone | None = None
    gray_row: _GrayRowDocument = _GrayRowDocument()
    gain_field: _GainFieldDocument | None = None


def read_calibration(path: Path) -> Calibration:
    """Read ``calibration.json``.

    Raises
    ------
    InputError
        If the file is missing or malformed, or its values contradict each other.
    """
    raw = read_json(path)
    check_schema(path, raw)
    document = validate(_CalibrationDocument, {k: v for k, v in raw.items() if k != "schema"}, path)
    scale = document.homography[2][2]
    if abs(scale - 1) > _MAX_SCALE_ERROR:
        raise InputError(path, f"its last entry is {scale!r}", "homography", "1 there: a homography scaled to it")
    try:
        return Calibration(
            homography=np.array(document.homography, dtype=np.float64),
            mirrored=document.mirrored,
            size_blurry=document.size.blurry,
            size_sharp=document.size.sharp,
            crop=document.crop,
            color=_to_matrix(document.color),
            quality=document.quality,
            lens_blurry=None if document.lens.blurry is None else document.lens.blurry.to_lens(),
            lens_sharp=None if document.lens.sharp is None else document.lens.sharp.to_lens(),
            color_coded=_to_matrix(document.color_coded),
            color_response=document.color_response,
            response=document.response,
            residuals=document.residuals,
            chroma_blurry=document.chroma.blurry,
            chroma_sharp=document.chroma.sharp,
            tone_sharp=document.tone_sharp,
            gray_blurry=document.gray_row.blurry,
            gray_sharp=document.gray_row.sharp,
            gain_field=None if document.gain_field is None else document.gain_field.to_field(),
        )
    except ValueError as error:
        raise InputError(path, str(error)) from error


def _to_matrix(rows: tuple[_Row4, _Row4, _Row4] | None) -> NDArray[np.float64] | None:
    return None if rows is None else np.array(rows, dtype=np.float64)
