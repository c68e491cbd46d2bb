"""The layout of B-AIST++, as the code of Animation from Blur reads it: a folder for each video.

References
----------
.. [1] Zhong et al., "Animation from Blur", ECCV 2022, and its code: names and sizes.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from rb2v import __version__
from rb2v.artifacts import SPLITS, Crop, Split
from rb2v.core.motion_classes import half_size, resample, vectors_of
from rb2v.errors import InputError
from rb2v.execution import Executor
from rb2v.io.partial import scratch_folder
from rb2v.io.store import (
    SCHEMA,
    check_schema,
    read_json,
    read_text,
    sha256_of,
    validate,
    whole_file,
    write_json,
    write_text,
)
from rb2v.models.pickled_boxes import MAX_PICKLE_BYTES, Box, read_pickled_box
from rb2v.progress import Count
from rb2v.shards import Manifest, Provenance, ShardSample, manifest_path, read_manifest, write_manifest
from rb2v.shards.builder import samples_per_shard
from rb2v.shards.exchange.config import ImportConfig
from rb2v.shards.exchange.samples import (
    MAX_PNG_BYTES,
    ImportPart,
    ImportPlan,
    SampleColumns,
    ShardPart,
    Source,
    columns_of,
    decode_png,
    encode_png,
    find_inside,
    is_whole_png,
    png_size,
    write_picture,
)
from rb2v.shards.guidance_files import FLOW_NAMES, TREND_NAMES, guidance_of_flow, read_flow, read_trend
from rb2v.shards.guidance_table import GuidanceReader, Key

LAYOUT = "baist"
EXTRAS_FOLDER = "rb2v"
"""Holds what the layout has no room for: a manifest, and the samples' columns by video and index."""
COLUMNS_NAME = "columns.json"
LIST_NAMES: Mapping[Split, str] = {"train": "train.yaml", "test": "test.yaml"}
"""Lists of the videos of each split, which are looked for in the folder itself."""

_N_FRAMES = 7  # sharp ones of a blurry frame
_N_PADDED = 40  # images at either end of a video that the authors' loader does not use
_PADDING_NAME = "unused_{:02d}.png"
"""Of empty files that the authors' loader counts and never opens, so that it uses all samples."""
_IMAGE_NAME = re.compile(r"(\d{8})\.png", re.ASCII)
_VIDEO_NAME = re.compile(r"[A-Za-z0-9][\w+-]{0,99}", re.ASCII)
_TASK_SAMPLES = 500
"""Most samples whose images one task writes."""
_MAX_TASK_BYTES = 2**19
"""Of what is known of a shard's samples, which a worker is told; half of what an executor takes."""
_STREAM = 5  # of the random numbers of crops
_MAX_LIST_BYTES = 2**24  # of a list of videos, some thousand names


def recognize(folder: Path) -> bool:
    """Return whether a folder holds videos of the layout."""
    if not folder.is_dir():
        return False
    return any((child / "blur").is_dir() and (child / "sharp").is_dir() for child in sorted(folder.iterdir())[:64])


# --- export


def export_shards(source: Source, out_dir: Path, executor: Executor, progress: Count) -> Path:
    """Write images, boxes, guidance where there is some, and the lists of videos; return the list of the training.

    Every take becomes a video, its samples numbered from 40 on in their order, with 80 empty files that the authors'
    loader counts as the images at both ends that it leaves out. Boxes are the whole frame. Whole images are skipped.

    Raises
    ------
    InputError
        If a shard is damaged.
    """
    names = _name_samples(source)
    items, start = [], 0
    for part in source.parts:
        for row in range(0, part.samples, _TASK_SAMPLES):
            chosen = names[start + row : start + min(row + _TASK_SAMPLES, part.samples)]
            items.append((replace(part, orders=b""), row, chosen))
        start += part.samples
    shape = (source.manifest.output_size, source.manifest.frames_per_sequence)
    colors: list[Any] = []
    for found in executor.map(partial(_write_images, out_dir, shape), items):
        colors += found
        progress(len(colors), len(names))
    if source.guidance is not None:
        _write_trends(out_dir, source.guidance, names)
    videos: dict[Split, dict[str, None]] = {split: {} for split in SPLITS}
    for (split, _, _), (video, _) in zip(source.reader.keys, names, strict=True):
        videos[split][video] = None
    for video in dict.fromkeys(video for video, _ in names):
        for place in range(2 * _N_PADDED):
            (out_dir / video / "blur" / _PADDING_NAME.format(place)).touch()
    table = source.reader.table.drop(columns="order").to_dict("records")
    columns = {
        f"{video}/{index}": columns_of(
            {**{str(key): value for key, value in record.items()}, "order": order, "color": color}
        )
        for (video, index), record, order, color in zip(names, table, source.orders, colors, strict=True)
    }
    write_manifest(out_dir / EXTRAS_FOLDER, replace(source.manifest, splits={}))
    write_json(out_dir / EXTRAS_FOLDER / COLUMNS_NAME, {"schema": SCHEMA, "data": columns})
    for split, listed in videos.items():
        write_text(out_dir / LIST_NAMES[split], yaml.safe_dump(list(listed)))
    return out_dir / LIST_NAMES["train"]


def _name_samples(source: Source) -> list[tuple[str, int]]:
    """Return the video and the index in it of every sample; a take of both splits becomes two videos."""
    videos: dict[tuple[Split, str], str] = {}
    counts: dict[str, int] = {}
    names = []
    for split, take, _ in source.reader.keys:
        if (split, take) not in videos:
            videos[split, take] = _name_video(take, set(videos.values()))
        video = videos[split, take]
        counts[video] = counts.get(video, _N_PADDED - 1) + 1
        names.append((video, counts[video]))
    return names


def _name_video(take: str, used: set[str]) -> str:
    """Return the name of a take's folder: its own where that is plain and free, or a number."""
    if _VIDEO_NAME.fullmatch(take) and take not in used and take != EXTRAS_FOLDER:
        return take
    number = len(used)
    while f"video_{number:05d}" in used:
        number += 1
    return f"video_{number:05d}"


def _write_images(
    out_dir: Path, shape: tuple[tuple[int, int], int], item: tuple[ShardPart, int, Sequence[tuple[str, int]]]
) -> list[Any]:
    """Write what is missing of the images of a shard's samples, and their boxes; return their color maps."""
    size, n_frames = shape
    part, start, names = item
    paths = {row: [out_dir / path for path in image_paths(*name, n_frames)] for row, name in enumerate(names, start)}
    lost = {
        row: [(k, path) for k, path in enumerate(listed) if not _holds_image(path, size)]
        for row, listed in paths.items()
    }
    missing = {row: listed for row, listed in lost.items() if listed}
    with scratch_folder(out_dir / f"{part.split}-{part.index:05d}-{start:08d}") as scratch:
        for listed, (blurry, sharp) in zip(missing.values(), part.read_frames(missing), strict=True):
            for k, path in listed:
                write_picture(path, encode_png(sharp[k - 1] if k else blurry), scratch)
    for video, index in names:
        with whole_file(out_dir / video / "blur_anno" / f"{index:08d}.pkl") as temporary:
            # Plain numbers, which no version of numpy is needed for.
            temporary.write_bytes(pickle.dumps({"bbox": [0.0, 0.0, float(size[0]), float(size[1])]}, protocol=2))
    return part.read_colors(slice(start, start + len(names)))


def _holds_image(path: Path, size: tuple[int, int]) -> bool:
    return path.is_file() and is_whole_png(path.read_bytes(), size)


def _write_trends(out_dir: Path, guidance: GuidanceReader, names: Sequence[tuple[str, int]]) -> None:
    for row, (video, index) in enumerate(names):
        with (
            whole_file(out_dir / video / TREND_NAMES[0].format(index=index)) as temporary,
            temporary.open("wb") as file,
        ):
            np.save(file, vectors_of(guidance.read(row)).astype(np.float32))


def image_paths(video: str, index: int, n_sharp: int) -> list[str]:
    """Return the paths of a sample's images below the folder: the blurry one, then the sharp ones."""
    return [f"{video}/blur/{index:08d}.png", *(f"{video}/sharp/{index:08d}_{k:03d}.png" for k in range(n_sharp))]


# --- import


class _ColumnsDocument(BaseModel):
    model_config = ConfigDict(extra="forbid")

    data: dict[str, SampleColumns]


@dataclass(frozen=True)
class _Listed:
    """One sample: its images, the part of them that is kept, and its columns."""

    split: Split
    video: str
    index: int
    crop: tuple[int, int, int, int]
    """Left, top, right and bottom, in pixels."""
    columns: SampleColumns


def plan_import(folder: Path, config: ImportConfig) -> ImportPlan:
    """Plan shards of the videos that the lists name.

    Parameters
    ----------
    folder : Path
        A folder of the layout.
    config : ImportConfig
        What the layout leaves open.

    Raises
    ------
    InputError
        If a list, an annotation or an image is missing or damaged, leads out of the folder, or no sample is left.
    """
    columns, manifest = _read_extras(folder)
    videos = {split: _read_list(folder, split, config) for split in SPLITS}
    shared = sorted(set(videos["train"]) & set(videos["test"]))
    if shared:
        raise InputError(folder, f"the video {shared[0]!r} is in both lists", "test_videos", "each in one list")
    n_frames = _N_FRAMES if manifest is None else manifest.frames_per_sequence
    listed = [
        sample
        for split in SPLITS
        for video in videos[split]
        for sample in _list_video(folder, split, video, config, columns)
    ]
    if not listed:
        raise InputError(
            folder, "holds no sample that is used", expected=f"more than {2 * config.skip_ends} images a video"
        )
    size = config.box_size if manifest is None else manifest.output_size
    for sample in listed:
        for name in image_paths(sample.video, sample.index, n_frames):
            find_inside(folder, name)
    template = _make_template(folder, config, manifest, size)
    limit = samples_per_shard(size, n_frames, config.shard_samples)
    parts = []
    for split in SPLITS:
        chosen = [sample for sample in listed if sample.split == split]
        parts += [
            ImportPart(split, len(run), partial(_read_samples, folder, run, (size, n_frames)))
            for run in _divide(chosen, limit)
        ]
    guidance = partial(_iter_guidance, folder, listed, size) if _has_guidance(folder, listed[0]) else None
    return ImportPlan(template, parts, guidance=guidance)


def _divide(listed: Sequence[_Listed], limit: int) -> Iterator[list[_Listed]]:
    """Yield runs of samples that are no longer than a limit, and that a worker can be told."""
    chosen: list[_Listed] = []
    n_bytes = 0
    for sample in listed:
        weight = len(pickle.dumps(sample))
        if chosen and (len(chosen) == limit or n_bytes + weight > _MAX_TASK_BYTES):
            yield chosen
            chosen, n_bytes = [], 0
        chosen.append(sample)
        n_bytes += weight
    if chosen:
        yield chosen


def _read_extras(folder: Path) -> tuple[Mapping[str, SampleColumns], Manifest | None]:
    extras = folder / EXTRAS_FOLDER
    if not (extras / COLUMNS_NAME).is_file():
        return {}, None
    path = find_inside(folder, f"{EXTRAS_FOLDER}/{COLUMNS_NAME}")
    find_inside(folder, f"{EXTRAS_FOLDER}/{manifest_path(extras).name}")
    raw = read_json(path)
    check_schema(path, raw)
    document = validate(_ColumnsDocument, {key: value for key, value in raw.items() if key != "schema"}, path)
    return document.data, read_manifest(extras)


def _read_list(folder: Path, split: Split, config: ImportConfig) -> list[str]:
    given = config.train_videos if split == "train" else config.test_videos
    path = folder / LIST_NAMES[split] if given is None else given
    if given is None and not path.is_file():
        if split == "train":
            raise InputError(path, "there is no such file", f"{split}_videos", "a YAML list of videos")
        return []
    text = read_text(path)
    if len(text) > _MAX_LIST_BYTES:
        raise InputError(path, f"has {len(text)} characters", expected=f"at most {_MAX_LIST_BYTES}")
    try:
        names = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(path, "is not YAML", expected="a list of videos") from error
    for place, name in enumerate(names if isinstance(names, list) else ()):
        if not isinstance(name, str) or name in ("", ".", "..") or re.search(r"[/\\\0]", name):
            raise InputError(path, f"{name!r} is not a video's name", str(place), "the name of a folder")
    if not isinstance(names, list):
        raise InputError(path, f"holds a {type(names).__name__}", expected="a list of videos")
    return list(dict.fromkeys(names))


def _list_video(
    folder: Path, split: Split, video: str, config: ImportConfig, columns: Mapping[str, SampleColumns]
) -> Iterator[_Listed]:
    blurry = folder / video / "blur"
    if not blurry.is_dir():
        raise InputError(blurry, "there is no such folder", expected="the blurry images of a listed video")
    images = sorted(path.name for path in blurry.iterdir() if path.name.endswith(".png"))
    indices = {int(found[1]) for found in map(_IMAGE_NAME.fullmatch, images) if found}
    # As the authors count: every image of the folder, whatever its name.
    for index in range(config.skip_ends, len(images) - config.skip_ends):
        annotation = folder / video / "blur_anno" / f"{index:08d}.pkl"
        if index not in indices or not annotation.is_file():
            continue  # where nobody was found, as the authors do
        name = f"{video}/{index}"
        box = _read_box(folder, annotation)
        size = png_size(_read_image(folder, f"{video}/blur/{index:08d}.png"), blurry / f"{index:08d}.png")
        rng = np.random.default_rng((_STREAM, config.seed, index, *video.encode()))
        # One draw for all images of a sample; the authors test on the box itself.
        share = config.box_margin * rng.uniform() if split == "train" else 0.0
        yield _Listed(
            split, video, index, place_box(box, size, share), _find_columns(columns, name, video, index, config)
        )


def _find_columns(
    columns: Mapping[str, SampleColumns], name: str, video: str, index: int, config: ImportConfig
) -> SampleColumns:
    if name in columns:
        return columns[name]
    unknown = (float("nan"),) * 4
    return SampleColumns(
        take=video,
        subject=video,
        category=config.category or "street",
        blurry_index=index,
        position=-1,
        psnr=float("nan"),
        color=(unknown,) * 3,
    )


def _read_box(folder: Path, path: Path) -> Box:
    path = find_inside(folder, path.relative_to(folder).as_posix())
    if path.stat().st_size > MAX_PICKLE_BYTES:
        raise InputError(path, f"has {path.stat().st_size} bytes", expected=f"at most {MAX_PICKLE_BYTES}")
    return read_pickled_box(path.read_bytes(), str(path))


def place_box(box: Box, size: tuple[int, int], share: float) -> tuple[int, int, int, int]:
    """Return the part of an image that is kept.

    Parameters
    ----------
    box : (float, float, float, float)
        Left, top, right and bottom of what it shows, in pixels.
    size : (int, int)
        Width and height of the image.
    share : float
        Share of the way from the box to the image's border by which the part is larger.

    Examples
    --------
    >>> place_box((20, 10, 60, 90), (100, 100), 0.5)
    (10, 5, 80, 95)
    """
    width, height = size
    left, top, right, bottom = (min(max(side, 0), limit) for side, limit in zip(box, (width, height) * 2, strict=True))
    placed = (
        int((1 - share) * left),
        int((1 - share) * top),
        int(right + share * (width - right)),
        int(bottom + share * (height - bottom)),
    )
    if placed[2] <= placed[0] or placed[3] <= placed[1]:
        return 0, 0, width, height
    return placed


def _make_template(folder: Path, config: ImportConfig, manifest: Manifest | None, size: tuple[int, int]) -> Manifest:
    imported: dict[str, Any] = {
        "format": LAYOUT,
        "videos_sha256": {
            split: sha256_of(path)
            for split, path in ((split, _list_path(folder, split, config)) for split in SPLITS)
            if path.is_file()
        },
        "category": config.category,
        "shard_samples": config.shard_samples,
        "skip_ends": config.skip_ends,
    }
    if manifest is not None:
        provenance = replace(
            manifest.provenance, version=__version__, config={**manifest.provenance.config, "import": imported}
        )
        return replace(manifest, splits={}, provenance=provenance)
    imported |= {"box_size": list(size), "box_margin": config.box_margin, "response": "assumed"}
    provenance = Provenance(__version__, {"import": imported}, None, {"import": config.seed}, "srgb")
    return Manifest("imported", size, Crop(0, 0, *size), {}, provenance, _N_FRAMES)


def _list_path(folder: Path, split: Split, config: ImportConfig) -> Path:
    given = config.train_videos if split == "train" else config.test_videos
    return given or folder / LIST_NAMES[split]


def _read_samples(folder: Path, listed: Sequence[_Listed], shape: tuple[tuple[int, int], int]) -> Iterator[ShardSample]:
    size, n_frames = shape
    for sample in listed:
        frames = []
        found: tuple[int, int] | None = None
        for name in image_paths(sample.video, sample.index, n_frames):
            data = _read_image(folder, name)
            found = found or png_size(data, folder / name)
            left, top, right, bottom = sample.crop
            frame = decode_png(data, found, folder / name)[top:bottom, left:right]
            if frame.shape[:2] != size[::-1]:
                frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
            frames.append(np.ascontiguousarray(frame))
        yield sample.columns.with_frames(frames[0], np.stack(frames[1:]), folder / sample.video)


def _read_image(folder: Path, name: str) -> bytes:
    path = find_inside(folder, name)
    if path.stat().st_size > MAX_PNG_BYTES:
        raise InputError(path, f"has {path.stat().st_size} bytes", expected=f"at most {MAX_PNG_BYTES}")
    return path.read_bytes()


def _has_guidance(folder: Path, sample: _Listed) -> bool:
    return any(
        (folder / sample.video / name.format(index=sample.index)).is_file() for name in (*TREND_NAMES, *FLOW_NAMES)
    )


def _iter_guidance(
    folder: Path, listed: Sequence[_Listed], size: tuple[int, int], static_px: float
) -> Iterator[tuple[Key, NDArray[np.uint8]]]:
    for sample in listed:
        key = (sample.split, sample.columns.take, sample.columns.blurry_index)
        name = f"{sample.video}/blur/{sample.index:08d}.png"
        width, height = png_size(_read_image(folder, name), folder / name)
        classes = _read_guidance(folder, sample, (width, height), static_px)
        left, top, right, bottom = sample.crop
        box = (top / height, bottom / height, left / width, right / width)
        yield key, resample(classes, half_size(size[1], size[0]), box)


def _read_guidance(folder: Path, sample: _Listed, size: tuple[int, int], static_px: float) -> NDArray[np.uint8]:
    for names, is_trend in ((TREND_NAMES, True), (FLOW_NAMES, False)):
        for name in names:
            path = f"{sample.video}/{name.format(index=sample.index)}"
            if (folder / path).is_file():
                found = find_inside(folder, path)
                if is_trend:
                    return read_trend(found)
                return guidance_of_flow(read_flow(found, size), _N_FRAMES, static_px)
    raise InputError(
        folder / sample.video, f"holds no guidance of image {sample.index}", expected="a trend or flow file"
    )
