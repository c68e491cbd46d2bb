"""Decoding and warping a recording against decoding it alone, in turns, on a video that the script writes.

Run it with ``python tests/benchmarks/bench_ingest.py``.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from skimage.data import astronaut

from rb2v.core.homography import FrameWarp, mirror_homography
from rb2v.io.video import iter_frames, write_video

N_FRAMES, N_REPEATS = 100, 3


def main():
    picture = np.tile(astronaut(), (2, 3, 1))[:540, :960]
    warp = FrameWarp(mirror_homography(960), (200, 20, 500, 500), (448, 448), "srgb")
    with tempfile.TemporaryDirectory() as folder:
        path = write_video(Path(folder) / "clip.mp4", [np.roll(picture, 4 * i, 1) for i in range(N_FRAMES)], 100)
        rates = []
        for _ in range(N_REPEATS):
            start = time.perf_counter()
            for _frame in iter_frames([path]):
                pass
            middle = time.perf_counter()
            for frame in iter_frames([path]):
                warp(frame.image)
            end = time.perf_counter()
            rates.append((N_FRAMES / (middle - start), N_FRAMES / (end - middle)))
    decoding, whole = np.median(rates, axis=0)
    print(f"960x540: decoding {decoding:.0f} frames/s, decoding and warping to 448x448 {whole:.0f} frames/s, ", end="")
    print(f"ratio {whole / decoding:.2f}")


if __name__ == "__main__":
    main()
