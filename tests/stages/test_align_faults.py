"""Recordings with something wrong in them: each fault ends in its reason, and no frame is put in a wrong place."""

import dataclasses
import re
import shutil

import av
import cv2
import numpy as np
import pytest
from sessions import shared_session, write_rig
from skimage import data as skimage_data

from rb2v.core.color import encode, to_linear
from rb2v.errors import InputError
from rb2v.io.aligned import AlignedTakeReader, aligned_take_path
from rb2v.io.encoder import write_video
from rb2v.io.sound import read_sound
from rb2v.io.store import read_alignment
from rb2v.io.video import iter_frames
from rb2v.simulator.camera import NoiseBank
from rb2v.simulator.rig import frame_times
from rb2v.simulator.scene import Motion, Wave
from rb2v.stages.align import AlignConfig, run

FPS = {"blurry": 25.0, "sharp": 100.0}
TAKE = "street_train"
N_INSTANTS = 8  # of exposures that are filmed anew: windows are found to half a fine frame, an eighth of a blur


@pytest.fixture
def raw(session, tmp_path):
    """A copy of the street take, 15 blurry frames long, to be spoilt."""
    return copy_take(session, tmp_path / "raw")


@pytest.fixture(scope="module")
def long_session(shared):
    """A take of 3 s, in small images."""
    changes = {"size": (128, 112), "rig_changes": {"output_size": [64, 64]}, "seed": 3}
    return shared_session(shared, upto="calibration", seconds=3.0, categories=("street",), **changes)


def copy_take(session, root, **rig_changes):
    shutil.copytree(session.raw / "takes" / TAKE, root / "takes" / TAKE)
    write_rig(root / "rig.yaml", **rig_changes)
    (root / "capture.yaml").write_text("schema: 1\nrig: rig.yaml\n")
    return root


def recording(raw, which):
    return raw / "takes" / TAKE / f"{which}.mp4"


def pictures_of(path):
    return [frame.image for frame in iter_frames([path])]


def rewrite(path, pictures, sound, shown_at=None):
    """Encode a recording anew; ``shown_at`` tells the place in time of each frame, in frames."""
    fps = FPS[path.stem]
    temporary = path.with_name("new.mp4")
    write_video(temporary, pictures, fps, sound=sound, crf=12)
    if shown_at is None:
        temporary.replace(path)
        return
    with av.open(temporary) as source, av.open(path, "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "video":
                frame = 1 / (packet.time_base * round(fps))
                # Decoding times only have to increase, and to lie before all that is shown.
                packet.dts -= 10 * frame.numerator // frame.denominator
                packet.pts = round(shown_at[round(packet.pts / frame)] * frame)
            packet.stream = streams[packet.stream.index]
            target.mux(packet)


def relit(pictures, gains):
    return [
        encode(np.clip(to_linear(picture, "srgb") * np.float32(gain), 0, 1), "srgb")
        for picture, gain in zip(pictures, gains, strict=True)
    ]


def relight(path, gains):
    rewrite(path, relit(pictures_of(path), gains), read_sound([path]))


def align(session, raw, out, **changes):
    """Return the rows of the only take, its timing, and for each row how far it lies from the truth, in fine frames."""
    # Which frames are made between the recorded ones decides none of these faults, but most of the time.
    run(raw, session.calibration, out, AlignConfig(**{"interpolator": "quick-flow"} | changes))
    rows = read_alignment(out / "alignment.csv")
    with AlignedTakeReader(aligned_take_path(out, TAKE)) as reader:
        timing = reader.timing
    plan = session.truth.take(TAKE)
    errors = [abs(row.position - session.truth.rig.true_position(plan, row.blurry_time)) for row in rows]
    return rows, timing, np.array(errors)


def reasons_of(rows):
    return {row.blurry_index: row.reason for row in rows if not row.accepted}


def errors_by_time(session, rows, shown_at):
    """How far windows lie from the truth, in fine frames, where the sharp recording lacks frames."""
    plan, middle = session.truth.take(TAKE), session.truth.rig.rig.frames_per_sequence // 2
    centers = np.interp([(row.position + middle) / 2 for row in rows], np.arange(len(shown_at)), shown_at)
    true = [session.truth.rig.true_position(plan, row.blurry_time) + middle for row in rows]
    return np.abs(2 * centers - true)


def accepted(rows):
    return np.array([row.accepted for row in rows])


def sharp_scene_times(session, n):
    rig, plan = session.truth.rig, session.truth.take(TAKE)
    return np.array([rig.scene_time(plan, index / 100) for index in range(n)])


def photograph(session, scene, which, times):
    """Return the images of a camera, with noise; an instant is enough where nothing moves any more."""
    rig = session.truth.rig
    noise = NoiseBank(np.random.default_rng(which == "sharp"))
    pictures, still = [], None
    for time in times:
        camera = dataclasses.replace(rig.camera(which), n_instants=N_INSTANTS)
        if time - camera.exposure_seconds / 2 > getattr(scene, "stops_at", np.inf):
            if still is None:
                still = dataclasses.replace(camera, n_instants=1).expose(scene, float(time))
            light = still
        else:
            light = camera.expose(scene, float(time))
        pictures.append(camera.develop(light.copy(), noise))
    return pictures


def refilm(session, raw, scene):
    """Record another scene with the take's cameras and clocks, keeping its sound."""
    for which in ("blurry", "sharp"):
        path = recording(raw, which)
        times = frame_times(session.truth.rig, session.truth.take(TAKE), which)
        rewrite(path, photograph(session, scene, which, times), read_sound([path]))


# ------------------------------------------------------------------ time that is missing


def without(frames, sound, which, first, n):
    samples = round(first / FPS[which] * sound.rate), round((first + n) / FPS[which] * sound.rate)
    cut = np.delete(sound.samples, np.arange(*samples))
    return frames[:first] + frames[first + n :], dataclasses.replace(sound, samples=cut)


def lose_a_second(raw, which, what_is_kept):
    """Take a second out of the middle of a recording; return the places of the frames that stay."""
    path = recording(raw, which)
    frames, sound = pictures_of(path), read_sound([path])
    first, n = round(1.2 * FPS[which]), round(FPS[which])
    kept, short_sound = without(frames, sound, which, first, n)
    shown_at = [*range(first), *range(first + n, len(frames))]
    if what_is_kept == "times":
        rewrite(path, kept, sound, shown_at)
    else:
        rewrite(path, kept, sound if what_is_kept == "sound" else short_sound)
    return shown_at


@pytest.mark.parametrize(
    ("which", "search_range", "what_is_kept"),
    [("blurry", 0.1, "sound"), ("blurry", 0.3, "nothing"), ("sharp", 1.0, "sound"), ("sharp", 0.1, "nothing")],
)
def test_a_lost_second_splits_the_clock(long_session, tmp_path, which, search_range, what_is_kept):
    raw = copy_take(long_session, tmp_path / "raw", output_size=[64, 64], search_range_seconds=search_range)
    lose_a_second(raw, which, what_is_kept)
    rows, timing, _ = align(long_session, raw, tmp_path / "aligned")
    rig, plan = long_session.truth.rig, long_session.truth.take(TAKE)
    (jump,) = timing.clock.jumps
    assert jump.shift_seconds == pytest.approx(1.0 if which == "blurry" else -1.0, abs=0.002)
    kept = accepted(rows)
    if which == "blurry":
        assert kept.all()
        true_times = [row.blurry_time + (row.blurry_index >= 30) for row in rows]
        true = np.array([rig.true_position(plan, time) for time in true_times])
    else:
        whole = np.array([rig.true_position(plan, row.blurry_time) for row in rows])
        middle = whole + 3
        inside = (middle > 2 * 120 - 3) & (middle < 2 * 220 + 3)
        assert not kept[inside].any(), "their light was lost"
        assert kept[~inside].mean() > 0.9
        true = np.where(middle > 2 * 170, whole - 200, whole)
    assert np.abs(np.array([row.position for row in rows]) - true)[kept].max() <= 0.55


def test_a_lost_second_of_blurry_frames_whose_times_stay_empty_changes_nothing_else(long_session, tmp_path):
    raw = copy_take(long_session, tmp_path / "raw", output_size=[64, 64])
    lose_a_second(raw, "blurry", "times")
    rows, timing, errors = align(long_session, raw, tmp_path / "aligned")
    assert [round(25 * row.blurry_time) for row in rows] == [*range(30), *range(55, 75)]
    assert timing.clock.jumps == ()
    assert accepted(rows).all()
    assert errors.max() <= 0.55


def test_a_lost_second_of_sharp_frames_whose_times_stay_empty_changes_nothing_else(long_session, tmp_path):
    raw = copy_take(long_session, tmp_path / "raw", output_size=[64, 64])
    shown_at = lose_a_second(raw, "sharp", "times")
    rows, timing, _ = align(long_session, raw, tmp_path / "aligned")
    assert timing.clock.jumps == ()
    reasons = reasons_of(rows)
    assert set(reasons.values()) == {"dropped-frames"}
    times = sharp_scene_times(long_session, shown_at[-1] + 1)
    lost = {row.blurry_index for row in rows if times[119] - 0.012 < row.blurry_time < times[220] + 0.012}
    assert lost <= set(reasons) <= set(range(min(lost) - 2, max(lost) + 3))
    assert errors_by_time(long_session, rows, shown_at)[accepted(rows)].max() <= 0.55


def test_windows_across_dropped_sharp_frames_are_named(session, raw, tmp_path):
    path = recording(raw, "sharp")
    frames, dropped = pictures_of(path), (32, 33, 34)
    shown_at = [index for index in range(len(frames)) if index not in dropped]
    rewrite(path, [frames[index] for index in shown_at], read_sound([path]), shown_at)
    rows, _, _ = align(session, raw, tmp_path / "aligned")
    times = sharp_scene_times(session, len(frames))
    lost = [row.blurry_index for row in rows if times[31] - 0.015 < row.blurry_time < times[35] + 0.015]
    assert reasons_of(rows) == dict.fromkeys(lost, "dropped-frames")
    assert 1 <= len(lost) <= 2
    assert errors_by_time(session, rows, shown_at)[accepted(rows)].max() <= 0.55


def test_windows_across_a_scene_cut_are_named(session, raw, tmp_path):
    path = recording(raw, "sharp")
    frames = pictures_of(path)
    other = cv2.resize(skimage_data.coffee(), frames[0].shape[1::-1])
    rewrite(path, [*frames[:40], *[other] * (len(frames) - 40)], read_sound([path]))
    rows, _, _ = align(session, raw, tmp_path / "aligned")
    times = sharp_scene_times(session, len(frames))
    across = [row.blurry_index for row in rows if times[39] - 0.012 < row.blurry_time < times[40] + 0.012]
    assert across
    assert {index for index, reason in reasons_of(rows).items() if reason == "cut"} == set(across)


def test_a_frame_that_was_stored_twice_delays_all_that_follow(long_session, tmp_path):
    raw = copy_take(long_session, tmp_path / "raw", output_size=[64, 64])
    path = recording(raw, "blurry")
    frames = pictures_of(path)
    rewrite(path, [*frames[:31], *frames[30:59]], read_sound([path]))
    rows, timing, _ = align(long_session, raw, tmp_path / "aligned")
    with AlignedTakeReader(aligned_take_path(tmp_path / "aligned", TAKE)) as reader:
        assert reader.registration.shift_px < 0.1, "a jump of the clock is no step of the views"
        assert reader.registration.steps == ()
    (jump,) = timing.clock.jumps
    assert jump.shift_seconds == pytest.approx(-0.04, abs=0.002)
    rig, plan = long_session.truth.rig, long_session.truth.take(TAKE)
    true = [rig.true_position(plan, (row.blurry_index - (row.blurry_index > 30)) / 25) for row in rows]
    assert accepted(rows).mean() > 0.95
    assert np.abs(np.array([row.position for row in rows]) - true)[accepted(rows)].max() <= 0.55


def test_blurry_frames_out_of_order_are_inconsistent(session, raw, tmp_path):
    path = recording(raw, "blurry")
    frames = pictures_of(path)
    frames[4:8] = [frames[index] for index in (5, 7, 4, 6)]
    rewrite(path, frames, read_sound([path]))
    rows, timing, errors = align(session, raw, tmp_path / "aligned")
    assert reasons_of(rows) == dict.fromkeys((4, 5, 6, 7), "inconsistent")
    assert errors.max() <= 0.55
    assert timing.clock.jumps == ()


@pytest.mark.parametrize("which", ["blurry", "sharp"])
def test_times_out_of_order_are_named(session, raw, tmp_path, which):
    path = recording(raw, which)
    frames = pictures_of(path)
    shown_at = list(range(len(frames)))
    shown_at[6], shown_at[7] = 7, 6
    rewrite(path, frames, read_sound([path]), shown_at)
    with pytest.raises(InputError, match=re.escape(f"{which}.mp4: frame 7 is not later than the one before it")):
        run(raw, session.calibration, tmp_path / "aligned")


# ------------------------------------------------------------------ light


def test_a_light_switched_on_spoils_the_frame_across_it_only(session, raw, tmp_path):
    switched_on, brighter = 7 / 25 + 0.004, 1.25
    exposure = session.truth.rig.blurry.exposure_seconds
    blurry, sharp = recording(raw, "blurry"), recording(raw, "sharp")
    lit = [np.clip((t / 25 + exposure / 2 - switched_on) / exposure, 0, 1) for t in range(15)]
    relight(blurry, [1 + (brighter - 1) * share for share in lit])
    times = sharp_scene_times(session, len(pictures_of(sharp)))
    relight(sharp, np.where(times > switched_on, brighter, 1.0))
    rows, _, errors = align(session, raw, tmp_path / "aligned")
    assert reasons_of(rows) == {7: "flash"}
    assert errors.max() <= 0.55


def test_a_step_of_the_blurry_camera_s_exposure_is_named(session, raw, tmp_path):
    relight(recording(raw, "blurry"), [1.0] * 9 + [0.7] * 6)
    rows, _, errors = align(session, raw, tmp_path / "aligned")
    assert reasons_of(rows) == dict.fromkeys(range(9, 15), "exposure")
    assert errors.max() <= 0.55


def test_a_step_of_the_sharp_camera_s_exposure_is_named(session, raw, tmp_path):
    path = recording(raw, "sharp")
    times = sharp_scene_times(session, len(pictures_of(path)))
    relight(path, np.where(times > 9 / 25, 0.7, 1.0))
    rows, _, errors = align(session, raw, tmp_path / "aligned")
    assert reasons_of(rows) == {9: "flash"} | dict.fromkeys(range(10, 15), "exposure")
    assert errors.max() <= 0.55


def test_auto_exposure_that_went_far_is_named(session, raw, tmp_path):
    gains = np.geomspace(0.7, 1.3, 15)
    relight(recording(raw, "blurry"), gains)
    rows, _, errors = align(session, raw, tmp_path / "aligned")
    off = np.abs(gains / np.median(gains) - 1)
    reasons = reasons_of(rows)
    assert set(reasons.values()) == {"exposure"}
    assert set(np.flatnonzero(off > 0.2)) <= set(reasons) <= set(np.flatnonzero(off > 0.1))
    assert errors.max() <= 0.55


def test_frames_that_are_mostly_clipped_are_named(session, raw, tmp_path):
    relight(recording(raw, "blurry"), [1.0] * 5 + [30.0] * 4 + [1.0] * 6)
    rows, _, errors = align(session, raw, tmp_path / "aligned")
    assert reasons_of(rows) == dict.fromkeys(range(5, 9), "clipped")
    assert errors.max() <= 0.55


# ------------------------------------------------------------------ sound, and what the cameras see


@pytest.mark.parametrize("which", ["blurry", "sharp"])
def test_pictures_tell_the_offset_where_one_file_has_no_sound(session, raw, tmp_path, which):
    path = recording(raw, which)
    rewrite(path, pictures_of(path), sound=None)
    rows, timing, errors = align(session, raw, tmp_path / "aligned")
    assert timing.offset_source == "motion"
    assert "sound" not in {offset.source for offset in timing.offsets}
    assert accepted(rows).mean() > 0.9
    assert errors.max() <= 0.55


def test_sound_of_another_recording_is_not_believed(session, raw, tmp_path):
    other = session.raw / "takes" / "hand_train" / "blurry.mp4"
    path = recording(raw, "blurry")
    rewrite(path, pictures_of(path), read_sound([other]))
    rows, timing, errors = align(session, raw, tmp_path / "aligned")
    assert timing.offset_source == "motion"
    assert accepted(rows).mean() > 0.9
    assert errors.max() <= 0.55


def test_cameras_that_recorded_different_takes_have_nothing_in_common(session, raw, tmp_path):
    path = recording(raw, "sharp")
    rewrite(path, pictures_of(session.raw / "takes" / "hand_train" / "sharp.mp4"), read_sound([path]))
    rows, timing, _ = align(session, raw, tmp_path / "aligned")
    assert not accepted(rows).any()
    assert set(reasons_of(rows).values()) <= {"no-clock", "low-psnr", "static", "inconsistent"}
    assert timing.exposure is None or timing.clock is not None


# ------------------------------------------------------------------ motion


def test_what_jumps_from_frame_to_frame_cannot_be_interpolated(session, raw, tmp_path):
    rig, blurry, sharp = session.truth.rig, recording(raw, "blurry"), recording(raw, "sharp")
    coin = cv2.resize(skimage_data.coffee()[100:300, 200:400], (44, 44), interpolation=cv2.INTER_AREA)
    coin = to_linear(np.ascontiguousarray(coin), "srgb")
    frames = pictures_of(sharp)
    times = sharp_scene_times(session, len(frames))
    begins, ends = 6 / 25 - 0.02, 9 / 25 + 0.02
    rng = np.random.default_rng(0)
    layers = {}
    for index in np.flatnonzero((times > begins) & (times < ends)):
        x, y = rng.integers(30, 118), rng.integers(30, 86)
        layer = np.zeros((160, 192, 4), np.float32)
        layer[y : y + 44, x : x + 44] = np.dstack([coin, np.ones((44, 44), np.float32)])
        layers[index] = layer

    def laid_over(picture, layer):
        light = to_linear(picture, "srgb")
        return encode(light * (1 - layer[..., 3:]) + layer[..., :3], "srgb")

    rewrite(sharp, [laid_over(f, layers[i]) if i in layers else f for i, f in enumerate(frames)], read_sound([sharp]))
    exposed = []
    for index, picture in enumerate(pictures_of(blurry)):
        instants = index / 25 + np.linspace(-0.5, 0.5, 41) * rig.blurry.exposure_seconds
        shown = [layers[i] for i in (int(np.abs(times - t).argmin()) for t in instants) if i in layers]
        layer = np.sum(shown, axis=0) / len(instants) if shown else np.zeros((160, 192, 4), np.float32)
        exposed.append(laid_over(picture, cv2.warpPerspective(layer.astype(np.float32), rig.homography, (192, 160))))
    rewrite(blurry, exposed, read_sound([blurry]))
    rows, _, errors = align(session, raw, tmp_path / "aligned")
    reasons = reasons_of(rows)
    assert {6, 7, 8, 9} <= set(reasons) <= {5, 6, 7, 8, 9, 10}
    assert set(reasons.values()) <= {"interpolation", "low-psnr"}
    assert "interpolation" in reasons.values()
    assert errors.max() <= 0.55


@pytest.mark.parametrize("replaced", ["every other", "all"])
def test_sharp_frames_of_something_else_explain_nothing(session, raw, tmp_path, replaced):
    path = recording(raw, "sharp")
    frames = pictures_of(path)
    times = sharp_scene_times(session, len(frames))
    other = np.ascontiguousarray(skimage_data.coffee()[100:260, 100:292])
    spoilt = (times > 0.24) & (times < 0.36)
    if replaced == "every other":
        spoilt[::2] = False
    rewrite(path, [other if bad else f for bad, f in zip(spoilt, frames, strict=True)], read_sound([path]))
    rows, _, errors = align(session, raw, tmp_path / "aligned")
    reasons = reasons_of(rows)
    assert {7, 8} <= set(reasons) <= {5, 6, 7, 8, 9, 10}
    assert set(reasons.values()) <= {"cut", "interpolation", "low-psnr", "flash", "exposure", "inconsistent"}
    assert errors.max() <= 0.55


class StandsStillFrom:
    """A scene that stops at an instant."""

    def __init__(self, scene, seconds):
        self._scene, self.stops_at = scene, seconds

    def instants(self, *arguments):
        return self._scene.instants(*arguments)

    def render(self, time_seconds, scene_to_view, size):
        return self._scene.render(min(time_seconds, self.stops_at), scene_to_view, size)


def test_a_take_that_never_moves_is_not_placed_at_random(session, raw, tmp_path):
    refilm(session, raw, StandsStillFrom(session.truth.rig.scene(session.truth.take(TAKE)), -1.0))
    rows, timing, _ = align(session, raw, tmp_path / "aligned")
    assert set(reasons_of(rows).values()) <= {"static", "no-clock"}
    assert not accepted(rows).any()
    assert timing.exposure is None
    assert timing.rolling_shutter is None


@pytest.mark.parametrize("search_range", [0.1, 0.3])
def test_motion_that_repeats_itself_is_placed_by_the_sound(session, tmp_path, search_range):
    raw = copy_take(session, tmp_path / "raw", search_range_seconds=search_range)
    scene = session.truth.rig.scene(session.truth.take(TAKE)).with_motion(0.02)
    shake = Motion(Wave(0.0, 5.0, 5.0), Wave(0.0, 4.0, 5.0, 0.2), Wave(0.0, 0.5, 0.4))
    refilm(session, raw, dataclasses.replace(scene, rig_motion=shake))
    rows, timing, errors = align(session, raw, tmp_path / "aligned")
    assert timing.offset_source == "sound"
    assert errors[accepted(rows)].max(initial=0.0) <= 0.55
    if search_range == 0.1:
        assert accepted(rows).mean() > 0.9


def test_what_stands_still_is_placed_by_the_clock_of_what_moved_or_not_at_all(long_session, tmp_path):
    raw = copy_take(long_session, tmp_path / "raw", output_size=[64, 64])
    scene = long_session.truth.rig.scene(long_session.truth.take(TAKE))
    refilm(long_session, raw, StandsStillFrom(scene, 1.0))
    rows, timing, errors = align(long_session, raw, tmp_path / "aligned")
    kept = accepted(rows)
    assert kept[:24].all()
    assert errors[kept].max() <= 0.55
    assert set(reasons_of(rows).values()) <= {"static"}
    assert timing.clock.n_inliers < 40


@pytest.mark.parametrize("category", ["hand", "face"])
def test_slow_motion_is_placed_rightly_or_not_at_all(shared, calibrated_session, category):
    quickly = {"calibrated": calibrated_session, "captures": False, "interpolator": "quick-flow"}
    made = shared_session(shared, upto="aligned", seconds=1.0, categories=("hand", "face"), motion=0.1, **quickly)
    plan = made.truth.take(f"{category}_train")
    table = read_alignment(made.aligned / "alignment.csv")
    rows = [row for row in table if row.accepted and row.take == plan.name]
    true = [made.truth.rig.true_position(plan, row.blurry_time) for row in rows]
    assert max((abs(row.position - at) for row, at in zip(rows, true, strict=True)), default=0.0) <= 0.55
