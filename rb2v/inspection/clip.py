"""One sample as a moving image or a strip, and the files of an inspection; each is written whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError
from rb2v.inspection.pictures import captioned, contact_sheet, describe_sample, plot_histograms, strip
from rb2v.inspection.summary import Summary
from rb2v.io.encoder import write_video
from rb2v.io.store import whole_file, write_json
from rb2v.io.video import write_gif, write_image
from rb2v.shards import ShardReader, ShardSample

CLIP_FPS = 10
"""Frames per second of a clip; the fine track's 200 are slowed 20 times."""
BLURRY_FRAMES = 10
"""How many frames of a clip the blurry frame is static for."""
CLIP_SUFFIXES = (".gif", ".mp4", ".png")

SUMMARY_NAME = "summary.json"
SHEET_NAME = "contact_sheet.png"
HISTOGRAMS_NAME = "histograms.png"
_REPORT_NAMES = (SHEET_NAME, HISTOGRAMS_NAME, SUMMARY_NAME)


def clip_frames(index: int, sample: ShardSample) -> list[NDArray[np.uint8]]:
    """Return the frames of a clip: the blurry frame, its sharp frames forward, and back again to the first.

    Back and forth, because a clip that starts anew at ``x_0`` hides the motion behind the jump; captions tell the
    direction.

    Parameters
    ----------
    index : int
        Index of the sample, for its caption.
    sample : ShardSample
        The sample.

    Returns
    -------
    list of (h, w, 3) ndarray of uint8
        RGB; the blurry frame once.
    """
    name = describe_sample(index, sample)
    last = len(sample.sharp) - 1
    steps = [*(f"x_{k} \u2192" for k in range(last + 1)), *(f"x_{k} \u2190" for k in range(last - 1, -1, -1))]
    order = [*range(last + 1), *range(last - 1, -1, -1)]
    return [
        captioned(sample.blurry, name, "blurry"),
        *(captioned(sample.sharp[k], name, step) for k, step in zip(order, steps, strict=True)),
    ]


def write_clip(path: Path, index: int, sample: ShardSample) -> Path:
    """Write one sample as GIF, MP4 or a PNG strip, by the suffix, whole or not at all, and return the path.

    Parameters
    ----------
    path : Path
        The file to write.
    index : int
        Index of the sample, for its caption.
    sample : ShardSample
        The sample.

    Raises
    ------
    InputError
        If the suffix is another, or a folder stands in the file's place.
    """
    suffix = path.suffix.lower()
    if suffix not in CLIP_SUFFIXES:
        raise InputError(path, "is not a file that a sample can be written to", expected=" or ".join(CLIP_SUFFIXES))
    if path.is_dir():
        raise InputError(path, "is a folder", expected="a file to write")
    with whole_file(path) as temporary:
        if suffix == ".png":
            write_image(temporary, strip(index, sample))
        elif suffix == ".mp4":
            blurry, *sharp = clip_frames(index, sample)
            write_video(temporary, [*repeat(blurry, BLURRY_FRAMES), *sharp], CLIP_FPS)
        else:
            frames = clip_frames(index, sample)
            step_ms = 1000 // CLIP_FPS
            write_gif(temporary, frames, [BLURRY_FRAMES * step_ms, *repeat(step_ms, len(frames) - 1)])
    return path


def write_report(
    out_dir: Path,
    reader: ShardReader,
    indices: Sequence[int] | NDArray[np.int64],
    summary: Summary,
    *,
    seed: int = 0,
) -> Path:
    """Write ``contact_sheet.png``, ``histograms.png`` and ``summary.json``; those of an earlier run are replaced.

    Parameters
    ----------
    out_dir : Path
        A new or empty folder, or one that this function wrote.
    reader : ShardReader
        The data set.
    indices : sequence of int
        What the contact sheet is drawn from.
    summary : Summary
        The numbers of these samples.
    seed : int
        Seed of the choice.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If the folder holds other things.
    """
    check_report_folder(out_dir)
    # Everything is made before anything is written.
    sheet, figure = contact_sheet(reader, indices, seed=seed), plot_histograms(summary)
    with whole_file(out_dir / SHEET_NAME) as temporary:
        write_image(temporary, sheet)
    with whole_file(out_dir / HISTOGRAMS_NAME) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    write_json(out_dir / SUMMARY_NAME, summary.to_document())
    return out_dir


def check_report_folder(out_dir: Path) -> None:
    """Check that a report can be written to a folder.

    Raises
    ------
    InputError
        If a file stands in its place, or it holds other things than a report.
    """
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError(out_dir, "is a file", expected="a folder to write to")
    if out_dir.is_dir():
        for child in sorted(out_dir.iterdir()):
            if child.name not in _REPORT_NAMES and not child.name.startswith("."):
                raise InputError(
                    out_dir, f"holds {child.name!r}, which is not of this command", expected="a new or empty folder"
                )
