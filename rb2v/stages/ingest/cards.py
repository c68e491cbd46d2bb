"""The recordings on a memory card: which files are the chapters of one.

GoPro cameras since the HERO6 write ``GX010123.MP4`` (``GH`` for AVC): two digits of the chapter, four of the recording.
Older ones write ``GOPR0123.MP4`` and, from the second chapter on, ``GP010123.MP4``. Looped recordings are written as
``GHAA0001.MP4``: two letters of the recording, four digits of the chapter. Any other video is a recording of its own.
"""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rb2v.errors import InputError
from rb2v.io.container import VIDEO_SUFFIXES

logger = logging.getLogger(__name__)

_CHAPTER = re.compile(r"G([A-OQ-Z])(\d{2})(\d{4})", re.IGNORECASE)
_LOOP = re.compile(r"G([HXL])([A-Z]{2})(\d{4})", re.IGNORECASE)
_OLD_FIRST = re.compile(r"GOPR(\d{4})", re.IGNORECASE)
_OLD_CHAPTER = re.compile(r"GP(\d{2})(\d{4})", re.IGNORECASE)
_MAX_SHOWN = 5  # missing chapters in a message, which is to stay one line


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
    loops: dict[tuple[str, Path], list[tuple[int, Path]]] = defaultdict(list)
    found: list[CardRecording] = []
    for path in sorted(_iter_videos(card)):
        if (match := _CHAPTER.fullmatch(path.stem)) is not None:
            chapters[f"G{match[1].upper()}", match[3]].append((int(match[2]), path))
        elif (match := _LOOP.fullmatch(path.stem)) is not None:
            loops[f"G{match[1].upper()}{match[2].upper()}", path.parent].append((int(match[3]), path))
        elif (match := _OLD_FIRST.fullmatch(path.stem)) is not None:
            chapters["GOPR", match[1]].append((1, path))
        elif (match := _OLD_CHAPTER.fullmatch(path.stem)) is not None:
            chapters["GOPR", match[2]].append((int(match[1]) + 1, path))
        else:
            found.append(CardRecording(printable(path.stem), None, (path,), _lost_link(path)))
    for (prefix, number), files in chapters.items():
        found += _join(prefix + number, number, files)
    # A loop overwrites its oldest files, so that it may begin with any number.
    found += [_in_order(name, None, files, first=min(files)[0]) for (name, _), files in loops.items()]
    if not found:
        expected = "videos such as DCIM/100GOPRO/GX010123.MP4"
        raise InputError(card, "holds no recording", expected=expected)
    return tuple(sorted(found, key=lambda recording: (recording.name, recording.paths)))


def printable(name: str) -> str:
    r"""Return a file's name as text: what is not printable, or no UTF-8, is spelled out.

    Examples
    --------
    >>> print(printable("two\nlines.mp4"))
    two\nlines.mp4
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in name
    )


def _iter_videos(card: Path) -> Iterator[Path]:
    """Yield the videos in any folder of a card, and links to some that lead nowhere; links to folders are not followed.

    A folder that cannot be read is warned of: it would otherwise pass for an empty one.
    """

    def warn(error: OSError) -> None:
        logger.warning("%s: cannot be read (%s); what is in it is left out", error.filename, error.strerror)

    for folder, folders, names in os.walk(card, onerror=warn):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(folder, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() in VIDEO_SUFFIXES and (path.is_file() or _lost_link(path)):
                yield path


def _lost_link(path: Path) -> str | None:
    return "is a link to a file that is not there" if path.is_symlink() and not path.exists() else None


def _join(name: str, number: str, files: Sequence[tuple[int, Path]]) -> list[CardRecording]:
    """Return the recordings that files of one number make up."""
    if len({chapter for chapter, _ in files}) == len(files):
        return [_in_order(name, number, files)]
    # The camera starts anew at 0001 after its memory was reset, in a folder of its own.
    by_folder: Mapping[Path, list[tuple[int, Path]]] = defaultdict(list)
    for chapter, path in files:
        by_folder[path.parent].append((chapter, path))
    return [_in_order(name, number, group) for group in by_folder.values()]


def _in_order(name: str, number: str | None, files: Sequence[tuple[int, Path]], *, first: int = 1) -> CardRecording:
    ordered = sorted(files)
    paths = tuple(path for _, path in ordered)
    missing = sorted(set(range(first, ordered[-1][0] + 1)) - {chapter for chapter, _ in ordered})
    problem = None
    if missing:
        shown = ", ".join(map(str, missing[:_MAX_SHOWN])) + (", ..." if len(missing) > _MAX_SHOWN else "")
        lacks = "chapter {} of {} is missing" if len(missing) == 1 else "chapters {} of {} are missing"
        problem = lacks.format(shown, ordered[-1][0])
    elif len({chapter for chapter, _ in ordered}) < len(ordered):
        problem = "has a chapter twice in one folder"
    problem = problem or next((lost for path in paths if (lost := _lost_link(path))), None)
    return CardRecording(name, number, paths, problem)
