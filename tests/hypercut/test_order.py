import pytest
import torch

from rb2v.hypercut.order import ORDER_NETWORKS, draw_unit_normal, make_order_network, sequence_pairs

N_DIMENSIONS = 16


@pytest.fixture
def pairs():
    return sequence_pairs(torch.rand(5, 7, 3, 24, 32, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("arch", ORDER_NETWORKS)
class TestEveryNetwork:
    def test_scores_every_pair(self, arch, pairs):
        scores = make_order_network(arch, N_DIMENSIONS, 0)(*pairs)
        assert scores.shape == (5, 3)
        assert scores.abs().min() > 0

    def test_is_exactly_antisymmetric(self, arch, pairs):
        network = make_order_network(arch, N_DIMENSIONS, 0)
        first, second = pairs
        assert torch.equal(network(first, second), -network(second, first))

    def test_scores_equal_frames_zero(self, arch, pairs):
        assert torch.equal(make_order_network(arch, N_DIMENSIONS, 0)(pairs[0], pairs[0]), torch.zeros(5, 3))

    def test_swapped_cues_are_those_of_swapped_frames(self, arch, pairs):
        front_end = make_order_network(arch, N_DIMENSIONS, 0).front_end
        first, second = (frames.flatten(0, 1) for frames in pairs)
        assert torch.equal(front_end.swap(front_end(first, second)), front_end(second, first))

    def test_has_no_batch_statistics(self, arch, pairs):
        network = make_order_network(arch, N_DIMENSIONS, 0)
        first, second = pairs
        torch.testing.assert_close(network(first, second)[:1], network(first[:1], second[:1]))

    def test_depends_on_the_seed_alone(self, arch):
        torch.manual_seed(5)
        before = torch.get_rng_state()
        once, again, other = (make_order_network(arch, N_DIMENSIONS, seed).state_dict() for seed in (3, 3, 4))
        assert all(torch.equal(once[name], again[name]) for name in once)
        assert any(not torch.equal(once[name], other[name]) for name in once)
        assert torch.equal(torch.get_rng_state(), before)

    def test_the_normal_is_a_fixed_unit_vector(self, arch):
        network = make_order_network(arch, N_DIMENSIONS, 0)
        assert network.normal.shape == (N_DIMENSIONS,)
        assert network.normal.norm().item() == pytest.approx(1, abs=1e-6)
        assert "normal" in network.state_dict()
        assert "normal" not in dict(network.named_parameters())

    def test_a_blank_picture_gives_finite_gradients(self, arch):
        network = make_order_network(arch, N_DIMENSIONS, 0)
        network(torch.zeros(2, 3, 16, 16), torch.zeros(2, 3, 16, 16)).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(
    "change", [lambda x: 1 - x, lambda x: x + 0.2, lambda x: 0.8 * x], ids=["contrast", "brightness", "gain"]
)
def test_motion_does_not_see_photometric_changes(change):
    network = make_order_network("motion", N_DIMENSIONS, 0)
    # Smooth, so that the energy stands far above the floor against noise.
    first = torch.nn.functional.avg_pool2d(torch.rand(4, 3, 34, 34), 3, 1)
    second = first.roll(1, dims=-1)
    torch.testing.assert_close(network(change(first), change(second)), network(first, second), rtol=1e-3, atol=1e-5)


def test_motion_cues_point_along_the_motion():
    cues_of = ORDER_NETWORKS["motion"](N_DIMENSIONS, 0).front_end
    x = torch.linspace(0, 12, 48)
    first, second = (torch.sin(x - shift).expand(1, 3, 48, 48) for shift in (0.0, 0.25))
    right, down = cues_of(first, second)[0, :2]
    assert right.mean() > 0.1
    assert down.abs().max() < 1e-4
    right, down = cues_of(first.transpose(2, 3), second.transpose(2, 3))[0, :2]
    assert down.mean() > 0.1
    assert right.abs().max() < 1e-4


def test_pairs_are_the_frames_that_trade_places_under_reversal():
    sequence = torch.arange(7.0)[:, None, None, None]
    first, second = sequence_pairs(sequence)
    assert first.flatten().tolist() == [0, 1, 2]
    assert second.flatten().tolist() == [6, 5, 4]
    assert torch.equal(sequence_pairs(sequence.flip(0))[0], second)


def test_normals_of_other_seeds_differ():
    assert abs(float(draw_unit_normal(64, 0) @ draw_unit_normal(64, 1))) < 0.5
