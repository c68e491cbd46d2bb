"""Small data sets whose images, counts and motion are known."""

import cv2
import h5py
import numpy as np
from data_sets import write_samples

from rb2v.inspection import mean_of_sharp
from rb2v.shards import Provenance, ShardReader, ShardSample

HEIGHT, WIDTH = 48, 64
TAKES = (
    ("train", "walk", "Zoë", "street", 4),
    ("train", "wave", "Ann", "hand", 3),
    ("test", "<b>nod</b>", "Bob", "face", 2),
)
"""Split, take, subject, category and number of samples."""


def moving_texture(seed, shift_px, n_sharp=7, size=(HEIGHT, WIDTH)):
    """Return frames of a smooth texture that moves to the left, by ``shift_px`` from the first to the last."""
    rng = np.random.default_rng(seed)
    height, width = size
    fine = 4  # steps of a quarter of a pixel
    room = int(fine * abs(shift_px)) + 1
    texture = cv2.GaussianBlur(rng.normal(size=(fine * height, fine * width + room, 3)), (0, 0), 2.0 * fine)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    starts = [round(fine * shift_px * k / (n_sharp - 1)) for k in range(n_sharp)]
    parts = (np.ascontiguousarray(texture[:, start : start + fine * width]) for start in starts)
    return np.stack([cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA) for part in parts])


def make_sample(take, subject, category, blurry_index, *, shift_px=3.0, n_sharp=7, size=(HEIGHT, WIDTH), **values):
    sharp = moving_texture(blurry_index, shift_px, n_sharp, size)
    given = {
        "blurry": mean_of_sharp(sharp, "srgb"),
        "sharp": sharp,
        "color": np.eye(3, 4, dtype=np.float32),
        "position": 8 * blurry_index + 5,
        "psnr": 30.0 + blurry_index,
        "order": 1,
    }
    return ShardSample(take=take, subject=subject, category=category, blurry_index=blurry_index, **{**given, **values})


def write_set(folder, samples, size=(HEIGHT, WIDTH), rig="small"):
    """Write samples, given per split, and return a reader."""
    n_sharp = {len(row.sharp) for rows in samples.values() for row in rows}.pop()
    splits = {split: [rows] if rows else [] for split, rows in samples.items()}
    provenance = Provenance("0.1.0", {}, None, {}, "srgb")
    write_samples(folder, splits, size[::-1], rig=rig, provenance=provenance, n_frames=n_sharp)
    return ShardReader(folder)


def write_takes(folder):
    """Write the samples of ``TAKES``."""
    samples = {"train": [], "test": []}
    for split, take, subject, category, n_samples in TAKES:
        samples[split] += [make_sample(take, subject, category, index) for index in range(n_samples)]
    return write_set(folder, samples)


def damage(folder, file, row):
    """Turn a byte of a sample's x_0, as a failing disk would."""
    with h5py.File(folder / file) as shard:
        offset = shard["sharp"].id.get_chunk_info_by_coord((row, 0, 0, 0, 0)).byte_offset
    with (folder / file).open("r+b") as raw:
        raw.seek(offset + 40)
        byte = raw.read(1)
        raw.seek(offset + 40)
        raw.write(bytes([byte[0] ^ 0xFF]))
