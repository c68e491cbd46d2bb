"""Rigs of other frame rates, numbers of frames and files, through simulation and alignment."""

import shutil
from fractions import Fraction

import numpy as np
import pytest
from odd_files import LIMITED, UNSTATED, write_odd
from sessions import make_session, write_rig

from rb2v.artifacts import CAMERAS
from rb2v.io.config import list_rigs, read_raw_directory, read_rig, read_rig_description, read_take
from rb2v.io.store import read_alignment
from rb2v.io.video import iter_frames
from rb2v.stages import align
from rb2v.stages.doctor import diagnose, exposure_seconds, find_rigs

NTSC = "30000/1001", "120000/1001"
RATES = {
    "ntsc": (*NTSC, 2, 9, 25),
    "25-200": (25, 200, 1, 7, 19),
    "24-120": (24, 120, 2, 9, 25),
    "24-100": (24, 100, 2, 7, 19),
    "15-60-13": (15, 60, 4, 13, 25),
}


def changes_of(blurry, sharp, upsampling, n_frames, blur_samples):
    return {
        "blurry": {"model": "simulated", "frame_rate": blurry},
        "sharp": {"model": "simulated", "frame_rate": sharp},
        "upsampling": upsampling,
        "frames_per_sequence": n_frames,
        "blur_samples": blur_samples,
        "output_size": [64, 64],
    }


@pytest.mark.parametrize("name", RATES)
def test_any_ratio_of_rates_is_aligned_as_the_usual_one(session, tmp_path, name):
    # The same cameras as the shared session, whose calibration knows nothing of rates.
    made = make_session(tmp_path, changes_of(*RATES[name]), seconds=0.6, categories=("street",))
    table = align.run(made.raw, session.calibration, tmp_path / "aligned")
    rows = read_alignment(table)
    rig, plan = made.truth.rig, made.truth.take("street_train")
    accepted = np.array([row.accepted for row in rows])
    errors = np.array([abs(row.position - rig.true_position(plan, row.blurry_time)) for row in rows])
    assert accepted.mean() >= 0.9
    assert errors[accepted].max() <= 0.55
    usual = np.median([row.psnr for row in read_alignment(session.aligned / "alignment.csv") if row.take == plan.name])
    assert np.median([row.psnr for row in rows if row.accepted]) >= usual - 1.0


@pytest.mark.parametrize("name", list_rigs())
def test_every_rig_is_whole(name):
    rig = read_rig(list_rigs()[name])
    assert rig.name == name
    assert read_rig_description(list_rigs()[name])
    assert exposure_seconds(rig) <= 1.05 / rig.blurry_fps  # a shutter cannot stay open for longer than a frame
    assert name in find_rigs(rig.blurry_fps, rig.sharp_fps, exposure_seconds(rig))


def test_doctor_proposes_the_rig_that_fits(session, tmp_path):
    changes = changes_of(*NTSC, 2, 9, 25)
    made = make_session(tmp_path, changes, seconds=0.2, categories=("street",))
    take = read_take(made.raw / "takes" / "street_train")
    usual = read_rig(list_rigs()["gopro_hero8"])
    findings = [finding for finding in diagnose(take, usual).findings if finding.check == "frame-rate"]
    assert {finding.level for finding in findings} == {"refuse"}
    assert all("gopro_hero8_ntsc" in finding.advice and "gopro_25_100" not in finding.advice for finding in findings)
    own = read_rig(write_rig(tmp_path / "own.yaml", **changes))
    assert "frame-rate" not in {finding.check for finding in diagnose(take, own).findings if finding.level != "ok"}


def test_odd_files_are_aligned_at_the_positions_of_the_plain_ones(session, tmp_path):
    """Both cameras upside down, the blurry file of milliseconds, the sharp one with repeats; doctor passes it all."""
    raw = tmp_path / "raw"
    source = session.raw / "takes" / "street_train"
    shutil.copytree(session.raw, raw, ignore=shutil.ignore_patterns("hand*"))
    rig_changes = {"output_size": [64, 64]}
    write_rig(tmp_path / "rig.yaml", **rig_changes)
    (raw / "capture.yaml").write_text("schema: 1\nrig: ../rig.yaml\n")
    folder = raw / "takes" / "street_train"
    half_turn = [-1 << 16, 0, 0, 0, -1 << 16, 0, 0, 0, 1 << 30]
    frames = {camera: [f.image[::-1, ::-1] for f in iter_frames([source / f"{camera}.mp4"])] for camera in CAMERAS}
    repeats = (30,)
    for index in repeats:
        frames["sharp"][index] = frames["sharp"][index - 1]
    settings = {"matrix": half_turn, "color": (UNSTATED, LIMITED), "options": {"qp": "8", "preset": "veryfast"}}
    for camera, rate, suffix in (("blurry", 25, "mkv"), ("sharp", 100, "mp4")):
        (folder / f"{camera}.mp4").unlink()
        write_odd(folder / f"{camera}.{suffix}", frames[camera], rate=Fraction(rate), **settings)
    text = (folder / "take.yaml").read_text()
    (folder / "take.yaml").write_text(text + "blurry: [blurry.mkv]\nsharp: [sharp.mp4]\n")
    found = {finding.check: finding for finding in diagnose(read_take(folder), read_raw_directory(raw).rig).findings}
    assert found["repeated-frames"].level == "warn"
    assert found["color"].level == "info"
    assert "refuse" not in {finding.level for finding in found.values()}
    rows = read_alignment(align.run(raw, session.calibration, tmp_path / "aligned"))
    plain = {r.blurry_index: r for r in read_alignment(session.aligned / "alignment.csv") if r.take == "street_train"}
    spoilt = [row for row in rows if row.position // 2 <= 30 <= -(-(row.position + 6) // 2)]
    assert spoilt
    assert {row.reason for row in spoilt} == {"dropped-frames"}
    for row in rows:
        if row not in spoilt and plain[row.blurry_index].accepted:
            assert row.accepted
            assert abs(row.position_fine - plain[row.blurry_index].position_fine) < 0.1
