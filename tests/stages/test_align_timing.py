"""How two recordings lie in time, and the options of the alignment, on takes whose answer is known."""

import dataclasses
import logging
import shutil

import numpy as np
import pytest
from sessions import collect_warnings, shared_session, write_rig

from rb2v.core.color import encode
from rb2v.core.metrics import psnr
from rb2v.core.resampling import FrameWarp
from rb2v.errors import InputError, Rb2vError
from rb2v.io.aligned import AlignedTakeReader, aligned_take_path, read_aligned_manifest
from rb2v.io.calibration import read_calibration
from rb2v.io.encoder import CameraNotes, write_video
from rb2v.io.gopro import read_telemetry
from rb2v.io.sound import read_sound
from rb2v.io.store import read_alignment
from rb2v.io.video import iter_frames
from rb2v.simulator.camera import NoiseBank
from rb2v.simulator.rig import frame_times
from rb2v.stages.align import AlignConfig, Execution, Resources, run

TAKE = "street_train"
TRUE_OFFSET_WITHIN_SECONDS = {"sound": 0.005, "gyro": 0.02, "motion": 0.04}


@pytest.fixture(scope="module")
def moving(shared, calibrated_session):
    """A street take of 1.6 s, through global shutters."""
    made = {"calibrated": calibrated_session, "captures": False}
    return shared_session(shared, seconds=1.6, categories=("street",), **made)


@pytest.fixture(scope="module")
def rolling(shared, calibrated_session):
    """A street take of 1.28 s, whose blurry camera reads out more slowly than the sharp one."""
    readouts = {"blurry_readout_seconds": 0.012, "sharp_readout_seconds": 0.004}
    made = {"calibrated": calibrated_session, "captures": False}
    return shared_session(shared, seconds=1.28, categories=("street",), **readouts, **made)


def align(session, raw, out, config=None, take=TAKE, **changes):
    """Return the rows of a take, its timing, and how far each row lies from the truth, in fine frames."""
    config = config or AlignConfig(**{"interpolator": "quick-flow"} | changes)
    run(raw, session.calibration, out, config, execution=Execution([take]))
    rows = read_alignment(out / "alignment.csv")
    with AlignedTakeReader(aligned_take_path(out, take)) as reader:
        timing = reader.timing
    plan = session.truth.take(take)
    errors = [abs(row.position - session.truth.rig.true_position(plan, row.blurry_time)) for row in rows]
    return rows, timing, np.array(errors)


@pytest.fixture(scope="module")
def moving_aligned(moving, tmp_path_factory):
    """The take through global shutters, aligned, and what was warned of."""
    with collect_warnings() as messages:
        rows, timing, errors = align(moving, moving.raw, tmp_path_factory.mktemp("moving_aligned") / "aligned")
    return rows, timing, errors, messages


@pytest.fixture(scope="module")
def rolling_aligned(rolling, tmp_path_factory):
    """The folder of the take through rolling shutters, aligned without compensation, and what `align` returns of it."""
    out = tmp_path_factory.mktemp("rolling_aligned") / "aligned"
    return out, align(rolling, rolling.raw, out)


def copy_take(session, root):
    shutil.copytree(session.raw / "takes" / TAKE, root / "takes" / TAKE)
    write_rig(root / "rig.yaml")
    (root / "capture.yaml").write_text("schema: 1\nrig: rig.yaml\n")
    return root


def accepted(rows):
    return np.array([row.accepted for row in rows])


# ------------------------------------------------------------------ exposure


def test_the_rig_s_own_exposure_is_found_in_the_blur(moving, moving_aligned):
    rows, timing, errors, messages = moving_aligned
    true_seconds = moving.truth.rig.blurry.exposure_seconds
    assert timing.exposure.seconds == pytest.approx(true_seconds, abs=0.002)
    assert timing.exposure.shutter_seconds == pytest.approx(true_seconds, abs=1e-6)
    assert timing.exposure.assumed_seconds == pytest.approx(true_seconds)
    assert not [message for message in messages if "exposure" in message]
    assert accepted(rows).mean() > 0.9
    assert errors.max() <= 0.55


@pytest.mark.parametrize("exposure_seconds", [1 / 100, 1 / 60])
def test_a_shutter_that_is_not_the_rig_s_is_found_and_said(moving, tmp_path, caplog, exposure_seconds):
    rig, plan = moving.truth.rig, moving.truth.take(TAKE)
    raw = copy_take(moving, tmp_path / "raw")
    path = raw / "takes" / TAKE / "blurry.mp4"
    camera = dataclasses.replace(rig.blurry, exposure_seconds=exposure_seconds)
    scene, noise = rig.scene(plan), NoiseBank(np.random.default_rng(0))
    telemetry, sound = read_telemetry([path]), read_sound([path])
    stated = np.full(len(telemetry.shutter_seconds), exposure_seconds)
    telemetry = dataclasses.replace(telemetry, shutter_seconds=stated)
    frames = [camera.develop(camera.expose(scene, float(time)), noise) for time in frame_times(rig, plan, "blurry")]
    write_video(path, frames, 25.0, sound=sound, notes=CameraNotes(telemetry))
    with caplog.at_level(logging.WARNING):
        rows, timing, errors = align(moving, raw, tmp_path / "aligned")
    assert timing.exposure.seconds == pytest.approx(exposure_seconds, abs=0.002)
    assert timing.exposure.shutter_seconds == pytest.approx(exposure_seconds, abs=1e-6)
    assert 0 < timing.exposure.error_seconds < 0.001
    (message,) = [record.getMessage() for record in caplog.records if "exposure" in record.getMessage()]
    assert f"an exposure of {1e3 * timing.exposure.seconds:.1f} ms, the rig's is 31.7 ms" in message
    assert accepted(rows).mean() > 0.9
    assert errors.max() <= 0.55, "the middle of the exposure is where it was"


# ------------------------------------------------------------------ rolling shutter


def test_equal_read_outs_leave_no_skew(moving_aligned):
    _, timing, _, _ = moving_aligned
    assert timing.rolling_shutter.skew_seconds == pytest.approx(0.0, abs=0.0005)
    assert not timing.rolling_shutter.compensated


def test_the_skew_is_that_of_the_output_s_rows(rolling, rolling_aligned):
    _, (rows, timing, _) = rolling_aligned
    crop = read_calibration(rolling.calibration).crop
    # From the middle of the first output row to that of the last one, of 160 rows of the sensor.
    share = crop.height * (95 / 96) / 159
    shutter = timing.rolling_shutter
    assert shutter.skew_seconds == pytest.approx(share * (0.012 - 0.004), abs=0.001)
    assert 0 < shutter.error_seconds < 0.001
    assert np.all(np.diff(shutter.band_rows) > 0)
    slope = np.polyfit(shutter.band_rows, shutter.band_shifts_seconds, 1)[0]
    assert slope * 95 == pytest.approx(shutter.skew_seconds, abs=0.001)
    assert accepted(rows).mean() > 0.9


def test_compensation_makes_rows_as_the_blurry_camera_reads_them(rolling, rolling_aligned, tmp_path):
    # The truth is what each row of the blurry camera would see with the sharp camera's exposure.
    rig, plan = rolling.truth.rig, rolling.truth.take(TAKE)
    camera = dataclasses.replace(rig.blurry, exposure_seconds=rig.sharp.exposure_seconds, n_instants=2)
    crop = dataclasses.astuple(read_calibration(rolling.calibration).crop)
    warp, scene = FrameWarp(np.eye(3), crop, (96, 96), "srgb"), rig.scene(plan)
    blur_scores, sharp_scores = {}, {}
    compensated = tmp_path / "aligned", align(rolling, rolling.raw, tmp_path / "aligned", rolling_shutter="compensate")
    for mode, (out, (rows, timing, _)) in (("report", rolling_aligned), ("compensate", compensated)):
        assert timing.rolling_shutter.compensated == (mode == "compensate")
        blur_scores[mode] = np.array([row.psnr for row in rows])
        scores = []
        with AlignedTakeReader(aligned_take_path(out, TAKE)) as reader:
            for index in (4, 12, 20, 28):
                sample, position = reader.read(index), int(reader.position[index])
                for k in (0, 3, 6):
                    light = camera.expose(scene, rig.scene_time(plan, (position + k) / 200))
                    truth = warp(encode(light * camera.aperture[..., None], "srgb"))
                    scores.append(psnr(sample.sharp[k], truth))
        sharp_scores[mode] = np.array(scores)
    assert (blur_scores["compensate"] - blur_scores["report"]).mean() > 0.3
    assert (sharp_scores["compensate"] - sharp_scores["report"]).mean() > 0.4


# ------------------------------------------------------------------ photometry


def test_one_map_for_the_take_is_close_to_the_true_one(session, tmp_path):
    rows, _, _ = align(session, session.raw, tmp_path / "aligned", color="per-take")
    for row in rows:
        np.testing.assert_array_equal(row.color, rows[0].color)
    # Black needs no light of its own, and grey, the most common color, is mapped as it should be.
    true, found = session.truth.rig.color, rows[0].color
    colors = np.random.default_rng(0).uniform(0.1, 0.5, (200, 1)) + np.random.default_rng(1).uniform(
        -0.05, 0.05, (200, 3)
    )
    mapped, truly = (colors @ one[:, :3].T + one[:, 3] for one in (found, true))
    assert np.abs(mapped - truly).max() < 0.02
    own = [row.color for row in read_alignment(session.aligned / "alignment.csv") if row.take == TAKE]
    assert np.ptp(own, axis=0).max() > 1e-4, "by default every frame has a map of its own"


def test_light_is_averaged_as_the_response_says(session, tmp_path):
    usual = [row for row in read_alignment(session.aligned / "alignment.csv") if row.take == TAKE]
    rows, _, errors = align(session, session.raw, tmp_path / "aligned", response="linear")
    assert read_aligned_manifest(tmp_path / "aligned").response == "linear"
    assert np.mean([row.psnr for row in usual]) > np.mean([row.psnr for row in rows]) + 0.3
    assert errors[accepted(rows)].max() <= 0.55


def test_the_paper_s_way_keeps_every_frame_s_own_window(session, tmp_path):
    rows, timing, _ = align(session, session.raw, tmp_path / "aligned", AlignConfig.paper())
    with AlignedTakeReader(aligned_take_path(tmp_path / "aligned", TAKE)) as reader:
        curves = reader.read_curves()
        assert len(reader) == len(rows)
    for row, first, scores in zip(rows, curves.first_position, curves.psnr, strict=True):
        assert row.position == row.position_fine == first + np.nanargmax(scores)
        assert row.accepted
        assert row.reason == ""
    assert timing.clock is None


# ------------------------------------------------------------------ sources of the offset


@pytest.mark.parametrize("sync", ["sound", "motion", "timecode"])
def test_any_source_leads_to_the_right_positions(session, tmp_path, sync):
    rows, timing, errors = align(session, session.raw, tmp_path / "aligned", sync=sync)
    assert timing.offset_source == sync
    assert accepted(rows).mean() > 0.9
    assert errors[accepted(rows)].max() <= 0.55


def test_the_gyros_lead_to_the_right_positions(moving, tmp_path):
    raw = copy_take(moving, tmp_path / "raw")
    rig, plan = moving.truth.rig, moving.truth.take(TAKE)
    rng = np.random.default_rng(2)
    frequencies, phases = rng.uniform(0.7, 9, (3, 12)), rng.uniform(0, 2 * np.pi, (3, 12))
    mounted = {"blurry": np.eye(3), "sharp": np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])}
    for which, fps in (("blurry", 25.0), ("sharp", 100.0)):
        path = raw / "takes" / TAKE / f"{which}.mp4"
        telemetry = read_telemetry([path])
        times = telemetry.gyro_times
        if which == "sharp":
            times = np.array([rig.scene_time(plan, time) for time in times])
        turning = np.sin(2 * np.pi * frequencies[..., None] * times + phases[..., None]).mean(axis=1).T
        gyro = turning @ mounted[which].T + rng.normal(0, 2e-3, (len(times), 3))
        pictures, sound = [frame.image for frame in iter_frames([path])], read_sound([path])
        write_video(
            path, pictures, fps, sound=sound, notes=CameraNotes(dataclasses.replace(telemetry, gyro=gyro)), crf=12
        )
    rows, timing, errors = align(moving, raw, tmp_path / "aligned", sync="gyro")
    assert timing.offset_source == "gyro"
    (said,) = (offset for offset in timing.offsets if offset.source == "gyro")
    assert said.seconds == pytest.approx(plan.offset_seconds, abs=TRUE_OFFSET_WITHIN_SECONDS["gyro"])
    assert accepted(rows).mean() > 0.9
    assert errors[accepted(rows)].max() <= 0.55


def test_every_source_is_recorded_with_its_confidence(moving, moving_aligned):
    _, timing, _, _ = moving_aligned
    rig, plan = moving.truth.rig, moving.truth.take(TAKE)
    said = {offset.source: offset for offset in timing.offsets}
    assert set(said) == {"sound", "gyro", "motion", "timecode"}
    assert timing.offset_source == "sound"
    for offset in timing.offsets:
        assert 0 <= offset.confidence <= 1
    for source in ("sound", "motion"):
        assert said[source].seconds == pytest.approx(plan.offset_seconds, abs=TRUE_OFFSET_WITHIN_SECONDS[source])
    clocks = rig.clock_error_seconds
    apart = plan.offset_seconds + clocks["blurry"] - clocks["sharp"]
    assert said["timecode"].seconds == pytest.approx(apart, abs=0.05), "the cameras' clocks are wrong by this much"
    assert said["sound"].confidence > said["timecode"].confidence


def test_sources_that_contradict_each_other_are_said(session, tmp_path, caplog):
    raw = copy_take(session, tmp_path / "raw")
    for which, fps in (("blurry", 25.0), ("sharp", 100.0)):
        path = raw / "takes" / TAKE / f"{which}.mp4"
        pictures = [frame.image for frame in iter_frames([path])]
        other = read_sound([session.raw / "takes" / "hand_train" / f"{which}.mp4"])
        write_video(path, pictures, fps, sound=other, crf=12)
    wrong = session.truth.take("hand_train").offset_seconds
    right = session.truth.take(TAKE).offset_seconds
    assert abs(wrong - right) > 0.045
    with caplog.at_level(logging.WARNING):
        rows, timing, errors = align(session, raw, tmp_path / "aligned")
    assert timing.offset_source == "sound"
    said = [record.getMessage() for record in caplog.records if "the sound says" in record.getMessage()]
    assert said
    assert all(f"started {wrong:.3f}"[:-1] in message and "the motion says" in message for message in said)
    assert errors[accepted(rows)].max(initial=0.0) <= 0.55


def test_a_source_that_is_not_there_is_said(session, tmp_path, caplog):
    raw = copy_take(session, tmp_path / "raw")
    for which, fps in (("blurry", 25.0), ("sharp", 100.0)):
        path = raw / "takes" / TAKE / f"{which}.mp4"
        pictures = [frame.image for frame in iter_frames([path])]
        write_video(path, pictures, fps, crf=12)
    with caplog.at_level(logging.WARNING):
        rows, timing, _ = align(session, raw, tmp_path / "aligned", sync="gyro")
    assert "the gyro does not tell the offset clearly enough" in caplog.text
    assert timing.offset_source is None
    assert {row.reason for row in rows} == {"no-clock"}


# ------------------------------------------------------------------ what is aligned, and where


def test_only_the_takes_that_are_named_are_aligned(session, tmp_path):
    rows, _, _ = align(session, session.raw, tmp_path / "aligned", interpolator="flow")
    assert {row.take for row in rows} == {TAKE}
    assert read_aligned_manifest(tmp_path / "aligned").takes == (TAKE,)
    paths = [aligned_take_path(folder, TAKE) for folder in (tmp_path / "aligned", session.aligned)]
    with AlignedTakeReader(paths[0]) as alone, AlignedTakeReader(paths[1]) as among_others:
        np.testing.assert_array_equal(alone.position, among_others.position)
        np.testing.assert_array_equal(alone.read(0).sharp, among_others.read(0).sharp)
        # With others a take has their clock, too.
        assert alone.timing.clock.own_drift == among_others.timing.clock.own_drift
    assert list(paths[0].parent.iterdir()) == paths[:1]


def test_a_take_that_is_not_there_is_named(session, tmp_path):
    with pytest.raises(InputError, match="takes: has no take 'street_tarin'; expected hand_train, street_train"):
        run(session.raw, session.calibration, tmp_path / "aligned", execution=Execution([TAKE, "street_tarin"]))
    assert not (tmp_path / "aligned").exists()


def test_a_gpu_that_is_not_there_is_said_before_anything_is_written(session, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Rb2vError, match="finds no CUDA device"):
        run(session.raw, session.calibration, tmp_path / "aligned", resources=Resources("cuda"))
    assert not (tmp_path / "aligned").exists()
