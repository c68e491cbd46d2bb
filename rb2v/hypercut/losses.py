"""Losses of the ordering network: they ask that the pairs of a sequence agree, never which way."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def agreement(scores: Tensor) -> Tensor:
    """Negative log probability that all pairs of a sequence lie on one side, each taking its side independently.

    Parameters
    ----------
    scores : (B, P) tensor of float
        Antisymmetric scores of the pairs; a pair is on the positive side with probability ``sigmoid(s)``.

    Returns
    -------
    () tensor of float
        ``-log(prod_k sigmoid(s_k) + prod_k sigmoid(-s_k))``, mean over the batch; ``(P - 1) log 2`` where the
        network knows nothing.
    """
    sides = torch.stack([F.logsigmoid(scores).sum(dim=-1), F.logsigmoid(-scores).sum(dim=-1)])
    return -torch.logsumexp(sides, dim=0).mean()


def product(scores: Tensor) -> Tensor:
    """Penalise every two pairs of a sequence that lie on different sides.

    Parameters
    ----------
    scores : (B, P) tensor of float
        Antisymmetric scores of the pairs, at least two.

    Returns
    -------
    () tensor of float
        ``softplus(-s_i s_j)``, mean over the choices of two pairs and the batch.

    References
    ----------
    .. [1] Pham et al., "HyperCUT", CVPR 2023, eq. (6), as the product that lowers the left side of eq. (5).
    """
    i, j = torch.triu_indices(scores.shape[-1], scores.shape[-1], offset=1)
    return F.softplus(-scores[..., i] * scores[..., j]).mean()


LOSSES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "agreement": agreement,
    "product": product,
}
"""Losses by name: scores ``(B, P)`` to a scalar."""
