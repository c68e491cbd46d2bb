"""Odd files end to end: what doctor passes is aligned at right positions, what it refuses is told a remedy.

`tests/benchmarks/measure_odd_files.py` tries every way of writing; here each take has two.
"""

import pytest
from odd_takes import WAYS, OddTakes

PASSED = [
    ("half-turn", "repeats"),
    ("edit-list, short groups", "mkv"),
    ("mjpeg-avi", "gap"),
    ("mpeg-ts", "4:2:2, 10 bit"),
    ("opposite-channels", "slow-motion"),
]
REFUSED = [("very-uneven", "plain", "steady-rate"), ("plain", "pulldown", "repeated-frames")]


@pytest.fixture(scope="module")
def odd(brief_session, tmp_path_factory):
    return OddTakes(brief_session, tmp_path_factory.mktemp("odd"))


@pytest.mark.parametrize(("blurry", "sharp"), PASSED)
def test_what_doctor_passes_is_aligned_at_right_positions(odd, blurry, sharp):
    tried = odd.try_take(blurry, sharp)
    assert tried.faults == []
    assert not tried.is_refused
    assert tried.n_frames == 9 - WAYS[blurry].hidden
    assert ("dropped-frames" in tried.reasons) == (sharp in ("gap", "repeats"))


@pytest.mark.parametrize(("blurry", "sharp", "check"), REFUSED)
def test_what_doctor_refuses_is_told_a_remedy(odd, blurry, sharp, check):
    tried = odd.try_take(blurry, sharp)
    assert tried.faults == []
    assert tried.refusal
    assert {finding.check for finding in tried.named if finding.level == "refuse"} == {check}
