import math

import pytest
import torch

from rb2v.blur2vid.losses import (
    EPSILON,
    LOSSES,
    best_direction,
    charbonnier,
    naive,
    order_invariant,
    regularize,
    regularize_regions,
    regularize_signs,
    turn_regions,
)
from rb2v.hypercut.networks import make_order_network
from rb2v.hypercut.pair_order import sequence_pairs
from rb2v.training.windows import WHOLE, Windows


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


class TestWindows:
    """The family from eq. (3), in which every value chooses a direction, to the best direction of the whole frame."""

    def test_equation_3_in_squares_is_twice_the_better_direction_of_every_value(self):
        (a, b), (x, y) = sequence_pairs(sequences()), sequence_pairs(sequences(seed=1))
        published = ((a + b).abs() - (x + y).abs()).square() + ((a - b).abs() - (x - y).abs()).square()
        ahead, back = (a - x).square() + (b - y).square(), (a - y).square() + (b - x).square()
        torch.testing.assert_close(published, 2 * torch.minimum(ahead, back))

    def test_equation_3_in_absolute_values_is_twice_the_larger_error_in_the_better_direction(self):
        (a, b), (x, y) = sequence_pairs(sequences()), sequence_pairs(sequences(seed=1))
        published = ((a + b).abs() - (x + y).abs()).abs() + ((a - b).abs() - (x - y).abs()).abs()
        ahead, back = torch.maximum((a - x).abs(), (b - y).abs()), torch.maximum((a - y).abs(), (b - x).abs())
        torch.testing.assert_close(published, 2 * torch.minimum(ahead, back))

    def test_single_values_are_equation_3_as_published(self):
        truth, estimate = sequences(), sequences(seed=1)
        (a, b), (x, y) = sequence_pairs(estimate), sequence_pairs(truth)
        pairs = charbonnier((a + b).abs(), (x + y).abs()) + charbonnier((a - b).abs(), (x - y).abs())
        expected = (pairs.sum(dim=1) + charbonnier(estimate[:, 3:4], truth[:, 3:4])[:, 0]) / 7
        torch.testing.assert_close(order_invariant(estimate, truth), expected)

    def test_the_whole_frame_is_the_better_direction_of_the_sequence(self):
        truth, estimate = sequences(), sequences(seed=1)
        expected = torch.minimum(naive(estimate, truth), naive(estimate, truth.flip(1)))
        for windows in (WHOLE, Windows(64), Windows(64, shift_px=(5, 31))):
            torch.testing.assert_close(order_invariant(estimate, truth, windows), expected)

    @pytest.mark.parametrize("side", [2, 4, 8])
    def test_every_window_chooses(self, side):
        truth = torch.rand(1, 7, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        turned = (torch.arange(16) // side % 2).bool()
        swapped = torch.where(turned[:, None] ^ turned[None], truth.flip(1), truth)
        assert order_invariant(swapped, truth, Windows(side)) == pytest.approx(0, abs=1e-6)
        assert order_invariant(swapped, truth, Windows(side, shift_px=(0, side // 2))) > 0.05
        assert order_invariant(swapped, truth, Windows(2 * side)) > 0.1

    def test_pairs_choose_together_or_each_by_itself(self):
        truth = sequences()
        swapped = truth.clone()
        swapped[:, [1, 5]] = truth[:, [5, 1]]
        torch.testing.assert_close(order_invariant(swapped, truth, Windows(4, shared=False)), torch.zeros(2))
        assert (order_invariant(swapped, truth, Windows(4)) > 0.05).all()

    @pytest.mark.parametrize("side", [3, 8, 16])
    def test_every_pixel_counts_alike_wherever_the_grid_lies(self, side):
        # An estimate that is off by as much in both directions.
        truth = torch.full((1, 7, 3, 21, 13), 0.5)
        estimate = truth.clone()
        estimate[..., 0, 0] = 0.9
        expected = naive(estimate, truth)
        for step in range(20):
            found = order_invariant(estimate, truth, Windows(side).shifted(0, step))
            torch.testing.assert_close(found, expected)

    def test_the_grid_is_moved_by_seed_and_step_alone(self):
        moved = [Windows(16).shifted(1, step) for step in range(40)]
        assert moved == [Windows(16).shifted(1, step) for step in range(40)]
        assert {one.shift_px for one in moved} > {moved[0].shift_px}
        assert all(0 <= shift < 8 for one in moved for shift in one.shift_px)
        assert Windows(1).shifted(0, 3) == Windows(1)


class TestTurnRegions:
    def test_sides_turn_what_is_near_and_has_none(self):
        truth = sequences(1)
        sides = torch.zeros(1, 6, 9)
        sides[..., :1] = -2.0
        turned = turn_regions(truth, sides)
        torch.testing.assert_close(turned[..., :5], truth.flip(1)[..., :5])
        torch.testing.assert_close(turned[..., 5:], truth[..., 5:])

    def test_one_side_everywhere_turns_the_sequence(self):
        truth = sequences(1)
        torch.testing.assert_close(turn_regions(truth, torch.full((1, 6, 9), -1.0)), truth.flip(1))
        torch.testing.assert_close(turn_regions(truth, torch.full((1, 6, 9), 3.0)), truth)

    def test_where_sides_meet_both_directions_are_blended(self):
        truth = sequences(1)
        sides = torch.ones(1, 6, 9)
        sides[..., 5:] = -1
        turned = turn_regions(truth, sides)
        shares = torch.tensor([5 / 5, 5 / 6, 5 / 7, 5 / 8, 5 / 9, 4 / 8, 3 / 7, 2 / 6, 1 / 5])
        torch.testing.assert_close(turned, shares * truth + (1 - shares) * truth.flip(1))


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


class TestRegularizeSigns:
    @staticmethod
    def second_brighter(share):
        network = make_order_network("signs", 4, 0).requires_grad_(False)
        network.ending.weight.zero_()
        network.ending.bias.fill_(math.atanh(share))
        return network

    def test_what_runs_backward_costs_its_size_and_the_rest_nothing(self):
        estimate = torch.zeros(1, 5, 3, 4, 6)
        estimate[:, 0, :, :2], estimate[:, 4, :, 2:] = 0.4, 0.3  # half of the outer pair backward
        estimate.requires_grad_()
        penalty = regularize_signs(estimate, self.second_brighter(0.5))
        torch.testing.assert_close(penalty, torch.tensor([0.5 * 0.4 / 4]))
        penalty.sum().backward()
        assert (estimate.grad[:, 0, :, :2] > 0).all()
        torch.testing.assert_close(estimate.grad[:, 4], -estimate.grad[:, 0])
        assert not estimate.grad[:, :, :, 2:].any()
        assert not estimate.grad[:, 1:4].any()

    def test_the_other_order_costs_what_this_one_does_not(self):
        estimate, network = sequences(1), self.second_brighter(0.5)
        both = regularize_signs(estimate, network) + regularize_signs(estimate.flip(1), network)
        first, second = sequence_pairs(estimate)
        torch.testing.assert_close(both, 0.5 * (second - first).abs().mean()[None])


class TestRegularizeRegions:
    def test_every_region_is_compared_with_the_true_one_in_canonical_order(self):
        truth = torch.rand(2, 5, 3, 8, 24, generator=torch.Generator().manual_seed(0))
        sides = torch.ones(2, 8, 24)
        sides[:, :, 12:] = -1
        right = turn_regions(truth, sides)
        for known in (truth, truth.flip(1)):
            way = 1 if known is truth else -1
            torch.testing.assert_close(regularize_regions(right, known, way * sides), torch.zeros(2))
        left = truth[..., :8]
        first, second = sequence_pairs(left)
        wrong = regularize_regions(left.flip(1), left, sides[..., :8])
        torch.testing.assert_close(wrong, (second - first).abs().mean(dim=(1, 2, 3, 4)))

    def test_where_no_order_is_known_none_is_asked_for(self):
        truth = torch.rand(1, 5, 3, 8, 24, generator=torch.Generator().manual_seed(0))
        sides = torch.zeros(1, 8, 24)
        torch.testing.assert_close(regularize_regions(truth.flip(1), truth, sides), torch.zeros(1))
