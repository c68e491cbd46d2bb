"""True displacement of every pixel of simulated samples, in a table beside the data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rb2v import __version__
from rb2v.artifacts import Split
from rb2v.errors import InputError
from rb2v.io.hdf5 import create_hdf5, naming_damage, open_hdf5, own_dataset
from rb2v.io.store import SCHEMA, whole_file
from rb2v.shards.reader import ShardReader

DISPLACEMENT_NAME = "displacement.h5"
KIND = "displacement"
_EXPECTED = "the table that 'rb2v simulate-shards --motion opposed' writes beside the data"
_COMPRESSION = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}
"""Plain h5py reads it."""


@dataclass(frozen=True, eq=False)
class Displacement:
    """How what is seen at every pixel moves from the first sharp frame of a sequence to the last."""

    moved_px: NDArray[np.float32]
    """(H, W, 2) x and y in pixels of the frame, at what covers the pixel half-way."""
    layers: NDArray[np.uint8]
    """(H, W) what that is: 0 the wall, k the k-th object."""


def write_displacements(
    path: Path, made_with: Mapping[str, Any], rows: Iterable[tuple[tuple[Split, str, int], Displacement]]
) -> Path:
    """Write a table, atomically; the same rows give the same bytes.

    Parameters
    ----------
    path : Path
        The table to write.
    made_with : mapping
        What the provenance of the data says of their configuration, by which the table is known as theirs.
    rows : iterable of ((split, take, blurry_index), Displacement)
        At least one, drawn one at a time.
    """
    keys: list[tuple[Split, str, int]] = []
    with whole_file(path) as temporary, create_hdf5(temporary) as file:
        for key, found in rows:
            for name, values in (("moved_px", found.moved_px.astype(np.float16)), ("layers", found.layers)):
                if not keys:
                    shape = values.shape
                    growing = {"maxshape": (None, *shape), "chunks": (1, *shape)}
                    file.create_dataset(name, (0, *shape), values.dtype, **growing, **_COMPRESSION)
                file[name].resize(len(keys) + 1, axis=0)
                file[name][len(keys)] = values
            keys.append(key)
        file.create_dataset("keys", data=[json.dumps(key) for key in keys])
        attributes = {"schema": SCHEMA, "kind": KIND, "version": __version__, "made_with": _text(made_with)}
        for name, value in attributes.items():
            file.attrs[name] = value
    return path


def _text(made_with: Mapping[str, Any]) -> str:
    return json.dumps(made_with, sort_keys=True)


class DisplacementReader:
    """True displacement of the samples of a `ShardReader`, by the reader's index.

    Parameters
    ----------
    path : Path
        A table that `write_displacements` wrote, or the folder that holds it.
    reader : ShardReader
        The samples.

    Raises
    ------
    InputError
        If the file is missing, damaged, no such table or of another data set, or tells nothing of a sample.
    """

    def __init__(self, path: Path, reader: ShardReader) -> None:
        self.path = path / DISPLACEMENT_NAME if path.is_dir() else path
        with open_hdf5(self.path, _EXPECTED) as file, naming_damage(file, "keys"):
            if file.attrs.get("kind") != KIND:
                raise InputError(self.path, f"is {str(file.attrs.get('kind'))[:80]!r}", "kind", KIND)
            # All data sets name their takes alike, so that the names do not tell them apart.
            if file.attrs.get("made_with") != _text(reader.manifest.provenance.config):
                raise InputError(self.path, "is of another data set", "made_with", f"that of {reader.folder}")
            rows = {tuple(json.loads(key)): row for row, key in enumerate(own_dataset(file, "keys").asstr()[()])}
            shapes = [own_dataset(file, name).shape for name in ("moved_px", "layers")]
        width, height = reader.manifest.output_size
        if shapes != [(len(rows), height, width, 2), (len(rows), height, width)]:
            raise InputError(self.path, f"has the shapes {shapes}", "moved_px", f"{len(rows)} maps of {width}x{height}")
        for key in reader.keys:
            if key not in rows:
                raise InputError(self.path, f"tells nothing of frame {key[2]} of take {key[1]!r}", "keys")
        self._rows = [rows[key] for key in reader.keys]

    def read(self, index: int) -> Displacement:
        """Return what is known of a sample.

        Raises
        ------
        InputError
            If it is damaged.
        """
        row = self._rows[index]
        with open_hdf5(self.path, _EXPECTED) as file, naming_damage(file, "moved_px"):
            moved, layers = (own_dataset(file, name)[row] for name in ("moved_px", "layers"))
            return Displacement(np.asarray(moved, dtype=np.float32), np.asarray(layers, dtype=np.uint8))
