"""What the report tells of timing, of decisions, and of other alignments of the same recordings."""

import dataclasses
import shutil

import numpy as np
import pytest

from rb2v.artifacts import REASONS, ClockJump, Crop, ExposureEstimate, RollingShutter, SourceOffset, Timing
from rb2v.benchmark import BenchmarkConfig, SessionPaths, run
from rb2v.benchmark.session.aligned_take import read_take, true_skew_seconds
from rb2v.benchmark.session.decisions import choose_rejected, report_checks, show_take
from rb2v.benchmark.session.inputs import read_inputs
from rb2v.benchmark.session.timing_tables import report as report_timing
from rb2v.errors import InputError, Rb2vError
from rb2v.execution import SerialExecutor
from rb2v.io.aligned import AlignedTakeReader, FrameChecks, ScoreCurves, aligned_take_path
from rb2v.io.store import read_alignment, read_json, write_json
from rb2v.stages import align, build_shards

CONFIG = BenchmarkConfig(frames_per_take=2, blurs_per_take=1, mattes_per_take=1, grid_points=5)
TAKE = "street_train"


def align_otherwise(root, session):
    build_shards.run(session.aligned, root / "shards")
    for name, config, takes in (
        ("paper", align.AlignConfig.paper(), (TAKE,)),
        ("plain", align.AlignConfig(color_fit="plain", min_psnr_db=38.0), ()),
    ):
        align.run(session.raw, session.calibration, root / name, config, execution=align.Execution(takes))


@pytest.fixture(scope="module")
def folders(session, shared):
    """The session's data set, and two other alignments of its recordings."""
    return shared(align_otherwise, session=session)


def inputs_of(session, folders, **changes):
    given = {
        "aligned_dir": session.aligned,
        "raw_dir": session.raw,
        "truth_dir": session.root / "truth",
        "compared_dirs": {"paper": folders / "paper", "plain colors": folders / "plain"},
    }
    return SessionPaths(folders / "shards", **(given | changes))


@pytest.fixture(scope="module")
def report(session, folders, tmp_path_factory):
    return run(inputs_of(session, folders), tmp_path_factory.mktemp("report"), config=CONFIG).parent


@pytest.fixture(scope="module")
def scores(report):
    return read_json(report / "results.json")["scores"]


@pytest.fixture(scope="module")
def values(scores):
    return {(score["suite"], score["take"], score["metric"]): score["value"] for score in scores}


@pytest.fixture(scope="module")
def take(session, folders):
    """The street take as the report reads it."""
    inputs = read_inputs(
        SessionPaths(folders / "shards", aligned_dir=session.aligned, truth_dir=session.root / "truth")
    )
    return read_take(inputs.aligned, TAKE, inputs.truth)


def test_timing_is_held_against_the_truth(session, values):
    truth = read_json(session.root / "truth" / "truth.json")
    for plan in truth["takes"]:
        with AlignedTakeReader(aligned_take_path(session.aligned, plan["name"])) as reader:
            timing = reader.timing
        sound = next(one for one in timing.offsets if one.source == "sound")
        own = ("alignment", plan["name"])
        told = {metric: value for (*key, metric), value in values.items() if tuple(key) == own}
        assert told["offset.sound"] == pytest.approx(sound.seconds, rel=1e-5)
        assert told["offset_error.sound"] == pytest.approx(1e3 * abs(sound.seconds - plan["offset_seconds"]), rel=1e-4)
        assert told["drift_error"] == pytest.approx(abs(1e6 * timing.clock.drift - truth["drift_ppm"]), rel=1e-4)
        assert told["drift_standard_error"] == pytest.approx(1e6 * timing.clock.drift_error, rel=1e-4)
        assert told["skew_true"] == 0
        if timing.exposure is not None:
            true_ms = 1e3 * truth["exposure_seconds"]["blurry"]
            assert told["exposure_true"] == pytest.approx(true_ms, rel=1e-5)
            assert told["exposure_error"] == pytest.approx(abs(told["exposure"] - true_ms), rel=1e-3, abs=1e-3)


def test_targets_of_the_alignment(scores):
    checked = {(score["metric"], score["take"]) for score in scores if score["passed"] is not None}
    for name in (TAKE, "hand_train"):
        for metric in ("acceptance", "position_fine_error_mean", "position_error_max", "offset_error.sound"):
            assert (metric, name) in checked
    assert ("sharp_psnr_deficit_mean", "") in checked
    assert not any(metric == "drift_error" for metric, _ in checked)


@pytest.mark.parametrize(("seconds", "is_checked"), [(19.9, False), (20.0, True), (30.0, True)])
def test_only_a_long_take_s_drift_has_a_target(take, seconds, is_checked):
    n = round(seconds * 25)
    frames = [dataclasses.replace(take.frames[0], blurry_index=index, blurry_time=index / 25) for index in range(n)]
    _, scores = report_timing([dataclasses.replace(take, frames=frames)])
    (drift,) = [score for score in scores if score.metric == "drift_error"]
    assert drift.checked is is_checked


def test_sources_that_disagree_are_marked(take):
    offsets = (
        SourceOffset("sound", 0.2, 0.9),
        SourceOffset("gyro", 0.9, 0.8),
        SourceOffset("motion", 0.7, 0.01),
        SourceOffset("timecode", 1.1, 0.1),
    )
    changed = dataclasses.replace(take, timing=dataclasses.replace(take.timing, offsets=offsets, offset_source="sound"))
    (table, *_), scores = report_timing([changed])
    verdicts = [row[2] for row in table.rows]
    assert [cell.text for cell in verdicts] == ["used", "disagrees with the sound by 700 ms", "not clear", "agrees"]
    assert [cell.noticed for cell in verdicts] == [False, True, False, False]
    assert {score.metric for score in scores if score.checked} == {"offset_error.sound"}


def shutter(skew_seconds, *, compensated=False):
    return RollingShutter(skew_seconds, 1e-4, (0.0, 47.0, 95.0), (0.0, 0.0, 0.0), compensated=compensated)


@pytest.mark.parametrize(
    ("table", "changes", "is_noticed"),
    [
        (1, {"clock": {"drift": 200e-6}}, False),
        (1, {"clock": {"drift": -201e-6}}, True),
        # Two steps of the blur track of 600 frames per second are 3.3 ms.
        (2, {"exposure": ExposureEstimate(0.0285, 1e-4, 19 / 600, None)}, False),
        (2, {"exposure": ExposureEstimate(0.0280, 1e-4, 19 / 600, None)}, True),
        (2, {"exposure": ExposureEstimate(0.0280, 2e-3, 19 / 600, None)}, False),
        (2, {"exposure": ExposureEstimate(0.0317, 1e-4, 19 / 600, 0.02)}, True),
        (2, {"exposure": None}, False),
        (3, {"rolling_shutter": None}, False),
        (3, {"rolling_shutter": shutter(2e-4)}, False),
        (3, {"rolling_shutter": shutter(4e-3, compensated=True)}, False),
        (3, {"rolling_shutter": shutter(4e-3)}, True),
    ],
)
def test_what_is_out_of_the_usual_is_marked(take, table, changes, is_noticed):
    timing = dataclasses.replace(take.timing, clock=dataclasses.replace(take.timing.clock, jumps=()))
    if "clock" in changes:
        changes = {"clock": dataclasses.replace(timing.clock, **changes["clock"])}
    changed = dataclasses.replace(take, timing=dataclasses.replace(timing, **changes))
    (row,) = report_timing([changed])[0][table].rows
    assert any(cell.noticed for cell in row) is is_noticed


def test_a_sound_that_is_not_clear_has_no_target(take):
    offsets = (SourceOffset("sound", 5.0, 0.01),)
    changed = dataclasses.replace(take, timing=dataclasses.replace(take.timing, offsets=offsets))
    assert not any(score.checked for score in report_timing([changed])[1])


def test_jumps_of_the_clock_are_told(take):
    clock = dataclasses.replace(take.timing.clock, jumps=(ClockJump(0.16, 0.24, -0.5, 0.4, 1e-4),))
    changed = dataclasses.replace(take, timing=dataclasses.replace(take.timing, clock=clock))
    tables, _ = report_timing([changed])
    assert tables[1].rows[0][1].text == "-500.0 ms between 0.16 s and 0.24 s"
    assert tables[1].rows[0][1].noticed


def test_a_take_of_which_nothing_is_known_is_shown(take):
    n = len(take.frames)
    frames = [dataclasses.replace(frame, accepted=False, reason="no-clock") for frame in take.frames]
    nothing = dataclasses.replace(
        take,
        frames=frames,
        timing=Timing(),
        truth=None,
        curves=ScoreCurves(np.zeros(n, np.int64), np.full((n, 1), np.nan, np.float32), np.full(n, np.nan)),
        checks=FrameChecks(*(np.full(n, np.nan) for _ in range(5))),
    )
    tables, scores = report_timing([nothing])
    assert len(tables) == 4
    assert tables[0].rows[0][2].noticed
    assert not any(score.value for score in [*scores, *report_checks([nothing])[1]])
    assert len(show_take(nothing)) == 3


def with_reasons(take, reasons):
    frame = take.frames[0]
    frames = [dataclasses.replace(frame, accepted=not reason, reason=reason) for reason in reasons]
    return dataclasses.replace(take, frames=frames)


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (["", "", ""], []),
        (["", "flash", ""], [1]),
        (["flash"] * 12, [0, 2, 4, 7, 9, 11]),
        (["flash"] * 10 + ["static", "", "clipped"], {"flash": 4, "static": 1, "clipped": 1}),
        (["flash"] * 5 + ["static"] * 5, {"flash": 3, "static": 3}),
        ([reason for reason in REASONS if reason], 6),
    ],
)
def test_rejected_frames_of_every_reason_are_shown(take, reasons, expected):
    shown = choose_rejected(with_reasons(take, reasons))
    assert shown == sorted(set(shown))
    assert all(reasons[index] for index in shown)
    if isinstance(expected, dict):
        told = [reasons[index] for index in shown]
        assert {reason: told.count(reason) for reason in expected} == expected
    else:
        assert shown == expected or len(shown) == expected


def test_every_reason_can_be_drawn(take):
    reasons = [reason for reason in REASONS if reason]
    most = 6  # a strip of a report shows
    for some in (reasons[start : start + most] for start in range(0, len(reasons), most)):
        frames = [dataclasses.replace(take.frames[i], accepted=False, reason=reason) for i, reason in enumerate(some)]
        frames += take.frames[len(some) :]
        plots = show_take(dataclasses.replace(take, frames=frames))
        assert len(plots) == 3
        assert all(REASONS[reason] in plots[2].caption for reason in some)


def test_accepted_takes_have_no_strip_of_rejected_frames(take):
    frames = [dataclasses.replace(frame, accepted=True, reason="") for frame in take.frames]
    assert len(show_take(dataclasses.replace(take, frames=frames))) == 2


def test_checks_are_told_with_their_limits(take):
    checks = dataclasses.replace(take.checks, flash=np.linspace(0.01, 0.05, len(take.frames)))
    table, scores = report_checks([dataclasses.replace(take, checks=checks)])
    told = {score.metric: score.value for score in scores}
    assert told["flash_max"] == pytest.approx(5.0)
    assert told["flash_median"] == pytest.approx(3.0)
    assert told["interpolation_min"] == pytest.approx(np.nanmin(checks.interpolation_psnr))
    assert "50 % clipped, 6 % flash, 15 % gain, at least 16 dB" in table.caption


def test_the_true_skew_is_that_of_the_rows_that_are_shown(session):
    rig = session.truth.rig
    height = rig.config.size[1]
    crop = Crop(40, 30, 96, 96)

    def skew(blurry_seconds, sharp_seconds, output_height=96):
        rolling = dataclasses.replace(
            rig,
            blurry=dataclasses.replace(rig.blurry, readout_seconds=blurry_seconds),
            sharp=dataclasses.replace(rig.sharp, readout_seconds=sharp_seconds),
        )
        return true_skew_seconds(rolling, crop, output_height)

    assert skew(0, 0) == 0
    assert skew(0.01, 0) == pytest.approx(0.01 * 95 / (height - 1))
    # Two output rows are centered a quarter of the crop from its edges.
    assert skew(0.01, 0, 2) == pytest.approx(0.01 * 48 / (height - 1))
    assert skew(0, 0.01) == pytest.approx(-0.01 * 95 / (height - 1), rel=0.1)
    assert skew(0.01, 0.01) == pytest.approx(skew(0.01, 0) + skew(0, 0.01))


def test_alignments_are_compared_over_the_takes_that_all_hold(session, folders, values, report):
    true = {plan["name"]: plan["positions"] for plan in read_json(session.root / "truth" / "truth.json")["takes"]}
    told = {(take, metric): value for (suite, take, metric), value in values.items() if suite == "alignment steps"}
    assert {take for take, _ in told} == {"", TAKE}
    for label, folder in (
        ("aligned", session.aligned),
        ("paper", folders / "paper"),
        ("plain colors", folders / "plain"),
    ):
        own = [frame for frame in read_alignment(folder / "alignment.csv") if frame.take == TAKE]
        kept = [frame for frame in own if frame.accepted]
        whole = np.array([abs(frame.position - true[TAKE][frame.blurry_index]) for frame in kept])
        for name in (TAKE, ""):
            assert told[name, f"acceptance.{label}"] == pytest.approx(100 * len(kept) / len(own), rel=1e-5)
            assert told[name, f"position_error_max.{label}"] == pytest.approx(whole.max(), abs=2e-4)
            assert told[name, f"position_off.{label}"] == pytest.approx(100 * (whole > 0.55).mean(), rel=1e-5)
            assert told[name, f"psnr_median.{label}"] == pytest.approx(np.median([f.psnr for f in kept]), abs=1e-3)
    assert told[TAKE, "acceptance.plain colors"] < 100
    for metric in ("sharp_psnr", "sharp_psnr_deficit"):
        assert told[TAKE, f"{metric}.aligned"] == values["sharp frames", TAKE, metric]
    page = (report / "report.html").read_text()
    assert "left out: hand_train" in page
    assert "response linear (the rig&#39;s), color_fit plain (robust), positions independent (clock)" in page
    assert "min_psnr_db 38 (24)" in page


@pytest.mark.usefixtures("undrawn")
def test_targets_are_for_the_main_alignment_only(session, folders, scores, tmp_path):
    path = run(inputs_of(session, folders, compared_dirs={}), tmp_path / "out", config=CONFIG)
    alone = read_json(path.with_name("results.json"))["scores"]
    assert [score for score in scores if score["suite"] != "alignment steps"] == alone
    assert not any(score["passed"] is not None for score in scores if score["suite"] == "alignment steps")


@pytest.mark.usefixtures("undrawn")
def test_without_a_truth_alignments_are_compared_by_what_they_say(session, folders, tmp_path):
    given = inputs_of(session, folders, truth_dir=None)
    path = run(given, tmp_path / "out", config=CONFIG)
    metrics = {
        score["metric"].partition(".")[0]
        for score in read_json(path.with_name("results.json"))["scores"]
        if score["suite"] == "alignment steps"
    }
    assert metrics == {"acceptance", "psnr_median"}
    assert "below the oracle" not in path.read_text()


def test_a_comparison_gives_the_same_bytes_anywhere(session, folders, report, tmp_path):
    executor = SerialExecutor(check_pickle=True)
    run(inputs_of(session, folders), tmp_path / "again", config=CONFIG, executor=executor)
    for path in report.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("undrawn")
def test_a_comparison_goes_without_raw_videos(session, folders, tmp_path):
    path = run(inputs_of(session, folders, raw_dir=None), tmp_path / "out", config=CONFIG)
    told = {score["metric"] for score in read_json(path.with_name("results.json"))["scores"]}
    assert "position_off.paper" in told
    assert "sharp_psnr.paper" not in told


def change_json(path, *keys, value):
    document = part = read_json(path)
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    write_json(path, document)


@pytest.mark.parametrize(
    ("name", "keys", "value", "place"),
    [
        ("config.json", ("rig_settings", "name"), "other", "config.json: rig_settings.name: is 'other'"),
        ("config.json", ("rig_settings", "output_size"), [64, 64], "rig_settings.output_size: is (64, 64)"),
        ("manifest.json", ("crop", "x"), 1, "manifest.json: crop.x: is 1"),
        ("manifest.json", ("takes",), ["other"], "has none of the takes"),
        ("manifest.json", ("config", "positions"), "guessed", "manifest.json: config.positions: "),
        ("manifest.json", ("config", "sped"), 1, "manifest.json: config.sped: is not a known key"),
    ],
)
def test_an_alignment_of_something_else_is_refused(session, folders, tmp_path, name, keys, value, place):
    other = shutil.copytree(folders / "paper", tmp_path / "other")
    change_json(other / name, *keys, value=value)
    given = inputs_of(session, folders, compared_dirs={"other": other})
    with pytest.raises(InputError) as caught:
        run(given, tmp_path / "out", config=CONFIG)
    assert place in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_alignment_of_other_recordings_is_refused(session, folders, tmp_path):
    other = shutil.copytree(folders / "plain", tmp_path / "other")
    shutil.copy(aligned_take_path(other, "hand_train"), aligned_take_path(other, TAKE))
    with pytest.raises(InputError, match="made from other recordings"):
        run(inputs_of(session, folders, compared_dirs={"other": other}), tmp_path / "out", config=CONFIG)


def test_alignments_without_a_common_take_are_refused(session, folders, tmp_path):
    other = shutil.copytree(folders / "plain", tmp_path / "other")
    change_json(other / "manifest.json", "takes", value=["hand_train"])
    compared = {"paper": folders / "paper", "other": other}
    with pytest.raises(Rb2vError, match=r"\(paper, other\) have no take in common"):
        run(inputs_of(session, folders, compared_dirs=compared), tmp_path / "out", config=CONFIG)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--aligned", "{aligned}", "--compare", "{paper}"], ["--compare", "LABEL=FOLDER"]),
        (["--aligned", "{aligned}", "--compare", "={paper}"], ["--compare", "LABEL=FOLDER"]),
        (["--aligned", "{aligned}", "--compare", "paper="], ["--compare", "LABEL=FOLDER"]),
        (
            ["--aligned", "{aligned}", "--compare", "a={paper}", "--compare", "a={plain}"],
            ["--compare", "'a' is given twice"],
        ),
        (["--aligned", "{aligned}", "--compare", "aligned={paper}"], ["'aligned'"]),
        (["--compare", "paper={paper}"], ["not given"]),
        (["--aligned", "{aligned}", "--compare", "raw={raw}"], ["manifest.json", "no such file", "rb2v align"]),
    ],
)
def test_wrong_comparisons_end_in_one_message(session, folders, tmp_path, rb2v, options, parts):
    places = {"aligned": session.aligned, "raw": session.raw, "paper": folders / "paper", "plain": folders / "plain"}
    arguments = ["benchmark", "--shards", folders / "shards", "--out", tmp_path / "out", "--workers", "1"]
    arguments += [option.format(**places) for option in options]
    status, _, message = rb2v(*arguments)
    assert status == 2
    for part in parts:
        assert part in message
    assert not (tmp_path / "out").exists()


def test_alignments_are_compared_by_the_command(session, folders, tmp_path, rb2v):
    arguments = ["benchmark", "--shards", folders / "shards", "--out", tmp_path / "out", "--workers", "1"]
    arguments += ["--aligned", session.aligned, "--compare", f"the paper's={folders / 'paper'}"]
    status, printed, _ = rb2v(*arguments)
    assert status == 0
    assert "report.html" in printed
    assert read_json(tmp_path / "out" / "results.json")["compared"] == ["the paper's"]
