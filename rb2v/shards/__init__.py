"""The data set on disk: HDF5 shards and the manifest that lists them."""

from __future__ import annotations

from rb2v.io.store import sha256_of
from rb2v.shards.layout import ShardSample
from rb2v.shards.manifest import (
    Manifest,
    Provenance,
    ShardEntry,
    SplitEntry,
    manifest_path,
    read_manifest,
    write_manifest,
)
from rb2v.shards.reader import ShardReader
from rb2v.shards.verification import Fault, verify
from rb2v.shards.writer import ensure_shard, write_shard

__all__ = [
    "Fault",
    "Manifest",
    "Provenance",
    "ShardEntry",
    "ShardReader",
    "ShardSample",
    "SplitEntry",
    "ensure_shard",
    "manifest_path",
    "read_manifest",
    "sha256_of",
    "verify",
    "write_manifest",
    "write_shard",
]
