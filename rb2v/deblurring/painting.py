"""A local page on which a person paints the motion of a blurry image and sees its frames: ``rb2v deblur --serve``."""

from __future__ import annotations

import json
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.blur2vid.backbones import Backbone
from rb2v.blur2vid.deblur import Image, check_guided, reblur_psnr, recover_frames
from rb2v.blur2vid.predictor.networks import Predictor
from rb2v.blur2vid.predictor.sampling import describe_guidance, sample_guidance
from rb2v.core.motion_classes import CLASS_NAMES, COLORS, N_CLASSES, paint
from rb2v.errors import InputError
from rb2v.inspection.local_server import Answer, LocalHandler, LocalServer, PageError, read_whole

MAX_SIDE_PX = 4096
"""Longer side of an image that a browser's canvas surely holds."""

_KEPT_RESULTS = 4  # a page shows one, and may still load the frames of the one before
_PNG_LEVEL = 1  # the way is short: time counts more than size
_BODY_KIND = "application/octet-stream"

Frames = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class _Result:
    guidance: NDArray[np.uint8]
    frames: Frames


class Canvas:
    """One image, its network, and the results of what was painted, for any number of threads.

    Parameters
    ----------
    name : str
        Of the image, for the page.
    image : (H, W, 3) ndarray of float32
        RGB in [0, 1].
    network : Backbone
        Trained with guidance, on the device that is to compute.
    predictor : Predictor, optional
        Proposes guidance.

    Raises
    ------
    InputError
        If the network takes no guidance, or the image is too large.
    """

    def __init__(self, name: str, image: Image, network: Backbone, predictor: Predictor | None = None) -> None:
        check_guided(network, "serve", is_given=True)
        if max(image.shape[:2]) > MAX_SIDE_PX:
            size = "x".join(str(side) for side in image.shape[1::-1])
            raise InputError(name, f"is {size}", expected=f"at most {MAX_SIDE_PX} px a side for the page")
        self.name, self.image = name, image
        self._network, self._predictor = network, predictor
        self._lock = threading.Lock()  # a network computes for one at a time
        self._results: OrderedDict[int, _Result] = OrderedDict()
        self._n_results = 0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[0], self.image.shape[1]

    def describe(self) -> bytes:
        """Return what the page needs to know, as JSON."""
        height, width = self.size
        document = {
            "name": self.name,
            "width": width,
            "height": height,
            "frames": self._network.n_frames,
            "classes": list(CLASS_NAMES),
            "colors": COLORS.tolist(),
            "predicts": self._predictor is not None,
        }
        return json.dumps(document).encode()

    def picture(self) -> bytes:
        """Return the image as PNG."""
        return _to_png(np.rint(255 * self.image).astype(np.uint8))

    def propose(self, index: int) -> bytes:
        """Return a predicted guidance map, a byte a pixel, row by row.

        Raises
        ------
        PageError
            If there is no predictor.
        """
        if self._predictor is None:
            raise PageError(HTTPStatus.NOT_FOUND, "there is no predictor; start the page with --predictor")
        with self._lock:
            return bytes(sample_guidance(self._predictor, self.image, 1, seed=index)[0].tobytes())

    def deblur(self, painted: bytes) -> bytes:
        """Recover the frames by painted guidance, and return the result's number and figures as JSON.

        Raises
        ------
        PageError
            If what was painted is not the guidance of this image.
        """
        height, width = self.size
        if len(painted) != height * width:
            text = f"guidance of {len(painted)} bytes; expected {height * width}, a class for each pixel"
            raise PageError(HTTPStatus.BAD_REQUEST, text)
        classes = np.frombuffer(painted, dtype=np.uint8).reshape(height, width)
        if classes.max() >= N_CLASSES:
            raise PageError(HTTPStatus.BAD_REQUEST, f"the class {classes.max()}; expected 0 to {N_CLASSES - 1}")
        with self._lock:
            frames = recover_frames(self._network, self.image, guidance=classes)
            number, self._n_results = self._n_results, self._n_results + 1
            self._results[number] = _Result(classes, frames)
            if len(self._results) > _KEPT_RESULTS:
                self._results.popitem(last=False)
        score = reblur_psnr(frames, self.image)
        document = {
            "number": number,
            "guidance": describe_guidance(classes),
            "reblur_psnr": round(score, 2) if math.isfinite(score) else None,
        }
        return json.dumps(document).encode()

    def result(self, number: int) -> _Result:
        """Return a result that is still kept.

        Raises
        ------
        PageError
            If it is not.
        """
        with self._lock:
            if number not in self._results:
                raise PageError(HTTPStatus.NOT_FOUND, f"there is no result {number}, or it is no longer kept")
            return self._results[number]


def _to_png(image: NDArray[np.uint8]) -> bytes:
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
    return data.tobytes()


class PaintingServer(LocalServer):
    """The server of one canvas, see `LocalServer`.

    Parameters
    ----------
    canvas : Canvas
        What the page shows.
    host : str
        The address to listen on.
    port : int
        The port; 0 lets the system choose one.

    Raises
    ------
    Rb2vError
        If that address and port cannot be listened on.
    """

    def __init__(self, canvas: Canvas, host: str = "127.0.0.1", port: int = 8000) -> None:
        self.canvas = canvas
        super().__init__(_Handler, host, port)


class _Handler(LocalHandler):
    server: PaintingServer
    known_fields: ClassVar[dict[str, set[str]]] = {
        "/frame": {"result", "frame"},
        "/guidance": {"result"},
        "/proposal": {"index"},
    }
    page_package: ClassVar[str] = "rb2v.deblurring"
    page_files: ClassVar[dict[str, str]] = {"/": "paint.html", "/paint.css": "paint.css", "/paint.js": "paint.js"}
    command_name: ClassVar[str] = "rb2v deblur"

    def do_POST(self) -> None:
        """Answer a request to deblur."""
        self.respond(self._deblur)

    def answer(self, path: str, fields: dict[str, str]) -> Answer:
        """Return a file of the page, the image, a proposal, or a part of a result."""
        canvas = self.server.canvas
        if path == "/image.json":
            return canvas.describe(), "application/json"
        if path == "/image.png":
            return canvas.picture(), "image/png"
        if path == "/proposal":
            return canvas.propose(read_whole(fields, "index")), _BODY_KIND
        if path == "/guidance":
            return _to_png(paint(canvas.result(read_whole(fields, "result")).guidance)), "image/png"
        if path == "/frame":
            frames, index = canvas.result(read_whole(fields, "result")).frames, read_whole(fields, "frame")
            if index >= len(frames):
                raise PageError(HTTPStatus.NOT_FOUND, f"there is no frame {index}; expected 0 to {len(frames) - 1}")
            return _to_png(frames[index]), "image/png"
        return super().answer(path, fields)

    def _deblur(self, path: str, fields: dict[str, str]) -> Answer:
        # Forms of other pages can send neither this type nor this header without asking first.
        if self.headers.get("Content-Type") != _BODY_KIND or self.headers.get("X-Requested-With") != "rb2v":
            self.close_connection = True
            raise PageError(HTTPStatus.FORBIDDEN, "this is not a request of the page itself")
        if path != "/deblur":
            self.close_connection = True
            raise PageError(HTTPStatus.NOT_FOUND, "there is no such page")
        height, width = self.server.canvas.size
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > height * width:
            self.close_connection = True
            text = f"guidance of {length[:12] or 'unknown'} bytes; expected {height * width}"
            raise PageError(HTTPStatus.BAD_REQUEST, text)
        return self.server.canvas.deblur(self.rfile.read(int(length))), "application/json"
