"""The list of a data set's shards, and where they come from: ``manifest.json``."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rb2v.artifacts import CATEGORIES, SPLITS, CameraResponse, Category, Crop, Split
from rb2v.errors import InputError, require_file
from rb2v.io.store import SCHEMA, check_schema, read_json, to_json, validate, write_text

MANIFEST_NAME = "manifest.json"
LISTED_SHARD = "a shard that the manifest lists"  # what errors about shards expect
_DIGEST_KEY = "sha256"

MAX_SAMPLE_BYTES = 2**30
"""Most bytes of one sample's frames, and of one chunk: more would be a file that is made to exhaust its reader."""
_MIN_BYTES_PER_SAMPLE = 64  # color, psnr, order, index and position alone take 69
_MAX_MANIFEST_BYTES = 2**26  # 64 MB, the list of some 100,000 shards; more is not a manifest

_PLAIN_FILE = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


@dataclass(frozen=True)
class ShardEntry:
    """One shard: a file beside the manifest."""

    file: str
    """Name of the file, without folders."""
    samples: int
    bytes: int
    """Size of the file."""
    sha256: str
    """Hex digest of the file."""


@dataclass(frozen=True)
class SplitEntry:
    """The shards of one split, in order, and what they hold."""

    shards: tuple[ShardEntry, ...] = ()
    categories: Mapping[Category, int] = field(default_factory=dict)
    """Samples per category."""

    @property
    def samples(self) -> int:
        """Number of samples in all shards."""
        return sum(shard.samples for shard in self.shards)


@dataclass(frozen=True)
class Provenance:
    """What the data set was made with; holds no path and no time, so that the same inputs give the same bytes."""

    version: str
    """Version of rb2v."""
    config: Mapping[str, Any]
    """Configuration of the stages, by stage."""
    calibration_sha256: str | None
    """Digest of the calibration; None where it is not known."""
    seeds: Mapping[str, int]
    """Seed of every random choice, by stage."""
    response: CameraResponse
    """Camera response that was undone to work in linear light."""


@dataclass(frozen=True)
class Manifest:
    """A data set of shards."""

    rig: str
    """Name of the rig."""
    output_size: tuple[int, int]
    """Width and height of the frames in pixels."""
    crop: Crop
    """Part of the blurry camera's frame that the frames show."""
    splits: Mapping[Split, SplitEntry]
    provenance: Provenance
    frames_per_sequence: int = 7
    """Sharp frames of one sample."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _ShardDocument(_Strict):
    # A name with a folder in it could point at any file of the machine.
    file: Annotated[str, Field(pattern=_PLAIN_FILE)]
    samples: Annotated[int, Field(gt=0)]
    bytes: Annotated[int, Field(gt=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _SplitDocument(_Strict):
    shards: list[_ShardDocument]
    categories: dict[Category, Annotated[int, Field(ge=0)]]


class _ProvenanceDocument(_Strict):
    version: str
    config: dict[str, Any]
    calibration_sha256: str | None
    seeds: dict[str, int]
    response: Literal["linear", "srgb"] | Annotated[float, Field(gt=0)]


class _ManifestDocument(_Strict):
    rig: str
    output_size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
    frames_per_sequence: Annotated[int, Field(ge=3)]
    crop: Crop
    splits: dict[Split, _SplitDocument]
    provenance: _ProvenanceDocument


def manifest_path(folder: Path) -> Path:
    """Return the manifest's place in a folder of shards."""
    return folder / MANIFEST_NAME


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write ``manifest.json`` beside the shards, whole or not at all, and return its path."""
    splits = {split: manifest.splits.get(split, SplitEntry()) for split in SPLITS}
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "rig": manifest.rig,
        "output_size": list(manifest.output_size),
        "frames_per_sequence": manifest.frames_per_sequence,
        "crop": dataclasses.asdict(manifest.crop),
        "splits": {
            split: {
                "shards": [dataclasses.asdict(shard) for shard in entry.shards],
                "categories": {name: entry.categories[name] for name in CATEGORIES if name in entry.categories},
            }
            for split, entry in splits.items()
        },
        "provenance": dataclasses.asdict(manifest.provenance),
    }
    return write_text(manifest_path(folder), _to_text(document))


def _to_text(document: Mapping[str, Any]) -> str:
    """Return the text of a manifest, which ends in the digest of all that stands before it."""
    sha256 = hashlib.sha256(to_json(document).encode()).hexdigest()
    return to_json({**document, _DIGEST_KEY: sha256})


def is_as_written(folder: Path) -> bool:
    """Return whether a manifest has every byte that `write_manifest` wrote; true of those that have no digest yet.

    Raises
    ------
    InputError
        If it is missing or no JSON.
    """
    path = manifest_path(folder)
    document = read_json(path)
    return document.pop(_DIGEST_KEY, None) is None or path.read_bytes() == _to_text(document).encode()


def read_manifest(folder: Path) -> Manifest:
    """Read ``manifest.json`` of a folder of shards; no shard is opened.

    Raises
    ------
    InputError
        If it is missing, of another schema or malformed, names a file outside the folder, names one twice, or its
        counts contradict each other.
    """
    path = manifest_path(folder)
    require_file(path, "a folder that 'rb2v build-shards' wrote")
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise InputError(path, f"has {path.stat().st_size} bytes", expected=f"at most {_MAX_MANIFEST_BYTES}")
    raw = read_json(path)
    check_schema(path, raw)
    keys = raw.keys() - {"schema", _DIGEST_KEY}
    document = validate(_ManifestDocument, {key: value for key, value in raw.items() if key in keys}, path)
    manifest = Manifest(
        rig=document.rig,
        output_size=document.output_size,
        crop=document.crop,
        splits={split: _to_entry(document.splits.get(split)) for split in SPLITS},
        provenance=Provenance(**document.provenance.model_dump()),
        frames_per_sequence=document.frames_per_sequence,
    )
    _check_size(manifest, path)
    seen = set()
    for shard in (shard for entry in manifest.splits.values() for shard in entry.shards):
        if shard.file in seen:
            raise InputError(path, f"{shard.file!r} is listed twice", "splits")
        if shard.samples * _MIN_BYTES_PER_SAMPLE > shard.bytes:
            raise InputError(
                path, f"{shard.file!r} cannot hold {shard.samples} samples in {shard.bytes} bytes", "splits"
            )
        seen.add(shard.file)
    for split, entry in manifest.splits.items():
        if sum(entry.categories.values()) != entry.samples:
            raise InputError(
                path,
                f"the categories count {sum(entry.categories.values())} samples, the shards {entry.samples}",
                f"splits.{split}",
            )
    return manifest


def read_digests(folder: Path) -> dict[str, str]:
    """Return the digests of an earlier run's files by name; none where it was interrupted before it listed them."""
    try:
        splits = read_manifest(folder).splits.values()
    except InputError:
        return {}
    return {shard.file: shard.sha256 for entry in splits for shard in entry.shards}


def _check_size(manifest: Manifest, path: Path) -> None:
    width, height = manifest.output_size
    if 3 * width * height * (1 + manifest.frames_per_sequence) > MAX_SAMPLE_BYTES:
        sequence = f"{1 + manifest.frames_per_sequence} frames of {width}x{height}"
        raise InputError(path, f"{sequence} are no sample", "output_size", f"at most {MAX_SAMPLE_BYTES} bytes a sample")


def _to_entry(document: _SplitDocument | None) -> SplitEntry:
    if document is None:
        return SplitEntry()
    return SplitEntry(
        tuple(ShardEntry(**shard.model_dump()) for shard in document.shards),
        document.categories,
    )


def path_within(folder: Path, name: str) -> Path:
    """Return the path of a shard, which must lie in the folder itself.

    Raises
    ------
    InputError
        If it is a link that leads elsewhere.
    """
    path = folder / name
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(path, "is a link that leads out of the folder", expected="a shard in the folder itself")
    return path
