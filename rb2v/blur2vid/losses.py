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
from rb2v.hypercut.pair_order import sequence_pairs

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
    difference = estimate.float() - truth.float()
    return (torch.sqrt(difference.square() + EPSILON**2) - EPSILON).mean(dim=(2, 3, 4))


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


def order_invariant(estimate: Tensor, truth: Tensor) -> Tensor:
    """Compare sum and difference of every pair, which are the same in both directions: eq. (3), and the center frame.

    As in the authors' code the difference is an absolute one of every value; the equation as printed is least where the
    frames of a pair are equal. Every value of a pair may so choose its direction by itself.

    Parameters
    ----------
    estimate, truth : (B, N + 1, 3, H, W) tensor of float
        RGB in [0, 1]; elsewhere the absolute sum would admit negatives.

    Returns
    -------
    (B,) tensor of float32
        Mean over the frames: a pair's two distances stand for its two frames.
    """
    (ours_a, ours_b), (a, b) = sequence_pairs(estimate), sequence_pairs(truth)
    sums, differences = (
        charbonnier((ours_a + ours_b).abs(), (a + b).abs()),
        charbonnier((ours_a - ours_b).abs(), (a - b).abs()),
    )
    middle = slice(estimate.shape[1] // 2, estimate.shape[1] // 2 + 1)
    center = charbonnier(estimate[:, middle], truth[:, middle])
    return (sums + differences).sum(dim=1).add(center.sum(dim=1)) / estimate.shape[1]


def best_direction(estimate: Tensor, truth: Tensor) -> Tensor:
    """Compare the whole sequence with the true one or its reversal, whichever is nearer.

    Parameters
    ----------
    estimate, truth : (B, N + 1, 3, H, W) tensor of float
        RGB in [0, 1].

    Returns
    -------
    (B,) tensor of float32
    """
    return torch.minimum(naive(estimate, truth), naive(estimate, truth.flip(1)))


LOSSES: Mapping[str, Loss] = {
    "naive": naive,
    "order_invariant": order_invariant,
    "label": naive,
    "best_direction": best_direction,
}
"""Losses by name. ``label`` is ``naive`` on sequences that were turned to the preferred side of the hyperplane."""


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
