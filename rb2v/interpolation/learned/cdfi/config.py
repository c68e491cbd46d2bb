"""What a run of ``rb2v train-interpolator`` can be told."""

from __future__ import annotations

from dataclasses import dataclass

from rb2v.errors import Rb2vError
from rb2v.interpolation.learned.cdfi.network import MULTIPLE
from rb2v.training.options import check_positive, check_range


@dataclass(frozen=True)
class TrainInterpolatorConfig:
    """Configuration of the training of CDFI's network.

    Raises
    ------
    Rb2vError
        If a value is out of range.
    """

    crop_size: int = 128
    """Side of the square frames that are trained on, in pixels."""
    batch_size: int = 8
    """Triplets per step."""
    steps: int = 100_000
    lr: float = 5e-4
    """Peak learning rate of AdamW; rises over the warm-up and falls to zero along a cosine."""
    warmup_steps: int = 200
    motion_share: float = 0.05
    """Share of the steps, the first ones, that teach the kernels alone to look where things move; none where training
    starts from weights."""
    weight_decay: float = 1e-5
    smoothness: float = 0.01
    """Weight, beside the Charbonnier distance, of how much the kernels' offsets differ from pixel to pixel."""
    ema_decay: float = 0.999
    """Share of the averaged weights, which are scored and saved, that a step keeps; 0 leaves averaging out."""
    n_clip_triplets: int = 4000
    """Triplets that are cut out of clips, where there are any; they are laid aside in the run's folder."""
    n_held_out: int = 32
    """Generated triplets of other photographs, on which the network is scored in the end."""
    seed: int = 0
    checkpoint_every: int = 200
    """Steps between two states from which a stopped run can go on."""
    log_every: int = 10
    """Steps between two rows of metrics.csv."""

    def __post_init__(self) -> None:
        limits = {
            "crop_size": (MULTIPLE, 1024),
            "batch_size": (1, 65_536),
            "steps": (1, 10**9),
            "warmup_steps": (0, 10**9),
            "n_clip_triplets": (1, 10**6),
            "n_held_out": (1, 10**6),
            "seed": (0, 2**32 - 1),
            "checkpoint_every": (1, 10**9),
            "log_every": (1, 10**9),
        }
        for name, (least, most) in limits.items():
            check_range(name, getattr(self, name), least, most)
        for name in ("weight_decay", "smoothness"):
            check_range(name, getattr(self, name), 0)
        check_range("motion_share", self.motion_share, 0, 1)
        check_range("ema_decay", self.ema_decay, 0, 0.999999)
        check_positive("lr", self.lr)
        if self.crop_size % MULTIPLE:
            raise Rb2vError(f"crop_size must be a multiple of {MULTIPLE}, got {self.crop_size}")
