"""Losses of networks that recover a sequence from one blurry image, which does not tell the sequence's direction.

All of them compare estimates with true frames by the Charbonnier distance, ``sqrt(d^2 + eps^2) - eps``, in [0, 1].

References
----------
.. [1] Pham et al., "HyperCUT", CVPR 2023, eqs. (3), (4), (7) and (8).
.. [2] Jin et al., "Learning to extract a video sequence from a single motion-blurred image", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from rb2v.hypercut.networks import OrderNetwork
from rb2v.hypercut.networks.signs import SignNetwork
from rb2v.hypercut.pair_order import sequence_pairs
from rb2v.training.windows import VALUES, WHOLE, Windows

EPSILON = 1e-3  # of RGB in 0..1, a quarter of a level: the root is smooth at 0, and an absolute value elsewhere

Loss = Callable[[Tensor, Tensor], Tensor]


def charbonnier(estimate: Tensor, truth: Tensor) -> Tensor:
    """Return the distance of every sequence's frames.

    Parameters
    ----------
    estimate, truth : (B, T, 3, H, W) tensor of float
        RGB in [0, 1].

    Returns
    -------
    (B, T) tensor of float32
        Mean over pixels and colors.
    """
    return _distances(estimate.float() - truth.float()).mean(dim=(2, 3, 4))


def _distances(differences: Tensor) -> Tensor:
    return torch.sqrt(differences.square() + EPSILON**2) - EPSILON


def naive(estimate: Tensor, truth: Tensor) -> Tensor:
    """Compare every frame with its own: eq. (4); where both directions are as likely, their mean is best.

    Parameters
    ----------
    estimate, truth : (B, N + 1, 3, H, W) tensor of float
        RGB in [0, 1].

    Returns
    -------
    (B,) tensor of float32
    """
    return charbonnier(estimate, truth).mean(dim=1)


def order_invariant(estimate: Tensor, truth: Tensor, windows: Windows = VALUES) -> Tensor:
    """Compare the pairs with the true ones in the direction that each window chooses, and the center frame.

    With ``a, b`` a value of a pair and ``x, y`` the true one, eq. (3) compares ``a + b`` with ``x + y`` and
    ``|a - b|`` with ``|x - y|``, which are the same in both directions. (As in the authors' code the difference is an
    absolute one of every value; the equation as printed is least where the frames of a pair are equal.) That is a
    choice of direction by every single value: for values in [0, 1]

    - in squares, ``(|a + b| - |x + y|)^2 + (|a - b| - |x - y|)^2`` is twice the lesser of
      ``(a - x)^2 + (b - y)^2`` and ``(a - y)^2 + (b - x)^2``;
    - in absolute values, the sum of both is twice the larger of ``|a - x|`` and ``|b - y|`` in the better direction.

    So windows of one value are eq. (3) as published, of sums and differences. Larger windows compare frames, and choose
    the direction of least mean distance; with the whole frame this is `best_direction`.

    Parameters
    ----------
    estimate, truth : (B, N + 1, 3, H, W) tensor of float
        RGB in [0, 1].
    windows : Windows
        What chooses a direction; by default eq. (3).

    Returns
    -------
    (B,) tensor of float32
        Mean over the frames: a pair's two distances stand for its two frames.
    """
    (ours_a, ours_b), (a, b) = sequence_pairs(estimate.float()), sequence_pairs(truth.float())
    if windows.side_px == 1:
        sums, ours, true = _distances((ours_a + ours_b) - (a + b)), ours_a - ours_b, a - b
        ahead, back = sums + _distances(ours - true), sums + _distances(ours + true)
    else:
        ahead = _distances(ours_a - a) + _distances(ours_b - b)
        back = _distances(ours_a - b) + _distances(ours_b - a)
    middle = slice(estimate.shape[1] // 2, estimate.shape[1] // 2 + 1)
    center = charbonnier(estimate[:, middle], truth[:, middle])
    return windows.least(ahead, back).add(center.sum(dim=1)) / estimate.shape[1]


def best_direction(estimate: Tensor, truth: Tensor) -> Tensor:
    """Compare the whole sequence with the true one or its reversal, whichever is nearer.

    It is `order_invariant` where the whole frame is one window.

    Parameters
    ----------
    estimate, truth : (B, N + 1, 3, H, W) tensor of float
        RGB in [0, 1].

    Returns
    -------
    (B,) tensor of float32
    """
    return order_invariant(estimate, truth, WHOLE)


LOSSES: Mapping[str, Loss] = {
    "naive": naive,
    "order_invariant": order_invariant,
    "label": naive,
    "region_label": naive,
    "best_direction": best_direction,
}
"""Losses by name. ``label`` is ``naive`` on sequences that were turned to the preferred side of the hyperplane,
``region_label`` on sequences of which every region was turned; see `turn_regions`."""

_SPREAD_PX = 9  # over which directions spread; half of it is as far as most objects move from half-way


def turn_regions(frames: Tensor, sides: Tensor) -> Tensor:
    """Turn every region of sequences by its own direction, all pairs alike.

    A direction spreads to what is near and has none, so that it holds all along an object's way; where two meet, they
    are blended. Frames without any stay as they are.

    Parameters
    ----------
    frames : (B, N + 1, 3, H, W) tensor of float
        Sequences.
    sides : (B, H, W) tensor of float
        Above 0 where a region is to stay as it is, below 0 where it is to run backward, 0 where it has no direction.

    Returns
    -------
    (B, N + 1, 3, H, W) tensor of float
    """
    directions, known = _spread(sides)
    kept = torch.where(known, (1 + directions) / 2, 1.0)
    return kept * frames + (1 - kept) * frames.flip(1)


def _spread(sides: Tensor) -> tuple[Tensor, Tensor]:
    """Return the directions of regions with what is near them, in [-1, 1], and where any is near, (B, 1, 1, H, W)."""
    signs = sides.sign()[:, None, None]
    sums, counts = (F.avg_pool2d(maps[:, 0], _SPREAD_PX, 1, _SPREAD_PX // 2) for maps in (signs, signs.abs()))
    return (sums / counts.clamp(min=1e-6))[:, None], (counts > 0)[:, None]


REGULARIZERS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "softplus": F.softplus,
    "linear": lambda scores: scores,
}
"""What the HyperCUT regularizer makes of scores: softplus as in the authors' code; linear, which has no lower bound, as
in eq. (7)."""


def regularize(estimate: Tensor, network: OrderNetwork, score_scale: float, form: str) -> Tensor:
    """Penalise pairs on the side of the hyperplane that is not preferred: eq. (7).

    Parameters
    ----------
    estimate : (B, N + 1, 3, H, W) tensor of float
        RGB in [0, 1], of the size of what the order network was trained on.
    network : OrderNetwork
        Frozen; gradients pass through it.
    score_scale : float
        Root mean square of the network's scores of true pairs. Scores are taken in its units, so that one weight suits
        networks whose scores differ in size.
    form : str
        A key of ``REGULARIZERS``.

    Returns
    -------
    (B,) tensor of float32
        Mean over the pairs; the center frame has no partner.
    """
    scores = network.score(*sequence_pairs(estimate)).float() / score_scale
    return REGULARIZERS[form](scores).mean(dim=1)


def regularize_signs(estimate: Tensor, network: SignNetwork) -> Tensor:
    """Penalise what of the pairs' differences runs the way that is not expected, value by value.

    The expected signs follow from what both orders share, the mean of a pair and the size of its difference, so that
    none of the estimate's own signs can bend them. No gradient passes through them.

    Parameters
    ----------
    estimate : (B, N + 1, 3, H, W) tensor of float
        RGB in [0, 1], of the size of what the order network was trained on.
    network : SignNetwork
        Frozen.

    Returns
    -------
    (B,) tensor of float32
        Mean over pairs, pixels and colors: a value that differs by ``d`` and surely runs backward costs ``|d|``, by
        which a wrong direction is off there; one that runs as expected costs nothing, so that none is shrunk.
    """
    first, second = (frames.float() for frames in sequence_pairs(estimate))
    difference = second - first
    size = difference.abs()
    with torch.no_grad():
        flat = ((first + second) / 2).flatten(0, 1), size.flatten(0, 1)
        signs = network.expect_signs(*flat).reshape(size.shape)
    return _backward(difference, signs)


def regularize_regions(estimate: Tensor, truth: Tensor, sides: Tensor) -> Tensor:
    """Penalise what of the pairs' differences runs against the true one of its region in canonical order.

    Parameters
    ----------
    estimate : (B, N + 1, 3, H, W) tensor of float
        RGB in [0, 1].
    truth : (B, N + 1, 3, H, W) tensor of float
        True sequences, in either direction.
    sides : (B, H, W) tensor of float
        Above 0 where a region of the true sequence is in canonical order, below 0 where it is reversed, 0 where that is
        not known; what is near goes by it, see `turn_regions`.

    Returns
    -------
    (B,) tensor of float32
        In the unit of `regularize_signs`, mean over pairs, pixels and colors.
    """
    first, second = (frames.float() for frames in sequence_pairs(estimate))
    true_first, true_second = sequence_pairs(truth.float())
    return _backward(second - first, _spread(sides)[0] * (true_second - true_first).sign())


def _backward(difference: Tensor, signs: Tensor) -> Tensor:
    """Return what of differences runs against expected signs in [-1, 1], (B,); what runs with them is not shrunk."""
    wrong: Tensor = F.relu(-signs * difference)
    return wrong.mean(dim=(1, 2, 3, 4))
