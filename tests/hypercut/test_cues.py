"""Motion cues against their definition, written as one reads it."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from rb2v.hypercut.networks.motion import Correlation, MotionCues, NormalFlow

FLOOR = 4e-6


@pytest.fixture(scope="module")
def frames():
    """Five pairs, of a size at which the last block of a map's pixels is not full at any scale."""
    return torch.rand(2, 5, 3, 24, 28, generator=torch.Generator().manual_seed(0))


def gradients(maps):
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    return padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2], padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]


def moved(maps, rows, columns):
    """Return maps whose pixel x is pixel x + (rows, columns) of the given ones, and 0 beyond their edges."""
    result = torch.zeros_like(maps)
    height, width = maps.shape[-2:]
    for y, x in itertools.product(range(height), range(width)):
        if 0 <= y + rows < height and 0 <= x + columns < width:
            result[..., y, x] = maps[..., y + rows, x + columns]
    return result


def normal_flow(first, second, scale):
    first, second = F.avg_pool2d(first, scale), F.avg_pool2d(second, scale)
    mean_x, mean_y = gradients((first + second) / 2)
    ahead = first - second
    factors = (ahead, mean_x), (ahead, mean_y), (mean_x, mean_x), (mean_y, mean_y), (mean_x, mean_y)
    cues = torch.stack([F.avg_pool2d((one * other).sum(1), 4 // scale) for one, other in factors], dim=1)
    relative = cues / ((cues[:, 2] + cues[:, 3]).mean(dim=(1, 2)) + FLOOR)[:, None, None, None]
    return relative.sign() * torch.log1p(4 * relative.abs())


def correlation(first, second, scale, reach):
    a, b = (torch.cat(gradients(F.avg_pool2d(one, scale)), dim=1) for one in (first, second))

    def average(maps):
        return F.avg_pool2d(maps.sum(1), 5, 4 // scale, padding=2, count_include_pad=False)

    shifts = list(itertools.product(range(-reach, reach + 1), repeat=2))
    energy = average((a.square() + b.square()) / 2)
    energy = energy + 0.1 * energy.mean(dim=(1, 2), keepdim=True) + FLOOR
    match = {(y, x): average(moved(a, -y, -x) * moved(b, y, x)) / energy for y, x in shifts}
    ahead = [shift for shift in shifts if shift > (0, 0)]
    odd = [match[y, x] - match[-y, -x] for y, x in ahead]
    even = [(match[y, x] + match[-y, -x]) / 2 for y, x in ahead]
    return torch.stack([*odd, *even, match[0, 0] / 2], dim=1)


def test_normal_flow(frames):
    expected = torch.cat([normal_flow(*frames, scale) for scale in (1, 2, 4)], dim=1)
    torch.testing.assert_close(NormalFlow()(*frames), expected)


@pytest.mark.parametrize(("scale", "reach"), [(2, 1), (4, 2), (1, 1)])
def test_correlation(frames, scale, reach):
    torch.testing.assert_close(Correlation(scale, reach)(*frames), correlation(*frames, scale, reach))


def test_all_cues_side_by_side_without_what_exceeds_a_multiple_of_four(frames):
    larger = F.pad(frames.flatten(0, 1), (0, 3, 0, 1), value=0.7).reshape(2, 5, 3, 25, 31)
    parts = [NormalFlow(), Correlation(2, 3), Correlation(4, 2)]
    assert torch.equal(MotionCues()(*larger), torch.cat([part(*frames) for part in parts], dim=1))


def test_cues_of_a_pair_do_not_depend_on_the_pairs_beside_it(frames):
    cues = MotionCues()
    assert torch.equal(cues(*frames)[2:4], cues(*frames[:, 2:4]))
