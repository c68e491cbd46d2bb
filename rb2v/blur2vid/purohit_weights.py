"""Weights of the network of Purohit et al. that HyperCUT's code trained."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from rb2v.blur2vid.backbones.purohit import UpstreamPurohit
from rb2v.training.state_dicts import read_state_dict
from rb2v.training.tensor_files import fill

N_FRAMES = 7
"""Of the sequences that HyperCUT's code trains for; no weight depends on it."""

_KIND = "HyperCUT's 'Purohit' network"
_EXPECTED = "the state dict of a 'Purohit' network that HyperCUT's train_blur2vid.py wrote"
_EXPECTED_STAGE_1 = "the state dict of the video autoencoder that HyperCUT's train_blur2vid.py begins with"
_LOSS_PREFIX = "model.loss."
"""Of the order network, which is in the files because the loss makes use of it."""
_DECODER_PREFIX = "rvd."


def read_purohit(path: Path, n_frames: int = N_FRAMES) -> UpstreamPurohit:
    """Read a trained network; nothing in the file is executed.

    Its frames are those that it gives in HyperCUT's code, and as there the true center frame is an input.

    Parameters
    ----------
    path : Path
        A state dict with ``model.bie.*`` and ``model.rvd.*``; ``model.loss.*`` is not looked at.
    n_frames : int
        Frames of the sequences that it was trained for.

    Returns
    -------
    UpstreamPurohit
        On the CPU, in evaluation mode; images are RGB in [0, 1], as for every backbone.

    Raises
    ------
    InputError
        If the file is missing, damaged or holds anything but tensors; or a tensor is missing, unknown, of another shape
        or type, or not finite, named in the message.
    """
    tensors = read_state_dict(path, _EXPECTED)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(_LOSS_PREFIX)}
    network = _draw(n_frames, 0)
    # Under the names of the file, so that messages use them.
    fill(path, nn.ModuleDict({"model": network}), tensors, _KIND, _EXPECTED)
    return network.eval()


def read_purohit_decoder(path: Path, n_frames: int = N_FRAMES, seed: int = 0) -> UpstreamPurohit:
    """Read the decoder that HyperCUT's training begins with; what reads blurry images is still to be trained.

    Parameters
    ----------
    path : Path
        A state dict with ``rvd.*``; other parts of the video autoencoder are not looked at.
    n_frames : int
        Frames of the sequences to train for.
    seed : int
        Of the weights of ``bie``.

    Returns
    -------
    UpstreamPurohit
        On the CPU, in training mode.

    Raises
    ------
    InputError
        As `read_purohit`.
    """
    tensors = read_state_dict(path, _EXPECTED_STAGE_1)
    tensors = {name: tensor for name, tensor in tensors.items() if name.startswith(_DECODER_PREFIX)}
    network = _draw(n_frames, seed)
    fill(path, nn.ModuleDict({"rvd": network.rvd}), tensors, _KIND, _EXPECTED_STAGE_1)
    return network


def _draw(n_frames: int, seed: int) -> UpstreamPurohit:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UpstreamPurohit(n_frames)
