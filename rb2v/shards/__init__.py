"""The data set on disk: HDF5 shards and the manifest that lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
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

__getattr__ = lazy_names(
    __name__,
    {
        "rb2v.shards.verification": ("Fault", "verify"),
        "rb2v.shards.manifest": (
            "Manifest",
            "Provenance",
            "ShardEntry",
            "SplitEntry",
            "manifest_path",
            "read_manifest",
            "write_manifest",
        ),
        "rb2v.shards.reader": ("ShardReader",),
        "rb2v.shards.layout": ("ShardSample",),
        "rb2v.shards.writer": ("ensure_shard", "write_shard"),
        "rb2v.io.store": ("sha256_of",),
    },
)
