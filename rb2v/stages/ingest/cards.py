"""The recordings on a memory card: which files are the chapters of one.

GoPro cameras since the HERO6 write ``GX010123.MP4`` (``GH`` for AVC): two digits of the chapter, four of the recording.
Older ones write ``GOPR0123.MP4`` and, from the second chapter on, ``GP010123.MP4``. Any other video is a recording of
its own.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rb2v.errors import InputError

SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".avi")
"""Files that may be recordings; thumbnails (.THM) and small copies (.LRV) are none."""

_CHAPTER = re.compile(r"G([A-OQ-Z])(\d{2})(\d{4})", re.IGNORECASE)
_OLD_FIRST = re.compile(r"GOPR(\d{4})", re.IGNORECASE)
_OLD_CHAPTER = re.compile(r"GP(\d{2})(\d{4})", re.IGNORECASE)


@dataclass(frozen=True)
class CardRecording:
    """One recording on a card."""

    name: str
    """As users know it: ``GX0123``, or the name of the file."""
    number: str | None
    """The camera's number of the recording, None for files that no GoPro named."""
    paths: tuple[Path, ...]
    """Its chapters in order."""
    problem: str | None = None
    """Why the files do not make up a recording."""


def find_recordings(card: Path) -> tuple[CardRecording, ...]:
    """Find the recordings on a card, in any folder of it; no file is opened.

    Parameters
    ----------
    card : Path
        The card, a copy of it, or any folder of videos. Hidden files and folders are passed over.

    Returns
    -------
    tuple of CardRecording
        In the order of their names.

    Raises
    ------
    InputError
        If the folder is missing, or holds no video.
    """
    if not card.is_dir():
        raise InputError(card, "there is no such folder", expected="a memory card, or a folder of its files")
    chapters: dict[tuple[str, str], list[tuple[int, Path]]] = defaultdict(list)
    found: list[CardRecording] = []
    for path in sorted(card.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(card).parts)
        if hidden or path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        if (match := _CHAPTER.fullmatch(path.stem)) is not None:
            chapters[f"G{match[1].upper()}", match[3]].append((int(match[2]), path))
        elif (match := _OLD_FIRST.fullmatch(path.stem)) is not None:
            chapters["GOPR", match[1]].append((1, path))
        elif (match := _OLD_CHAPTER.fullmatch(path.stem)) is not None:
            chapters["GOPR", match[2]].append((int(match[1]) + 1, path))
        else:
            found.append(CardRecording(path.stem, None, (path,)))
    for (prefix, number), files in chapters.items():
        found += _join(prefix + number, number, files)
    if not found:
        expected = "videos such as DCIM/100GOPRO/GX010123.MP4"
        raise InputError(card, "holds no recording", expected=expected)
    return tuple(sorted(found, key=lambda recording: (recording.name, recording.paths)))


def _join(name: str, number: str, files: Sequence[tuple[int, Path]]) -> list[CardRecording]:
    """Return the recordings that files of one number make up."""
    if len({chapter for chapter, _ in files}) == len(files):
        return [_in_order(name, number, files)]
    # The camera starts anew at 0001 after its memory was reset, in a folder of its own.
    by_folder: Mapping[Path, list[tuple[int, Path]]] = defaultdict(list)
    for chapter, path in files:
        by_folder[path.parent].append((chapter, path))
    return [_in_order(name, number, group) for group in by_folder.values()]


def _in_order(name: str, number: str, files: Sequence[tuple[int, Path]]) -> CardRecording:
    ordered = sorted(files)
    paths = tuple(path for _, path in ordered)
    missing = sorted(set(range(1, ordered[-1][0] + 1)) - {chapter for chapter, _ in ordered})
    problem = None
    if missing:
        problem = f"chapter {', '.join(map(str, missing))} of {ordered[-1][0]} is missing"
    elif len({chapter for chapter, _ in ordered}) < len(ordered):
        problem = "has a chapter twice in one folder"
    return CardRecording(name, number, paths, problem)
