"""Backbones by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch

from rb2v.blur2vid.backbones.base import Backbone, GuidedBackbone
from rb2v.blur2vid.backbones.jin import Jin
from rb2v.blur2vid.backbones.purohit import Purohit
from rb2v.blur2vid.backbones.unet import UNet
from rb2v.blur2vid.backbones.zhong import Zhong, ZhongSmall

__all__ = ["BACKBONES", "Backbone", "GuidedBackbone", "make_backbone"]

BACKBONES: Mapping[str, Callable[[int], Backbone]] = {
    "jin": Jin,
    "unet": UNet,
    "purohit": Purohit,
    "purohit_oracle": partial(Purohit, oracle_center=True),
    "zhong": Zhong,
    "zhong_small": ZhongSmall,
}
"""Backbones by name: ``factory(n_frames)``, which raises ``Rb2vError`` for numbers of frames that it cannot."""


def make_backbone(name: str, n_frames: int, seed: int) -> Backbone:
    """Build a backbone with weights drawn from ``seed``, leaving the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BACKBONES[name](n_frames)
