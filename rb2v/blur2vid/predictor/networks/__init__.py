"""Predictors of guidance by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from rb2v.blur2vid.predictor.networks.categorical import Categorical
from rb2v.blur2vid.predictor.networks.cvae_gan import ConditionalVaeGan
from rb2v.blur2vid.predictor.networks.predictor import Predictor

__all__ = ["PREDICTORS", "Categorical", "ConditionalVaeGan", "Predictor", "make_predictor"]

PREDICTORS: Mapping[str, Callable[[int, bool], Predictor]] = {
    "categorical": Categorical,
    "cvae_gan": ConditionalVaeGan,
}
"""Predictors by name: ``factory(image_size, is_symmetric)``."""


def make_predictor(name: str, image_size: int, *, is_symmetric: bool, seed: int) -> Predictor:
    """Build a predictor with weights drawn from ``seed``, leaving the global random state as it was.

    Parameters
    ----------
    name : str
        A key of ``PREDICTORS``.
    image_size : int
        Shorter side of the images that it sees, in pixels.
    is_symmetric : bool
        Whether a sequence and its reversal are as likely, which a network may be built for.
    seed : int
        Seed of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PREDICTORS[name](image_size, is_symmetric)
