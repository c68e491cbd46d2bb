"""The coarse offset of a take's recordings: what every source says, and which one is believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import OffsetSource, SourceOffset, Take
from rb2v.core.blur import STORED_LEVELS, CubicWindows
from rb2v.core.sync import OffsetEstimate, offset_from_gyro, offset_from_motion
from rb2v.errors import InputError
from rb2v.io.gopro import read_timecode
from rb2v.io.sound import HEARD_SECONDS, MIN_SOUND_CONFIDENCE, read_sound_offset
from rb2v.profiling import staged
from rb2v.stages.align.context import TakeContext
from rb2v.stages.align.track import Tracks

MIN_CONFIDENCE: Mapping[OffsetSource, float] = {
    "sound": MIN_SOUND_CONFIDENCE,
    "gyro": 0.4,
    "motion": 0.09,
    "timecode": 0.0,
}
"""Less than this and a source is not believed; in the order in which sources are asked, the most exact first."""

ACCURACY_SECONDS: Mapping[OffsetSource, float] = {"sound": 0.005, "gyro": 0.02, "motion": 0.04, "timecode": 2.5}
"""How far a source that is right may be off. The clocks of two cameras, which timecodes come from, part by seconds."""

_TIMECODE_CONFIDENCE = 0.1  # a correlation that just stands out: clocks were set by somebody
# Of the blurry and of the sharp recording: memory must not grow with the take. Fewer than of the sound tell enough.
_SEEN_SECONDS = (30.0, 90.0)
_MOTION_SIZE_PX = 16  # at which changes of single things are averaged, and changes of the scene left
_WINDOWS_AT_ONCE = 256  # enough for one matrix product to run at full speed
_SECONDS_PER_DAY = 86_400.0  # timecodes begin again at midnight


@staged("offset")
def estimate_offsets(context: TakeContext, tracks: Tracks) -> tuple[SourceOffset, ...]:
    """Ask every source for the coarse offset; those that cannot tell are left out, damaged ones with a warning.

    Parameters
    ----------
    context : TakeContext
        The take's files, and the rates.
    tracks : Tracks
        The recordings on reduced frames.
    """
    sources: Mapping[OffsetSource, Callable[[], OffsetEstimate | None]] = {
        "sound": lambda: read_sound_offset(context.take, context.logger.warning),
        "gyro": lambda: _from_gyro(context),
        "motion": lambda: _from_motion(context, tracks),
        "timecode": lambda: _from_timecode(context.take),
    }
    found = []
    for source, ask in sources.items():
        try:
            estimate = ask()
        except InputError as error:
            context.logger.warning("the %s is damaged and does not tell the offset: %s", source, error)
            continue
        except ValueError as error:
            context.logger.info("the %s does not tell the offset: %s", source, error)
            continue
        if estimate is not None:
            found.append(SourceOffset(source, estimate.seconds, estimate.confidence))
    return tuple(found)


def choose_offset(context: TakeContext, offsets: Sequence[SourceOffset]) -> SourceOffset | None:
    """Return the source to believe, or None; sources that are clear and disagree with it are said.

    Parameters
    ----------
    context : TakeContext
        Its configuration names the source to take; auto takes the most exact of those that are clear.
    offsets : sequence of SourceOffset
        What the sources say.
    """
    choice = context.config.sync
    clear = [offset for offset in offsets if offset.confidence >= MIN_CONFIDENCE[offset.source]]
    ranked = sorted(clear, key=lambda offset: list(MIN_CONFIDENCE).index(offset.source))
    chosen = next((offset for offset in ranked if choice in ("auto", offset.source)), None)
    if chosen is None:
        what = "nothing tells" if choice == "auto" else f"the {choice} does not tell"
        context.logger.warning("%s the offset clearly enough", what)
        return None
    for other in clear:
        apart = abs(other.seconds - chosen.seconds)
        if apart > ACCURACY_SECONDS[other.source] + ACCURACY_SECONDS[chosen.source]:
            context.logger.warning(
                "the %s says that the sharp camera started %.3f s earlier, the %s says %.3f s",
                *(chosen.source, chosen.seconds, other.source, other.seconds),
            )
    return chosen


def _from_gyro(context: TakeContext) -> OffsetEstimate | None:
    take, read = context.take, context.read_telemetry
    blurry, sharp = read(take.blurry, take.blurry_format), read(take.sharp, take.sharp_format)
    if blurry is None or sharp is None or not (len(blurry.gyro) and len(sharp.gyro)):
        return None
    heard = [
        (telemetry.gyro[telemetry.gyro_times < seconds], telemetry.gyro_times[telemetry.gyro_times < seconds])
        for telemetry, seconds in zip((blurry, sharp), HEARD_SECONDS, strict=True)
    ]
    return offset_from_gyro(*heard[0], *heard[1])


def _from_timecode(take: Take) -> OffsetEstimate | None:
    blurry, sharp = read_timecode(take.blurry[0]), read_timecode(take.sharp[0])
    if blurry is None or sharp is None:
        return None
    # Whoever starts before midnight started earlier.
    apart = (blurry - sharp + _SECONDS_PER_DAY / 2) % _SECONDS_PER_DAY - _SECONDS_PER_DAY / 2
    return OffsetEstimate(apart, _TIMECODE_CONFIDENCE)


def _from_motion(context: TakeContext, tracks: Tracks) -> OffsetEstimate:
    rig, size, frames = context.rig, context.reduced_size, tracks.reduced.frames
    blurry, blurry_times = tracks.blurry.reduced, tracks.blurry.times
    n_blurry = min(round(_SEEN_SECONDS[0] * rig.blurry_fps / context.blurry_stride), len(blurry))
    n_windows = min(round(_SEEN_SECONDS[1] * rig.fine_fps), len(tracks.windows))
    pictures = [_tiny(blurry[index], size) for index in range(n_blurry)]
    # Windows are means of frames, so that frames are made tiny, of which there are fewer. One more is for the cubics.
    n_frames = min(-(-(n_windows + rig.frames_per_sequence) // rig.upsampling) + 1, len(frames))
    tiny = np.stack([_tiny(frames[index], size) for index in range(n_frames)])
    windows = CubicWindows(tiny, rig.upsampling, rig.frames_per_sequence, rig.blur_factor)
    candidates = [
        windows[start : min(start + _WINDOWS_AT_ONCE, n_windows)][..., 0]
        for start in range(0, n_windows, _WINDOWS_AT_ONCE)
    ]
    steps = (blurry_times[:n_blurry] - blurry_times[0]) * rig.fine_fps
    position, confidence = offset_from_motion(
        np.stack(pictures)[..., 0] / STORED_LEVELS, np.concatenate(candidates), steps
    )
    return OffsetEstimate(tracks.sharp.center_time(position) - float(blurry_times[0]), confidence)


def _tiny(pixels: NDArray[np.uint16], size: tuple[int, int]) -> NDArray[np.uint16]:
    """Return the gray means of a reduced frame over large areas, (n, 1) of its levels."""
    gray = np.asarray(pixels.mean(axis=1).reshape(size[1], size[0]), dtype=np.float32)
    tiny_size = (min(_MOTION_SIZE_PX, size[0]), min(_MOTION_SIZE_PX, size[1]))
    return np.rint(cv2.resize(gray, tiny_size, interpolation=cv2.INTER_AREA)).astype(np.uint16).reshape(-1, 1)
