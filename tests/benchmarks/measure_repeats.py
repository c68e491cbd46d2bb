"""Encode videos in which three frames repeat others, coarsely too, and count the repeats that are found.

``python tests/benchmarks/measure_repeats.py`` prints a row for each content; docs/recordings.md has the sums.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from odd_files import BT601, FULL, moving, write_odd

from rb2v.io.recording import read_recording

PATTERN = np.array([*range(10), 9, *range(11, 24), 23, 23, *range(26, 38)])
REPEATS = np.diff(PATTERN, prepend=-1) == 0
CONTENTS = {  # width, height, pixels per frame, noise in levels
    "64 px, slow": (64, 48, 0.5, 0),
    "64 px": (64, 48, 1.5, 0),
    "192 px, slow": (192, 144, 0.5, 0),
    "192 px": (192, 144, 1.5, 0),
    "192 px, noise": (192, 144, 1.5, 3),
    "640 px": (640, 480, 3.0, 0),
}
ENCODERS = {
    "x264 CRF 16": {"options": {"preset": "veryfast", "crf": "16"}},
    "x264 CRF 23": {"options": {"preset": "veryfast", "crf": "23"}},
    "x264 CRF 28": {"options": {"preset": "medium", "crf": "28"}},
    "x265 CRF 28": {"codec": "libx265", "options": {"x265-params": "crf=28:log-level=none:pools=1"}},
    "MPEG-4 q 6": {"codec": "mpeg4", "options": {"qmin": "6", "qmax": "6"}},
    "MJPEG": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "color": (BT601, FULL), "options": {"qmin": "5", "qmax": "5"}},
}


def main() -> None:
    """Print how many of the three repeats are found in each file, and how many other frames are taken for one."""
    sys.stdout.write(f"| content | {' | '.join(ENCODERS)} |\n| --- |{' --- |' * len(ENCODERS)}\n")
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as scratch:
        for content, (width, height, speed, noise) in CONTENTS.items():
            frames = moving(PATTERN.max() + 1, (width, height), speed)
            frames = [np.clip(f + rng.normal(0, noise, f.shape), 0, 255).astype(np.uint8) for f in frames]
            cells = []
            for settings in ENCODERS.values():
                path = Path(scratch) / ("a.avi" if settings.get("codec", "")[:1] == "m" else "a.mp4")
                found = read_recording([write_odd(path, [frames[index] for index in PATTERN], **settings)]).repeated
                n_false = int((found & ~REPEATS).sum())
                cells.append(f"{int((found & REPEATS).sum())}" + (f", {n_false} false" if n_false else ""))
            sys.stdout.write(f"| {content} | {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
