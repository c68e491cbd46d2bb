"""Names that a configuration can choose from; mappings of methods have one entry for each, which tests check."""

from __future__ import annotations

from typing import Literal, get_args

Category = Literal["street", "face", "hand"]
Split = Literal["train", "test"]
CATEGORIES: tuple[Category, ...] = get_args(Category)
SPLITS: tuple[Split, ...] = get_args(Split)
LandmarkTarget = Literal["face", "hand"]
"""Keys of `rb2v.landmarks.models.LANDMARK_MODELS`."""
LANDMARK_TARGETS: tuple[LandmarkTarget, ...] = get_args(LandmarkTarget)
InterpolatorName = Literal[
    "cdfi",
    "combined",
    "flow",
    "linear",
    "quick-flow",
    "rife",
    "rife-symmetric",
    "rife-3.5",
    "rife-3.8",
    "rife-3.8-symmetric",
    "rife-4.0",
    "rife-4.0-symmetric",
    "rife-4.6",
    "rife-4.6-symmetric",
]
"""Keys of `rb2v.interpolation.INTERPOLATORS`."""
MattingMethodName = Literal["chroma", "background", "rvm"]
"""Keys of `rb2v.matting.MATTING_METHODS`."""
ScreenColor = Literal["auto", "green", "blue"]
SCREEN_COLORS: tuple[ScreenColor, ...] = get_args(ScreenColor)
"""Colors of screens that a take may state; by default they are found."""
OrderNetworkName = Literal["upstream", "paper", "antisymmetric", "motion", "signs"]
"""Keys of `rb2v.hypercut.networks.ORDER_NETWORKS`."""
OrderLossName = Literal["agreement", "product", "upstream", "likelihood"]
"""Keys of `rb2v.hypercut.losses.LOSSES`."""
BackboneName = Literal["jin", "unet", "purohit", "purohit_oracle", "zhong", "zhong_small"]
"""Keys of `rb2v.blur2vid.backbones.BACKBONES`."""
SequenceLossName = Literal["naive", "order_invariant", "label", "region_label", "best_direction"]
"""Keys of `rb2v.blur2vid.losses.LOSSES`."""
RegularizerName = Literal["none", "softplus", "linear", "signs", "regions"]
"""``none``, the keys of `rb2v.blur2vid.losses.REGULARIZERS`, ``signs``, every value by itself, and ``regions``."""
TrainedBackboneName = Literal["jin", "unet", "purohit"]
"""Backbones that are fed nothing but the blurry image."""
GuidedBackboneName = Literal["zhong", "zhong_small"]
"""Backbones that motion guidance can be fed to."""
PredictorName = Literal["categorical", "cvae_gan"]
"""Keys of `rb2v.blur2vid.predictor.networks.PREDICTORS`."""
DeblurMethodName = Literal[
    "naive",
    "naive_hypercut",
    "order_invariant",
    "hypercut",
    "hypercut_signs",
    "hypercut_regions",
    "window_4",
    "window_4_hypercut",
    "window_4_signs",
    "window_16",
    "label",
    "regions_true",
    "regions_flow",
    "regions_order",
    "best_direction",
]
"""Keys of `rb2v.benchmark.suites.deblur.METHODS`."""
HeldOutName = Literal["all", "validation", "test"]
"""Takes of the test split that a suite scores: every one, every second one from the first on, or the others."""
LayoutName = Literal["hypercut", "webdataset", "datasets", "baist"]
"""Keys of `rb2v.shards.exchange.LAYOUTS`."""
EncoderName = Literal["mobilenetv2", "resnet50", "resnet101"]
"""Keys of `rb2v.matting.background.network.BACKBONES`."""
SourceLayoutName = Literal["clips", "reds", "vimeo90k-triplet", "gopro", "adobe240", "folders"]
"""Keys of `rb2v.stages.synthesize.layouts.LAYOUTS`."""
BlurPresetName = Literal["reds-hypercut", "jin", "gopro", "realistic"]
"""Keys of `rb2v.stages.synthesize.config.PRESETS`."""
RejectionName = Literal["bars", "slow-motion", "variable-rate", "cut", "static", "repeat", "blurred"]
"""Keys of `rb2v.stages.synthesize.gates.REJECTIONS`."""
