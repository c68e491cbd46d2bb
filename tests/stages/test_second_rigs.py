"""Calibration and alignment of rigs that no part of the package drew."""

import dataclasses
import logging

import numpy as np
import pytest
from second_rigs import SITINGS, SecondRig, SecondSession
from sessions import QUICK

from rb2v.core.color import to_linear
from rb2v.core.gain_field import gain_image
from rb2v.core.homography import warp_points
from rb2v.io.aligned import AlignedTakeReader, aligned_take_path
from rb2v.io.calibration import read_calibration, write_calibration
from rb2v.io.store import read_alignment
from rb2v.stages import align, calibrate


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """A mirrored rig whose encoders center chroma and do not say so, and whose splitter shares colors unevenly."""
    root = tmp_path_factory.mktemp("mirrored")
    rig = SecondRig(mirrored=True, chroma="center", size=(240, 136), shading=0.12, captures_as_video=True)
    session = SecondSession(rig, seed=3)
    session.write(root / "raw", seconds=0.8, n_captures=2)
    calibrate.run(root / "raw", root / "calibration.json")
    align.run(root / "raw", root / "calibration.json", root / "aligned", QUICK)
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


def test_light_that_the_splitter_shares_unevenly_is_evened_out(mirrored):
    session, root = mirrored
    calibration = read_calibration(root / "calibration.json")
    crop, field = calibration.crop, calibration.gain_field
    assert field.error_after < 0.5 * field.error_before
    across = np.linspace(-1, 1, session.rig.size[0])[crop.x : crop.x + crop.width, None]
    true = 1 + session.rig.shading * across * np.array([1, 0, -1])
    found = gain_image(field.coefficients, (crop.width, crop.height)).mean(axis=0)
    np.testing.assert_allclose(found / found.mean(axis=0), true / true.mean(axis=0), atol=0.01)
    with AlignedTakeReader(aligned_take_path(root / "aligned", session.takes[0].name)) as reader:
        samples = [reader.read(index) for index in range(len(reader))]
    blurry = sum(to_linear(sample.blurry, "srgb") for sample in samples)
    sharp = sum(to_linear(sample.sharp, "srgb").mean(axis=0) for sample in samples)
    tenths = [[part.mean(axis=(0, 1)) for part in np.array_split(light, 10, axis=1)] for light in (sharp, blurry)]
    np.testing.assert_allclose(np.divide(*tenths), 1, atol=0.01)


def test_uneven_light_that_no_capture_told_is_said(mirrored, tmp_path, caplog):
    _, root = mirrored
    calibration = dataclasses.replace(read_calibration(root / "calibration.json"), gain_field=None)
    write_calibration(tmp_path / "calibration.json", calibration)
    with caplog.at_level(logging.WARNING):
        align.run(root / "raw", tmp_path / "calibration.json", tmp_path / "aligned", QUICK)
    assert any("light differs between the cameras" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("lamps_hz", [100.0, 120.0])
def test_bands_of_lamps_under_a_rolling_shutter_are_evened_out(tmp_path, lamps_hz):
    rig = SecondRig(size=(240, 136), flicker=0.25, flicker_hz=lamps_hz, readouts_ms=(12.0, 9.0))
    session = SecondSession(rig, seed=6)
    session.write(tmp_path / "raw", seconds=0.7, n_captures=2)
    calibrate.run(tmp_path / "raw", tmp_path / "calibration.json")
    align.run(tmp_path / "raw", tmp_path / "calibration.json", tmp_path / "aligned", QUICK)
    with AlignedTakeReader(aligned_take_path(tmp_path / "aligned", session.takes[0].name)) as reader:
        assert reader.timing.flicker_hz == lamps_hz
        samples = [reader.read(index) for index in range(len(reader))]
        assert len(samples) == len(reader.read_frames())
    sharp = sum(to_linear(sample.sharp, "srgb").mean(axis=0) for sample in samples)
    blurry = sum(to_linear(sample.blurry, "srgb") for sample in samples)
    tenths = [[part.mean(axis=(0, 1)) for part in np.array_split(light, 10, axis=0)] for light in (sharp, blurry)]
    np.testing.assert_allclose(np.divide(*tenths), 1, atol=0.015)


def test_tone_curves_that_differ_are_told_by_captures_and_said_where_none_did(tmp_path, caplog):
    session = SecondSession(SecondRig(size=(240, 136), tone=1.25), seed=5)
    session.write(tmp_path / "raw", seconds=0.5, n_captures=2)
    path = calibrate.run(tmp_path / "raw", tmp_path / "calibration.json")
    calibration = read_calibration(path)
    assert calibration.tone_sharp.exponent == pytest.approx(1.25, abs=0.03)
    write_calibration(tmp_path / "untold.json", dataclasses.replace(calibration, tone_sharp=None))
    psnrs = []
    for name, is_said in (("calibration", False), ("untold", True)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            align.run(tmp_path / "raw", tmp_path / f"{name}.json", tmp_path / name, QUICK)
        assert any("picture profile" in record.getMessage() for record in caplog.records) == is_said
        psnrs.append(np.median([row.psnr for row in read_alignment(tmp_path / name / "alignment.csv")]))
    assert psnrs[0] > psnrs[1] + 1


def test_a_rig_that_is_knocked_inside_a_take_is_registered_before_it_and_behind(tmp_path):
    session = SecondSession(SecondRig(size=(240, 136), knock_inside_px=1.5), seed=8)
    session.write(tmp_path / "raw", seconds=1.0, n_captures=2)
    calibrate.run(tmp_path / "raw", tmp_path / "calibration.json")
    align.run(tmp_path / "raw", tmp_path / "calibration.json", tmp_path / "aligned", QUICK)
    (take,) = session.takes
    with AlignedTakeReader(aligned_take_path(tmp_path / "aligned", take.name)) as reader:
        rows, registration = reader.read_frames(), reader.registration
    (step,) = registration.steps
    assert step.after_seconds <= take.seconds / 2 <= step.before_seconds
    points = np.array([[60.0, 30], [180, 30], [60, 110], [180, 110]])
    between = np.array(step.homography) @ np.linalg.inv(registration.homography or session.homography)
    assert np.abs(warp_points(between, points) - warp_points(take.knock_inside, points)).max() < 0.15
    straddling = {row.reason for row in rows if step.after_seconds <= row.blurry_time <= step.before_seconds}
    assert straddling == {"registration"}
    errors = np.abs([row.position_fine for row in rows] - session.positions(take))
    assert np.mean([row.accepted for row in rows]) >= 0.9
    assert errors.max() < 0.15
