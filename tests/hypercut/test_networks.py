import pytest
import torch

from rb2v.errors import InputError, Rb2vError
from rb2v.hypercut.config import TrainHyperCutConfig
from rb2v.hypercut.networks import ORDER_NETWORKS, make_order_network
from rb2v.hypercut.networks.base import score_alike
from rb2v.hypercut.networks.signs import SHARPNESS

N_DIMENSIONS = 16
ANTISYMMETRIC = [name for name in ORDER_NETWORKS if make_order_network(name, 1, 0).antisymmetric]


def draw_frames(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def pairs():
    first, second = draw_frames(1, 2, 2, 3, 3, 34, 44)
    return first, second


@pytest.fixture(scope="module", params=ORDER_NETWORKS)
def network(request):
    return make_order_network(request.param, N_DIMENSIONS, 0)


class TestEveryNetwork:
    def test_scores_every_pair_in_both_orders(self, network, pairs):
        scores = network(*pairs)
        assert scores.shape == (2, 2, 3)
        assert scores.dtype == torch.float32
        assert scores.abs().min() > 0
        torch.testing.assert_close(network.score(*pairs), scores[0])
        torch.testing.assert_close(network.score(*pairs[::-1]), scores[1])

    def test_swapping_the_frames_swaps_the_scores_exactly(self, network, pairs):
        first, second = pairs
        assert torch.equal(network(second, first), network(first, second).flip(0))

    def test_is_linear_in_the_normal(self, network, pairs):
        first, second = (frames.flatten(0, 1) for frames in pairs)
        ahead, back = network.embed_both(first, second)
        assert ahead.shape == back.shape == (6, N_DIMENSIONS)
        expected = torch.stack([(points * network.normal).sum(dim=1) for points in (ahead, back)])
        torch.testing.assert_close(network(first, second), expected)

    def test_has_no_batch_statistics(self, network, pairs):
        first, second = pairs
        torch.testing.assert_close(network(first, second)[:, :1], network(first[:1], second[:1]))

    def test_scores_a_pair_without_a_batch(self, network, pairs):
        first, second = (frames[0, 0] for frames in pairs)
        assert network.score(first, second).shape == ()
        torch.testing.assert_close(network.score(first, second), network.score(*pairs)[0, 0])

    def test_the_plane_is_not_trained(self, network):
        assert network.normal.shape == (N_DIMENSIONS,)
        trained = dict(network.named_parameters())
        assert not any("normal" in name or "hyperplane" in name for name in trained)
        assert any("normal" in name or "hyperplane" in name for name in network.state_dict())

    @pytest.mark.parametrize("level", [0.0, 0.5])
    def test_a_blank_picture_gives_finite_gradients(self, network, level):
        network.zero_grad()
        blank = torch.full((2, 3, network.min_size_px, network.min_size_px), level)
        network(blank, blank).square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())

    def test_every_weight_is_used(self, network, pairs):
        network.zero_grad()
        network(*pairs)[0].sum().backward()
        assert [name for name, p in network.named_parameters() if not p.grad.abs().sum() > 0] == []

    def test_takes_frames_of_any_shape_from_its_least_size_on(self, network):
        least = network.min_size_px
        for height, width in ((least, least), (least, 2 * least + 5), (least + 1, least)):
            first, second = draw_frames(0, 2, 2, 3, height, width)
            assert network(first, second).isfinite().all()


@pytest.mark.parametrize("arch", ORDER_NETWORKS)
def test_depends_on_the_seed_alone(arch):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    once, again, other = (make_order_network(arch, N_DIMENSIONS, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert any(not torch.equal(once[name], other[name]) for name in once)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("arch", ORDER_NETWORKS)
def test_networks_of_one_architecture_score_beside_each_other_as_alone(arch, pairs):
    networks = [make_order_network(arch, N_DIMENSIONS, seed) for seed in (0, 1)]
    for network, scores in zip(networks, score_alike(networks, *pairs), strict=True):
        assert torch.equal(scores, network.score(*pairs))


@pytest.mark.parametrize("arch", sorted(set(ORDER_NETWORKS) - {"upstream"}))
def test_the_normal_has_unit_length(arch):
    assert make_order_network(arch, N_DIMENSIONS, 0).normal.norm().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("arch", ["paper", "upstream"])
def test_residual_networks_tell_their_least_size(arch):
    network = make_order_network(arch, N_DIMENSIONS, 0)
    too_small = torch.zeros(1, 3, network.min_size_px - 1, network.min_size_px - 1)
    with pytest.raises(RuntimeError):
        network.score(too_small, too_small)


@pytest.mark.parametrize("arch", ANTISYMMETRIC)
class TestAntisymmetricNetworks:
    def test_negate_the_score_exactly_whatever_the_weights_are(self, arch):
        for seed in range(5):
            network = make_order_network(arch, N_DIMENSIONS, seed)
            with torch.no_grad(), torch.random.fork_rng():
                torch.manual_seed(seed)
                for parameter in network.parameters():
                    parameter.normal_(std=10.0 ** (seed - 2))
            first, second = draw_frames(seed, 2, 3, 3, 24 + seed, 32)
            ahead, back = network(first, second)
            assert torch.equal(ahead, -back)
            assert torch.equal(network.score(second, first), -network.score(first, second))
            assert ahead.abs().min() > 0

    def test_score_equal_frames_zero(self, arch, pairs):
        assert not make_order_network(arch, N_DIMENSIONS, 0)(pairs[0], pairs[0]).any()

    def test_swapped_cues_are_those_of_swapped_frames(self, arch, pairs):
        front_end = getattr(make_order_network(arch, N_DIMENSIONS, 0), "front_end", None)
        if front_end is None:
            assert arch == "signs"
            return
        first, second = (frames.flatten(0, 1) for frames in pairs)
        assert torch.equal(front_end.swap(front_end(first, second)), front_end(second, first))


def test_the_others_have_to_learn_it(pairs):
    for arch in set(ORDER_NETWORKS) - set(ANTISYMMETRIC):
        ahead, back = make_order_network(arch, N_DIMENSIONS, 0)(*pairs)
        assert not torch.allclose(ahead, -back)


class TestUpstream:
    @pytest.mark.parametrize(
        ("n", "n_numbers"), [(1, 9_891), (16, 51_201), (128, 2_315_681), (256, 8_658_337), (512, 32_255_137)]
    )
    def test_its_trunk_grows_with_the_dimension(self, n, n_numbers):
        weights = make_order_network("upstream", n, 0).state_dict()
        assert len(weights) == 37
        assert sum(tensor.numel() for tensor in weights.values()) == n_numbers

    def test_has_no_more_dimensions_than_channels(self):
        with pytest.raises(Rb2vError, match="n_dimensions must be at most 1024 for the network 'upstream', got 1025"):
            make_order_network("upstream", 1025, 0)

    def test_stem_and_downsampling_are_affine(self):
        trunk = make_order_network("upstream", N_DIMENSIONS, 0).f_func.model[:13].double()
        a, b, zero = draw_frames(0, 3, 1, 6, 40, 48).double()
        torch.testing.assert_close(trunk(a) + trunk(b) - trunk(a + b - zero), trunk(zero), rtol=0, atol=1e-12)
        assert trunk(a).shape == (1, N_DIMENSIONS, 2, 2)


def test_the_trunk_of_the_paper_keeps_its_width():
    sizes = {}
    for n in (1, 128, 256):
        network = make_order_network("paper", n, 0)
        sizes[n] = sum(p.numel() for p in network.parameters())
    # A linear layer from 128 channels, with a bias.
    assert sizes[256] - sizes[128] == 128 * 129
    assert sizes[128] - sizes[1] == 127 * 129


def test_leaky_activations_of_the_paper_are_none_in_the_released_code():
    x = torch.tensor([-1.0, 2.0])
    slopes = {
        arch: [float(m(x)[0]) for m in make_order_network(arch, 8, 0).modules() if isinstance(m, torch.nn.LeakyReLU)]
        for arch in ("paper", "upstream")
    }
    assert slopes["upstream"] == [-1.0] * 6
    assert len(slopes["paper"]) == 6
    assert all(-1 < slope < 0 for slope in slopes["paper"])


@pytest.mark.parametrize(
    "change", [lambda x: 1 - x, lambda x: x + 0.2, lambda x: 0.8 * x], ids=["contrast", "brightness", "gain"]
)
def test_motion_does_not_see_photometric_changes(change):
    network = make_order_network("motion", N_DIMENSIONS, 0)
    # Smooth, so that the energy stands far above the floor against noise.
    first = torch.nn.functional.avg_pool2d(draw_frames(0, 4, 3, 34, 34), 3, 1)
    second = first.roll(1, dims=-1)
    torch.testing.assert_close(network(change(first), change(second)), network(first, second), rtol=1e-3, atol=1e-5)


class TestSigns:
    """The score is the share of the difference that runs the preferred way, less the rest."""

    @pytest.fixture(scope="class")
    @classmethod
    def network(cls):
        network = make_order_network("signs", N_DIMENSIONS, 0).requires_grad_(False)
        network.ending.weight.mul_(20)  # so that it is sure of something
        return network

    def test_what_is_swapped_in_a_part_scores_what_the_rest_is_worth(self, network):
        first, second = draw_frames(0, 2, 4, 3, 32, 24)
        parts = torch.rand(4, 1, 32, 24, generator=torch.Generator().manual_seed(1)) < 0.3
        swapped = torch.where(parts, second, first), torch.where(parts, first, second)
        backward, size = network.score_maps(first, second)
        kept = torch.where(parts[:, 0], -backward, backward).sum(dim=(1, 2)) / size.sum(dim=(1, 2))
        torch.testing.assert_close(network.score(*swapped) / SHARPNESS, kept, rtol=0, atol=2e-3)

    def test_a_checkerboard_over_a_fifth_of_the_motion_scores_a_fifth(self, network):
        first, second = draw_frames(0, 2, 4, 3, 32, 24)
        mean, half = (first + second) / 2, (second - first) / 2
        board = torch.where(torch.arange(32)[:, None] + torch.arange(24) & 1 == 0, 1.0, -1.0)
        own = network.score(mean - half, mean + half)
        backward, size = network.score_maps(mean - half, mean + half)
        pattern = SHARPNESS * (board * backward).sum(dim=(1, 2)) / size.sum(dim=(1, 2))
        both = 0.2 * half + board * half  # its size is 1 on average, where the signs agree 1.2 and elsewhere 0.8
        signs = network.expect_signs(mean, 2 * half.abs())
        found = -SHARPNESS * (both * signs).sum(dim=(1, 2, 3)) / half.abs().sum(dim=(1, 2, 3))
        torch.testing.assert_close(found, 0.2 * own + pattern, rtol=0, atol=0.02)

    def test_signs_of_the_estimate_do_not_bend_what_is_expected(self, network):
        first, second = draw_frames(0, 2, 4, 3, 32, 24)
        swapped = torch.rand(4, 3, 32, 24, generator=torch.Generator().manual_seed(1)) < 0.5
        mixed = torch.where(swapped, second, first), torch.where(swapped, first, second)
        signs = [network.expect_signs((a + b) / 2, (b - a).abs()) for a, b in ((first, second), mixed)]
        torch.testing.assert_close(*signs)

    def test_sides_that_do_not_suit_the_layers(self, network):
        assert network.expect_signs(*draw_frames(0, 2, 1, 3, 17, 19)).shape == (1, 3, 17, 19)

    def test_it_is_trained_by_likelihood_alone(self):
        for changes in ({"arch": "signs", "loss": "agreement"}, {"arch": "motion", "loss": "likelihood"}):
            with pytest.raises(InputError) as caught:
                TrainHyperCutConfig(**changes)
            assert caught.value.key == "loss"
