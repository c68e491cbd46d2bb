"""Losses of JPEG and H.264 in one image: compressed and decoded again in memory."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.planes import LEFT_SITING, Planes
from rb2v.io.encoder import encoder_options, to_i420
from rb2v.io.picture_track import ColorCoding, to_image

_SIDE_MULTIPLE = 2  # 4:2:0 halves the chroma


def compress_jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Return an (H, W, 3) RGB image after JPEG of a quality from 1 to 100, with 4:2:0 chroma."""
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"OpenCV cannot write a JPEG of {image.shape}")
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if decoded is None:
        raise ValueError("OpenCV cannot read its own JPEG")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def compress_h264(image: NDArray[np.uint8], crf: int) -> NDArray[np.uint8]:
    """Return an (H, W, 3) RGB image after H.264, as a key frame of a recording: 4:2:0, BT.709, full range.

    Parameters
    ----------
    image : (H, W, 3) ndarray of uint8
        RGB.
    crf : int
        Constant rate factor of x264; lower is better.
    """
    height, width = image.shape[:2]
    below, right = height % _SIDE_MULTIPLE, width % _SIDE_MULTIPLE
    padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE) if below or right else image
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width + right, height + below, "yuvj420p"
    encoder.framerate = Fraction(25)  # changes nothing of a single frame; the encoder asks for one
    encoder.options = encoder_options(crf)
    encoder.thread_count = 1
    picture = av.VideoFrame.from_ndarray(to_i420(np.asarray(padded, dtype=np.uint8)), format="yuvj420p")
    packets = [*encoder.encode(picture), *encoder.encode(None)]
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    (decoded,) = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
    coding = ColorCoding("bt709", full_range=True, matrix_stated=True, range_stated=True)
    planes = to_image(decoded, coding, LEFT_SITING)
    rgb = planes.rgb() if isinstance(planes, Planes) else planes
    return np.ascontiguousarray(rgb[:height, :width])
