#!/bin/bash
# A mirrored display matrix reads as a half turn.
#
# PyAV 18.1.0 (FFmpeg 8.0): `VideoFrame.rotation` is the angle of the display matrix. A file whose matrix mirrors
# columns, as some front cameras write, and one whose matrix turns by half give the same angle, -180. Whoever turns
# images by the angle alone shows the mirrored one upside down, and not mirrored. FFmpeg documents av_display_rotation_get
# for pure rotations only; the matrix itself is in `frame.side_data["DISPLAYMATRIX"]`: nine 32-bit numbers.
#
# Output seen: "mirrored -180 [-1, 0, 0, 1]" and "half turn -180 [-1, 0, 0, -1]".
# Exits with 1 where that is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet av==18.1.0 numpy==2.2.6
"$folder/env/bin/python" - "$folder" <<'PYTHON'
import sys

import av
import numpy as np


def read(name, matrix):
    path = f"{sys.argv[1]}/{name}.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        a, b, c, d = (value << 16 for value in matrix)
        stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(path) as container:
        frame = next(container.decode(video=0))
        numbers = np.frombuffer(bytes(frame.side_data["DISPLAYMATRIX"]), np.int32)[[0, 1, 3, 4]] >> 16
        print(name, frame.rotation, numbers.tolist())
        return frame.rotation


angles = read("mirrored", (-1, 0, 0, 1)), read("half turn", (-1, 0, 0, -1))
sys.exit(0 if angles == (-180, -180) else 1)
PYTHON
