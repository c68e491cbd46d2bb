from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from textures import write_data_set

from rb2v.hypercut.config import TrainHyperCutConfig
from rb2v.hypercut.train import run


@pytest.fixture(scope="session")
def larger_shards(tmp_path_factory):
    """Frames of which every network takes crops."""
    folder = tmp_path_factory.mktemp("larger") / "shards"
    write_data_set(folder, 6, 3, 40, n_takes=3)
    return folder


@pytest.fixture(scope="session")
def tiny_config():
    return TrainHyperCutConfig(
        n_dimensions=8, image_size=20, batch_size=4, steps=12, warmup_steps=2, checkpoint_every=5, log_every=3
    )


@dataclass(frozen=True)
class TrainedRun:
    shards: Path
    folder: Path
    directions: dict


def train_on_textures(folder):
    """Train a network that learns the direction of textures, and keep the directions."""
    directions = write_data_set(folder / "shards", 200, 100, 40, n_takes=10)
    np.savez(folder / "directions.npz", **directions)
    config = TrainHyperCutConfig(image_size=40, steps=140, warmup_steps=20, checkpoint_every=70)
    run(folder / "shards", folder / "run", config, device="cpu")


@pytest.fixture(scope="session")
def trained(shared):
    """A network that has learned the direction of textures."""
    folder = shared(train_on_textures, trained=True)
    with np.load(folder / "directions.npz") as directions:
        return TrainedRun(folder / "shards", folder / "run", dict(directions))
