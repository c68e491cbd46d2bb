"""The clips of a source, by its layout: videos, folders of numbered frames, and those of published data sets."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from rb2v.artifacts import Split
from rb2v.choices import SourceLayoutName
from rb2v.errors import InputError
from rb2v.io.container import VIDEO_SUFFIXES
from rb2v.io.store import read_text

FRAME_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

_SPLIT_FOLDERS: Mapping[str, Split] = MappingProxyType(
    {"train": "train", "test": "test", "val": "test", "valid": "test"}
)
_TRIPLET = ("im1.png", "im2.png", "im3.png")
_SEQUENCE = re.compile(r"\d+/\d+")  # of Vimeo-90K, 00001/0001
_NUMBER = re.compile(r"(\d+)$")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Clip:
    """A recording of one camera; can be sent to workers."""

    name: str
    """Names the clip in tables and shards."""
    source: Path
    """A video, or a folder of frames."""
    split: Split | None = None
    """Where the published data set has it; None where nothing says so."""
    frames: tuple[str, ...] = ()
    """Names of the frames, where not all of a folder are meant."""

    @property
    def is_video(self) -> bool:
        """Whether the frames come from a video."""
        return not self.frames and not self.source.is_dir()

    def list_frames(self) -> list[Path]:
        """Return the paths of a folder's frames in order.

        Raises
        ------
        InputError
            If the folder holds no frame, a frame is missing between two others, or a number stands twice.
        """
        if self.frames:
            for name in self.frames:
                if not (self.source / name).is_file():
                    raise InputError(self.source / name, "there is no such file", expected="a frame of the sequence")
            return [self.source / name for name in self.frames]
        return list_numbered(self.source)


def find_clips(source: Path, layout: SourceLayoutName) -> list[Clip]:
    """Return the clips of a source, by name.

    Parameters
    ----------
    source : Path
        A video, or the folder of a layout.
    layout : str
        A key of `LAYOUTS`.

    Raises
    ------
    InputError
        If the source is not of this layout, or holds no clip.
    """
    if not source.exists():
        raise InputError(source, "there is no such file or folder", expected=f"the source of layout {layout}")
    if not source.is_dir() and layout not in ("clips", "adobe240"):
        raise InputError(source, "is a file", expected=f"the folder of layout {layout}")
    clips = list(LAYOUTS[layout](source))
    if not clips:
        raise InputError(source, "holds no clip", expected=_EXPECTED[layout])
    named = [replace(clip, name=_UNSAFE.sub("_", clip.name)) for clip in clips]
    twice = [name for name, count in Counter(clip.name for clip in named).items() if count > 1]
    if twice:
        first, second = [clip.source.name for clip in named if clip.name == twice[0]][:2]
        raise InputError(source, f"{first} and {second} are both clip {twice[0]!r}", expected="names that differ")
    return sorted(named, key=lambda clip: clip.name)


def list_numbered(folder: Path) -> list[Path]:
    """Return the frames of a folder by their numbers, which end the names.

    Raises
    ------
    InputError
        If the folder holds no frame, a name ends in no number, or a number is missing or stands twice.
    """
    paths = _frames_in(folder)
    if not paths:
        raise InputError(folder, "holds no frame", expected="numbered frames, 00000000.png for example")
    numbered: dict[int, Path] = {}
    for path in paths:
        number = _NUMBER.search(path.stem)
        if number is None:
            raise InputError(path, "its name ends in no number", expected="numbered frames, 00000000.png for example")
        other = numbered.setdefault(int(number[1]), path)
        if other is not path:
            raise InputError(folder, f"{other.name} and {path.name} have one number", expected="one file a frame")
    numbers = sorted(numbered)
    for before, after in itertools.pairwise(numbers):
        if after != before + 1:
            problem = f"lacks frame {before + 1}, between {numbered[before].name} and {numbered[after].name}"
            raise InputError(folder, problem, expected="consecutive numbers")
    return [numbered[number] for number in numbers]


def _frames_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in FRAME_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _holds_frames(folder: Path) -> bool:
    return any(path.suffix.lower() in FRAME_SUFFIXES and not path.name.startswith(".") for path in folder.iterdir())


def _split_of(parts: Sequence[str]) -> Split | None:
    return _SPLIT_FOLDERS.get(parts[0].lower()) if parts else None


def _find_videos(source: Path) -> Iterator[Clip]:
    """Yield a video, or all videos below a folder; folders train and test at its top say the split."""
    if not source.is_dir():
        yield Clip(source.stem, source)
        return
    videos = sorted(path for path in source.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    videos = [path for path in videos if not any(part.startswith(".") for part in path.relative_to(source).parts)]
    stems = Counter(path.with_suffix("") for path in videos)
    for path in videos:
        # An extension tells apart what the name does not.
        shown = path.with_suffix("") if stems[path.with_suffix("")] == 1 else path
        parts = shown.relative_to(source).parts
        yield Clip("-".join(parts), path, _split_of(parts[:-1]))


def _find_folders(source: Path) -> Iterator[Clip]:
    """Yield all folders of frames below a folder, or itself; folders train and test at its top say the split."""
    if _holds_frames(source):
        yield Clip(source.resolve().name or "clip", source)
    for folder in _folders_in(source):
        yield from _walk_folders(folder, (folder.name,))


def _walk_folders(folder: Path, parts: tuple[str, ...]) -> Iterator[Clip]:
    if _holds_frames(folder):
        yield Clip("-".join(parts), folder, _split_of(parts[:-1]))
    for inner in _folders_in(folder):
        yield from _walk_folders(inner, (*parts, inner.name))


def _find_reds(source: Path) -> Iterator[Clip]:
    """Yield the 120 fps sequences of REDS: ``train/train_orig/000/00000000.png``, and those of ``val``."""
    splits: tuple[tuple[str, Split], ...] = (("train", "train"), ("val", "test"))
    for name, split in splits:
        # An archive of the authors unpacks to either.
        for root in (source / name / f"{name}_orig", source / f"{name}_orig"):
            if root.is_dir():
                for folder in _folders_in(root):
                    yield Clip(f"{name}-{folder.name}", folder, split)
                break


def _find_triplets(source: Path) -> Iterator[Clip]:
    """Yield the triplets that ``tri_trainlist.txt`` and ``tri_testlist.txt`` name."""
    lists: tuple[tuple[str, Split], ...] = (("tri_trainlist.txt", "train"), ("tri_testlist.txt", "test"))
    if not any((source / name).is_file() for name, _ in lists):
        raise InputError(source, "holds neither tri_trainlist.txt nor tri_testlist.txt", expected=_EXPECTED_TRIPLETS)
    seen: dict[str, str] = {}
    for list_name, split in lists:
        path = source / list_name
        if not path.is_file():
            continue
        for number, name in _read_names(path):
            if not _SEQUENCE.fullmatch(name):
                raise InputError(path, f"{name!r} is no sequence", f"line {number}", "00001/0001 for example")
            if name in seen:
                raise InputError(path, f"{name} stands in {seen[name]} already", f"line {number}", "each one once")
            seen[name] = list_name
            folder = source / "sequences" / name
            for frame in _TRIPLET:
                if not (folder / frame).is_file():
                    problem = f"there is no sequences/{name}/{frame}"
                    raise InputError(path, problem, f"line {number}", "sequences that are there")
            yield Clip(name.replace("/", "-"), folder, split, _TRIPLET)


def _read_names(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a list that hold a name, and their numbers."""
    # Editors of Windows begin a file with a byte order mark.
    for number, line in enumerate(read_text(path).removeprefix("\ufeff").splitlines(), start=1):
        if name := line.strip():
            yield number, name


def _find_gopro(source: Path) -> Iterator[Clip]:
    """Yield the 240 fps sequences of GOPRO_Large_all: ``train/GOPR0372_07_00/000047.png``, and those of ``test``."""
    for name in ("train", "test"):
        if (source / name).is_dir():
            for folder in _folders_in(source / name):
                # The smaller release has folders blur and sharp there: every seventh frame, or fewer.
                if (folder / "sharp").is_dir():
                    expected = "GOPRO_Large_all, whose folders hold all frames"
                    raise InputError(folder, "holds a folder 'sharp', as GOPRO_Large does", expected=expected)
                yield Clip(f"{name}-{folder.name}", folder, _SPLIT_FOLDERS[name])


def _find_adobe240(source: Path) -> Iterator[Clip]:
    """Yield the videos of Adobe240, or the folders of their frames, split by the lists that are used for them."""
    root = source / "original_high_fps_videos" if (source / "original_high_fps_videos").is_dir() else source
    clips = list(_find_videos(root)) or (list(_find_folders(root)) if root.is_dir() else [])
    split_of: dict[str, Split] = {}
    lists: tuple[tuple[str, Split], ...] = (
        ("adobe240fps_folder_train.txt", "train"),
        ("adobe240fps_folder_test.txt", "test"),
    )
    names = {clip.source.stem for clip in clips}
    for list_name, split in lists:
        path = source / list_name
        for number, name in _read_names(path) if path.is_file() else ():
            if name not in names:
                raise InputError(path, f"there is no clip {name!r}", f"line {number}", "clips that are there")
            if split_of.setdefault(name, split) != split:
                raise InputError(path, f"{name} stands in {lists[0][0]} already", f"line {number}", "each one once")
    for clip in clips:
        if not split_of:
            yield clip
        elif clip.source.stem in split_of:
            yield replace(clip, split=split_of[clip.source.stem])


LAYOUTS: Mapping[SourceLayoutName, Callable[[Path], Iterator[Clip]]] = MappingProxyType(
    {
        "clips": _find_videos,
        "reds": _find_reds,
        "vimeo90k-triplet": _find_triplets,
        "gopro": _find_gopro,
        "adobe240": _find_adobe240,
        "folders": _find_folders,
    }
)
"""What yields the clips of a source, by the name of its layout."""

_EXPECTED_TRIPLETS = "sequences/00001/0001/im1.png, ..., and a list of them"
_EXPECTED: Mapping[SourceLayoutName, str] = MappingProxyType(
    {
        "clips": f"a video, or a folder of videos ({', '.join(VIDEO_SUFFIXES)})",
        "reds": "train/train_orig/000/00000000.png, ..., or val/val_orig",
        "vimeo90k-triplet": _EXPECTED_TRIPLETS,
        "gopro": "train/GOPR0372_07_00/000047.png, ..., or test",
        "adobe240": "original_high_fps_videos/, videos, or folders of their frames",
        "folders": "numbered frames, or folders of them",
    }
)
