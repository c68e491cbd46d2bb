"""The videos of B-AIST++ as shards: one part of the images around a person for each sample.

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
from rb2v.core.motion_classes import half_size, resample
from rb2v.errors import InputError
from rb2v.io.store import (
    check_schema,
    read_json,
    read_text,
    sha256_of,
    validate,
)
from rb2v.models.pickled_boxes import MAX_PICKLE_BYTES, Box, read_pickled_box
from rb2v.shards import Manifest, Provenance, ShardSample, manifest_path, read_manifest
from rb2v.shards.builder import samples_per_shard
from rb2v.shards.exchange.baist_names import COLUMNS_NAME, EXTRAS_FOLDER, LAYOUT, LIST_NAMES, image_paths
from rb2v.shards.exchange.config import ImportConfig
from rb2v.shards.exchange.samples import (
    MAX_PNG_BYTES,
    ImportPart,
    ImportPlan,
    SampleColumns,
    decode_png,
    find_inside,
    png_size,
)
from rb2v.shards.guidance_files import FLOW_NAMES, TREND_NAMES, guidance_of_flow, read_flow, read_trend
from rb2v.shards.guidance_table import Key

_N_FRAMES = 7  # sharp ones of a blurry frame
_IMAGE_NAME = re.compile(r"(\d{8})\.png", re.ASCII)
_MAX_TASK_BYTES = 2**19
"""Of what is known of a shard's samples, which a worker is told; half of what an executor takes."""
_STREAM = 5  # of the random numbers of crops
_MAX_LIST_BYTES = 2**24  # of a list of videos, some thousand names


def recognize(folder: Path) -> bool:
    """Return whether a folder holds videos of the layout, by their annotations."""
    if not folder.is_dir():
        return False
    return any((child / "blur").is_dir() and (child / "blur_anno").is_dir() for child in sorted(folder.iterdir())[:64])


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
