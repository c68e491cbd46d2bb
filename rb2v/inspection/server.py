"""A local page to leaf through the samples of a data set.

The server knows a fixed set of addresses and never turns one into a path; it serves one data set, reads it only, and
answers to this machine's own names, so that no page of the web can look at it through the user's browser.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import logging
import math
import re
import socket
import socketserver
import sys
import threading
from collections import OrderedDict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError, Rb2vError
from rb2v.inspection.pictures import difference_picture, mean_of_sharp
from rb2v.inspection.selection import sample_splits
from rb2v.inspection.summary import position_period
from rb2v.shards import ShardReader, ShardSample

logger = logging.getLogger(__name__)

MAX_GAIN = 64  # a difference of two levels of 255 becomes black or white; more would show rounding alone

_PAGE_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_CACHED_SAMPLES = 4  # a page asks for all frames of a sample at once
_PNG_LEVEL = 1  # the way is short: time counts more than size
_IDLE_SECONDS = 60  # after which a silent connection gives its thread back
_MOST_WHOLE = 2**53  # from which on JavaScript's numbers skip whole ones
_HEADERS = {
    # Frames arrive by fetch, because that brings the message of one that cannot be read, and are shown as blobs.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # A data set that is built anew must not be shown by its old frames.
    "Cache-Control": "no-store",
}


class PageError(Exception):
    """A request that cannot be answered, with the status and the plain text to answer instead."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


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


class InspectionServer(ThreadingHTTPServer):
    """An HTTP server of one data set; ``serve_forever`` runs it, ``shutdown`` from another thread ends it.

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

    allow_reuse_port = False  # two servers on one port would answer in turns
    daemon_threads = True  # a connection that idles must not hold up the end

    def __init__(self, reader: ShardReader, host: str = "127.0.0.1", port: int = 8000) -> None:
        self.data = DataSet(reader)
        self.host = host
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            if not host:
                raise OSError("it is empty, which would mean every address")
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError, UnicodeError) as error:
            problem = getattr(error, "strerror", None) or str(error)
            raise Rb2vError(
                f"{host}:{port}: cannot be listened on ({problem}); expected an address of this machine (--host) and a "
                "free port (--port, 0 for any)"
            ) from error

    def server_bind(self) -> None:
        """Bind to the address, without asking for the machine's name, which can take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    def url(self, **state: str | int) -> str:
        """Return the page's address; ``state`` opens it at a view, ``sample=12`` say."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_port}/" + (f"#{urlencode(state)}" if state else "")

    def knows_host(self, header: str) -> bool:
        """Return whether a request's Host is this machine and not a name that was made to point here."""
        try:
            name = (urlsplit(f"//{header}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name in ("localhost", "127.0.0.1", "::1", self.host.lower()):
            return True
        try:
            # Open to the network, the server has addresses that it does not know; no name can pretend to be one.
            return ipaddress.ip_address(self.host).is_unspecified and bool(ipaddress.ip_address(name))
        except ValueError:
            return False

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Log what a request ended in; a browser that went away is no error."""
        error = sys.exception()
        if not isinstance(error, (ConnectionError, TimeoutError)):
            logger.error("request of %s: %r", client_address, error)


class _Handler(BaseHTTPRequestHandler):
    server: InspectionServer
    protocol_version = "HTTP/1.1"
    server_version = "rb2v"
    sys_version = ""
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(message)s\n"
    known_fields: ClassVar[dict[str, set[str]]] = {"/frame": {"sample", "name", "gain"}}

    def do_GET(self) -> None:
        try:
            body, kind = self._answer()
        except PageError as error:
            self._send(error.status, error.text.encode("utf-8", "replace") + b"\n", "text/plain; charset=utf-8")
        except Exception:
            logger.exception("%s", self.path)
            text = b"a fault of the program; its message is where 'rb2v inspect' runs\n"
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, text, "text/plain; charset=utf-8")
        else:
            self._send(HTTPStatus.OK, body, kind)

    def _answer(self) -> tuple[bytes, str]:
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not self.server.knows_host(hosts[0]):
            raise PageError(HTTPStatus.FORBIDDEN, "this page is served to this machine only, under its own name")
        try:
            parts = urlsplit(self.path)
            pairs = (
                parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True, max_num_fields=8)
                if parts.query
                else []
            )
        except ValueError as error:
            raise PageError(HTTPStatus.BAD_REQUEST, "the query cannot be read") from error
        fields = dict(pairs)
        if len(fields) != len(pairs) or not fields.keys() <= self.known_fields.get(parts.path, set()):
            raise PageError(
                HTTPStatus.BAD_REQUEST, "the query holds what this address does not know, or holds it twice"
            )
        if parts.path in _PAGE_FILES:
            name, kind = _PAGE_FILES[parts.path]
            return _page_file(name), kind
        if parts.path == "/table.json":
            return self.server.data.table, "application/json"
        if parts.path == "/frame":
            index, gain = _whole(fields, "sample"), _whole(fields, "gain", 1)
            if not 1 <= gain <= MAX_GAIN:
                raise PageError(HTTPStatus.BAD_REQUEST, f"gain: expected 1 to {MAX_GAIN}")
            return self.server.data.frame(index, fields.get("name", ""), gain), "image/png"
        raise PageError(HTTPStatus.NOT_FOUND, "there is no such page")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        logger.debug(format, *args)


def _whole(fields: dict[str, str], name: str, default: int | None = None) -> int:
    if name not in fields and default is not None:
        return default
    if not re.fullmatch("[0-9]{1,9}", fields.get(name, "")):
        raise PageError(HTTPStatus.BAD_REQUEST, f"{name}: expected a whole number")
    return int(fields[name])


@functools.cache
def _page_file(name: str) -> bytes:
    return files("rb2v.inspection").joinpath(name).read_bytes()


def serve(server: InspectionServer) -> None:
    """Answer requests until the user interrupts the program."""
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
