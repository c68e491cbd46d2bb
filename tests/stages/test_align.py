import dataclasses
import hashlib
import json
import os
import shutil
import signal
import textwrap
from fractions import Fraction
from functools import partial

import av
import numpy as np
import pytest
from executors import LastFirstExecutor
from sessions import QUICK, write_rig
from skimage import data as skimage_data

from rb2v.artifacts import Crop
from rb2v.core.color import encode, from_linear, to_linear
from rb2v.core.metrics import psnr
from rb2v.core.resampling import FrameWarp
from rb2v.errors import ConfigMismatchError, InputError
from rb2v.execution import ProcessExecutor, SerialExecutor
from rb2v.interpolation import INTERPOLATORS
from rb2v.interpolation.linear import LinearInterpolator
from rb2v.io.aligned import AlignedTakeReader, aligned_take_path
from rb2v.io.calibration import read_calibration, write_calibration
from rb2v.io.config import read_rig
from rb2v.io.encoder import write_video
from rb2v.io.sound import Sound, read_sound
from rb2v.io.store import ALIGNMENT_COLUMNS, read_alignment, read_json
from rb2v.io.video import iter_frames, read_image
from rb2v.simulator.rig import frame_times
from rb2v.stages.align import AlignConfig, Execution, Resources, run
from rb2v.stages.align.take import write_take
from rb2v.stages.align.track import Reducer


def all_bytes(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def raw(session, tmp_path):
    """A copy of the street take, to be changed."""
    return copy_take(session, tmp_path / "raw", "street_train")


def copy_take(session, root, take):
    shutil.copytree(session.raw / "takes" / take, root / "takes" / take)
    shutil.copy(session.root / "rig.yaml", root)
    (root / "capture.yaml").write_text("schema: 1\nrig: rig.yaml\n")
    return root


def rewrite(path, pictures=None, sound=None, fps=25.0):
    """Encode a recording anew: other images, or other sound, or none."""
    if pictures is None:
        pictures = [frame.image for frame in iter_frames([path])]
    temporary = path.with_name("new.mp4")
    write_video(temporary, pictures, fps, sound=sound, crf=12)
    temporary.replace(path)


def align(session, raw, out, **changes):
    # Which frames are made between the recorded ones decides little of what is looked at, but takes most of the time.
    run(raw, session.calibration, out, AlignConfig(**{"interpolator": "quick-flow"} | changes))
    rows = read_alignment(out / "alignment.csv")
    with AlignedTakeReader(aligned_take_path(out, rows[0].take)) as reader:
        return rows, reader.timing.clock


def position_errors(session, rows):
    plan = session.truth.take(rows[0].take)
    return np.array([abs(row.position - session.truth.rig.true_position(plan, row.blurry_time)) for row in rows])


@pytest.mark.parametrize("take", ["street_train", "hand_train"])
def test_positions_are_the_true_ones(session, take):
    rows = [row for row in read_alignment(session.aligned / "alignment.csv") if row.take == take]
    assert [row.blurry_index for row in rows] == list(range(15))
    accepted = [row for row in rows if row.accepted]
    assert len(accepted) >= 0.9 * len(rows)
    assert position_errors(session, accepted).max() <= 0.55
    plan = session.truth.take(take)
    for row in accepted:
        assert row.blurry_time == pytest.approx(row.blurry_index / 25, abs=1e-6)
        true_position = session.truth.rig.true_position(plan, row.blurry_time)
        assert row.position_fine == pytest.approx(true_position, abs=0.15)
        assert row.position == round(row.position_fine)
        assert row.psnr > 33
        assert row.margin_db > 1
        assert row.reason == ""


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "crop",
            {"x": 0, "y": 0, "width": 60, "height": 20},
            r"crop: is 60x20; expected the shape of the rig's output, 96x96",
        ),
        ("homography", [[-1, 0, 4000], [0, 1, 0], [0, 0, 1]], r"crop: .* not in the sharp camera's \d+x\d+ frame"),
        ("homography", [[-1, 0, 40], [0, 1, 0], [-0.02, 0, 1]], r"crop: .* not in the sharp camera's \d+x\d+ frame"),
        ("blurry", [-30.0, 0, 0, 0, 0], r"crop: .* not in the blurry camera's \d+x\d+ frame"),
        ("sharp", [-30.0, 0, 0, 0, 0], r"crop: .* not in the sharp camera's \d+x\d+ frame"),
        ("sharp", [1e200, 0, 0, 0, 0], r"crop: .* not in the sharp camera's \d+x\d+ frame"),
    ],
)
def test_a_calibration_that_takes_the_crop_out_of_a_frame(session, tmp_path, key, value, message):
    """Every take would be decoded only to end with no frame accepted."""
    document = json.loads(session.calibration.read_text())
    if key in ("blurry", "sharp"):
        document["lens"][key] = {"matrix": [[100, 0, 60], [0, 100, 45], [0, 0, 1]], "distortion": value}
    else:
        document[key] = value
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=message) as caught:
        run(session.raw, path, tmp_path / "aligned")
    assert caught.value.source == str(path)
    assert not (tmp_path / "aligned").exists()


@pytest.mark.parametrize("take", ["street_train", "hand_train"])
def test_the_clock_is_the_simulated_one(session, take):
    plan = session.truth.take(take)
    with AlignedTakeReader(aligned_take_path(session.aligned, take)) as reader:
        clock = reader.timing.clock
    assert clock.n_inliers >= 13
    assert clock.residual_seconds < 0.001
    for seconds in (0.0, 0.28, 0.56):
        true_time = plan.offset_seconds + (1 + 80e-6) * seconds
        assert clock.sharp_time(seconds) == pytest.approx(true_time, abs=0.0007)


def test_drift_is_found(clean_session, tmp_path):
    rows, clock = align(clean_session, clean_session.raw, tmp_path / "aligned")
    assert clock.drift == pytest.approx(4000e-6, abs=1000e-6)
    assert np.mean([row.accepted for row in rows]) >= 0.9
    assert position_errors(clean_session, [row for row in rows if row.accepted]).max() <= 0.55


def test_samples_are_the_recorded_frames_in_the_crop(session):
    calibration = read_calibration(session.calibration)
    box = dataclasses.astuple(calibration.crop)
    folder = session.raw / "takes" / "street_train"
    warp = FrameWarp(np.eye(3), box, (96, 96), "srgb")
    blurry = [warp(frame.image) for frame in iter_frames([folder / "blurry.mp4"])]
    with AlignedTakeReader(aligned_take_path(session.aligned, "street_train")) as reader:
        assert len(reader) > 0
        for index in (0, len(reader) - 1):
            sample = reader.read(index)
            assert sample.sharp.shape == (7, 96, 96, 3)
            np.testing.assert_array_equal(sample.blurry, blurry[reader.blurry_index[index]])


@pytest.mark.parametrize("take", ["street_train", "hand_train"])
def test_sharp_frames_are_the_scene_at_their_times_in_the_blurry_camera(session, take):
    rig, plan = session.truth.rig, session.truth.take(take)
    scene = rig.scene(plan)
    # What the blurry camera would have seen with the sharp camera's exposure.
    camera = dataclasses.replace(rig.blurry, exposure_seconds=rig.sharp.exposure_seconds, n_instants=2)
    warp = FrameWarp(np.eye(3), dataclasses.astuple(read_calibration(session.calibration).crop), (96, 96), "srgb")
    with AlignedTakeReader(aligned_take_path(session.aligned, take)) as reader:
        index = len(reader) // 2
        sample, position = reader.read(index), int(reader.position[index])
    scores = []
    for k, frame in enumerate(sample.sharp):
        seconds = rig.scene_time(plan, (position + k) / rig.rig.fine_fps)
        truth = warp(encode(camera.expose(scene, seconds) * camera.aperture[..., None], "srgb"))
        scores.append(psnr(frame, truth))
    assert min(scores) > 28
    middle = to_linear(sample.sharp, "srgb").mean(axis=0)
    assert psnr(from_linear(middle, "srgb"), sample.blurry / 255) > 30, "their mean is the blur"
    for k in (0, 6):
        assert psnr(sample.sharp[k], sample.sharp[3]) < min(scores), "something moves"


def test_the_table_is_the_contract_s(session):
    header, *lines = (session.aligned / "alignment.csv").read_text().splitlines()
    assert header.split(",") == list(ALIGNMENT_COLUMNS)
    keys = [(line.split(",")[0], int(line.split(",")[1])) for line in lines]
    assert keys == sorted(keys)
    assert len(keys) == 30
    for row in read_alignment(session.aligned / "alignment.csv"):
        with AlignedTakeReader(aligned_take_path(session.aligned, row.take)) as reader:
            same = reader.read_frames()[row.blurry_index]
        assert (same.position, same.accepted, same.reason) == (row.position, row.accepted, row.reason)
        np.testing.assert_allclose(same.color, row.color, rtol=1e-8)


def test_the_stored_map_takes_the_take_s_colors_to_the_blurry_camera_s(session):
    rig = session.truth.rig
    scene = rig.scene(session.truth.take("street_train"))
    sharp = rig.sharp.expose(scene, 0.28)[30:-30, 30:-30].reshape(-1, 3)
    truth = sharp @ rig.color[:, :3].T
    unmapped = np.abs(sharp - truth).mean()
    with AlignedTakeReader(aligned_take_path(session.aligned, "street_train")) as reader:
        for color in reader.color:
            assert np.abs(sharp @ color[:, :3].T + color[:, 3] - truth).mean() < 0.5 * unmapped
            mapped = (sharp @ color[:, :3].T + color[:, 3]).mean(axis=0)
            np.testing.assert_allclose(mapped, truth.mean(axis=0), atol=0.004)


def test_score_curves_peak_where_the_frame_says(session):
    with AlignedTakeReader(aligned_take_path(session.aligned, "street_train")) as reader:
        curves, rows = reader.read_curves(), reader.read_frames()
    for row, first, scores, peak in zip(rows, curves.first_position, curves.psnr, curves.peak, strict=True):
        assert abs(first + np.nanargmax(scores) - row.position) <= 1
        assert abs(peak - row.position_fine) <= 1


def test_plates_are_stored_with_green_screen_takes_only(session):
    with AlignedTakeReader(aligned_take_path(session.aligned, "street_train")) as reader:
        assert reader.plate is None
    with AlignedTakeReader(aligned_take_path(session.aligned, "hand_train")) as reader:
        plate = reader.plate
        moving = reader.read(0).blurry
    warp = FrameWarp(np.eye(3), dataclasses.astuple(read_calibration(session.calibration).crop), (96, 96), "srgb")
    recorded = read_image(session.raw / "takes" / "hand_train" / "plate_blurry.png")
    np.testing.assert_array_equal(plate, warp(recorded))
    assert np.median(np.abs(plate.astype(int) - moving)) < 10


def test_a_choice_of_takes_leaves_the_others_in_the_table(brief_session, tmp_path):
    out = tmp_path / "aligned"
    run(brief_session.raw, brief_session.calibration, out, QUICK, execution=Execution(("hand_train",)))
    assert {row.take for row in read_alignment(out / "alignment.csv")} == {"hand_train"}
    run(brief_session.raw, brief_session.calibration, out, QUICK, execution=Execution(("street_train",)))
    assert all_bytes(out) == all_bytes(brief_session.aligned)


def test_a_recording_of_another_rate_than_the_rig_s_is_named(session, raw, tmp_path):
    path = raw / "takes" / "street_train" / "sharp.mp4"
    rewrite(path, fps=50.0)
    with pytest.raises(InputError, match=r"sharp\.mp4: has 50 frames per second; expected 100 as in the rig"):
        run(raw, session.calibration, tmp_path / "aligned")


def test_without_an_offset_the_paper_s_way_has_no_clock_either(session, raw, tmp_path):
    for camera, fps in (("blurry", 25.0), ("sharp", 100.0)):
        rewrite(raw / "takes" / "street_train" / f"{camera}.mp4", fps=fps)
    run(raw, session.calibration, tmp_path / "aligned", dataclasses.replace(AlignConfig.paper(), sync="sound"))
    assert {row.reason for row in read_alignment(tmp_path / "aligned" / "alignment.csv")} == {"no-clock"}


def test_damaged_telemetry_is_said_and_left_out(session, raw, tmp_path, monkeypatch, caplog):
    def refuse(paths, _override):
        raise InputError(paths[0], "its telemetry is damaged")

    monkeypatch.setattr("rb2v.stages.align.context.read_telemetry", refuse)
    rows, _ = align(session, raw, tmp_path / "aligned")
    assert np.mean([row.accepted for row in rows]) >= 0.9
    assert "its telemetry is damaged" in caplog.text


def test_the_manifest_describes_the_folder(session):
    manifest = read_json(session.aligned / "manifest.json")
    assert manifest["takes"] == ["hand_train", "street_train"]
    assert manifest["output_size"] == [96, 96]
    assert manifest["rig"] == "tiny"
    assert Crop(**manifest["crop"]) == read_calibration(session.calibration).crop


def cut_short(monkeypatch):
    """Have takes of nine frames cut as long ones are."""
    for name, value in (("RANGE_FRAMES", 4), ("PIECE_FRAMES", 20), ("MIN_CUT_FRAMES", 8)):
        monkeypatch.setattr(f"rb2v.stages.align.segments.{name}", value)


def test_a_take_cut_into_ranges_is_the_same_file(brief_session, tmp_path, monkeypatch):
    cut_short(monkeypatch)
    out, done = tmp_path / "aligned", []
    execution = Execution(executor=LastFirstExecutor(), on_take=lambda record, n: done.append(record), is_profiled=True)
    run(brief_session.raw, brief_session.calibration, out, QUICK, execution=execution)
    assert sorted(record.name for record in done) == ["hand_train", "street_train"]
    assert all(record.profile.n_frames == record.n_frames == 9 for record in done)
    (out / "profile.json").unlink()
    assert all_bytes(out) == all_bytes(brief_session.aligned)


def die_in_a_piece(item, fn, flag):
    """Do a task of a cut take; the first process to come to a few frames of a piece is killed there."""
    add, seen = Reducer.add, []

    def add_or_die(self, linear):
        seen.append(1)
        if len(seen) == 7 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        add(self, linear)

    with pytest.MonkeyPatch.context() as patch:
        cut_short(patch)
        patch.setattr(Reducer, "add", add_or_die)
        return fn(item)


class DeadlyExecutor(ProcessExecutor):
    """Two workers, of which one dies in a piece of a recording."""

    def map(self, fn, items):
        return super().map(partial(die_in_a_piece, fn=fn, flag=self.flag), items)


def test_a_worker_killed_in_a_piece_of_a_recording_changes_nothing(brief_session, tmp_path, monkeypatch):
    cut_short(monkeypatch)
    executor = DeadlyExecutor(2)
    executor.flag = tmp_path / "died"
    out = tmp_path / "aligned"
    run(brief_session.raw, brief_session.calibration, out, QUICK, execution=Execution(executor=executor))
    assert executor.flag.exists()
    assert all_bytes(out) == all_bytes(brief_session.aligned)


@pytest.mark.parametrize("place", ["rb2v.stages.align.timing.fit_clock", "rb2v.io.aligned.create_frames"])
def test_a_killed_run_goes_on_to_the_same_bytes(brief_session, fork_server, tmp_path, monkeypatch, place):
    # The first take is finished; the second is killed in its search, or while its frames are written.
    script = textwrap.dedent("""
        import importlib, os, signal, sys
        from pathlib import Path
        from rb2v.stages.align import AlignConfig, run

        module, name = sys.argv[4].rsplit(".", 1)
        module = importlib.import_module(module)
        function, takes = getattr(module, name), Path(sys.argv[3], "takes")

        def die_in_the_second_take(*arguments, **options):
            if any("partial" not in path.name for path in takes.glob("*.h5")):
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        setattr(module, name, die_in_the_second_take)
        run(*map(Path, sys.argv[1:4]), AlignConfig(interpolator="quick-flow"))
    """)
    out = tmp_path / "aligned"
    process = fork_server.start(script, brief_session.raw, brief_session.calibration, out, place)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "alignment.csv").exists()
    (finished,) = (path for path in (out / "takes").glob("*.h5") if "partial" not in path.name)
    assert any("partial" in name for name in all_bytes(out))
    written = []

    def write_and_note(context, path, *arguments):
        written.append(path)
        write_take(context, path, *arguments)

    monkeypatch.setattr("rb2v.stages.align.stage.write_take", write_and_note)
    run(
        brief_session.raw,
        brief_session.calibration,
        out,
        QUICK,
        execution=Execution(executor=SerialExecutor(check_pickle=True)),
    )
    assert all_bytes(out) == all_bytes(brief_session.aligned)
    assert written[0] != finished, "done again only where the clock of all takes gives it another window"


def test_another_configuration_is_refused_in_the_same_folder(brief_session, tmp_path):
    before = all_bytes(brief_session.aligned)
    with pytest.raises(ConfigMismatchError) as caught:
        run(brief_session.raw, brief_session.calibration, brief_session.aligned, AlignConfig(interpolator="linear"))
    assert caught.value.key == "config.interpolator"
    other = dataclasses.replace(read_calibration(brief_session.calibration), color=np.eye(3, 4))
    with pytest.raises(ConfigMismatchError) as caught:
        run(brief_session.raw, write_calibration(tmp_path / "c.json", other), brief_session.aligned, QUICK)
    assert caught.value.key == "calibration_sha256"
    assert all_bytes(brief_session.aligned) == before


def test_weights_of_an_interpolator_are_used_and_their_digest_kept(raw, session, tmp_path, monkeypatch):
    used = []

    def load(settings):
        used.append(settings.weights)
        return LinearInterpolator()

    monkeypatch.setitem(INTERPOLATORS, "rife", load)
    mine, other = tmp_path / "mine.safetensors", tmp_path / "other.safetensors"
    mine.write_bytes(b"mine")
    other.write_bytes(b"other")
    config, out = AlignConfig(interpolator="rife"), tmp_path / "out"
    run(raw, session.calibration, out, config, resources=Resources(interpolator_weights=mine))
    assert set(used) == {mine}
    kept = read_json(out / "manifest.json")["config"]["interpolator_weights_sha256"]
    assert kept == hashlib.sha256(b"mine").hexdigest()
    with pytest.raises(ConfigMismatchError) as caught:
        run(raw, session.calibration, out, config, resources=Resources(interpolator_weights=other))
    assert caught.value.key == "config.interpolator_weights_sha256"


def test_weights_are_refused_where_nothing_uses_them(session, tmp_path):
    with pytest.raises(InputError, match="'flow' has none"):
        run(
            session.raw,
            session.calibration,
            tmp_path / "out",
            resources=Resources(interpolator_weights=tmp_path / "w.safetensors"),
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"interpolator": "cubic"},
        {"sync": "smell"},
        {"tolerance_frames": 0.0},
        {"min_psnr_db": float("nan")},
        {"wide_range_seconds": 1e6},
        {"color": "per-shot"},
        {"response": "log"},
        {"response": 0.0},
    ],
)
def test_configurations_that_cannot_be(changes):
    with pytest.raises(InputError) as caught:
        AlignConfig(**changes)
    assert caught.value.key.partition(".")[0] == next(iter(changes))


@pytest.mark.parametrize("silence", ["no sound", "silent", "unrelated"])
def test_pictures_tell_the_offset_where_the_sound_does_not(session, raw, tmp_path, silence):
    folder = raw / "takes" / "street_train"
    rng = np.random.default_rng(0)
    for camera, fps in (("blurry", 25.0), ("sharp", 100.0)):
        path = folder / f"{camera}.mp4"
        n = len(read_sound([path]).samples)
        samples = 0.1 * rng.standard_normal(n) if silence == "unrelated" else np.zeros(n)
        rewrite(path, sound=None if silence == "no sound" else Sound(samples.astype(np.float32), 48_000, 0.0), fps=fps)
    rows, clock = align(session, raw, tmp_path / "aligned")
    assert np.mean([row.accepted for row in rows]) >= 0.9
    assert position_errors(session, [row for row in rows if row.accepted]).max() <= 0.55
    assert clock.offset_seconds == pytest.approx(session.truth.take("street_train").offset_seconds, abs=0.001)


def test_without_any_sign_of_the_offset_nothing_is_accepted(session, raw, tmp_path):
    for camera, fps in (("blurry", 25.0), ("sharp", 100.0)):
        rewrite(raw / "takes" / "street_train" / f"{camera}.mp4", fps=fps)
    rows, clock = align(session, raw, tmp_path / "aligned", sync="sound")
    assert clock is None
    assert {row.reason for row in rows} == {"no-clock"}


def test_windows_beyond_the_sharp_recording_are_out_of_range(session, raw, tmp_path):
    path = raw / "takes" / "street_train" / "sharp.mp4"
    frames = [frame.image for frame in iter_frames([path])][:50]
    sound = read_sound([path])
    rewrite(path, frames, dataclasses.replace(sound, samples=sound.samples[:24_000]), fps=100.0)
    rows, _ = align(session, raw, tmp_path / "aligned")
    n_positions = 2 * 49 + 1 - 6
    plan = session.truth.take("street_train")
    n_checked = 0
    for row in rows:
        true_position = session.truth.rig.true_position(plan, row.blurry_time)
        if true_position < n_positions - 2:
            assert row.accepted
        elif true_position > n_positions:
            n_checked += 1
            assert not row.accepted
            assert row.reason == "out-of-range"
            assert row.position == pytest.approx(true_position, abs=0.8)
    assert n_checked >= 3
    assert [row.blurry_index for row in rows] == list(range(15))


def write_with_gap(path, dropped):
    """Encode a recording anew without some of its frames, whose times stay empty."""
    frames = [frame.image for frame in iter_frames([path])]
    temporary = path.with_name("new.mp4")
    with av.open(temporary, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1
        stream.codec_context.time_base = Fraction(1, 25)
        for index, image in enumerate(frames):
            if index not in dropped:
                picture = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
                    format="yuv420p", dst_colorspace=1, src_color_range=2, dst_color_range=1
                )
                picture.pts, picture.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    temporary.replace(path)


def test_dropped_frames_do_not_shift_those_after_them(session, raw, tmp_path):
    write_with_gap(raw / "takes" / "street_train" / "blurry.mp4", (4, 5))
    rows, _ = align(session, raw, tmp_path / "aligned", sync="auto")
    assert len(rows) == 13
    assert [round(25 * row.blurry_time) for row in rows] == [0, 1, 2, 3, *range(6, 15)]
    assert np.mean([row.accepted for row in rows]) >= 0.9
    assert position_errors(session, [row for row in rows if row.accepted]).max() <= 0.55


def test_chapters_are_one_recording(session, raw, tmp_path):
    folder = raw / "takes" / "street_train"
    frames = [frame.image for frame in iter_frames([folder / "sharp.mp4"])]
    sound = read_sound([folder / "sharp.mp4"])
    for name, part, samples in (("1", frames[:40], sound.samples[:19_200]), ("2", frames[40:], sound.samples[19_200:])):
        write_video(folder / f"GX0{name}.MP4", part, 100.0, sound=Sound(samples, 48_000, 0.0), crf=12)
    (folder / "sharp.mp4").unlink()
    (folder / "take.yaml").write_text((folder / "take.yaml").read_text() + "sharp: [GX01.MP4, GX02.MP4]\n")
    rows, _ = align(session, raw, tmp_path / "aligned")
    assert np.mean([row.accepted for row in rows]) >= 0.9
    assert position_errors(session, [row for row in rows if row.accepted]).max() <= 0.55


def static_frames(session, n, which):
    rig = session.truth.rig
    scene = rig.scene(session.truth.take("street_train"))
    camera = rig.camera(which)
    light = camera.expose(scene, 0.0)
    rng = np.random.default_rng(which == "sharp")
    noise = [rng.normal(0, 1e-3, light.shape) for _ in range(n)]
    return [encode((light + one) * camera.aperture[..., None], "srgb") for one in noise]


@pytest.mark.parametrize("with_sound", [True, False])
def test_a_take_in_which_nothing_moves_is_not_accepted(session, raw, tmp_path, with_sound):
    for camera, fps in (("blurry", 25.0), ("sharp", 100.0)):
        path = raw / "takes" / "street_train" / f"{camera}.mp4"
        n = len(list(iter_frames([path])))
        rewrite(path, static_frames(session, n, camera), read_sound([path]) if with_sound else None, fps)
    rows, _ = align(session, raw, tmp_path / "aligned")
    assert not any(row.accepted for row in rows)
    assert {row.reason for row in rows} <= {"static", "no-clock"}
    with AlignedTakeReader(aligned_take_path(tmp_path / "aligned", "street_train")) as reader:
        assert len(reader) == 0


def test_cameras_that_saw_different_scenes_are_not_accepted(session, raw, tmp_path):
    other = dataclasses.replace(session.truth.take("street_train"), scene_seed=77)
    rig = session.truth.rig
    camera, scene = rig.blurry, rig.scene(other)
    frames = [
        encode(camera.expose(scene, float(seconds)) * camera.aperture[..., None], "srgb")
        for seconds in frame_times(rig, other, "blurry")
    ]
    path = raw / "takes" / "street_train" / "blurry.mp4"
    rewrite(path, frames, read_sound([path]))
    rows, _ = align(session, raw, tmp_path / "aligned")
    assert not any(row.accepted for row in rows)
    assert {row.reason for row in rows} <= {"no-clock", "low-psnr", "static"}


def test_one_spoilt_frame_is_left_out_and_nothing_else(session, raw, tmp_path):
    path = raw / "takes" / "street_train" / "blurry.mp4"
    frames = [frame.image for frame in iter_frames([path])]
    frames[6] = np.ascontiguousarray(np.resize(skimage_data.coffee()[:160, :192], frames[6].shape))
    # A frame of another time: it has a window of its own, which lies off the clock's line.
    frames[9] = frames[10]
    rewrite(path, frames, read_sound([path]))
    rows, _ = align(session, raw, tmp_path / "aligned")
    reasons = {row.blurry_index: row.reason for row in rows if not row.accepted}
    assert reasons == {6: "low-psnr", 9: "inconsistent"}
    assert position_errors(session, rows).max() <= 0.55, "the line places those, too"


def test_frames_of_another_size_are_named(session, raw, tmp_path):
    path = raw / "takes" / "street_train" / "sharp.mp4"
    rewrite(path, [frame.image[:-2] for frame in iter_frames([path])], fps=100.0)
    with pytest.raises(InputError, match=r"sharp\.mp4: its frames are 192x158; expected 192x160 as in the calibration"):
        run(raw, session.calibration, tmp_path / "aligned")
    assert not [name for name in all_bytes(tmp_path / "aligned") if name != "config.json"]


def test_a_sharp_recording_shorter_than_a_window_is_named(session, raw, tmp_path):
    path = raw / "takes" / "street_train" / "sharp.mp4"
    rewrite(path, [frame.image for frame in iter_frames([path])][:3], fps=100.0)
    with pytest.raises(InputError, match=r"sharp\.mp4: holds 3 frames; expected at least one whole window"):
        run(raw, session.calibration, tmp_path / "aligned")


def test_a_cut_recording_is_named(session, raw, tmp_path):
    path = raw / "takes" / "street_train" / "blurry.mp4"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"blurry\.mp4: .*cut short"):
        run(
            raw,
            session.calibration,
            tmp_path / "aligned",
            execution=Execution(executor=SerialExecutor(check_pickle=True)),
        )


def test_what_is_missing_is_named(session, raw, tmp_path):
    with pytest.raises(InputError, match=r"none\.json: there is no such file"):
        run(raw, tmp_path / "none.json", tmp_path / "aligned")
    assert not (tmp_path / "aligned").exists()


def test_linear_light_is_averaged(session, raw, tmp_path):
    # Under the wrong response the mean of the sharp frames explains the blur less well.
    right, _ = align(session, raw, tmp_path / "right")
    write_rig(raw / "rig.yaml", response="linear")
    wrong, _ = align(session, raw, tmp_path / "wrong")
    assert read_rig(raw / "rig.yaml").response == "linear"
    assert np.mean([row.psnr for row in right]) > np.mean([row.psnr for row in wrong]) + 0.3


def test_a_take_whose_files_changed_is_aligned_anew(brief_session, tmp_path):
    raw = copy_take(brief_session, tmp_path / "raw", "street_train")
    folder, out = raw / "takes" / "street_train", tmp_path / "out"
    align(brief_session, raw, out)
    path = aligned_take_path(out, "street_train")
    untouched = path.stat().st_mtime_ns
    align(brief_session, raw, out)
    assert path.stat().st_mtime_ns == untouched
    description = (folder / "take.yaml").read_text()
    (folder / "take.yaml").write_text(description.replace("split: train", "split: test"))
    align(brief_session, raw, out)
    with AlignedTakeReader(path) as reader:
        assert reader.split == "test"
    rewrite(folder / "blurry.mp4", pictures=[frame.image[:, ::-1] for frame in iter_frames([folder / "blurry.mp4"])])
    rows, _ = align(brief_session, raw, out)
    assert not any(row.accepted for row in rows)


def test_the_sharp_camera_s_plate_stands_in_for_the_blurry_one_s(brief_session, tmp_path):
    root = copy_take(brief_session, tmp_path / "raw", "hand_train")
    align(brief_session, root, tmp_path / "with")
    (root / "takes" / "hand_train" / "plate_blurry.png").unlink()
    align(brief_session, root, tmp_path / "without")
    plates = []
    for name in ("with", "without"):
        with AlignedTakeReader(aligned_take_path(tmp_path / name, "hand_train")) as reader:
            plates.append(reader.plate)
    assert psnr(*plates) > 35
