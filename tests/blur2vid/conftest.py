import pytest

from rb2v.blur2vid.backbones.zhong import decomposer


@pytest.fixture(autouse=True)
def _narrow_decomposers(monkeypatch):
    """Stages of the backbone zhong with few channels: the published ones take 10 s an image."""
    monkeypatch.setattr(decomposer, "WIDTH", 4)
    monkeypatch.setattr(decomposer, "N_BLOCKS", 1)
