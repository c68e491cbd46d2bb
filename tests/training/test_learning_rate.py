import pytest

from rb2v.training.options import learning_rate


def test_learning_rate_warms_up_and_falls():
    rates = [learning_rate(step, steps=100, peak=1.0, warmup_steps=10) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == rates[10]
    assert 0 < rates[-1] < 0.01
