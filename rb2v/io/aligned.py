"""One HDF5 file of frames per aligned take: the blurry frames, their sharp sequences, and the score curves."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rb2v.artifacts import (
    CATEGORIES,
    REASONS,
    SCREEN_COLORS,
    SPLITS,
    AlignedFrame,
    CameraResponse,
    Category,
    Crop,
    ScreenColor,
    SessionClock,
    Split,
    Take,
    TakeRegistration,
    Timing,
)
from rb2v.errors import InputError, require_file
from rb2v.io.hdf5 import create_frames, create_group, create_hdf5, naming_damage, open_hdf5, own_dataset
from rb2v.io.store import SCHEMA, check_schema, parse_json, read_json, validate, whole_file, write_json

Record = TypeVar("Record")

TAKES_FOLDER = "takes"
MANIFEST_NAME = "manifest.json"

# Far more than any recording has: what a damaged or hostile header declares beyond it is not allocated.
_MAX_NUMBERS = 10**9


@dataclass(frozen=True)
class AlignedManifest:
    """What an aligned folder holds, and how it was made: ``manifest.json``."""

    rig: str
    """Name of the rig."""
    response: CameraResponse
    output_size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
    """Width and height of the frames in pixels."""
    crop: Crop
    """In blurry-camera pixels."""
    calibration_sha256: str
    """Digest of the calibration file."""
    config: dict[str, Any]
    """The align stage's configuration."""
    takes: tuple[Annotated[str, Field(pattern=r"^[^/\\]+$")], ...]
    """Names of the takes."""
    clock: SessionClock | None = None
    """What the takes agree on; None where fewer than two have a clock, and in older files."""


def write_aligned_manifest(folder: Path, manifest: AlignedManifest) -> Path:
    """Write an aligned folder's manifest and return its path."""
    return write_json(folder / MANIFEST_NAME, {"schema": SCHEMA} | dataclasses.asdict(manifest))


def read_aligned_manifest(folder: Path) -> AlignedManifest:
    """Read an aligned folder's manifest.

    Raises
    ------
    InputError
        If there is none, as in a folder that is not finished, or it is malformed or of another schema.
    """
    path = folder / MANIFEST_NAME
    require_file(path, "a folder that 'rb2v align' finished")
    document = read_json(path)
    check_schema(path, document)
    return validate(AlignedManifest, {key: value for key, value in document.items() if key != "schema"}, path)


@dataclass(frozen=True, eq=False)
class AlignedSample:
    """A blurry frame and its sharp sequence in the blurry camera's geometry and colors."""

    blurry: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    sharp: NDArray[np.uint8]
    """(N + 1, H, W, 3) RGB, after the color map."""


@dataclass(frozen=True, eq=False)
class ScoreCurves:
    """PSNR of every window that was tried, for every blurry frame of a take."""

    first_position: NDArray[np.int64]
    """(n_frames,) fine-track position of the first window tried."""
    psnr: NDArray[np.float32]
    """(n_frames, n_windows) in dB, in linear light at the search resolution; NaN where a window is out of range."""
    peak: NDArray[np.float64]
    """(n_frames,) each frame's own sub-frame best position; NaN where no window stands out."""


@dataclass(frozen=True, eq=False)
class FrameChecks:
    """What the blurry frames of a take were judged by, beside their scores; one value per frame, NaN where unknown."""

    clipped_share: NDArray[np.float64]
    """Share of the frame's pixels that are clipped."""
    flash: NDArray[np.float64]
    """Largest relative change of the light from one sharp frame of the window to the next."""
    gain_change: NDArray[np.float64]
    """Light of the blurry frame over that of its window, relative to the median of the take, less 1."""
    interpolation_psnr: NDArray[np.float64]
    """PSNR, in dB, of the worst eighth of the window's worst frame when it is made again from frames between."""
    clock_error_frames: NDArray[np.float64]
    """Standard error of the clock at the frame's time, in fine frames, with caution where few frames carry it."""


def aligned_take_path(folder: Path, take_name: str) -> Path:
    """Return the file of a take in an aligned folder."""
    return folder / TAKES_FOLDER / f"{take_name}.h5"


@dataclass(frozen=True, eq=False)
class AlignedTake:
    """What the file of an aligned take holds beside its samples."""

    take: Take
    frames: list[AlignedFrame]
    """Every blurry frame of the take, in order."""
    curves: ScoreCurves
    """The search's scores."""
    checks: FrameChecks
    """What the frames were judged by."""
    timing: Timing
    """How the two recordings lie in time."""
    plate: NDArray[np.uint8] | None = None
    """(H, W, 3) clean background plate in the same geometry and colors."""
    inputs_sha256: str = ""
    """Digest of the files that the take was made from."""
    registration: TakeRegistration | None = None
    """How far the two views lie off each other."""


class AlignedTakeWriter:
    """The file of a take while it is aligned: samples first, one after the other, and all else at the end.

    Samples can be read back until then.
    """

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._n_samples = 0

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._n_samples

    def append(self, sample: AlignedSample) -> None:
        """Add a sample behind the others."""
        for name, images in (("blurry", sample.blurry), ("sharp", sample.sharp)):
            if self._n_samples == 0:
                create_frames(self._file, name, images.shape)
            self._file[name].resize(self._n_samples + 1, axis=0)
            self._file[name][self._n_samples] = images
        self._n_samples += 1

    def append_from(self, part: AlignedTakeReader) -> None:
        """Add all samples of another file behind the others, as they are compressed."""
        stored = part.stored_frames()
        joined: dict[str, h5py.Dataset] = {}
        # In the order of `append`, so that the file becomes the same, byte by byte.
        for index in range(len(part)):
            for name, frames in stored.items():
                if self._n_samples == 0:
                    create_frames(self._file, name, frames.shape[1:])
                if name not in joined:  # to look it up takes as long as to copy a frame
                    joined[name] = self._file[name]
                joined[name].resize(self._n_samples + 1, axis=0)
                for offsets in itertools.product(*_inner_chunks(frames)):
                    mask, data = frames.id.read_direct_chunk((index, *offsets))
                    joined[name].id.write_direct_chunk((self._n_samples, *offsets), data, mask)
            self._n_samples += 1

    def read(self, index: int) -> AlignedSample:
        """Return a sample."""
        return AlignedSample(self._file["blurry"][index], self._file["sharp"][index])

    def finish(self, aligned: AlignedTake, kept: Sequence[int] | None = None) -> None:
        """Write all else.

        Parameters
        ----------
        aligned : AlignedTake
            What the file holds beside the samples.
        kept : sequence of int, optional
            Which of the samples stay, in increasing order: one for each accepted frame; all by default.
        """
        if kept is not None and len(kept) < self._n_samples:
            self._keep(kept)
        file, take, registration = self._file, aligned.take, aligned.registration
        accepted = [frame for frame in aligned.frames if frame.accepted]
        if self._n_samples != len(accepted):
            raise RuntimeError(f"{take.name}: {len(accepted)} frames were accepted, {self._n_samples} written")
        file.attrs["schema"] = SCHEMA
        file.attrs["take"] = take.name
        file.attrs["category"] = take.category
        file.attrs["subject"] = take.subject
        file.attrs["green_screen"] = take.green_screen
        if take.screen != "auto":
            file.attrs["screen"] = take.screen
        file.attrs["split"] = take.split or ""
        file.attrs["inputs_sha256"] = aligned.inputs_sha256
        file["timing"] = json.dumps(dataclasses.asdict(aligned.timing), allow_nan=False)
        if registration is not None:
            file["registration"] = json.dumps(dataclasses.asdict(registration), allow_nan=False)
        file["blurry_index"] = np.array([frame.blurry_index for frame in accepted], dtype=np.int64)
        file["position"] = np.array([frame.position for frame in accepted], dtype=np.int64)
        file["psnr"] = np.array([frame.psnr for frame in accepted], dtype=np.float32)
        file["color"] = np.array([frame.color for frame in accepted], dtype=np.float32).reshape(-1, 3, 4)
        _write_table(create_group(file, "frames"), aligned.frames)
        scores = create_group(file, "scores")
        scores["first_position"] = aligned.curves.first_position
        scores["psnr"] = aligned.curves.psnr
        scores["peak"] = aligned.curves.peak
        judged = create_group(file, "checks")
        for field in dataclasses.fields(aligned.checks):
            judged[field.name] = getattr(aligned.checks, field.name)
        if aligned.plate is not None:
            file["plate"] = aligned.plate

    def _keep(self, kept: Sequence[int]) -> None:
        """Move samples together, as they are compressed, and cut off the rest."""
        for name in ("blurry", "sharp"):
            frames = self._file[name]
            for place, index in enumerate(kept):
                for offsets in itertools.product(*_inner_chunks(frames)) if place != index else ():
                    mask, data = frames.id.read_direct_chunk((index, *offsets))
                    frames.id.write_direct_chunk((place, *offsets), data, mask)
            if kept:
                frames.resize(len(kept), axis=0)
            else:
                del self._file[name]
        self._n_samples = len(kept)


def _inner_chunks(frames: h5py.Dataset) -> list[range]:
    """Return where the chunks of one sample begin, along each axis but the first."""
    return [range(0, extent, step) for extent, step in zip(frames.shape[1:], frames.chunks[1:], strict=True)]


@contextmanager
def create_aligned_take(path: Path, *, is_part: bool = False) -> Iterator[AlignedTakeWriter]:
    """Yield the writer of a take's file, which is there when the block ends well.

    Parameters
    ----------
    path : Path
        The file to write.
    is_part : bool
        Whether it is joined with others soon, and deleted.
    """
    with whole_file(path, outlives_power=not is_part) as temporary, create_hdf5(temporary) as file:
        yield AlignedTakeWriter(file)


def write_aligned_take(path: Path, aligned: AlignedTake, samples: Iterable[AlignedSample]) -> Path:
    """Write a take's file atomically, and return its path.

    Parameters
    ----------
    path : Path
        The file to write.
    aligned : AlignedTake
        What it holds beside the samples.
    samples : iterable of AlignedSample
        One for each accepted frame, in order; drawn one at a time.
    """
    with create_aligned_take(path) as writer:
        for sample in samples:
            writer.append(sample)
        writer.finish(aligned)
    return path


def rewrite_clock(
    path: Path, timing: Timing, position_fine: NDArray[np.float64], clock_error_frames: NDArray[np.float64]
) -> Path:
    """Write a take's file anew with another clock and the same frames, whole or not at all, and return the path.

    Parameters
    ----------
    path : Path
        A file that `write_aligned_take` wrote.
    timing : Timing
        How the two recordings lie in time.
    position_fine : (n,) ndarray of float64
        The place of every blurry frame, to a fraction of a fine frame.
    clock_error_frames : (n,) ndarray of float64
        As in `FrameChecks`.
    """
    old = open_hdf5(path, "a take that 'rb2v align' wrote")
    with old, whole_file(path) as temporary, create_hdf5(temporary) as file:
        file.attrs.update(old.attrs)
        # Compressed frames are copied as they are.
        for name in old:
            if name != "timing":
                old.copy(name, file)
        file["timing"] = json.dumps(dataclasses.asdict(timing), allow_nan=False)
        file["frames/position_fine"][...] = position_fine
        file["checks/clock_error_frames"][...] = clock_error_frames
    return path


_TABLE_FIELDS = {
    "blurry_index": "i",
    "blurry_time": "f",
    "position": "i",
    "position_fine": "f",
    "psnr": "f",
    "margin_db": "f",
    "accepted": "b",
}
_LATER_FIELDS = {"composite_psnr": "f", "explained_psnr": "f"}  # files of versions before 0.4 lack them: not a number
_KINDS = {"i": "whole numbers", "f": "numbers", "b": "yes or no"}
_FINITE_FIELDS = ("frames/blurry_index", "frames/blurry_time", "frames/position", "frames/position_fine")
_MAX_VALUE = 1e12  # no index and no time comes near, and float64 still holds its fractions
_MAX_RECORD_LETTERS = 1 << 20  # a record has some thousand; more would be made to fill the memory


def _write_table(group: h5py.Group, frames: list[AlignedFrame]) -> None:
    for name in (*_TABLE_FIELDS, *_LATER_FIELDS):
        group[name] = np.array([getattr(frame, name) for frame in frames])
    group["color"] = np.array([frame.color for frame in frames], dtype=np.float64).reshape(-1, 3, 4)
    group["reason"] = np.array([frame.reason for frame in frames], dtype=h5py.string_dtype())


class AlignedTakeReader:
    """An aligned take, read one sample at a time; use it as a context manager.

    Parameters
    ----------
    path : Path
        A file that ``write_aligned_take`` wrote.

    Raises
    ------
    InputError
        If the file is missing, is not an HDF5, lacks something, or is of another schema.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_hdf5(path, "a take that 'rb2v align' wrote")
        try:
            self._read_header()
        except InputError:
            self._file.close()
            raise
        except (KeyError, TypeError, ValueError) as error:
            self._file.close()
            raise InputError(path, str(error.args[0]), expected="an aligned take of schema 1") from error

    def _read_header(self) -> None:
        with naming_damage(self._file, "attributes"):
            attributes = dict(self._file.attrs)
        if attributes.get("schema") != SCHEMA:
            raise ValueError(f"schema is {attributes.get('schema')!r}")
        self.name = str(attributes["take"])
        self.category: Category = _member(attributes["category"], CATEGORIES)
        self.subject = str(attributes["subject"])
        self.green_screen = bool(attributes["green_screen"])
        self.screen: ScreenColor = _member(attributes.get("screen", "auto"), SCREEN_COLORS)
        self.inputs_sha256 = str(attributes["inputs_sha256"])
        self.split: Split | None = _member(attributes["split"], SPLITS) if attributes["split"] else None
        self.timing = self._read_record("timing", Timing)
        self.registration: TakeRegistration | None = None
        if "registration" in self._file:
            self.registration = self._read_record("registration", TakeRegistration)
        self.blurry_index = self._array("blurry_index", np.int64, (None,))
        n = len(self.blurry_index)
        if n and self.blurry_index.min() < 0:
            raise ValueError("blurry_index holds a negative number")
        self.position = self._array("position", np.int64, (n,))
        self.psnr = self._array("psnr", np.float32, (n,))
        self.color = self._array("color", np.float32, (n, 3, 4))
        self.plate: NDArray[np.uint8] | None = None
        if "plate" in self._file:
            self.plate = self._array("plate", np.uint8, (None, None, 3))
        if len(self):
            self._blurry, self._sharp = (own_dataset(self._file, name) for name in ("blurry", "sharp"))
            blurry: tuple[int, ...] = tuple(self._blurry.shape or ())
            sharp: tuple[int, ...] = tuple(self._sharp.shape or ())
            if len(blurry) != 4 or len(sharp) != 5 or (n, *blurry[1:]) != blurry or (n, sharp[1], *blurry[1:]) != sharp:
                raise ValueError(f"frames are {blurry} and {sharp} for {n} samples")

    def _read_record(self, name: str, kind: type[Record]) -> Record:
        dataset = own_dataset(self._file, name)
        with naming_damage(self._file, name):
            text = dataset.asstr()[()]
        if not isinstance(text, str) or len(text) > _MAX_RECORD_LETTERS:
            raise InputError(self.path, "is no short text", name, expected="a JSON document")
        try:
            document = parse_json(text)
        except ValueError as error:
            raise InputError(self.path, f"is not JSON ({error})", name) from error
        return validate(kind, document, self.path)

    def _array(
        self,
        name: str,
        dtype: Any,  # noqa: ANN401 - any dtype
        shape: tuple[int | None, ...],
    ) -> NDArray[Any]:
        """Return a small array of a shape, in which None stands for any length."""
        dataset = own_dataset(self._file, name)
        found = dataset.shape
        fits = found is not None and len(found) == len(shape)
        if not fits or any(want not in (None, have) for want, have in zip(shape, found, strict=True)):
            raise InputError(self.path, f"has the shape {found}", name, expected=str(shape).replace("None", "any"))
        if np.prod(found) > _MAX_NUMBERS:
            raise InputError(self.path, f"declares {np.prod(found)} numbers", name, expected=f"at most {_MAX_NUMBERS}")
        with naming_damage(self._file, name):
            return np.asarray(dataset, dtype=dtype)

    def __len__(self) -> int:
        """Return the number of accepted frames."""
        return len(self.blurry_index)

    def __enter__(self) -> AlignedTakeReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, index: int) -> AlignedSample:
        """Return the ``index``-th accepted frame and its sharp sequence.

        Raises
        ------
        InputError
            If they are damaged.
        """
        with naming_damage(self._file, "blurry"):
            blurry = self._blurry[index]
        with naming_damage(self._file, "sharp"):
            sharp = self._sharp[index]
        return AlignedSample(blurry, sharp)

    @property
    def _n_frames(self) -> int:
        """Number of blurry frames of the take, accepted or not."""
        shape = own_dataset(self._file, "frames/color").shape
        return int(shape[0]) if shape else 0

    def stored_frames(self) -> dict[str, h5py.Dataset]:
        """Return the data sets of the samples, by name; none where there is no sample."""
        return {"blurry": self._blurry, "sharp": self._sharp} if len(self) else {}

    def read_frames(self) -> list[AlignedFrame]:
        """Return the rows of the alignment table for every blurry frame of the take."""
        n = self._n_frames
        colors = self._array("frames/color", np.float64, (n, 3, 4))
        columns = {name: self._column(f"frames/{name}", kind, n) for name, kind in _TABLE_FIELDS.items()}
        for name, kind in _LATER_FIELDS.items():
            with naming_damage(self._file, "frames"):
                there = f"frames/{name}" in self._file
            columns[name] = self._column(f"frames/{name}", kind, n) if there else [math.nan] * n
        dataset = own_dataset(self._file, "frames/reason")
        if dataset.shape != (n,):
            raise InputError(self.path, f"has the shape {dataset.shape}", "frames/reason", expected=f"({n},)")
        with naming_damage(self._file, "frames/reason"):
            reasons = [str(reason) for reason in dataset.asstr()[()]]
        for index, (reason, accepted) in enumerate(zip(reasons, columns["accepted"], strict=True)):
            if reason not in REASONS or accepted != (reason == ""):
                raise InputError(self.path, f"frame {index}: {reason!r} does not fit the others", "frames/reason")
        taken = [index for index, kept in zip(columns["blurry_index"], columns["accepted"], strict=True) if kept]
        if taken != self.blurry_index.tolist():
            raise InputError(self.path, "names other frames than blurry_index", "frames/accepted")
        return [
            AlignedFrame(
                take=self.name,
                **{name: values[index] for name, values in columns.items()},
                reason=reasons[index],
                color=colors[index],
            )
            for index in range(n)
        ]

    def _column(self, name: str, kind: str, n: int) -> list[Any]:
        """Return a column of the table as plain values, after a look at their kind."""
        if own_dataset(self._file, name).dtype.kind != kind:
            raise InputError(self.path, "holds values of another kind", name, expected=_KINDS[kind])
        values = self._array(name, None, (n,))
        if name in _FINITE_FIELDS and not np.all(np.abs(values) < _MAX_VALUE):
            raise InputError(self.path, "holds a value that cannot be", name, expected="plain numbers")
        return list(values.tolist())

    def read_curves(self) -> ScoreCurves:
        """Return the score of every window that was tried."""
        psnr = self._array("scores/psnr", np.float32, (self._n_frames, None))
        return ScoreCurves(
            self._array("scores/first_position", np.int64, (self._n_frames,)),
            psnr,
            self._array("scores/peak", np.float64, (self._n_frames,)),
        )

    def read_checks(self) -> FrameChecks:
        """Return what the frames were judged by."""
        names = [field.name for field in dataclasses.fields(FrameChecks)]
        return FrameChecks(*(self._array(f"checks/{name}", np.float64, (self._n_frames,)) for name in names))


def _member(value: object, allowed: tuple[Any, ...]) -> Any:  # noqa: ANN401 - one of the given
    if value not in allowed:
        raise ValueError(f"{value!r} is not one of {', '.join(allowed)}")
    return value
