"""Losses of the order network: they ask that the pairs of a sequence agree, never which way.

Every term takes the scores of the pairs in both orders, ``u_k`` of ``(x_k, x_{N-k})`` and ``v_k`` of
``(x_{N-k}, x_k)``; antisymmetric networks have ``v = -u``.

References
----------
.. [1] Pham et al., "HyperCUT", CVPR 2023, eqs. (5) and (6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from rb2v.training.windows import WHOLE, Windows

Term = Callable[[Tensor, Tensor], Tensor]


def product(scores: Tensor, reversed_scores: Tensor) -> Tensor:
    """Penalise pairs that stay on their side when they are reversed: eq. (6) as the authors' code has it.

    Parameters
    ----------
    scores, reversed_scores : (B, P) tensor of float
        Scores of the pairs in both orders.

    Returns
    -------
    () tensor of float
        ``softplus(u_k v_k)``, mean over pairs and the batch; as typeset, ``softplus(u) v``, it has no lower bound.
    """
    return F.softplus(scores * reversed_scores).mean()


def consistency(scores: Tensor, reversed_scores: Tensor) -> Tensor:
    """Penalise every two pairs of a sequence that lie on different sides; in the authors' code, not in the paper.

    Parameters
    ----------
    scores, reversed_scores : (B, P) tensor of float
        Scores of the pairs in both orders, at least two.

    Returns
    -------
    () tensor of float
        ``softplus(-u_i u_j)``, mean over the choices of two pairs and the batch.
    """
    i, j = torch.triu_indices(scores.shape[-1], scores.shape[-1], offset=1)
    return F.softplus(-scores[..., i] * scores[..., j]).mean()


def agreement(scores: Tensor, reversed_scores: Tensor) -> Tensor:
    """Negative log probability that all pairs of a sequence lie on one side, each taking its side independently.

    Parameters
    ----------
    scores, reversed_scores : (B, P) tensor of float
        Scores of the pairs in both orders; with ``s = (u - v) / 2`` a pair is on the positive side with probability
        ``sigmoid(s)``.

    Returns
    -------
    () tensor of float
        ``-log(prod_k sigmoid(s_k) + prod_k sigmoid(-s_k))``, mean over the batch; ``(P - 1) log 2`` where the
        network knows nothing.
    """
    odd = (scores - reversed_scores) / 2
    sides = torch.stack([F.logsigmoid(odd).sum(dim=-1), F.logsigmoid(-odd).sum(dim=-1)])
    return -torch.logsumexp(sides, dim=0).mean()


def likelihood(ahead: Tensor, back: Tensor, windows: Windows = WHOLE) -> Tensor:
    """Negative log likelihood of the signs of a sequence's differences in the direction in which they are likelier.

    The network so learns one direction for all that it cannot tell apart, as `rb2v.blur2vid.losses.best_direction` does
    for frames.

    Parameters
    ----------
    ahead, back : (B, P) or (B, P, 3, H, W) tensor of float
        What `SignNetwork.surprise` returns of the pairs, or means of it, for which the whole sequence is one window.
    windows : Windows
        What chooses a direction, all pairs alike: by default the whole sequence.

    Returns
    -------
    () tensor of float
        Mean over the batch, pairs and values; log 2 where the network knows nothing.
    """
    shape = ahead.shape if ahead.dim() > 2 else (*ahead.shape, 1, 1, 1)
    return windows.least(ahead.reshape(shape), back.reshape(shape)).mean() / ahead.shape[1]


LOSSES: Mapping[str, Mapping[str, Term]] = {
    "agreement": {"agreement": agreement},
    "product": {"product": product},
    "upstream": {"product": product, "consistency": consistency},
    "likelihood": {"likelihood": likelihood},
}
"""Losses by name: their terms, each of which has a weight in the configuration. ``likelihood`` is of signs."""
