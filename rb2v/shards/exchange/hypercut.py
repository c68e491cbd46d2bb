"""The layout of the public RB2V release: folders of PNG files listed by ``metadata.json``."""

from __future__ import annotations

import io
import logging
import os
import pickle
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from rb2v import __version__
from rb2v.artifacts import CATEGORIES, SPLITS, Category, Crop, Split
from rb2v.errors import InputError
from rb2v.execution import Executor
from rb2v.io.partial import scratch_folder
from rb2v.io.store import SCHEMA, check_schema, read_json, validate, write_json
from rb2v.progress import Count
from rb2v.shards import Manifest, Provenance, ShardSample, manifest_path, read_manifest, sha256_of, write_manifest
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
from rb2v.shards.layout import MARK_NAME
from rb2v.shards.manifest import MAX_SAMPLE_BYTES

logger = logging.getLogger(__name__)

LAYOUT = "hypercut"
METADATA_NAME = "metadata.json"
EXTRAS_FOLDER = "rb2v"
"""Holds what the layout has no room for: a manifest, and the samples' columns by id."""
COLUMNS_NAME = "columns.json"

_ORDERS = {1: "keep", -1: "reverse", 0: "ignore"}
_ORDER_VALUES = {"keep": 1, "reverse": -1, "ignore": 0, "random": 0}
_MIXED_NAME = "RB2V"
_MAX_METADATA_BYTES = 2**29  # 512 MB of text, of millions of samples; more would fill the memory of whoever reads it
_ID = re.compile(r"([\w.+-]+(?:/[\w.+-]+)*)/(\d{1,19})", re.ASCII)
_MAX_INDEX = 2**63 - 1  # of int64, which `blurry_index` is
_MAX_TASK_BYTES = 2**19
"""Of what the list says of a shard's samples, which a worker is told; half of what an executor takes."""
_TASK_SAMPLES = 1000
"""Most samples whose images one task writes."""
_FRAME_KEY = re.compile(r"frame\d+_path")


def recognize(folder: Path) -> bool:
    """Return whether a folder has the layout's list of samples."""
    return (folder / METADATA_NAME).is_file()


def export_shards(source: Source, out_dir: Path, executor: Executor, progress: Count) -> Path:
    """Write the images, what the layout has no room for, and ``metadata.json``, and return its path.

    Images that are whole by the checksums in them are skipped.

    Raises
    ------
    InputError
        If two samples show the same frame of the same take, or a frame has a negative index.
    """
    ids = _make_ids(source)
    table, parts = source.reader.table, source.parts
    colors: list[Any] = []
    size, n_sharp = source.manifest.output_size, source.manifest.frames_per_sequence
    items, n_listed = [], 0
    for part in parts:
        for start in range(0, part.samples, _TASK_SAMPLES):
            chosen = ids[n_listed : n_listed + min(_TASK_SAMPLES, part.samples - start)]
            items.append((replace(part, orders=b""), start, chosen))
            n_listed += len(chosen)
    for found in executor.map(partial(_write_pictures, out_dir, size, n_sharp), items):
        colors += found
        progress(len(colors), len(ids))
    columns = {}
    for row, record in enumerate(table.drop(columns="order").to_dict("records")):
        rest = {"color": colors[row], MARK_NAME: source.reader.read_marks(row)}
        columns[ids[row]] = columns_of({str(key): value for key, value in record.items()} | rest)
    write_manifest(out_dir / EXTRAS_FOLDER, replace(source.manifest, splits={}))
    write_json(out_dir / EXTRAS_FOLDER / COLUMNS_NAME, {"schema": SCHEMA, "data": columns})
    splits = [part.split for part in parts for _ in range(part.samples)]
    entries = [
        {"id": name, "order": _ORDERS[order], "partition": split, **_picture_paths(name, n_sharp)}
        for name, order, split in zip(ids, source.orders, splits, strict=True)
    ]
    categories = table["category"].unique()
    name = str(categories[0]).capitalize() if len(categories) == 1 else _MIXED_NAME
    return write_json(out_dir / METADATA_NAME, {"name": name, "frame_per_seq": n_sharp, "data": entries})


def _make_ids(source: Source) -> list[str]:
    table = source.reader.table
    numbers = {take: number for number, take in enumerate(dict.fromkeys(table["take"]))}
    ids: dict[str, None] = {}
    for take, index in zip(table["take"], table["blurry_index"], strict=True):
        name = f"{numbers[take]:05d}/{index:04d}"
        if index < 0 or name in ids:
            problem = "is negative" if index < 0 else "stands twice"
            raise InputError(
                source.reader.folder,
                f"frame {index} of take {take!r} {problem}",
                "blurry_index",
                "an id for each sample",
            )
        ids[name] = None
    return list(ids)


def _picture_paths(name: str, n_sharp: int) -> dict[str, str]:
    folder, _, index = name.rpartition("/")
    sharp = {_frame_key(k): f"{folder}/sharp/{index}_{k}.png" for k in range(1, n_sharp + 1)}
    return {"blur_path": f"{folder}/blur/{index}.png", **sharp}


def _frame_key(number: int) -> str:
    return f"frame{number:03d}_path"


def _write_pictures(
    out_dir: Path, size: tuple[int, int], n_sharp: int, item: tuple[ShardPart, int, Sequence[str]]
) -> list[Any]:
    """Write what is missing of the images of a shard's samples from a row on, and return their color maps."""
    part, start, ids = item
    missing: dict[int, list[tuple[int, Path]]] = {}
    for row, name in enumerate(ids, start):
        paths = [out_dir / path for path in _picture_paths(name, n_sharp).values()]
        if lost := [(number, path) for number, path in enumerate(paths) if not _holds_picture(path, size)]:
            missing[row] = lost
    # One folder to lay images aside in: looking for leftovers beside each of thousands takes longer than they do.
    with scratch_folder(out_dir / f"{part.split}-{part.index:05d}-{start:08d}") as scratch:
        for lost, (blurry, sharp) in zip(missing.values(), part.read_frames(missing), strict=True):
            for number, path in lost:
                write_picture(path, encode_png(sharp[number - 1] if number else blurry), scratch)
    return part.read_colors(slice(start, start + len(ids)))


def _holds_picture(path: Path, size: tuple[int, int]) -> bool:
    return path.is_file() and is_whole_png(path.read_bytes(), size)


class _Entry(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: str
    order: Literal["ignore", "keep", "reverse", "random"]
    partition: Literal["train", "val", "test"]
    blur_path: str


class _Metadata(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str
    frame_per_seq: Annotated[int, Field(ge=3, le=999)]
    data: list[_Entry]


class _ColumnsDocument(BaseModel):
    model_config = ConfigDict(extra="forbid")

    data: dict[str, SampleColumns]


@dataclass(frozen=True)
class _Listed:
    """One sample of the list: where its images are, and the rest of it."""

    split: Split
    place: str
    """Where in the list."""
    paths: tuple[str, ...]
    """Of the blurry frame and the sharp ones, below the folder."""
    columns: SampleColumns


def plan_import(folder: Path, config: ImportConfig) -> ImportPlan:
    """Plan shards of what ``metadata.json`` lists.

    Parameters
    ----------
    folder : Path
        A folder of the layout.
    config : ImportConfig
        What the layout leaves open.

    Raises
    ------
    InputError
        If the list or what stands beside it is malformed, an image is missing or outside the folder, samples share an
        id, or their category is not known.
    """
    path = find_inside(folder, METADATA_NAME)
    metadata = validate(_Metadata, _read_bounded(path), path)
    make_columns: Callable[[str, str, int], SampleColumns]
    if os.path.lexists(folder / EXTRAS_FOLDER):
        make_columns = partial(_find_own_columns, _read_columns(folder), folder)
    else:
        make_columns = partial(_make_foreign_columns, _find_category(metadata.name, config, path))
    listed, n_val = [], 0
    seen: dict[tuple[str, int], str] = {}
    for number, entry in enumerate(metadata.data):
        place = f"data.{number}"
        parsed = _ID.fullmatch(entry.id)
        if parsed is None or int(parsed[2]) > _MAX_INDEX:
            raise InputError(path, f"{entry.id!r} is no id", f"{place}.id", "folder/index, 00000/0000 for example")
        key = (parsed[1], int(parsed[2]))
        if key in seen:
            raise InputError(path, f"{entry.id!r} is the id of {seen[key]} already", f"{place}.id")
        seen[key] = place
        n_val += entry.partition == "val"
        target = config.val if entry.partition == "val" else entry.partition
        paths = _check_paths(entry, metadata.frame_per_seq, path, place)
        if target == "skip":
            continue
        columns = make_columns(entry.id, *key)
        order = _ORDER_VALUES[entry.order]
        listed.append(_Listed(target, place, paths, columns.model_copy(update={"order": order})))
    if not listed:
        raise InputError(path, "holds no sample" + (" but those of val" if n_val else ""), "data", "at least one")
    root = os.path.realpath(folder)
    for sample in listed:
        for name in sample.paths:
            find_inside(folder, name, path, sample.place, root=root)
    template = _make_template(folder, metadata, config, listed[0])
    return ImportPlan(template, _plan_parts(folder, _separate_subjects(listed, path), template, config), n_val)


def _read_bounded(path: Path) -> dict[str, Any]:
    if path.is_file() and path.stat().st_size > _MAX_METADATA_BYTES:
        raise InputError(path, f"has {path.stat().st_size} bytes", expected=f"at most {_MAX_METADATA_BYTES}")
    return read_json(path)


def _read_columns(folder: Path) -> Mapping[str, SampleColumns]:
    path = find_inside(folder, f"{EXTRAS_FOLDER}/{COLUMNS_NAME}")
    raw = _read_bounded(path)
    check_schema(path, raw)
    return validate(_ColumnsDocument, {key: value for key, value in raw.items() if key != "schema"}, path).data


def _find_category(name: str, config: ImportConfig, path: Path) -> Category:
    words = re.split(r"[\W\d_]+", name.lower())
    named = [category for category in CATEGORIES if category in words]
    if config.category is None and len(named) != 1:
        raise InputError(
            path, f"{name!r} does not tell the category", "name", f"one of {', '.join(CATEGORIES)} by --category"
        )
    return config.category or named[0]


def _find_own_columns(
    own: Mapping[str, SampleColumns], folder: Path, name: str, take: str, index: int
) -> SampleColumns:
    if name not in own:
        raise InputError(
            folder / EXTRAS_FOLDER / COLUMNS_NAME,
            f"there is no sample {name!r}",
            "data",
            f"all samples of {METADATA_NAME}, or no folder {EXTRAS_FOLDER}",
        )
    return own[name]


def _make_foreign_columns(category: Category, name: str, take: str, index: int) -> SampleColumns:
    unknown = (float("nan"),) * 4
    return SampleColumns(
        take=take,
        subject=take,
        category=category,
        blurry_index=index,
        position=-1,
        psnr=float("nan"),
        color=(unknown,) * 3,
    )


def _check_paths(entry: _Entry, n_sharp: int, source: Path, place: str) -> tuple[str, ...]:
    """Return the paths of an entry's images, each of them inside the folder by what it says."""
    keys = [_frame_key(number) for number in range(1, n_sharp + 1)]
    given = entry.model_extra or {}
    for key in sorted(key for key in given if _FRAME_KEY.fullmatch(key)):
        if key not in keys:
            raise InputError(source, f"is one more than frame_per_seq, {n_sharp}", f"{place}.{key}")
    paths = {"blur_path": entry.blur_path, **{key: given.get(key) for key in keys}}
    for key, path in paths.items():
        if path is None:
            raise InputError(source, "is missing", f"{place}.{key}", f"the paths of {n_sharp} sharp frames")
        inside = isinstance(path, str) and not any(part in ("", ".", "..") for part in path.split("/"))
        if not inside or "\\" in path or "\0" in path:
            raise InputError(
                source, f"{path!r} is not a path inside the folder", f"{place}.{key}", "00000/blur/0000.png"
            )
    return tuple(str(path) for path in paths.values())


def _make_template(folder: Path, metadata: _Metadata, config: ImportConfig, first: _Listed) -> Manifest:
    extras = folder / EXTRAS_FOLDER
    imported: dict[str, Any] = {
        "format": LAYOUT,
        "metadata_sha256": sha256_of(folder / METADATA_NAME),
        "val": config.val,
        "category": config.category,
        "shard_samples": config.shard_samples,
    }
    if extras.exists():
        find_inside(folder, f"{EXTRAS_FOLDER}/{manifest_path(extras).name}")
        manifest = read_manifest(extras)
        if manifest.frames_per_sequence != metadata.frame_per_seq:
            raise InputError(
                folder / METADATA_NAME,
                f"is {metadata.frame_per_seq}",
                "frame_per_seq",
                f"{manifest.frames_per_sequence} by {manifest_path(extras)}",
            )
        imported |= {
            "manifest_sha256": sha256_of(manifest_path(extras)),
            "columns_sha256": sha256_of(extras / COLUMNS_NAME),
        }
        provenance = replace(
            manifest.provenance, version=__version__, config={**manifest.provenance.config, "import": imported}
        )
        return replace(manifest, splits={}, provenance=provenance)
    size = png_size(_read_picture(folder / first.paths[0]), folder / first.paths[0])
    n_frames = 1 + metadata.frame_per_seq
    # All frames of a sample are in memory at once, and a small file can be named as each of them.
    if 3 * size[0] * size[1] * n_frames > MAX_SAMPLE_BYTES:
        problem = f"has {n_frames} frames of {size[0]}x{size[1]}"
        raise InputError(folder / METADATA_NAME, problem, first.place, f"at most {MAX_SAMPLE_BYTES} bytes a sample")
    return Manifest(
        rig="imported",
        output_size=size,
        crop=Crop(0, 0, *size),
        splits={},
        # A manifest names the cameras' response; for a foreign data set it is the usual one, and said to be a guess.
        provenance=Provenance(__version__, {"import": {**imported, "response": "assumed"}}, None, {}, "srgb"),
        frames_per_sequence=metadata.frame_per_seq,
    )


def _separate_subjects(listed: Sequence[_Listed], source: Path) -> list[_Listed]:
    """Give a subject that stands in both splits a name of its own in each."""
    splits: defaultdict[str, set[Split]] = defaultdict(set)
    for entry in listed:
        splits[entry.columns.subject].add(entry.split)
    shared = [subject for subject in splits if len(splits[subject]) > 1]
    if not shared:
        return list(listed)
    logger.warning(
        "%s: %d of %d subjects stand in both splits, %s for one; the samples stay where they are, and the subjects "
        "become two each, with @train and @test after their names",
        *(source, len(shared), len(splits), repr(shared[0])),
    )
    names = {}
    for subject in shared:
        for split in SPLITS:
            name = f"{subject}@{split}"
            while name in splits:
                name += "@"
            names[subject, split] = name
            splits[name].add(split)
    return [
        replace(
            entry,
            columns=entry.columns.model_copy(
                update={"subject": names.get((entry.columns.subject, entry.split), entry.columns.subject)}
            ),
        )
        for entry in listed
    ]


def _plan_parts(folder: Path, listed: Sequence[_Listed], template: Manifest, config: ImportConfig) -> list[ImportPart]:
    size, n_sharp = template.output_size, template.frames_per_sequence
    limit = samples_per_shard(size, n_sharp, config.shard_samples)
    return [
        ImportPart(split, len(chosen), partial(_read_samples, folder, chosen, size))
        for split in SPLITS
        for chosen in _divide([entry for entry in listed if entry.split == split], limit, folder / METADATA_NAME)
    ]


def _divide(listed: Sequence[_Listed], limit: int, source: Path) -> Iterator[list[_Listed]]:
    """Yield runs of samples that are no longer than a limit, and can be told to a worker."""
    chosen: list[_Listed] = []
    weighed = io.BytesIO()
    # One pickler to a run, which like the task's own notes only once what the samples share.
    pickler = pickle.Pickler(weighed)
    for entry in listed:
        pickler.dump(entry)
        if chosen and (len(chosen) == limit or weighed.tell() > _MAX_TASK_BYTES):
            yield chosen
            chosen, weighed = [], io.BytesIO()
            pickler = pickle.Pickler(weighed)
            pickler.dump(entry)
        if weighed.tell() > _MAX_TASK_BYTES:
            problem = f"says {weighed.tell()} bytes"
            raise InputError(source, problem, entry.place, f"at most {_MAX_TASK_BYTES} of a sample")
        chosen.append(entry)
    if chosen:
        yield chosen


def _read_samples(folder: Path, listed: Sequence[_Listed], size: tuple[int, int]) -> Iterator[ShardSample]:
    for entry in listed:
        frames = []
        for name in entry.paths:
            path = folder / name
            frames.append(decode_png(_read_picture(path), size, path, entry.place))
        source = folder / EXTRAS_FOLDER / COLUMNS_NAME
        yield entry.columns.with_frames(frames[0], np.stack(frames[1:]), source, entry.place)


def _read_picture(path: Path) -> bytes:
    if path.stat().st_size > MAX_PNG_BYTES:
        raise InputError(path, f"has {path.stat().st_size} bytes", expected=f"at most {MAX_PNG_BYTES}")
    return path.read_bytes()
