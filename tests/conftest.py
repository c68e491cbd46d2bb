from pathlib import Path

import pytest
from sessions import make_session
from textures import write_data_set

from rb2v.execution import SerialExecutor
from rb2v.stages import align, calibrate


@pytest.fixture(scope="session")
def shared_data():
    """Real recordings that lie beside a checkout and are not part of it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real recordings is not here")
    return folder


@pytest.fixture(scope="session")
def tiny_shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "shards"
    write_data_set(folder, 10, 6, 24)
    return folder


@pytest.fixture(scope="session")
def session(tmp_path_factory):
    """A mirrored rig with noise: a street take and a hand before a green screen, calibrated and aligned."""
    root = tmp_path_factory.mktemp("session")
    made = make_session(root, seconds=0.6, categories=("street", "hand"))
    calibrate.run(made.raw, made.calibration)
    align.run(made.raw, made.calibration, made.aligned, executor=SerialExecutor(check_pickle=True))
    return made


@pytest.fixture(scope="session")
def calibrated_session(tmp_path_factory):
    """The captures of a mirrored rig with noise, calibrated; its take lasts a frame."""
    made = make_session(tmp_path_factory.mktemp("calibrated_session"), seconds=0.04, categories=("street",))
    calibrate.run(made.raw, made.calibration)
    return made


@pytest.fixture(scope="session")
def clean_session(tmp_path_factory):
    """A rig that mirrors nothing, without noise, whose sharp clock runs 0.4 % fast; calibrated."""
    root = tmp_path_factory.mktemp("clean_session")
    made = make_session(
        root, seconds=0.8, categories=("street",), mirrored=False, noise=False, drift_ppm=4000.0, seed=1, crf=4
    )
    calibrate.run(made.raw, made.calibration)
    return made
