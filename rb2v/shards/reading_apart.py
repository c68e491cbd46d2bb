"""The reading of damaged shards in a process of its own, with few imports; see `rb2v.shards.verification`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rb2v.errors import InputError
from rb2v.io.hdf5 import open_hdf5
from rb2v.shards.layout import check_layout, find_lost_rows
from rb2v.shards.manifest import LISTED_SHARD, ShardEntry, path_within, read_manifest


def read_apart() -> None:
    """Read the shards that standard input names, and print a line for each: the rows that are lost, or null."""
    folder = Path(sys.argv[1])
    manifest = read_manifest(folder)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for document in json.load(sys.stdin):
        entry = ShardEntry(**document)
        try:
            path = path_within(folder, entry.file)
            with open_hdf5(path, LISTED_SHARD) as file:
                check_layout(file, path, entry.samples, manifest)
                rows = list(find_lost_rows(file, entry.samples))
        except (InputError, OSError, RuntimeError, KeyError, MemoryError):
            rows = None
        sys.stdout.write(json.dumps(rows) + "\n")
        sys.stdout.flush()
