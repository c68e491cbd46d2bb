"""WebDataset: one tar file per shard, the parts of a sample side by side in it."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Container, Iterable, Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from rb2v.errors import InputError
from rb2v.execution import Executor
from rb2v.progress import Count
from rb2v.shards import ShardSample
from rb2v.shards.exchange.config import ImportConfig
from rb2v.shards.exchange.packs import Packing, export_packs, plan_packs
from rb2v.shards.exchange.samples import (
    MAX_PNG_BYTES,
    MAX_TEXT_BYTES,
    ImportPlan,
    SampleColumns,
    ShardPart,
    Source,
    columns_of,
    decode_png,
    encode_png,
    parse_columns,
)
from rb2v.shards.manifest import MAX_SAMPLE_BYTES

LAYOUT = "webdataset"

_MEMBER = re.compile(r"([A-Za-z0-9_-]+)\.([a-z0-9_]+\.png|json)")


def recognize(folder: Path) -> bool:
    """Return whether a folder holds tar files."""
    return any(folder.glob("*.tar"))


def export_shards(source: Source, out_dir: Path, executor: Executor, progress: Count) -> Path:
    """Write ``train-000000.tar``, ... and ``manifest.json``, and return its path."""
    return export_packs(source, out_dir, _PACKING, executor, progress)


def plan_import(folder: Path, config: ImportConfig) -> ImportPlan:
    """Plan one shard per tar file.

    Raises
    ------
    InputError
        If the manifest or a file that it lists is missing, or the manifest cannot be used.
    """
    return plan_packs(folder, _PACKING)


def _write_tar(path: Path, samples: Iterable[ShardSample], part: ShardPart) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for row, sample in enumerate(samples):
            # Readers take what follows the first dot of a name for the kind of the part.
            key = f"{part.split}-{part.index:06d}-{row:06d}"
            _add(archive, f"{key}.blurry.png", encode_png(sample.blurry))
            for index, frame in enumerate(sample.sharp):
                _add(archive, f"{key}.sharp_{index}.png", encode_png(frame))
            text = json.dumps(columns_of(vars(sample)), allow_nan=False, ensure_ascii=False)
            _add(archive, f"{key}.json", text.encode())


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # with no time and no owner
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _read_tar(path: Path, size: tuple[int, int], n_sharp: int) -> Iterator[ShardSample]:
    names = ["blurry.png", *(f"sharp_{index}.png" for index in range(n_sharp))]
    for key, members in groupby(_iter_members(path), key=lambda member: member[0]):
        parts: dict[str, bytes] = {}
        for _, name, data in members:
            if name in parts or name not in (*names, "json"):
                raise InputError(path, "stands twice, or is no part of a sample", f"{key}.{name}")
            parts[name] = data
            if sum(map(len, parts.values())) > MAX_SAMPLE_BYTES:
                raise InputError(path, "is too large", key, f"at most {MAX_SAMPLE_BYTES} bytes in a sample")
        for name in (*names, "json"):
            if name not in parts:
                raise InputError(path, "is missing", f"{key}.{name}")
        columns = _parse_json(parts["json"], path, key)
        blurry, *sharp = (decode_png(parts[name], size, path, f"{key}.{name}") for name in names)
        yield columns.with_frames(blurry, np.stack(sharp), path, key)


def _read_subjects(path: Path) -> frozenset[str]:
    members = _iter_members(path, wanted=("json",))
    return frozenset(_parse_json(data, path, key).subject for key, _, data in members)


def _parse_json(data: bytes, path: Path, key: str) -> SampleColumns:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InputError(path, "is not UTF-8 text", f"{key}.json") from error
    return parse_columns(text, path, f"{key}.json")


def _iter_members(path: Path, wanted: Container[str] | None = None) -> Iterator[tuple[str, str, bytes]]:
    """Yield key, name and bytes of the parts with a name that is wanted, or of all; nothing is unpacked to disk."""
    try:
        with tarfile.open(path, "r:") as archive:
            while (member := archive.next()) is not None:
                parsed = _MEMBER.fullmatch(member.name)
                if parsed is None or member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                    raise InputError(path, "is no part of a sample", repr(member.name))
                if wanted is not None and parsed[2] not in wanted:
                    continue
                limit = MAX_TEXT_BYTES if parsed[2] == "json" else MAX_PNG_BYTES
                if member.size > limit:
                    raise InputError(path, f"has {member.size} bytes", member.name, f"at most {limit}")
                file = archive.extractfile(member)
                data = b"" if file is None else file.read()
                yield parsed[1], parsed[2], data
    except InputError:
        raise
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
        raise InputError(path, f"is damaged, or no tar file ({error})") from error


_PACKING = Packing(LAYOUT, "{split}-{index:06d}.tar", "", _write_tar, _read_tar, _read_subjects)
