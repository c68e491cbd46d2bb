"""Calibration and alignment of rigs that no part of the package drew."""

import numpy as np
import pytest
from second_rigs import SITINGS, SecondRig, SecondSession

from rb2v.core.homography import warp_points
from rb2v.io.calibration import read_calibration
from rb2v.io.store import read_alignment
from rb2v.stages import align, calibrate


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """A mirrored rig whose encoders center chroma and do not say so, calibrated and aligned."""
    root = tmp_path_factory.mktemp("mirrored")
    session = SecondSession(SecondRig(mirrored=True, chroma="center", size=(240, 136), captures_as_video=True), seed=3)
    session.write(root / "raw", seconds=0.8, n_captures=2)
    calibrate.run(root / "raw", root / "calibration.json")
    align.run(root / "raw", root / "calibration.json", root / "aligned")
    return session, root


def test_geometry_and_siting_are_found(mirrored):
    session, root = mirrored
    calibration = read_calibration(root / "calibration.json")
    points = np.array([[60.0, 30], [180, 30], [60, 110], [180, 110]])
    there = warp_points(calibration.homography, warp_points(np.linalg.inv(session.homography), points))
    assert np.abs(there - points).max() < 0.05
    for siting in (calibration.chroma_blurry, calibration.chroma_sharp):
        assert siting.source == "measured"
        assert (siting.x, siting.y) == pytest.approx(SITINGS["center"], abs=0.1)


def test_centered_chroma_moves_no_frame_in_time(mirrored):
    session, root = mirrored
    rows = read_alignment(root / "aligned" / "alignment.csv")
    errors = np.array([row.position_fine for row in rows]) - session.positions(session.takes[0])
    assert all(row.accepted for row in rows)
    assert np.abs(errors).mean() < 0.06
    assert np.abs(errors).max() < 0.15
    assert np.mean([row.psnr for row in rows]) > 37
