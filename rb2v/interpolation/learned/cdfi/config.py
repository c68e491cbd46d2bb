"""Configuration of ``rb2v train-interpolator``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rb2v.configuration import BatchSize, Count, CountOrNone, EmaDecay, NotNegative, Positive, Seed, config

MULTIPLE = 32
"""What sides of frames are padded to a multiple of, in pixels: five levels, each half the size of the one before."""


@config
class TrainInterpolatorConfig:
    """Configuration of the training of CDFI's network.

    Raises
    ------
    Rb2vError
        If a value is out of range.
    """

    crop_size: Annotated[int, Field(ge=MULTIPLE, le=1024, multiple_of=MULTIPLE)] = 128
    """Side of the square frames that are trained on, in pixels."""
    batch_size: BatchSize = 8
    """Triplets per step."""
    steps: Count = 100_000
    """Training steps."""
    lr: Positive = 5e-4
    """Peak learning rate of AdamW; rises over the warm-up and falls to zero along a cosine."""
    warmup_steps: CountOrNone = 200
    """Steps over which the learning rate rises."""
    motion_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of the steps, the first ones, that teach the kernels alone to look where things move; none where training
    starts from weights."""
    few_taps_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the steps, the first ones, that use the middle 5x5 of the kernels' 11x11 taps, which takes two thirds of
    the time; none where training starts from weights."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What convolutions compute in; auto is bfloat16 on CUDA and float32 on a CPU."""
    perceptual: NotNegative = 0.0
    """Weight of LPIPS (alex) between the frame and the truth, beside the Charbonnier distance; wants
    ``rb2v models fetch lpips``."""
    weight_decay: NotNegative = 1e-5
    smoothness: NotNegative = 0.01
    """Weight, beside the Charbonnier distance, of how much the kernels' offsets differ from pixel to pixel."""
    ema_decay: EmaDecay = 0.999
    """Share of the averaged weights, which are scored and saved, that a step keeps; 0 leaves averaging out."""
    n_clip_triplets: Annotated[int, Field(ge=1, le=10**6)] = 4000
    """Triplets that are cut out of clips, where there are any; a spool of them is in the run's folder."""
    n_held_out: Annotated[int, Field(ge=1, le=10**6)] = 32
    """Generated triplets of other photographs, on which the network is scored in the end."""
    seed: Seed = 0
    """Seed of weights and triplets."""
    checkpoint_every: Count = 200
    """Steps between two states from which a stopped run can go on."""
    log_every: Count = 10
    """Steps between two rows of metrics.csv."""
