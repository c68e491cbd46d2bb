"""Sessions that the benchmarks simulate where they are given none, made by the pipeline itself."""

import numpy as np

from rb2v import ShardReader
from rb2v.simulator import SimulateConfig, simulate
from rb2v.stages import align, build_shards, calibrate


def make_aligned(root, seconds=1.0, categories=("street",)):
    """Simulate and align takes of both kinds of scene; return the folder."""
    simulate(root / "raw", SimulateConfig(seconds=seconds, test_takes=False, categories=categories))
    calibrate.run(root / "raw", root / "calibration.json")
    align.run(root / "raw", root / "calibration.json", root / "session")
    return root / "session"


def make_shards(root):
    """Simulate, align and build a data set of all categories; return its folder."""
    aligned = make_aligned(root, categories=("street", "face", "hand"))
    build_shards.run(aligned, root / "session-shards")
    return root / "session-shards"


def spread_samples(folder, n_samples):
    """Return samples spread over a data set."""
    reader = ShardReader(folder)
    return [reader.read(index) for index in np.linspace(0, len(reader) - 1, n_samples).round().astype(int).tolist()]


def frames_of(samples):
    """Return (n, T, H, W, 3) frames of samples, the blurry one first."""
    return np.stack([np.concatenate([sample.blurry[None], sample.sharp]) for sample in samples])
