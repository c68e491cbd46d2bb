import math

import pytest
import torch

from rb2v.hypercut.losses import LOSSES, agreement, consistency, likelihood, product
from rb2v.training.windows import Windows

AGREEING = torch.tensor([[4.0, 3.0, 5.0]])
DISAGREEING = torch.tensor([[4.0, -3.0, 5.0]])
# The likelihood is of signs, and takes no scores.
SCORED = [name for name in LOSSES if name != "likelihood"]
TERMS = {name: term for loss in SCORED for name, term in LOSSES[loss].items()}


def of(loss, scores, reversed_scores):
    return sum(term(scores, reversed_scores) for term in LOSSES[loss].values())


def draw(seed, *shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", TERMS)
class TestEveryTerm:
    def test_is_a_mean_over_the_batch(self, name):
        scores, back = draw(0, 5, 3), draw(1, 5, 3)
        each = torch.stack([TERMS[name](scores[i : i + 1], back[i : i + 1]) for i in range(5)])
        torch.testing.assert_close(TERMS[name](scores, back), each.mean())

    def test_does_not_know_the_names_of_the_sides(self, name):
        scores, back = draw(0, 5, 3), draw(1, 5, 3)
        torch.testing.assert_close(TERMS[name](-scores, -back), TERMS[name](scores, back))

    def test_does_not_know_which_end_comes_first(self, name):
        scores = draw(0, 5, 3)
        torch.testing.assert_close(TERMS[name](-scores, scores), TERMS[name](scores, -scores))

    def test_does_not_know_which_pair_is_which(self, name):
        scores, back = draw(0, 5, 3), draw(1, 5, 3)
        other = [2, 0, 1]
        torch.testing.assert_close(TERMS[name](scores[:, other], back[:, other]), TERMS[name](scores, back))

    @pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, -1), (1, -1, 1)])
    def test_large_scores_stay_finite(self, name, signs):
        scores = (1e4 * torch.tensor([signs], dtype=torch.float32)).requires_grad_()
        loss = TERMS[name](scores, -scores)
        loss.backward()
        assert loss.isfinite()
        assert loss >= 0
        assert scores.grad.isfinite().all()

    @pytest.mark.parametrize("n_pairs", [2, 3, 4])
    def test_gradient(self, name, n_pairs):
        scores, back = draw(0, 4, n_pairs).requires_grad_(), draw(1, 4, n_pairs).requires_grad_()
        assert torch.autograd.gradcheck(TERMS[name], (scores, back))


@pytest.mark.parametrize("name", SCORED)
def test_every_loss_falls_when_the_agreed_side_is_surer(name):
    values = [of(name, size * AGREEING, -size * AGREEING) for size in (0.0, 0.1, 0.5, 1.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1]


@pytest.mark.parametrize("name", [name for name in SCORED if name != "product"])
def test_losses_with_a_word_on_agreement_punish_its_lack(name):
    assert of(name, AGREEING, -AGREEING) < of(name, DISAGREEING, -DISAGREEING)


def test_product_alone_is_content_where_pairs_disagree():
    # Why eq. (6) by itself orders no sequence: it looks at one pair at a time.
    torch.testing.assert_close(product(DISAGREEING, -DISAGREEING), product(AGREEING, -AGREEING))


def test_product_asks_for_two_sides_of_every_pair():
    # Eq. (5): u v < 0; eq. (6) as softplus of the product.
    u, v = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([[-3.0, -1.5, 4.0]])
    expected = sum(math.log1p(math.exp(z)) for z in (-6.0, 1.5, 2.0)) / 3
    assert product(u, v).item() == pytest.approx(expected, rel=1e-6)
    assert product(u, v) == product(v, u)
    assert product(u, -u) < product(torch.zeros(1, 3), torch.zeros(1, 3)) < product(u, u)


@pytest.mark.parametrize("n_pairs", [2, 3, 5])
def test_no_knowledge_costs_log_2_for_every_word(n_pairs):
    nothing = torch.zeros(5, n_pairs)
    assert product(nothing, nothing).item() == pytest.approx(math.log(2))
    assert consistency(nothing, nothing).item() == pytest.approx(math.log(2))
    assert agreement(nothing, nothing).item() == pytest.approx((n_pairs - 1) * math.log(2))


def test_consistency_is_the_mean_over_the_choices_of_two_pairs():
    expected = (math.log1p(math.exp(12)) + math.log1p(math.exp(-20)) + math.log1p(math.exp(15))) / 3
    assert consistency(DISAGREEING, torch.zeros(1, 3)).item() == pytest.approx(expected)


def test_agreement_is_the_log_probability_of_one_side():
    u, v = torch.tensor([[4.0, -3.0, 5.0]]), torch.tensor([[1.0, 2.0, -2.0]])
    p = torch.sigmoid((u - v) / 2)
    expected = -math.log(p.prod().item() + (1 - p).prod().item())
    assert agreement(u, v).item() == pytest.approx(expected, rel=1e-5)


def test_agreement_of_a_pair_alone_is_certain():
    assert agreement(torch.tensor([[3.0]]), torch.tensor([[-1.0]])).item() == pytest.approx(0, abs=1e-6)


class TestLikelihood:
    def test_a_sequence_has_the_direction_in_which_it_is_likelier(self):
        ahead, back = torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([[0.0, 2.0], [1.0, 1.0]])
        torch.testing.assert_close(likelihood(ahead, back), torch.tensor((1.0 + 2.0) / 4))
        maps = [values[..., None, None, None].expand(2, 2, 3, 4, 4) for values in (ahead, back)]
        torch.testing.assert_close(likelihood(*maps), likelihood(ahead, back))

    def test_or_every_window_has(self):
        ahead = torch.zeros(1, 2, 3, 4, 8)
        ahead[..., 4:] = 1
        torch.testing.assert_close(likelihood(ahead, 1 - ahead), torch.tensor(0.5))
        torch.testing.assert_close(likelihood(ahead, 1 - ahead, Windows(4)), torch.tensor(0.0))
