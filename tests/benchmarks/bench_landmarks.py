"""How exact and how fast the landmark detectors are, on real stills and clips.

Run it with ``python tests/benchmarks/bench_landmarks.py --data DATA``; DATA holds hands/still, hands/hand_open.mp4
and faces/carphone_pristine.mp4. ``--passes N`` measures with N passes instead of 1, 2 and 3. One core is used, and
rates are of processor time.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import cv2
import numpy as np

from rb2v.io.video import iter_frames, read_image
from rb2v.landmarks import LandmarkConfig, Tracker, find_landmarks, load_models
from rb2v.landmarks.face import MESH_OF_68

TIPS = {"hand_thumb_up.jpg": (277.2, 265.3), "hand_test_image.jpg": (175.6, 239.9)}  # of MediaPipe 0.10.21
INDEX_TIP = 8
N_STEPS = 40  # of a known motion
MIRROR_OF_68 = [
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *range(54, 47, -1),
    *range(59, 54, -1),
    *range(64, 59, -1),
    *(67, 66, 65),
]  # the point on the other side of the face
TURNS_DEGREES = (10, 30, 60, 90, 180, 270)


def read_clip(path, count=None):
    return [frame.image for frame in itertools.islice(iter_frames([path]), count)]


def follow(model, images, passes):
    tracker = Tracker(model, LandmarkConfig(passes=passes))
    start = time.process_time()
    found = [tracker.update(image) for image in images]
    return found, len(images) / (time.process_time() - start)


def known_path():
    """Return a path of fractions of a pixel, some 50 px long."""
    t = np.arange(N_STEPS)
    return np.stack([8 * np.sin(2 * np.pi * t / N_STEPS) + 0.0925 * t, 5 * np.cos(2 * np.pi * t / 23)], axis=1)


def translate(image, shift):
    height, width = image.shape[:2]
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], dtype=np.float64)
    border = {"flags": cv2.INTER_LANCZOS4, "borderMode": cv2.BORDER_REPLICATE}
    return cv2.warpAffine(image, matrix, (width, height), **border)


def motion_residuals(model, image, passes):
    """Return what is left of the points' motion after the known one, (steps, n, 2) in px; None where a track ends."""
    path = known_path()
    tracker = Tracker(model, LandmarkConfig(passes=passes, max_instances=1))
    found = [tracker.update(translate(image, shift)) for shift in path]
    if not all(list(one) == [0] for one in found):
        return None
    points = np.stack([one[0].points for one in found])
    return (points - points.mean(axis=0)) - (path - path.mean(axis=0))[:, None]


def copies(image):
    """Yield name, image and the way back of mirrored, smaller and turned copies."""
    height, width = image.shape[:2]
    yield "mirrored", np.ascontiguousarray(image[:, ::-1]), lambda points: points * [-1, 1] + [width - 1, 0]
    half = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    scale = np.array([width / half.shape[1], height / half.shape[0]])
    yield "half", half, lambda points: (points + 0.5) * scale - 0.5
    side = int(np.hypot(height, width)) + 1
    for degrees in TURNS_DEGREES:
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
        turn[:, 2] += [(side - width) / 2, (side - height) / 2]
        back = cv2.invertAffineTransform(turn)
        turned = cv2.warpAffine(image, turn, (side, side), flags=cv2.INTER_CUBIC)
        yield f"{degrees} degrees", turned, lambda points, back=back: points @ back[:, :2].T + back[:, 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--passes", type=int, action="append")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    hand, face = load_models(["hand", "face"])
    stills = options.data / "hands" / "still"
    hand_clip = read_clip(options.data / "hands" / "hand_open.mp4")
    face_clip = read_clip(options.data / "faces" / "carphone_pristine.mp4")
    big_face = cv2.resize(face_clip[0], None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    images = {name: (hand, read_image(stills / name)) for name in TIPS}
    images |= {"hand_open": (hand, hand_clip[150]), "carphone": (face, face_clip[0]), "carphone x3": (face, big_face)}
    for passes in options.passes or (1, 2, 3):
        one = LandmarkConfig(passes=passes, max_instances=1)
        print(f"--- passes {passes}")
        for name, tip in TIPS.items():
            found = find_landmarks(hand, images[name][1], one)[0]
            print(f"{name}: tip off by {np.linalg.norm(found.points[INDEX_TIP] - tip):.2f} px")
        vga = [cv2.resize(image, (640, 480)) for image in face_clip]
        for name, model, clip in (
            ("hand_open", hand, hand_clip),
            ("carphone", face, face_clip),
            ("carphone at 640x480", face, vga),
        ):
            found, rate = follow(model, clip, passes)
            n_found = sum(map(bool, found))
            print(f"{name}: found in {n_found} of {len(clip)} frames, {rate:.1f} frames/s")
        for name, (model, image) in images.items():
            found = find_landmarks(model, image, one)
            if not found:
                print(f"{name}: nothing found")
                continue
            points = found[0].points
            size = np.ptp(points, axis=0).max()
            residuals = motion_residuals(model, image, passes)
            if residuals is None:
                print(f"{name}: track lost")
            else:
                rms = np.sqrt(np.square(residuals).sum(axis=-1).mean())
                tip = np.sqrt(np.square(residuals[:, INDEX_TIP]).sum(axis=-1).mean())
                whole = np.sqrt(np.square(residuals.mean(axis=1)).sum(axis=-1).mean())
                print(f"{name}: size {size:.0f} px, motion rms {rms:.3f} px, tip {tip:.3f}, mean point {whole:.3f}")
            for label, copy, back in copies(image):
                others = find_landmarks(model, copy, one)
                if not others:
                    print(f"  {label}: nothing found")
                    continue
                there, here = back(others[0].points), points
                if model is face:
                    there, here = there[list(MESH_OF_68)], here[list(MESH_OF_68)]
                    there = there[MIRROR_OF_68] if label == "mirrored" else there
                off = np.linalg.norm(there - here, axis=1)
                print(
                    f"  {label}: mean {100 * off.mean() / size:.2f} %, largest {100 * off.max() / size:.2f} % of size"
                )


if __name__ == "__main__":
    main()
