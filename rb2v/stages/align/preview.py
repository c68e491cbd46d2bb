"""Preview of an alignment: some blurry frames of every take, small, so that a take is judged where it was recorded."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rb2v.artifacts import Rig, Take
from rb2v.core.color import Response, encode, to_linear
from rb2v.errors import InputError
from rb2v.io.partial import scratch_folder
from rb2v.io.store import SCHEMA, output_folder, whole_file, write_json
from rb2v.profiling import stage
from rb2v.stages.align.config import AlignConfig
from rb2v.stages.align.context import Resources, RunContext, TakeContext
from rb2v.stages.align.matte import SampleFile
from rb2v.stages.align.profile import record_profile, write_profiles
from rb2v.stages.align.records import TakeRecord, check_plates
from rb2v.stages.align.stage import Execution, Session, map_takes, open_session
from rb2v.stages.align.take import MadeTake, make_take

PREVIEW_NAME = "preview.json"
SHEETS_FOLDER = "contact_sheets"

PREVIEW_NOTE = "PREVIEW of some blurry frames at reduced size: not an alignment, and build-shards rejects it"
"""What every output of a preview says."""

_SHRINK = 4  # of the output's sides: a sixteenth of the pixels
_MIN_SIDE_PX = 64  # of the shorter side, as frames that are searched have at least
_SHEET_FRAMES = 8  # spread over the take: all in one look
_GAIN = 4  # of differences: 4 levels, which are hardly seen, become 16
_CELL_PX = 160  # width of a frame on the sheet
_GAP_PX = 6  # between frames
_FONT_PX = 14  # legible beside a frame of that width
_LINE_PX = 20  # of letters of that size, with room below
_TEXT_PX = 190  # wide enough for the longest reason in letters of that size
_QUALITY = 90  # of JPEG: a tenth of the time and the size of PNG, and no block is seen
_PAPER, _INK = (255, 255, 255), (28, 32, 38)  # RGB of ground and letters
_ACCEPTED, _REJECTED = (31, 122, 77), (178, 49, 40)  # RGB of verdicts


def preview_folder(out_dir: Path) -> Path:
    """Return the folder of the preview beside that of an alignment: ``session/aligned_preview``."""
    if out_dir.name in ("", ".."):
        out_dir = out_dir.resolve()
    return out_dir.parent / f"{out_dir.name}_preview"


def run_preview(
    raw_dir: Path,
    calibration_path: Path,
    out_dir: Path,
    config: AlignConfig | None = None,
    *,
    resources: Resources | None = None,
    execution: Execution | None = None,
) -> Path:
    """Align every tenth blurry frame at a quarter of the size, and write what tells whether takes are good.

    Of takes of less than 150 blurry frames more are taken, 15 at least. Everything is made anew each time.

    Parameters
    ----------
    raw_dir, calibration_path, config, resources, execution
        As for `rb2v.stages.align.run`.
    out_dir : Path
        The preview's own folder, see `preview_folder`: ``preview.json``, and a contact sheet for each take.

    Returns
    -------
    Path
        ``out_dir/preview.json``.

    Raises
    ------
    InputError, Rb2vError
        As `rb2v.stages.align.run`.
    ConfigMismatchError
        If the folder holds something else than a preview, such as an alignment.
    """
    config, resources = config or AlignConfig(), resources or Resources()
    execution = execution or Execution()
    session = open_session(raw_dir, calibration_path, config, resources, take_names=execution.take_names)
    rig = dataclasses.replace(session.rig, output_size=_preview_size(session.rig))
    # Whatever a preview was made with, the next one replaces it.
    with output_folder(out_dir, {"stage": "align-preview"}):
        context = RunContext(
            rig, session.calibration, config, resources, out_dir, is_profiled=execution.is_profiled, is_preview=True
        )
        preview = partial(execution.executor.map, partial(_try_take, context=context))
        records = map_takes(preview, session.takes, execution)
        if execution.is_profiled:
            write_profiles(out_dir, {one.name: one.profile for one in records if one.profile is not None})
        return write_json(out_dir / PREVIEW_NAME, _describe(records, rig, session))


def _preview_size(rig: Rig) -> tuple[int, int]:
    shrink = max(min(_SHRINK, min(rig.output_size) // _MIN_SIDE_PX), 1)
    return rig.output_size[0] // shrink, rig.output_size[1] // shrink


def _describe(records: Sequence[TakeRecord], rig: Rig, session: Session) -> dict[str, Any]:
    takes = {}
    for one in sorted(records, key=lambda record: record.name):
        takes[one.name] = {
            "frames": one.n_frames,
            "accepted": one.n_accepted,
            "accepted_share": one.n_accepted / one.n_frames if one.n_frames else 0.0,
            "rejected_shares": {reason: n / one.n_frames for reason, n in sorted(one.reasons.items())},
            "timing": dataclasses.asdict(one.timing),
            "registration": None if one.registration is None else dataclasses.asdict(one.registration),
            "contact_sheet": f"{SHEETS_FOLDER}/{one.name}.jpg",
        }
    return {
        "schema": SCHEMA,
        "preview": True,
        "note": PREVIEW_NOTE,
        "size": rig.output_size,
        "alignment": session.settings,
        "takes": takes,
    }


def _try_take(take: Take, context: RunContext) -> TakeRecord | InputError:
    try:
        return _preview_take(take, context)
    except InputError as error:
        return error


def _preview_take(take: Take, context: RunContext) -> TakeRecord:
    check_plates(take, context.calibration)
    path = context.out_dir / SHEETS_FOLDER / f"{take.name}.jpg"
    with record_profile(is_on=context.is_profiled) as recorded, scratch_folder(path) as scratch:
        shared = TakeContext(take, context, scratch)
        made = make_take(shared, "", SampleFile(scratch / "samples"))
        with stage("write"):
            _write_sheet(path, made, shared.blurry_stride, shared.response)
        recorded.n_frames = len(made.aligned.frames)
    frames, aligned = made.aligned.frames, made.aligned
    reasons = Counter(frame.reason for frame in frames if not frame.accepted)
    return TakeRecord(
        take.name, len(frames), len(made.samples), reasons, aligned.timing, aligned.registration, recorded.profile
    )


def _write_sheet(path: Path, made: MadeTake, stride: int, response: Response) -> None:
    """Write an image of frames spread over a take: the blurry one, its synthetic blur, and their difference."""
    frames = made.aligned.frames
    slots = {place: slot for slot, place in enumerate(i for i, frame in enumerate(frames) if frame.accepted)}
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(_SHEET_FRAMES, len(frames))).round().astype(int)).tolist()
    height, width = made.blurry.image(0).shape[:2]
    cell = (_CELL_PX, max(round(_CELL_PX * height / width), 3 * _LINE_PX))
    top = 3 * _LINE_PX
    size = (_TEXT_PX + 3 * (cell[0] + _GAP_PX), top + len(chosen) * (cell[1] + _GAP_PX))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    n_accepted = len(slots)
    title = f"{made.aligned.take.name}: {n_accepted} of {len(frames)} frames accepted"
    draw.text((_GAP_PX, 0), "PREVIEW, not an alignment", _REJECTED, _font())
    draw.text((_GAP_PX, _LINE_PX), title, _INK, _font())
    for column, head in enumerate(("blurry", "mean of sharp", f"difference x {_GAIN}")):
        draw.text((_TEXT_PX + column * (cell[0] + _GAP_PX), 2 * _LINE_PX), head, _INK, _font())
    for row, place in enumerate(chosen):
        frame, y = frames[place], top + row * (cell[1] + _GAP_PX)
        blurry = made.blurry.image(place)
        images = [blurry]
        if place in slots:
            mean = _mean(made.samples.read(slots[place]).sharp, response)
            images += [mean, _difference(blurry, mean)]
        lines = [
            (f"frame {place * stride}, {round(frame.blurry_time, 2) + 0.0:.2f} s", _INK),
            ("accepted", _ACCEPTED) if frame.accepted else (frame.reason, _REJECTED),
            ("" if np.isnan(frame.psnr) else f"{frame.psnr:.1f} dB", _INK),
        ]
        for line, (text, color) in enumerate(lines):
            draw.text((_GAP_PX, y + line * _LINE_PX), text, color, _font())
        for column, image in enumerate(images):
            scaled = Image.fromarray(image).resize(cell, Image.Resampling.BICUBIC)
            sheet.paste(scaled, (_TEXT_PX + column * (cell[0] + _GAP_PX), y))
    with whole_file(path) as temporary:
        sheet.save(temporary, format="JPEG", quality=_QUALITY)


def _mean(sharp: NDArray[np.uint8], response: Response) -> NDArray[np.uint8]:
    total = np.zeros(sharp.shape[1:], dtype=np.float32)
    for frame in sharp:
        total += to_linear(frame, response)
    return encode(total / np.float32(len(sharp)), response)


def _difference(blurry: NDArray[np.uint8], mean: NDArray[np.uint8]) -> NDArray[np.uint8]:
    difference = blurry.astype(np.float32) - mean.astype(np.float32)
    return np.clip(np.rint(128 + _GAIN * difference), 0, 255).astype(np.uint8)


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_FONT_PX)
