"""A local page to leaf through the samples of a data set, which it reads only."""

from __future__ import annotations

import functools
import json
import math
import re
import threading
from collections import OrderedDict
from http import HTTPStatus
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError
from rb2v.inspection.local_server import Answer, LocalHandler, LocalServer, PageError, read_whole, serve
from rb2v.inspection.pictures import difference_picture, mean_of_sharp
from rb2v.inspection.selection import sample_splits
from rb2v.inspection.summary import position_period
from rb2v.shards import ShardReader, ShardSample

__all__ = ["MAX_GAIN", "DataSet", "InspectionServer", "PageError", "serve"]

MAX_GAIN = 64  # a difference of two levels of 255 becomes black or white; more would show rounding alone

_CACHED_SAMPLES = 4  # a page asks for all frames of a sample at once
_PNG_LEVEL = 1  # the way is short: time counts more than size
_MOST_WHOLE = 2**53  # from which on JavaScript's numbers skip whole ones


class DataSet:
    """What the page shows, for any number of threads.

    Parameters
    ----------
    reader : ShardReader
        The data set, both splits.
    """

    def __init__(self, reader: ShardReader) -> None:
        self._reader = reader
        # The reader's open files are one table, and HDF5 works for one thread at a time anyway.
        self._lock = threading.Lock()
        self._samples: OrderedDict[int, ShardSample] = OrderedDict()

    @functools.cached_property
    def table(self) -> bytes:
        """The columns of all samples, as JSON."""
        manifest, table = self._reader.manifest, self._reader.table
        columns = {"split": sample_splits(self._reader).tolist()}
        for name in table.columns:
            columns[name] = table[name].tolist()
        # JSON has no infinity, and JavaScript no whole numbers beyond 2 to the 53: those go as text.
        for name in ("psnr", "composite_psnr"):
            columns[name] = [round(value, 3) if math.isfinite(value) else None for value in columns[name]]
        for name in ("blurry_index", "position"):
            columns[name] = [value if abs(value) < _MOST_WHOLE else str(value) for value in columns[name]]
        document = {
            "rig": manifest.rig,
            "version": manifest.provenance.version,
            "size": manifest.output_size,
            "frames_per_sequence": manifest.frames_per_sequence,
            "period": position_period(table),
            "max_gain": MAX_GAIN,
            "columns": columns,
        }
        return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()

    def frame(self, index: int, name: str, gain: int = 1) -> bytes:
        """Return a frame as PNG.

        Parameters
        ----------
        index : int
            The sample.
        name : str
            ``blurry``, ``mean``, ``difference`` or ``sharp_<k>``.
        gain : int
            Of the difference.

        Raises
        ------
        PageError
            If there is no such sample or frame, or the sample is damaged.
        """
        n_sharp = self._reader.manifest.frames_per_sequence
        sharp = re.fullmatch(r"sharp_([0-9]{1,4})", name)
        if name not in ("blurry", "mean", "difference") and not (sharp and int(sharp[1]) < n_sharp):
            raise PageError(
                HTTPStatus.NOT_FOUND,
                f"no such frame; expected blurry, mean, difference, sharp_0 to sharp_{n_sharp - 1}",
            )
        if not index < len(self._reader):
            raise PageError(HTTPStatus.NOT_FOUND, f"there is no sample {index}; the data set has {len(self._reader)}")
        sample = self._read(index)
        if sharp:
            return _to_png(sample.sharp[int(sharp[1])])
        if name == "blurry":
            return _to_png(sample.blurry)
        mean = mean_of_sharp(sample.sharp, self._reader.manifest.provenance.response)
        return _to_png(mean if name == "mean" else difference_picture(sample.blurry, mean, gain))

    def _read(self, index: int) -> ShardSample:
        with self._lock:
            if index in self._samples:
                self._samples.move_to_end(index)
                return self._samples[index]
            try:
                sample = self._reader.read(index)
            except (InputError, OSError) as error:
                raise PageError(HTTPStatus.INTERNAL_SERVER_ERROR, f"sample {index} cannot be read: {error}") from error
            self._samples[index] = sample
            if len(self._samples) > _CACHED_SAMPLES:
                self._samples.popitem(last=False)
            return sample


def _to_png(image: NDArray[np.uint8]) -> bytes:
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
    return data.tobytes()


class InspectionServer(LocalServer):
    """The server of one data set, see `LocalServer`.

    Parameters
    ----------
    reader : ShardReader
        The data set, both splits.
    host : str
        The address to listen on.
    port : int
        The port; 0 lets the system choose one.

    Raises
    ------
    Rb2vError
        If that address and port cannot be listened on.
    """

    def __init__(self, reader: ShardReader, host: str = "127.0.0.1", port: int = 8000) -> None:
        self.data = DataSet(reader)
        super().__init__(_Handler, host, port)


class _Handler(LocalHandler):
    server: InspectionServer
    known_fields: ClassVar[dict[str, set[str]]] = {"/frame": {"sample", "name", "gain"}}
    page_package: ClassVar[str] = "rb2v.inspection"
    page_files: ClassVar[dict[str, str]] = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js"}
    command_name: ClassVar[str] = "rb2v inspect"

    def answer(self, path: str, fields: dict[str, str]) -> Answer:
        if path == "/table.json":
            return self.server.data.table, "application/json"
        if path == "/frame":
            index, gain = read_whole(fields, "sample"), read_whole(fields, "gain", 1)
            if not 1 <= gain <= MAX_GAIN:
                raise PageError(HTTPStatus.BAD_REQUEST, f"gain: expected 1 to {MAX_GAIN}")
            return self.server.data.frame(index, fields.get("name", ""), gain), "image/png"
        return super().answer(path, fields)
