"""Layers that a CPU computes faster give what the plain ones give."""

import pytest
import torch
from torch import nn

from rb2v.interpolation.learned.quick_layers import Doubling, WinogradConvolution, quicken
from rb2v.interpolation.learned.rife import VERSIONS, RifeInterpolator


@pytest.fixture
def random():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 8), (17, 30), (4, 130)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_fewer_products_give_the_same_convolution(random, height, width, layout):
    plain = nn.Conv2d(64, 80, 3, padding=1)
    shown = torch.randn(2, 64, height, width).contiguous(memory_format=layout)
    with torch.inference_mode():
        expected, made = plain(shown), WinogradConvolution(plain)(shown)
    assert made.shape == expected.shape
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 8)])
def test_four_phases_give_the_same_transposed_convolution(random, height, width):
    plain = nn.ConvTranspose2d(12, 5, 4, stride=2, padding=1)
    shown = torch.randn(2, 12, height, width)
    with torch.inference_mode():
        expected, made = plain(shown), Doubling(plain)(shown)
    assert made.shape == expected.shape
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("version", ["3.1", "4.6"])
def test_a_network_of_such_layers_makes_the_same_frames(random, version):
    plain, quick = VERSIONS[version]().eval(), VERSIONS[version]().eval()
    quick.load_state_dict(plain.state_dict())
    quicken(quick)
    kinds = {type(layer) for layer in quick.modules()}
    assert {WinogradConvolution, Doubling} <= kinds
    assert nn.ConvTranspose2d not in kinds
    ends = torch.rand(2, 1, 3, 64, 64)
    with torch.inference_mode():
        for expected, made in zip(plain.make(*ends, [0.3, 0.5]), quick.make(*ends, [0.3, 0.5]), strict=True):
            torch.testing.assert_close(made.frame, expected.frame, rtol=0, atol=1e-3)
    assert RifeInterpolator(plain)._network is plain
    assert {type(layer) for layer in plain.modules()} == kinds
