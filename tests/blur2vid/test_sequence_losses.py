import pytest
import torch

from rb2v.blur2vid.losses import EPSILON, LOSSES, best_direction, charbonnier, naive, order_invariant, regularize


def sequences(n=2, n_frames=7, seed=0):
    return torch.rand(n, n_frames, 3, 6, 9, generator=torch.Generator().manual_seed(seed))


class BrighterFirst:
    """An order network by whose score a pair is in canonical order where its second frame is the brighter one."""

    @staticmethod
    def score(first, second):
        return (first - second).mean(dim=(-3, -2, -1))


class TestLosses:
    @pytest.mark.parametrize("name", LOSSES)
    @pytest.mark.parametrize("n_frames", [3, 7, 9])
    def test_the_truth_has_none(self, name, n_frames):
        truth = sequences(n_frames=n_frames)
        torch.testing.assert_close(LOSSES[name](truth, truth), torch.zeros(2))

    @pytest.mark.parametrize("loss", [order_invariant, best_direction])
    def test_direction_is_free(self, loss):
        truth, estimate = sequences(), sequences(seed=1)
        torch.testing.assert_close(loss(truth.flip(1), truth), torch.zeros(2))
        torch.testing.assert_close(loss(estimate.flip(1), truth), loss(estimate, truth))

    def test_naive_tells_directions_apart(self):
        truth = sequences()
        assert (naive(truth.flip(1), truth) > 0.1).all()

    def test_best_direction_is_chosen_by_every_sequence(self):
        truth = sequences()
        half = torch.stack([truth[0], truth[1].flip(0)])
        torch.testing.assert_close(best_direction(half, truth), torch.zeros(2))

    def test_order_invariant_by_hand(self):
        truth, estimate = torch.zeros(1, 3, 3, 2, 2), torch.zeros(1, 3, 3, 2, 2)
        truth[:, 0], truth[:, 2] = 0.2, 0.6
        estimate[:, 0], estimate[:, 1], estimate[:, 2] = 0.5, 0.1, 0.5
        terms = torch.tensor([1.0 - 0.8, 0.4 - 0.0, 0.1])  # sum, difference, centre
        expected = ((terms.square() + EPSILON**2).sqrt() - EPSILON).sum() / 3
        torch.testing.assert_close(order_invariant(estimate, truth), expected[None])

    def test_every_pixel_may_choose_under_order_invariant(self):
        truth = sequences()
        swapped = truth.clone()
        swapped[..., ::2] = truth.flip(1)[..., ::2]
        torch.testing.assert_close(order_invariant(swapped, truth), torch.zeros(2))
        assert (best_direction(swapped, truth) > 0.1).all()

    def test_the_distance_is_taken_in_full_precision(self):
        assert charbonnier(sequences().bfloat16(), sequences()).dtype == torch.float32


class TestRegularize:
    @pytest.mark.parametrize("form", ["softplus", "linear"])
    def test_pulls_to_the_negative_side(self, form):
        estimate = torch.full((1, 5, 3, 4, 4), 0.5, requires_grad=True)
        regularize(estimate, BrighterFirst(), 1.0, form).sum().backward()
        first, second, center, *_ = estimate.grad[0].flatten(1).sum(dim=1).tolist()
        assert min(first, second) > 0
        assert center == 0
        torch.testing.assert_close(estimate.grad.flip(1), -estimate.grad)

    def test_by_hand(self):
        estimate = torch.zeros(1, 5, 3, 4, 4)
        estimate[:, 0], estimate[:, 3] = 0.3, 0.1
        expected = torch.nn.functional.softplus(torch.tensor([0.3, -0.1]) / 0.5).mean()
        torch.testing.assert_close(regularize(estimate, BrighterFirst(), 0.5, "softplus"), expected[None])
        torch.testing.assert_close(regularize(estimate, BrighterFirst(), 0.5, "linear"), torch.tensor([0.2]))
