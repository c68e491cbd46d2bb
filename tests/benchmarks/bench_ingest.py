"""Decoding and warping a recording against decoding it alone, in turns, on videos that the script writes.

Frames are 1920x1080 at a camera's bit rate (about 60 Mbit/s at 100 frames per second, as H.264 and as HEVC) and as lean
as a still scene's, and 960x540. "Decoding" asks the decoder for its images and drops them; "to RGB" makes RGB images of
them.

Run it with ``python tests/benchmarks/bench_ingest.py``.
"""

import tempfile
import time
from pathlib import Path

import av
import cv2
import numpy as np
from skimage.data import astronaut

from rb2v.core.homography import mirror_homography
from rb2v.core.resampling import FrameWarp
from rb2v.io.encoder import write_video
from rb2v.io.video import iter_frames, map_frames

N_FRAMES, N_REPEATS = 60, 5
OUTPUT = (448, 448)
CASES = (
    ("1920x1080, noisy", (1920, 1080), 6.8, (430, 40, 1000, 1000), None),
    ("1920x1080, noisy, HEVC", (1920, 1080), 6.8, (430, 40, 1000, 1000), "libx265"),
    ("1920x1080, lean", (1920, 1080), 0.0, (430, 40, 1000, 1000), None),
    ("960x540, lean", (960, 540), 0.0, (200, 20, 500, 500), None),
)
CAMERA_BITS_PER_SECOND = 60_000_000


def pictures(size, noise_levels):
    scale = max((size[0] + 4 * N_FRAMES) / 1536, size[1] / 1024)
    wide = cv2.resize(np.tile(astronaut(), (2, 3, 1)), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.standard_normal((size[1] + 64, size[0] + 64, 3), np.float32), (0, 0), 0.7)
    noise *= noise_levels / noise.std()
    for index in range(N_FRAMES):
        x, y = rng.integers(0, 64, 2)
        picture = wide[: size[1], 4 * index : 4 * index + size[0]] + noise[y : y + size[1], x : x + size[0]]
        yield np.clip(picture, 0, 255).astype(np.uint8)


def write_clip(path, images, codec):
    """Write a clip as the simulator does, or by another encoder at a camera's bit rate."""
    if codec is None:
        return write_video(path, images, 100)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=100, options={"preset": "veryfast", "x265-params": "log-level=error"})
        stream.bit_rate, stream.pix_fmt = CAMERA_BITS_PER_SECOND, "yuv420p"
        for index, image in enumerate(images):
            if not index:
                stream.height, stream.width = image.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def decode(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for _picture in container.decode(stream):
            pass


def decode_to_rgb(path):
    for _frame in iter_frames([path]):
        pass


def ingest(path, warp):
    for _frame in map_frames([path], warp):
        pass


def frames_per_second(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return N_FRAMES / (time.perf_counter() - start)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for name, size, noise_levels, crop, codec in CASES:
            path = write_clip(Path(folder) / "clip.mp4", pictures(size, noise_levels), codec)
            warp = FrameWarp(mirror_homography(size[0]), crop, OUTPUT, "srgb")
            ways = ((decode, path), (decode_to_rgb, path), (ingest, path, warp))
            rates = [[frames_per_second(*way) for way in ways] for _ in range(N_REPEATS)]
            decoding, to_rgb, whole = np.median(rates, axis=0)
            kilobytes = path.stat().st_size / N_FRAMES / 1000
            print(
                f"{name}, {kilobytes:.0f} kB a frame: decoding {decoding:.0f} frames/s, "
                f"to RGB {to_rgb:.0f}, whole ingest to {OUTPUT[0]}x{OUTPUT[1]} {whole:.0f}: "
                f"{whole / decoding:.2f} of decoding, {whole / to_rgb:.2f} of decoding to RGB"
            )


if __name__ == "__main__":
    main()
