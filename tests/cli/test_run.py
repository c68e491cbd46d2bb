"""The whole pipeline by one command."""

import json
import shutil

import numpy as np
import pytest
from fork_server import LONGEST_PROGRAM_SECONDS

from rb2v.io.calibration import read_calibration
from rb2v.stages import calibrate

MADE = ("calibration.json", "aligned/alignment.csv", "shards/manifest.json", "hypercut/order_labels.csv")


@pytest.fixture
def raw(brief_session, tmp_path):
    """A session with a take whose description is wrong."""
    folder = tmp_path / "raw"
    shutil.copytree(brief_session.raw, folder)
    shutil.copytree(folder / "takes" / "street_train", folder / "takes" / "odd")
    (folder / "takes" / "odd" / "take.yaml").write_text("categry: street\n")
    return folder


def run_whole(start_rb2v, raw, out):
    """The whole pipeline in a process of its own: what it prints, and what it complains of."""
    process = start_rb2v("run", "--raw-dir", raw, "--out", out, "--steps", 2, "--workers", 1)
    printed = process.communicate(LONGEST_PROGRAM_SECONDS + 10)
    assert process.returncode == 2, printed
    return printed


def test_a_broken_take_is_named_and_the_others_are_finished(start_rb2v, raw, tmp_path):
    out = tmp_path / "out"
    _, complaints = run_whole(start_rb2v, raw, out)
    assert "odd" in complaints
    assert "categry" in complaints
    assert (out / "report" / "report.html").is_file()
    assert json.loads((out / "aligned" / "manifest.json").read_text())["takes"] == ["hand_train", "street_train"]
    bytes_before = [(out / name).read_bytes() for name in MADE]
    # As after a kill while the shards were written.
    shutil.rmtree(out / "shards")
    shutil.rmtree(out / "hypercut")
    printed, _ = run_whole(start_rb2v, raw, out)
    assert "finished by an earlier run" in printed
    assert [(out / name).read_bytes() for name in MADE] == bytes_before
    # Each command can be repeated alone.
    assert f"rb2v build-shards --aligned {out / 'aligned'} --out {out / 'shards'} --workers 1" in printed


@pytest.mark.parametrize("options", [(), ("--raw-dir", "raw", "--cards", "a", "b"), ("--raw-dir", "raw", "--rig", "x")])
def test_recordings_come_from_one_place(rb2v, tmp_path, options):
    outcome = rb2v("run", "--out", tmp_path / "out", *options)
    assert outcome.status == 2
    assert not (tmp_path / "out").exists()


def test_without_captures_takes_tell_the_homography(session, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(session.raw, raw)
    shutil.rmtree(raw / "calibration" / "geometry")
    made = read_calibration(calibrate.run(raw, tmp_path / "calibration.json"))
    crop = made.crop
    errors = session.homography_errors_px(made.homography, (crop.x, crop.y, crop.width, crop.height))
    assert made.mirrored
    assert np.median(errors) < 0.3
