"""Shards as the videos of B-AIST++, which the code of Animation from Blur reads.

References
----------
.. [1] Zhong et al., "Animation from Blur", ECCV 2022, and its code: names and sizes.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rb2v.artifacts import SPLITS, Split
from rb2v.core.motion_classes import vectors_of
from rb2v.execution import Executor
from rb2v.io.partial import scratch_folder
from rb2v.io.store import (
    SCHEMA,
    whole_file,
    write_json,
    write_text,
)
from rb2v.progress import Count
from rb2v.shards import write_manifest
from rb2v.shards.exchange.baist_names import COLUMNS_NAME, EXTRAS_FOLDER, LIST_NAMES, image_paths
from rb2v.shards.exchange.samples import (
    ShardPart,
    Source,
    columns_of,
    encode_png,
    is_whole_png,
    write_picture,
)
from rb2v.shards.guidance_files import TREND_NAMES
from rb2v.shards.guidance_table import GuidanceReader

_N_PADDED = 40  # images at either end of a video that the authors' loader does not use
_PADDING_NAME = "unused_{:02d}.png"
"""Of empty files that the authors' loader counts and never opens, so that it uses all samples."""
_VIDEO_NAME = re.compile(r"[A-Za-z0-9][\w+-]{0,99}", re.ASCII)
_TASK_SAMPLES = 500
"""Most samples whose images one task writes."""


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
