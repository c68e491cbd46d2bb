"""Strips of frames: what networks make of sequences whose truth is known, and of images without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.benchmark.report.page import Gallery, Picture, error_map, make_picture
from rb2v.benchmark.report.scores import Score
from rb2v.blur2vid.checkpoint import load_backbone
from rb2v.blur2vid.deblur import load_network, prepare_image, reblur_psnr, recover_frames
from rb2v.blur2vid.evaluate import estimate_frames
from rb2v.core.metrics import choose_by_sequence, psnr
from rb2v.device import one_torch_thread
from rb2v.errors import InputError
from rb2v.io.video import read_image
from rb2v.shards import ShardReader
from rb2v.simulator.textures import list_photos

SUITE, STAGE = "deblur", "train-blur2vid"

Frames = NDArray[np.uint8]

_FRAME_PX = 96  # of a frame's shorter side: seven fit side by side
_GAP_PX = 3  # around a frame
_REAL_PX = 380  # of an image's width: three fit side by side


def estimate_all(checkpoints: Mapping[str, Path], blurry: Frames) -> dict[str, Frames]:
    """Return the sequence that every network makes of a blurry image, by label."""
    with one_torch_thread():
        return {label: estimate_frames(load_backbone(path).network, blurry) for label, path in checkpoints.items()}


def liveliest(reader: ShardReader, n: int) -> list[int]:
    """Return ``n`` samples, spread over the takes, each the one of its part of the data that moves most."""
    moved = []
    for index in range(len(reader)):
        ends = reader.read_sharp(index)[[0, -1]].astype(np.int16)
        moved.append(float(np.abs(ends[1] - ends[0]).mean()))
    parts = np.array_split(np.arange(len(reader)), max(min(n, len(reader)), 1))
    return [int(part[np.argmax(np.array(moved)[part])]) for part in parts[:n] if len(part)]


def show_sequences(blurry: Frames, sharp: Frames, estimates: Mapping[str, Frames]) -> list[Picture]:
    """Return a strip of the blurry image and the true frames, and a strip of frames for each estimate."""
    still = np.full_like(blurry, 255)
    pictures = [make_picture("blurry, then the true frames x_0 .. x_N", frame_strip([blurry, *sharp]))]
    return [*pictures, *(make_picture(label, frame_strip([still, *frames])) for label, frames in estimates.items())]


def show_errors(sharp: Frames, estimates: Mapping[str, Frames]) -> list[Picture]:
    """Return, for each estimate, a strip of frames above the map of their errors in the better direction."""
    pictures = []
    for label, frames in estimates.items():
        forward, backward = (
            np.array([psnr(one, other) for one, other in zip(frames, true, strict=True)])
            for true in (sharp, sharp[::-1])
        )
        chosen = choose_by_sequence(forward, backward)
        true = sharp if forward.mean() >= backward.mean() else sharp[::-1]
        errors = [error_map(one, other) for one, other in zip(frames, true, strict=True)]
        strip = np.vstack([frame_strip(list(frames)), frame_strip(errors)])
        pictures.append(
            make_picture(f"{label}: {chosen.mean():.2f} dB, first and last {chosen[[0, -1]].mean():.2f} dB", strip)
        )
    return pictures


def frame_strip(frames: Sequence[Frames]) -> Frames:
    """Return frames side by side, small ones enlarged."""
    tiles = []
    for frame in frames:
        scale = max(1, round(_FRAME_PX / min(frame.shape[:2])))
        size = (frame.shape[1] * scale, frame.shape[0] * scale)
        tile = cv2.resize(frame, size, interpolation=cv2.INTER_NEAREST)
        tiles.append(cv2.copyMakeBorder(tile, *(_GAP_PX,) * 4, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    return np.asarray(np.hstack(tiles), dtype=np.uint8)


def list_pictures(folder: Path) -> list[Path]:
    """Return the images of a folder by name.

    Raises
    ------
    InputError
        If there is none, or one cannot be read.
    """
    if not folder.is_dir():
        raise InputError(folder, "there is no such folder", expected="a folder of blurry images")
    return list_photos(folder)


def show_real(
    paths: Sequence[Path], checkpoints: Mapping[str, Path], names: Mapping[str, str]
) -> tuple[list[Gallery], list[Score]]:
    """Show images without a truth beside the first, middle and last frame that every network makes of them.

    Parameters
    ----------
    paths : sequence of Path
        Images.
    checkpoints : mapping of str to Path
        Networks by label.
    names : mapping of str to str
        What the scores call the networks, by label.

    Returns
    -------
    galleries : list of Gallery
        One an image.
    scores : list of Score
        Reblur PSNR of every image and network.
    """
    galleries, scores = [], []
    networks = {label: load_network(path, "cpu") for label, path in checkpoints.items()}
    for path in paths:
        image = prepare_image(read_image(path), path)
        shown = [make_picture(path.name, _fit(np.rint(255 * image).astype(np.uint8)))]
        for label, network in networks.items():
            with one_torch_thread():
                frames = recover_frames(network, image)
            psnr_db = reblur_psnr(frames, image)
            ends = [_fit(frames[k]) for k in (0, len(frames) // 2, -1)]
            shown.append(make_picture(f"{label}: first, middle, last; reblur {psnr_db:.1f} dB", np.hstack(ends)))
            scores.append(Score(SUITE, STAGE, f"{names[label]}.reblur_psnr", psnr_db, "dB", path.name))
        galleries.append(Gallery(path.name, tuple(shown), columns=1))
    return galleries, scores


def _fit(image: Frames) -> Frames:
    scale = min(1.0, _REAL_PX / image.shape[1])
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
