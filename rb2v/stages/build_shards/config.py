"""How aligned takes become a data set."""

from __future__ import annotations

from dataclasses import dataclass

from rb2v.matting import check_matter


@dataclass(frozen=True)
class BuildShardsConfig:
    """How aligned takes become a data set."""

    output_size: tuple[int, int] | None = None
    """Width and height of the frames in pixels; None keeps the aligned takes'."""
    test_share: float = 0.2
    """Share for the test split: of the subjects of a category, where their takes do not say, and of the backgrounds."""
    shard_samples: int = 128
    """Most samples of one shard."""
    matter: str | None = None
    """What tells the foreground of green-screen takes; None takes what they were aligned with."""
    light_match: bool = False
    """Whether a background's brightness and white balance are brought nearer to the foreground's."""
    seed: int = 0
    """Seed of the split of the subjects, and of what is drawn from the backgrounds."""

    def __post_init__(self) -> None:
        if self.output_size is not None and min(self.output_size) < 1:
            raise ValueError(f"output_size must be positive, got {self.output_size}")
        if not 0 <= self.test_share < 1:
            raise ValueError(f"test_share must be at least 0 and less than 1, got {self.test_share}")
        if self.shard_samples < 1:
            raise ValueError(f"shard_samples must be at least 1, got {self.shard_samples}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.matter is not None:
            check_matter(self.matter)
