"""Samples of a predictor: several plausible guidance maps of one image."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from rb2v.blur2vid.predictor.networks import Predictor
from rb2v.core.motion_classes import CLASS_NAMES, N_CLASSES, STATIC

_SECOND_SHARE = 0.2  # of what moves; a direction with less is not part of a map's name


def sample_guidance(
    network: Predictor, image: NDArray[np.float32], n: int, *, seed: int = 0, index: int = 0
) -> NDArray[np.uint8]:
    """Draw guidance maps of one image.

    Parameters
    ----------
    network : Predictor
        In evaluation mode, on the device that is to compute.
    image : (H, W, 3) ndarray of float32
        RGB in [0, 1].
    n : int
        Number of maps.
    seed, index : int
        What the latents depend on; the index is the image's. The first maps are the same for every ``n``.

    Returns
    -------
    (n, H, W) ndarray of uint8
        Classes of `rb2v.core.motion_classes`.
    """
    device = next(network.parameters()).device
    blurry = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)[None])).to(device)
    latents = np.random.default_rng((seed, index)).standard_normal((n, network.n_latent)).astype(np.float32)
    with torch.inference_mode():
        maps = [network.predict(blurry, torch.from_numpy(latent[None]).to(device))[0] for latent in latents]
    return np.stack([classes.cpu().numpy() for classes in maps])


def describe_guidance(classes: NDArray[np.uint8]) -> str:
    """Return the names of the directions that most of what moves has.

    Parameters
    ----------
    classes : (H, W) ndarray of uint8
        Classes of `rb2v.core.motion_classes`.

    Examples
    --------
    >>> describe_guidance(np.array([[0, 1, 1, 3]], dtype=np.uint8))
    'right-up+left-down'
    >>> describe_guidance(np.zeros((2, 2), dtype=np.uint8))
    'static'
    """
    counts = np.bincount(classes.ravel(), minlength=N_CLASSES)
    counts[STATIC] = 0
    total = counts.sum()
    if not total:
        return CLASS_NAMES[STATIC]
    ranked = sorted(range(1, N_CLASSES), key=lambda index: (-counts[index], index))
    named = [index for place, index in enumerate(ranked) if not place or counts[index] >= _SECOND_SHARE * total]
    return "+".join(CLASS_NAMES[index] for index in named)
