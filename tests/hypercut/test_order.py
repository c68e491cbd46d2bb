import numpy as np
import pytest
import torch

from rb2v.hypercut.pair_order import draw_unit_normal, orders_of, sequence_pairs


def test_the_negative_side_is_kept():
    scores = np.array([[-2.5, 1e-30], [0.0, -0.0], [np.nan, np.inf]], dtype=np.float32)
    orders = orders_of(scores)
    assert orders.tolist() == [[1, -1], [0, 0], [0, 0]]
    assert orders.dtype == np.int8


def test_pairs_are_the_frames_that_trade_places_under_reversal():
    sequence = torch.arange(7.0)[:, None, None, None]
    first, second = sequence_pairs(sequence)
    assert first.flatten().tolist() == [0, 1, 2]
    assert second.flatten().tolist() == [6, 5, 4]
    assert torch.equal(sequence_pairs(sequence.flip(0))[0], second)


@pytest.mark.parametrize("n_dimensions", [1, 16, 256])
def test_normals_are_unit_vectors_of_their_seed(n_dimensions):
    normal = draw_unit_normal(n_dimensions, 3)
    assert normal.shape == (n_dimensions,)
    assert normal.norm().item() == pytest.approx(1, abs=1e-6)
    assert torch.equal(normal, draw_unit_normal(n_dimensions, 3))


def test_normals_of_other_seeds_differ():
    assert abs(float(draw_unit_normal(64, 0) @ draw_unit_normal(64, 1))) < 0.5
