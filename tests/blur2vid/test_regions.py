import numpy as np
import pytest

from rb2v.blur2vid.regions import measure_regions
from rb2v.core.metrics import psnr
from rb2v.shards.displacement_table import Displacement

SIZE = 24


def two_squares():
    """Return three frames and their displacement: a square that moves right by 4, one that moves left by 2."""
    rng = np.random.default_rng(0)
    texture = rng.integers(60, 256, (2, 6, 6, 3))
    frames = np.full((3, SIZE, SIZE, 3), 20, dtype=np.uint8)
    for k, (right, left) in enumerate(((4, 12), (6, 11), (8, 10))):
        frames[k, 2:8, right : right + 6] = texture[0]
        frames[k, 14:20, left : left + 6] = texture[1]
    moved, layers = np.zeros((SIZE, SIZE, 2), np.float32), np.zeros((SIZE, SIZE), np.uint8)
    moved[2:8, 6:12, 0], layers[2:8, 6:12] = 4, 1
    moved[14:20, 11:17, 0], layers[14:20, 11:17] = -2, 2
    return frames, Displacement(moved, layers)


class TestRegions:
    def test_each_chooses_its_own_direction(self):
        frames, truth = two_squares()
        mixed = frames.copy()
        mixed[:, 12:] = frames[::-1, 12:]
        assert psnr(mixed[0], frames[0]) < 30
        found = measure_regions(mixed, frames, truth)
        assert found == {"psnr_with": 100, "psnr_against": 100, "psnr_objects": 100, "against": 0.5}

    def test_errors_count_where_the_region_passes(self):
        frames, truth = two_squares()
        for rows, name in ((slice(0, 10), "psnr_with"), (slice(12, None), "psnr_against")):
            wrong = frames.copy()
            wrong[:, rows] = 0
            found = measure_regions(wrong, frames, truth)
            assert found.pop(name) < 20
            assert found.pop("against") == 0.5
            assert found.pop("psnr_objects") < 70
            assert list(found.values()) == [100]
        beside = frames.copy()
        beside[0, 2:8, 14:] = 0  # where the square has not been
        assert measure_regions(beside, frames, truth)["psnr_with"] == 100

    def test_truth_of_larger_frames(self):
        frames, truth = two_squares()
        large = Displacement(
            np.kron(truth.moved_px, np.ones((2, 2, 1), np.float32)) * 2,
            np.kron(truth.layers, np.ones((2, 2), np.uint8)),
        )
        estimate = np.clip(frames.astype(int) + np.random.default_rng(1).integers(-9, 9, frames.shape), 0, 255)
        found = [measure_regions(estimate.astype(np.uint8), frames, one) for one in (truth, large)]
        assert found[0] == pytest.approx(found[1])

    def test_where_nothing_moves_there_is_none(self):
        frames, truth = two_squares()
        still = Displacement(np.zeros_like(truth.moved_px), truth.layers)
        assert all(np.isnan(value) for value in measure_regions(frames, frames, still).values())
