import math

import pytest
import torch

from rb2v.hypercut.losses import LOSSES, agreement, product

AGREEING = torch.tensor([[4.0, 3.0, 5.0]])
DISAGREEING = torch.tensor([[4.0, -3.0, 5.0]])


@pytest.mark.parametrize("name", LOSSES)
class TestEveryLoss:
    def test_prefers_agreement_and_not_a_side(self, name):
        loss = LOSSES[name]
        assert loss(AGREEING) < loss(torch.zeros(1, 3)) < loss(DISAGREEING)
        assert loss(AGREEING) == loss(-AGREEING)

    def test_is_a_mean_over_the_batch(self, name):
        both = LOSSES[name](torch.cat([AGREEING, DISAGREEING]))
        torch.testing.assert_close(both, (LOSSES[name](AGREEING) + LOSSES[name](DISAGREEING)) / 2)

    @pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, -1), (1, -1, 1)])
    def test_large_scores_stay_finite(self, name, signs):
        scores = (1e4 * torch.tensor([signs], dtype=torch.float32)).requires_grad_()
        loss = LOSSES[name](scores)
        loss.backward()
        assert loss.isfinite()
        assert loss >= 0
        assert scores.grad.isfinite().all()

    def test_gradient(self, name):
        scores = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
        assert torch.autograd.gradcheck(LOSSES[name], (scores,))


def test_agreement_of_no_knowledge_is_log_4():
    assert agreement(torch.zeros(5, 3)).item() == pytest.approx(math.log(4))


def test_agreement_is_the_log_probability_of_one_side():
    p = torch.sigmoid(DISAGREEING)
    expected = -math.log(p.prod().item() + (1 - p).prod().item())
    assert agreement(DISAGREEING).item() == pytest.approx(expected, rel=1e-5)


def test_product_of_no_knowledge_is_log_2():
    assert product(torch.zeros(5, 3)).item() == pytest.approx(math.log(2))


def test_product_is_the_mean_over_the_choices_of_two_pairs():
    expected = (math.log1p(math.exp(12)) + math.log1p(math.exp(-20)) + math.log1p(math.exp(15))) / 3
    assert product(DISAGREEING).item() == pytest.approx(expected)
