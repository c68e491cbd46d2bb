#!/bin/bash
# OpenCV 5 shows one of a TFLite network's outputs, unless it is told to use the classic engine.
#
# opencv-python-headless 5.0.0.93: `cv2.dnn.readNetFromTFLite(path)` takes the new engine (ENGINE_AUTO). Of MediaPipe's
# hand network, which has four outputs, `getUnconnectedOutLayersNames()` then lists the last alone, and the points and
# the score cannot be had. With `cv2.dnn.ENGINE_CLASSIC` all four are listed, and their values are right.
#
# Output seen: "classic ['Identity', 'Identity_1', 'Identity_2', 'Identity_3']" and "auto ['Identity_3']".
# Exits with 1 where that is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet opencv-python-headless==5.0.0.93
"$folder/env/bin/pip" download --quiet --no-deps --only-binary=:all: --dest "$folder" --python-version 3.11 \
    --implementation cp --abi cp311 --platform manylinux_2_28_x86_64 mediapipe==0.10.21
"$folder/env/bin/python" - "$folder" <<'PYTHON'
import sys
import zipfile
from pathlib import Path

import cv2

(wheel,) = Path(sys.argv[1]).glob("mediapipe-*.whl")
with zipfile.ZipFile(wheel) as members:
    path = members.extract("mediapipe/modules/hand_landmark/hand_landmark_full.tflite", sys.argv[1])
listed = {}
for name, engine in (("classic", cv2.dnn.ENGINE_CLASSIC), ("auto", cv2.dnn.ENGINE_AUTO)):
    listed[name] = sorted(cv2.dnn.readNetFromTFLite(path, engine).getUnconnectedOutLayersNames())
    print(name, listed[name])
sys.exit(len(listed["classic"]) != 4 or len(listed["auto"]) != 1)
PYTHON
