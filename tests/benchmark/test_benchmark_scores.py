import csv
import json
import math

import pytest

from rb2v.benchmark import BenchmarkConfig
from rb2v.benchmark.report import page
from rb2v.benchmark.report.page import Section, make_table
from rb2v.benchmark.report.scores import COLUMNS, TARGETS, Score, Target, summarize, to_document, write_scores
from rb2v.benchmark.truth.reference import spread_indices
from rb2v.errors import Rb2vError


def accepted(value, take="a"):
    return Score("alignment", "align", "acceptance", value, "%", take, checked=True)


@pytest.mark.parametrize(
    ("relation", "value", "is_met"),
    [
        ("<=", 0.5, True),
        ("<=", 0.500001, False),
        (">=", 0.5, True),
        (">=", 0.49, False),
        ("==", 0.5, True),
        ("==", 0.4, False),
        ("<=", math.nan, False),
        (">=", math.nan, False),
        ("<=", None, False),
        (">=", math.inf, True),
    ],
)
def test_a_target_is_met_or_not(relation, value, is_met):
    assert Target("figure", relation, 0.5).is_met_by(value) is is_met


def test_a_score_without_a_target_neither_passes_nor_fails():
    assert Score("alignment", "align", "acceptance", 10.0, "%").passed is None
    assert accepted(90.0).passed is True
    assert accepted(89.9).passed is False


@pytest.mark.parametrize(
    ("values", "worst", "n_passed"),
    [((100.0, 92.0, 95.0), 92.0, 3), ((100.0, 20.0, 89.0), 20.0, 1), ((100.0, None), None, 1)],
)
def test_the_summary_shows_the_worst_take(values, worst, n_passed):
    scores = [accepted(value, f"take{index}") for index, value in enumerate(values)]
    (verdict,) = summarize([*scores, Score("data set", "build-shards", "samples", 3, "samples")])
    assert verdict.worst.value == worst
    assert (verdict.n_passed, verdict.n_scores) == (n_passed, len(values))
    assert verdict.passed is (n_passed == len(values))


def test_the_worst_deficit_is_the_largest():
    scores = [
        Score("sharp frames", "align", "sharp_psnr_deficit", value, "dB", checked=True) for value in (-3.0, 0.2, -0.1)
    ]
    assert summarize(scores)[0].worst.value == 0.2


def test_the_tables_hold_what_was_measured(tmp_path):
    scores = [
        accepted(87.5, "street"),
        Score("calibration", "calibrate", "rms", 1 / 3, "px"),
        Score("alignment", "align", "drift", None, "ppm", "street"),
        Score("sharp frames", "align", "sharp_psnr", math.inf, "dB"),
    ]
    with write_scores(tmp_path / "results.csv", scores).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert list(rows[0].values()) == ["alignment", "align", "street", "acceptance", "87.5", "%", ">= 90", "0"]
    assert [row["value"] for row in rows[1:]] == ["0.333333", "", ""]
    assert [row["passed"] for row in rows[1:]] == ["", "", ""]
    documents = json.loads(json.dumps([to_document(score) for score in scores], allow_nan=False))
    assert documents[0]["passed"] is False
    assert documents[1]["target"] is None


def test_a_missed_target_is_shown_as_missed():
    scores = [accepted(100.0, "street"), accepted(12.5, "face")]
    table = make_table("Takes", ("Take", "accepted [%]"), [[score.take, score] for score in scores])
    text = page.render({}, summarize(scores), [Section("Alignment", "", (table,), tuple(scores))])
    summary = text[text.index('id="summary"') : text.index('id="section-1"')]
    assert "missed by 1 of" in summary
    assert "12.5 %" in summary
    assert 'class="text missed"' in summary
    assert text.count('class="missed">12.5 missed<') == 1
    assert text.count('class="met">100.0<') == 1


def test_what_is_told_is_escaped():
    table = make_table("<b>", ("Take",), [["<script>alert(1)</script>"]])
    assert "<script>" not in page.render({"Data set": "<i>"}, [], [Section("<u>", "", (table,), ())])


def test_every_target_has_a_label_and_a_limit():
    for target in TARGETS.values():
        assert target.label
        assert math.isfinite(target.limit)


def test_spread_indices_stay_inside():
    for n in range(8):
        for n_wanted in range(1, 6):
            indices = spread_indices(n, n_wanted)
            assert len(indices) == min(n, n_wanted)
            assert all(0 <= index < n for index in indices)


@pytest.mark.parametrize("name", ["frames_per_take", "mattes_per_take", "grid_points"])
def test_a_config_that_measures_nothing_is_refused(name):
    with pytest.raises(Rb2vError, match=name):
        BenchmarkConfig(**{name: 0})
