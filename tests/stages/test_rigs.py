"""Rigs of other frame rates and numbers of frames, through simulation and alignment."""

import numpy as np
import pytest
from sessions import QUICK, make_session, write_rig

from rb2v.io.config import list_rigs, read_rig, read_rig_description, read_take
from rb2v.io.store import read_alignment
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
    made = make_session(tmp_path, changes_of(*RATES[name]), seconds=0.6, categories=("street",), captures=False)
    table = align.run(made.raw, session.calibration, tmp_path / "aligned", QUICK)
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
    made = make_session(tmp_path, changes, seconds=0.2, categories=("street",), captures=False)
    take = read_take(made.raw / "takes" / "street_train")
    usual = read_rig(list_rigs()["gopro_hero8"])
    findings = [finding for finding in diagnose(take, usual).findings if finding.check == "frame-rate"]
    assert {finding.level for finding in findings} == {"refuse"}
    assert all("gopro_hero8_ntsc" in finding.advice and "gopro_25_100" not in finding.advice for finding in findings)
    own = read_rig(write_rig(tmp_path / "own.yaml", **changes))
    assert "frame-rate" not in {finding.check for finding in diagnose(take, own).findings if finding.level != "ok"}
