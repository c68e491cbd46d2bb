"""Losses of the predictors.

References
----------
.. [1] Zhong et al., "Animation from Blur", ECCV 2022, and its code: weights and halves of a batch.
.. [2] Bhattacharyya et al., "Accurate and diverse sampling of sequences based on a best of many sample objective",
   CVPR 2018.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rb2v.blur2vid.predictor.config import TrainPredictorConfig
from rb2v.blur2vid.predictor.networks import Categorical, ConditionalVaeGan, Predictor
from rb2v.blur2vid.predictor.networks.cvae_gan import one_hot, sample_hard
from rb2v.blur2vid.predictor.networks.predictor import reversed_classes


def cross_entropy(scores: Tensor, classes: Tensor) -> Tensor:
    """Return the cross entropy of every map, (B,), mean over pixels, of (B, 5, h, w) scores and (B, h, w) classes."""
    return F.cross_entropy(scores, classes, reduction="none").mean(dim=(1, 2))


def best_of_many(
    network: Predictor, images: Tensor, classes: Tensor, latents: Tensor, all_weight: float, *, is_symmetric: bool
) -> tuple[Tensor, Tensor]:
    """Return the loss of the candidate that is nearest to the truth, and a share of that of all.

    Parameters
    ----------
    network : Predictor
        The predictor.
    images : (B, 3, h, w) tensor of float
        Blurry images at the size that it sees.
    classes : (B, h, w) tensor of int64
        The true guidance.
    latents : (K, B, n_latent) tensor of float
        A latent for each candidate.
    all_weight : float
        Share of the mean over all candidates.
    is_symmetric : bool
        Whether the negative of every latent is a candidate too. Its map is the reversed one, so that it costs nothing.

    Returns
    -------
    loss, best : (B,) tensor of float
        The loss, and the cross entropy of the best candidate in it.
    """
    n = len(latents)
    scores = network(images.repeat(n, 1, 1, 1), latents.flatten(0, 1))
    losses = cross_entropy(scores, classes.repeat(n, 1, 1)).reshape(n, -1)
    if is_symmetric:
        # The reversed map is as far from the truth as the map from the reversed truth.
        against = cross_entropy(scores, reversed_classes(classes).repeat(n, 1, 1)).reshape(n, -1)
        losses = torch.cat([losses, against])
    best = losses.min(dim=0).values
    return (1 - all_weight) * best + all_weight * losses.mean(dim=0), best


def categorical_loss(
    network: Categorical,
    images: Tensor,
    classes: Tensor,
    config: TrainPredictorConfig,
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of every sample, (B,), and the figures of the table of training."""
    n = config.candidates // 2 if network.is_symmetric else config.candidates
    latents = torch.randn((n, len(images), network.n_latent), generator=generator).to(images.device)
    loss, best = best_of_many(network, images, classes, latents, config.all_weight, is_symmetric=network.is_symmetric)
    return loss, {"best": best.mean()}


def generator_loss(
    network: ConditionalVaeGan,
    images: Tensor,
    classes: Tensor,
    config: TrainPredictorConfig,
    noise: Tensor,
) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Return the loss of generator and encoder.

    Parameters
    ----------
    network : ConditionalVaeGan
        The predictor.
    images : (B, 3, s, s) tensor of float
        The first half of a batch, at the size that it sees.
    classes : (B, s, s) tensor of int64
        Their true guidance.
    config : TrainPredictorConfig
        The weights of the terms.
    noise : (2, B, n_latent) tensor of float
        Of the encoded latents, and the random ones.

    Returns
    -------
    loss : () tensor of float
    terms : dict of str to () tensor of float
        The terms, weighted.
    made : (2 B, 5, s, s) tensor of float
        Scores from encoded and from random latents.
    """
    mean, log_variance = network.encode(classes)
    encoded = mean + torch.exp(0.5 * log_variance) * noise[0]
    made = network(images.repeat(2, 1, 1, 1), torch.cat([encoded, noise[1]]))
    of_encoded, of_random = made.chunk(2)
    terms = {
        "ce": config.ce_weight * F.cross_entropy(of_encoded, classes),
        "gan_encoded": config.gan_weight * least_squares(network.discriminate(sample_hard(of_encoded)), 1.0),
        "gan_random": config.gan_weight * least_squares(network.discriminate(sample_hard(of_random)), 1.0),
        "kl": -0.5 * config.kl_weight * (1 + log_variance - mean.square() - log_variance.exp()).sum(),
    }
    return torch.stack(list(terms.values())).sum(), terms, made


def discriminator_loss(network: ConditionalVaeGan, made: Tensor, classes: Tensor, other_classes: Tensor) -> Tensor:
    """Return the loss of the discriminators.

    Parameters
    ----------
    network : ConditionalVaeGan
        The predictor.
    made : (2 B, 5, s, s) tensor of float
        What `generator_loss` returned.
    classes, other_classes : (B, s, s) tensor of int64
        True guidance of both halves of the batch: real maps beside encoded and beside random ones.
    """
    fake = sample_hard(made.detach())
    total = torch.zeros((), device=made.device)
    for maps, real in zip(fake.chunk(2), (classes, other_classes), strict=True):
        total = total + least_squares(network.discriminate(maps), 0.0)
        total = total + least_squares(network.discriminate(one_hot(real)), 1.0)
    return total


def least_squares(found: list[Tensor], wanted: float) -> Tensor:
    """Return the squared distance of patches' scores from the wanted one, summed over the discriminators."""
    return torch.stack([(one - wanted).square().mean() for one in found]).sum()
