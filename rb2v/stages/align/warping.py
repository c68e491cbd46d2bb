"""The one visit to a take's pixels: recordings decoded, warped and reduced, whole or in pieces by any worker."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Camera, ChromaChoice, ChromaSiting
from rb2v.core.color import to_linear
from rb2v.core.homography import Homography
from rb2v.core.planes import SITINGS
from rb2v.core.resampling import FrameWarp
from rb2v.io.frame_file import FrameFile, Frames, JoinedFrames
from rb2v.profiling import stage
from rb2v.stages.align.context import TakeContext
from rb2v.stages.align.placement import Placement
from rb2v.stages.align.track import (
    InterpolationCheck,
    LightMeter,
    Piece,
    Recording,
    ReducedTrack,
    Reducer,
    Warped,
    append_reduced,
)

_SURE_MARGIN_DB = 1.0  # above the threshold: interpolation was better than a mean by 2 dB or more (docs/alignment.md)

_BLURRY_NAME, _SMALL_NAME, _SHARP_NAME, _REDUCED_NAME = "blurry", "small", "sharp", "reduced"
"""Files of frames."""
_MEASURES_NAME = "measures.npz"
_REDUCED_MEASURES = ("light_changes", "interpolation_psnr", "is_cut")
"""Of a `ReducedTrack`."""

Made = TypeVar("Made", "WarpedBlurry", "WarpedSharp")


@dataclass(frozen=True, eq=False)
class WarpedBlurry:
    """The blurry recording, or a piece of it."""

    warped: Warped
    reduced: Frames[np.uint16]
    """See `BlurryTrack`."""
    whole: FrameFile[np.uint16] | None = None


@dataclass(frozen=True, eq=False)
class WarpedSharp:
    """The sharp recording under a homography, or a piece of it."""

    warped: Warped
    reduced: ReducedTrack
    """Of no frames where nothing was measured."""
    light_changes: Sequence[NDArray[np.float64]]
    """See `LightMeter`."""


@dataclass(frozen=True, eq=False)
class WarpedTake:
    """Both recordings of a take as the calibration registers them."""

    blurry: WarpedBlurry
    sharp: WarpedSharp


def recording_of(context: TakeContext, camera: Camera) -> Recording:
    """Return a take's recording by one of the cameras."""
    take, rig, calibration = context.take, context.rig, context.calibration
    if camera == "blurry":
        return Recording(take.blurry, calibration.size_blurry, rig.blurry_fps, override=take.blurry_format)
    return Recording(take.sharp, calibration.size_sharp, rig.sharp_fps, override=take.sharp_format)


def warp_blurry(context: TakeContext, folder: Path, piece: Piece | None = None) -> WarpedBlurry:
    """Decode the blurry recording, or a piece of it, into files of a folder.

    Raises
    ------
    InputError
        As `Recording.warp`.
    """
    reduced = FrameFile(folder / _SMALL_NAME, np.uint16)
    whole = FrameFile(folder / "linear", np.uint16) if context.config.search == "full" else None
    sizes = (context.track_size, context.reduced_size)  # by way of the track's size, as the sharp frames go

    def visit(frame: NDArray[np.uint8]) -> None:
        with stage("color conversion"):
            linear = to_linear(frame, context.response)
        append_reduced(reduced, linear, sizes)
        if whole is not None:
            append_reduced(whole, linear, ())

    warp, every = make_warp(context, np.eye(3), "blurry"), context.blurry_stride
    warped = recording_of(context, "blurry").warp(warp, folder / _BLURRY_NAME, every=every, piece=piece, visit=visit)
    return WarpedBlurry(warped, reduced, whole)


def warp_sharp(
    context: TakeContext, placement: Placement, folder: Path, piece: Piece | None = None, *, measures: bool = True
) -> WarpedSharp:
    """Decode the sharp recording, or a piece of it under one homography, into files of a folder.

    Without ``measures`` frames are warped alone, neither reduced nor their light measured.

    Raises
    ------
    InputError
        As `Recording.warp`.
    """
    reducer, light = make_reducer(context, folder), LightMeter()

    def visit(frame: NDArray[np.uint8]) -> None:
        with stage("color conversion"):
            linear = context.sharp_light(frame)
        reducer.add(linear)
        light.add(linear)

    warps = [make_warp(context, homography, "sharp") for homography in placement.homographies]
    later = [(step.sharp_frame, warp) for step, warp in zip(placement.steps, warps[1:], strict=True)]
    warped = recording_of(context, "sharp").warp(
        warps[0], folder / _SHARP_NAME, later=later, piece=piece, visit=visit if measures else None
    )
    return WarpedSharp(warped, reducer.finish(), light.changes)


def write_piece(context: TakeContext, camera: Camera, piece: Piece) -> Path:
    """Warp a piece, and return the folder in which `read_pieces` finds what was made.

    Raises
    ------
    InputError
        As `Recording.warp`.
    """
    # A folder of its own, because a worker that only seems dead may be at the same piece.
    folder = Path(tempfile.mkdtemp(dir=context.scratch))
    if camera == "blurry":
        blurry = warp_blurry(context, folder, piece)
        warped, reduced, more = blurry.warped, blurry.reduced, {}
    else:
        sharp = warp_sharp(context, Placement((context.calibration.homography,)), folder, piece)
        warped, reduced = sharp.warped, sharp.reduced.frames
        more = {name: getattr(sharp.reduced, name) for name in _REDUCED_MEASURES} | {"bands": sharp.light_changes}
    assert isinstance(warped.frames, FrameFile)
    assert isinstance(reduced, FrameFile)
    layouts = {"frames": warped.frames.layout(), "reduced": reduced.layout()}
    flat = {f"{name}_{key}": array for name, layout in layouts.items() for key, array in layout.items()}
    measures = {"times": warped.times, "differences": warped.differences, **more}
    np.savez(folder / _MEASURES_NAME, allow_pickle=False, **flat, **measures)
    return folder


def read_pieces(blurry: Sequence[tuple[Piece, Path]], sharp: Sequence[tuple[Piece, Path]]) -> WarpedTake | None:
    """Join the pieces of a take; None where they do not fit together, as of a file that is sought inexactly."""
    blurry_pieces = [(piece, _read_blurry(folder)) for piece, folder in blurry]
    sharp_pieces = [(piece, _read_sharp(folder)) for piece, folder in sharp]
    if not (_fit_together(blurry_pieces) and _fit_together(sharp_pieces)):
        return None
    reduced = JoinedFrames([made.reduced.part(piece.own) for piece, made in blurry_pieces])
    return WarpedTake(WarpedBlurry(_join_warped(blurry_pieces), reduced), _join_sharp(sharp_pieces))


def _read_blurry(folder: Path) -> WarpedBlurry:
    with np.load(folder / _MEASURES_NAME) as arrays:
        frames = FrameFile.reopen(folder / _BLURRY_NAME, np.uint8, _layout(arrays, "frames"))
        reduced = FrameFile.reopen(folder / _SMALL_NAME, np.uint16, _layout(arrays, "reduced"))
        return WarpedBlurry(Warped(frames, arrays["times"], arrays["differences"]), reduced)


def _read_sharp(folder: Path) -> WarpedSharp:
    with np.load(folder / _MEASURES_NAME) as arrays:
        frames = FrameFile.reopen(folder / _SHARP_NAME, np.uint8, _layout(arrays, "frames"))
        small = FrameFile.reopen(folder / _REDUCED_NAME, np.uint16, _layout(arrays, "reduced"))
        reduced = ReducedTrack(small, *(arrays[name] for name in _REDUCED_MEASURES))
        return WarpedSharp(Warped(frames, arrays["times"], arrays["differences"]), reduced, list(arrays["bands"]))


def _layout(arrays: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(f"{name}_"): arrays[key] for key in arrays if key.startswith(f"{name}_")}


def _fit_together(pieces: Sequence[tuple[Piece, Made]]) -> bool:
    """Return whether neighboring pieces made the same of the two frames that both decoded."""
    for (before, first), (_, second) in itertools.pairwise(pieces):
        own = before.own
        ends = slice(own.stop - 1, own.stop + 1)
        for one, other in ((first.warped.times, second.warped.times), (first.warped.frames, second.warped.frames)):
            if not np.array_equal(one[ends], other[:2]):
                return False
    return True


def _join_warped(pieces: Sequence[tuple[Piece, Made]]) -> Warped:
    return Warped(
        JoinedFrames([made.warped.frames.part(piece.own) for piece, made in pieces]),
        np.concatenate([made.warped.times[_slice(piece.own)] for piece, made in pieces]),
        np.concatenate([made.warped.differences[piece.steps] for piece, made in pieces]),
    )


def _join_sharp(pieces: Sequence[tuple[Piece, WarpedSharp]]) -> WarpedSharp:
    reduced = ReducedTrack(
        JoinedFrames([made.reduced.frames.part(piece.own) for piece, made in pieces]),
        np.concatenate([made.reduced.light_changes[piece.steps] for piece, made in pieces]),
        np.concatenate([made.reduced.interpolation_psnr[_slice(piece.own)] for piece, made in pieces]),
        np.concatenate([made.reduced.is_cut[piece.steps] for piece, made in pieces]),
    )
    changes = [change for piece, made in pieces for change in made.light_changes[piece.steps]]
    return WarpedSharp(_join_warped(pieces), reduced, changes)


def _slice(frames: range) -> slice:
    return slice(frames.start, frames.stop)


def make_reducer(context: TakeContext, folder: Path) -> Reducer:
    """Return what makes the sharp frames small, into a file of a folder."""
    measures = context.blurry_stride == 1
    check = InterpolationCheck(context.interpolator, context.response, sure_db(context)) if measures else None
    return Reducer((context.track_size, context.reduced_size), folder / _REDUCED_NAME, check)


def sure_db(context: TakeContext) -> float:
    """Return the PSNR from which the mean of a frame's neighbors is good enough, see `InterpolationCheck`."""
    return context.config.min_interpolation_psnr_db + _SURE_MARGIN_DB


def make_warp(context: TakeContext, homography: Homography, camera: Camera) -> FrameWarp:
    """Return what makes output frames of a camera's, under a homography to the blurry camera's pixels."""
    rig, calibration = context.rig, context.calibration
    if camera == "blurry":
        lens, siting = calibration.lens_blurry, _chroma_siting(rig.blurry_chroma, calibration.chroma_blurry)
    else:
        lens, siting = calibration.lens_sharp, _chroma_siting(rig.sharp_chroma, calibration.chroma_sharp)
    crop = dataclasses.astuple(calibration.crop)
    return FrameWarp(homography, crop, rig.output_size, context.response, lens, siting=siting)


def _chroma_siting(choice: ChromaChoice, known: ChromaSiting | None) -> tuple[float, float] | None:
    """Return where a camera's chroma lies; None where only its frames may say so."""
    if choice != "auto":
        return SITINGS[choice]
    return (known.x, known.y) if known is not None and known.source == "measured" else None
