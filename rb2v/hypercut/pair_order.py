"""The hyperplane and its two sides: what a score says, and which frames of a sequence are pairs.

Sign convention, here and wherever orders are used
--------------------------------------------------
The network takes an ordered pair of frames to a point ``H(a, b)``, and the pair's score is the point's projection on
the normal ``h`` of a plane through the origin, which is drawn once and never trained. Pair ``k`` of a sequence is
``(x_k, x_{N-k})``. The negative side is the preferred one: a sequence that scores below zero is in canonical order
(order +1, *keep*), one that scores above is shown backward (order -1, *reverse*). So sequences that were turned as
their order says all lie on side -1, to which a regularizer has to pull predictions, as in the released code.
The two sides have no meaning of their own: a network trained from another seed may name them the other way round.

References
----------
.. [1] Pham et al., "HyperCUT", CVPR 2023, section 3.2.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def orders_of(scores: NDArray[np.floating]) -> NDArray[np.int8]:
    """Return what to do with sequences, or pairs, of these scores.

    Parameters
    ----------
    scores : (...) ndarray of float
        Sums of scores, or scores.

    Returns
    -------
    (...) ndarray of int8
        +1 keep where the score is negative, -1 reverse where it is positive, 0 where it is zero or not finite.

    Examples
    --------
    >>> orders_of(np.array([-2.5, 0.1, 0.0, np.nan])).tolist()
    [1, -1, 0, 0]
    """
    sides = np.sign(np.nan_to_num(np.asarray(scores), posinf=0, neginf=0))
    return np.asarray(-sides, dtype=np.int8)


def draw_unit_normal(n_dimensions: int, seed: int) -> Tensor:
    """Draw a direction in ``n_dimensions`` dimensions.

    Returns
    -------
    (n_dimensions,) tensor of float32
        Of unit length.
    """
    direction = torch.randn(n_dimensions, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    normal: Tensor = (direction / direction.norm()).float()
    return normal


def sequence_pairs(sequences: Tensor) -> tuple[Tensor, Tensor]:
    """Split sequences into their pairs ``(x_k, x_{N-k})``; the center frame has no partner.

    Parameters
    ----------
    sequences : (..., N + 1, 3, H, W) tensor
        Sharp frames, N even.

    Returns
    -------
    first, second : (..., N / 2, 3, H, W) tensor
        Outer pair first.
    """
    n_pairs = sequences.shape[-4] // 2
    return sequences[..., :n_pairs, :, :, :], sequences.flip(-4)[..., :n_pairs, :, :, :]
