"""Damaged files end in one message: no traceback, no hang, and nothing is written."""

import contextlib
import shutil

import numpy as np
import pytest
from fuzz_targets import make_targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutate

from rb2v.errors import Rb2vError

NAMES = (
    *("MP4 boxes", "recordings", "formats", "frames", "telemetry", "GPMF", "timecodes", "rigs", "takes", "settings"),
    *("JSON", "alignment tables", "manifests", "shards"),
)


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    made = {target.name: target for target in make_targets(tmp_path_factory.mktemp("whole"))}
    assert tuple(made) == NAMES
    return made


@pytest.mark.parametrize("name", NAMES)
def test_whole_files_are_read(targets, name):
    targets[name].read(targets[name].file)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_damaged_files_end_in_one_message(targets, tmp_path_factory, name, seed):
    target = targets[name]
    folder = tmp_path_factory.getbasetemp() / f"damaged-{name.replace(' ', '-')}"
    if not folder.exists():
        shutil.copytree(target.file.parent, folder)
    path = folder / target.file.name
    path.write_bytes(mutate(target.file.read_bytes(), np.random.default_rng(seed)))
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    with contextlib.suppress(Rb2vError):
        target.read(path)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before
