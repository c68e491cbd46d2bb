"""The Triton kernels of the collaboration of flows in Triton's interpreter, against the definition tap by tap."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from interpreted_kernels import RESULTS, interpret

from rb2v.interpolation.learned.cdfi.collaboration import collaborate_by_taps

TOLERANCE = 1e-5  # relative to the largest value where that is above 1; float32, summed in another order

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton is not here; run 'make test-gpu-interpreted'"
)

# side of the kernel, (height, width), channels, batch, dilation, top, reach of offsets in pixels
SHAPES = {
    "one channel": (3, (5, 7), 1, 1, 1, 0, 1.0),
    "odd size, three channels": (5, (7, 9), 3, 2, 2, 0, 3.0),
    "as the network: 63 channels, 11x11 taps": (11, (3, 5), 63, 1, 2, 0, 2.0),
    "a strip of a larger image": (3, (4, 6), 5, 1, 2, 3, 2.0),
    "more than one program": (3, (9, 13), 4, 1, 1, 0, 0.7),
    "far beyond every border": (3, (4, 4), 2, 1, 2, 0, 40.0),
    "beyond what 32 bits hold": (3, (3, 3), 2, 1, 1, 0, 1e12),
}


def draw(side, size, channels, batch, dilation, top, reach, dtype=torch.float32):
    random = torch.Generator().manual_seed(0)
    margin = dilation * (side - 1)
    image = torch.rand(batch, channels, top + size[0] + margin, size[1] + margin, generator=random)
    weight = torch.rand(batch, side**2, *size, generator=random)
    alpha, beta = (reach * torch.randn(weight.shape, generator=random) for _ in range(2))
    gradient = torch.randn(batch, channels, *size, generator=random)
    return [each.to(dtype) for each in (image, weight, alpha, beta, gradient)]


CASES = {
    f"{name}, {rounding}": (draw(*shape), {"dilation": shape[4], "truncate": rounding == "truncate", "top": shape[5]})
    for name, shape in SHAPES.items()
    for rounding in ("floor", "truncate")
}
HALF = {
    f"{dtype}".removeprefix("torch."): (
        draw(*SHAPES["odd size, three channels"], dtype),
        {"dilation": 2, "truncate": False, "top": 0},
    )
    for dtype in (torch.float16, torch.bfloat16)
}


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    return interpret(CASES | HALF, tmp_path_factory.mktemp("triton"))


def define(given, options):
    """Return the result and its gradients by the definition."""
    *tensors, gradient = (tensor.double() for tensor in given)
    tensors = [tensor.requires_grad_() for tensor in tensors]
    rounding = "truncate" if options["truncate"] else "floor"
    result = collaborate_by_taps(*tensors, dilation=options["dilation"], rounding=rounding, top=options["top"])
    return [result.detach(), *torch.autograd.grad(result, tensors, gradient)]


@pytest.mark.parametrize("name", CASES)
def test_float32_agrees_with_the_definition(name, interpreted):
    given, options = CASES[name]
    for kind, found, expected in zip(RESULTS, interpreted[name], define(given, options), strict=True):
        bound = TOLERANCE * max(1.0, float(expected.abs().max()))
        np.testing.assert_allclose(found, expected, rtol=0, atol=bound, err_msg=kind)


@pytest.mark.parametrize("name", HALF)
def test_half_precision_sums_in_float32(name, interpreted):
    given, options = HALF[name]
    step = torch.finfo(given[0].dtype).eps
    for kind, found, expected in zip(RESULTS, interpreted[name], define(given, options), strict=True):
        assert found.dtype == given[0].dtype
        bound = step * max(1.0, float(expected.abs().max()))  # one rounding of the result
        np.testing.assert_allclose(found.double(), expected, rtol=0, atol=bound, err_msg=kind)
