import csv
import hashlib
import json
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from rb2v.core.color import encode, to_linear
from rb2v.core.metrics import psnr
from rb2v.errors import ConfigMismatchError, InputError
from rb2v.execution import SerialExecutor
from rb2v.io.encoder import write_video
from rb2v.io.picture_track import open_pictures
from rb2v.io.video import iter_images, iter_images_from, read_image, write_image
from rb2v.shards import ShardReader, read_manifest, verify
from rb2v.stages.synthesize import REJECTIONS, SynthesizeConfig, recommend, run
from rb2v.stages.synthesize.footage import Footage
from rb2v.stages.synthesize.gates import ClipMeasures, judge_sequences
from rb2v.stages.synthesize.layouts import LAYOUTS, Clip, find_clips

SIZE = (96, 80)  # width and height


def make_pan(n_frames, seed=0, step=3, size=SIZE):
    """Frames of a camera that pans over a texture by whole pixels."""
    width, height = size
    coarse = np.random.default_rng(seed).uniform(30, 225, (height // 8, (width + step * n_frames) // 8 + 1, 3))
    wall = cv2.resize(coarse.astype(np.uint8), (width + step * n_frames, height), interpolation=cv2.INTER_NEAREST)
    return [np.ascontiguousarray(wall[:, step * index : step * index + width]) for index in range(n_frames)]


def write_frames(folder, frames, first=0, name="{:08d}.png"):
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames, start=first):
        write_image(folder / name.format(index), frame)
    return folder


def write_steps(path, frames, seconds, metadata=None):
    """Write a video whose frames are shown at given times."""
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream("libx264", rate=1000, options={"crf": "10", "preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        stream.time_base = Fraction(1, 90_000)
        stream.codec_context.time_base = Fraction(1, 90_000)
        for frame, time in zip(frames, seconds, strict=True):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = round(90_000 * time), Fraction(1, 90_000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def rows_of(out):
    with (out / "synthesis.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def reasons_of(out):
    return [row["reason"] for row in rows_of(out)]


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def synthesize(source, out, **options):
    options = {"blur_samples": 7, "layout": "folders"} | options
    return run(source, out, SynthesizeConfig(**options), executor=SerialExecutor(check_pickle=True))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three clips of 29, 21 and 15 frames."""
    root = tmp_path_factory.mktemp("folders")
    for index, n_frames in enumerate((29, 21, 15)):
        write_frames(root / f"clip{index}", make_pan(n_frames, seed=index))
    return root


@pytest.fixture(scope="module")
def made(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "shards"
    synthesize(folders, out, shard_samples=3, shot_noise=0.05)
    return out


class TestSamples:
    def test_seven_recorded_frames_are_stored_as_they_are_and_averaged_as_light(self, folders, tmp_path):
        frames = make_pan(29)
        for response in ("srgb", 2.2, "linear"):
            out = tmp_path / str(response)
            synthesize(folders / "clip0", out, response=response)
            reader = ShardReader(out)
            assert len(reader) == 4
            for index in range(4):
                sample = reader.read(index)
                np.testing.assert_array_equal(sample.sharp, frames[7 * index : 7 * index + 7])
                light = np.mean([to_linear(frame, response) for frame in sample.sharp], axis=0)
                difference = sample.blurry.astype(int) - encode(light, response)
                assert np.abs(difference).max() <= 1
                assert (difference != 0).mean() < 0.01
                assert not sample.is_interpolated.any()
                assert (sample.take, sample.blurry_index, sample.position) == ("clip0", index, 7 * index)
                assert 57 < sample.psnr < 61  # nothing but rounding

    def test_four_frames_become_seven_whose_even_ones_are_recorded(self, tmp_path):
        frames = make_pan(12, step=2)
        write_frames(tmp_path / "reds" / "train" / "train_orig" / "000", frames)
        synthesize(tmp_path / "reds", tmp_path / "out", layout="reds", response="linear")
        reader = ShardReader(tmp_path / "out")
        assert reader.manifest.provenance.config["synthesize"]["upsampling"] == 2
        assert len(reader) == 3
        for index in range(3):
            sample = reader.read(index)
            np.testing.assert_array_equal(sample.sharp[::2], frames[4 * index : 4 * index + 4])
            assert sample.is_interpolated.tolist() == [False, True] * 3 + [False]
            assert sample.position == 8 * index
            # Half-way the wall has moved by one pixel.
            middle = np.roll(sample.sharp[0], -1, axis=1)
            assert psnr(sample.sharp[1][8:-8, 8:-8], middle[8:-8, 8:-8]) > 30
            mean = sample.sharp.astype(float).mean(axis=0)
            assert np.abs(sample.blurry - mean).max() <= 1.01

    def test_a_triplet_keeps_its_three_frames(self, tmp_path):
        frames = make_pan(3, step=3)
        write_frames(tmp_path / "v" / "sequences" / "00001" / "0001", frames, first=1, name="im{}.png")
        (tmp_path / "v" / "tri_testlist.txt").write_text("00001/0001\n\n")
        synthesize(tmp_path / "v", tmp_path / "out", layout="vimeo90k-triplet")
        sample = ShardReader(tmp_path / "out", "test").read(0)
        np.testing.assert_array_equal(sample.sharp[::3], frames)
        assert np.flatnonzero(~sample.is_interpolated).tolist() == [0, 3, 6]

    def test_an_edge_of_known_speed_gives_the_blur_of_the_continuous_exposure(self, tmp_path):
        n, begin, level = 65, 10, 50  # at which rounding to a level is half a thousandth of white
        frames = [np.zeros((16, 160, 3), np.uint8) for _ in range(n)]
        for index, frame in enumerate(frames):
            frame[:, : begin + index] = level
        write_frames(tmp_path / "edge", frames)
        synthesize(tmp_path / "edge", tmp_path / "out", frames_per_sequence=n, blur_samples=n, reject=False)
        # Each instant stands for the time about it: the edge moves from half a pixel before its first place to half a
        # pixel after the last. A pixel's light is the share of its area that the edge has passed, over time.
        places, start = np.arange(161), begin - 0.5
        passed = np.maximum(start + n - places, 0) ** 2 - np.maximum(start - places, 0) ** 2
        light = -np.diff(passed) / (2 * n) * to_linear(np.uint8([level]), "srgb")
        found = ShardReader(tmp_path / "out").read(0).blurry[..., 0]
        np.testing.assert_allclose(to_linear(found, "srgb"), np.broadcast_to(light, found.shape), atol=1e-3)

    def test_a_lamp_leaves_a_streak_that_clipping_first_would_lose(self, tmp_path):
        frames = [np.full((64, 64, 3), 40, np.uint8) for _ in range(7)]
        for index, frame in enumerate(frames):
            frame[30:33, 8 + 6 * index : 11 + 6 * index] = 255
        write_frames(tmp_path / "lamp", frames)
        sums = {}
        for saturation in (1.0, 6.0):
            synthesize(tmp_path / "lamp", tmp_path / str(saturation), saturation=saturation)
            sample = ShardReader(tmp_path / str(saturation)).read(0)
            np.testing.assert_array_equal(sample.sharp, frames)
            light = to_linear(sample.blurry, "srgb")
            sums[saturation] = float((light - to_linear(frames[0][:1, :1], "srgb"))[30:33, 8:47, 0].sum())
        dark = float(to_linear(frames[0][:1, :1, :1], "srgb").squeeze())
        lit = 9 * np.array([1 - dark, 6 - dark])
        assert list(sums.values()) == pytest.approx(lit, rel=0.02)

    @pytest.mark.parametrize(
        "options", [{"compression": "jpeg"}, {"compression": "h264"}, {"shot_noise": 0.02, "read_noise": 0.01}]
    )
    def test_losses_are_of_the_blurry_frame_alone(self, folders, tmp_path, options):
        synthesize(folders / "clip2", tmp_path / "clean")
        synthesize(folders / "clip2", tmp_path / "lossy", **options)
        clean, lossy = ShardReader(tmp_path / "clean").read(0), ShardReader(tmp_path / "lossy").read(0)
        np.testing.assert_array_equal(clean.sharp, lossy.sharp)
        assert 25 < psnr(clean.blurry, lossy.blurry) < 50
        assert lossy.psnr == pytest.approx(psnr(clean.blurry, lossy.blurry), abs=0.2)

    def test_the_exposure_is_the_middle_of_the_sequence(self, folders, tmp_path):
        synthesize(folders / "clip2", tmp_path / "out", exposure=0.333, blur_samples=3, frames_per_sequence=7)
        sample = ShardReader(tmp_path / "out").read(0)
        light = np.mean([to_linear(frame, "srgb") for frame in sample.sharp[2:5]], axis=0)
        assert psnr(sample.blurry[:, 8:-8], encode(light, "srgb")[:, 8:-8]) > 35

    def test_frames_are_cut_and_shrunk_in_light(self, folders, tmp_path):
        synthesize(folders / "clip2", tmp_path / "cut", output_size=(80, 80))
        cut = ShardReader(tmp_path / "cut").read(0)
        np.testing.assert_array_equal(cut.sharp[0], make_pan(15, seed=2)[0][:, 8:88])
        synthesize(folders / "clip2", tmp_path / "small", output_size=(40, 40))
        small = ShardReader(tmp_path / "small").read(0)
        light = to_linear(cut.sharp[0], "srgb").reshape(40, 2, 40, 2, 3).mean(axis=(1, 3))
        assert np.abs(encode(light, "srgb").astype(int) - small.sharp[0]).max() <= 1


class TestDataSet:
    def test_is_like_any_other(self, made):
        assert verify(made, read_all=True) == []
        manifest = read_manifest(made)
        assert manifest.rig == "synthesized"
        assert manifest.output_size == SIZE
        table = ShardReader(made).table
        assert set(table["subject"]) == {"clip0", "clip1", "clip2"}
        assert not set(ShardReader(made, "train").table["take"]) & set(ShardReader(made, "test").table["take"])

    def test_goes_on_where_it_was_and_gives_the_same_bytes(self, folders, made, tmp_path):
        config = SynthesizeConfig(layout="folders", blur_samples=7, shard_samples=3, shot_noise=0.05)
        out = tmp_path / "out"
        run(folders, out, config)
        assert digests(out) == digests(made)
        (out / "train-00001.h5").unlink()
        (out / "manifest.json").unlink()
        kept = (out / "train-00000.h5").stat().st_mtime_ns
        run(folders, out, config)
        assert digests(out) == digests(made)
        assert (out / "train-00000.h5").stat().st_mtime_ns == kept

    @pytest.mark.parametrize("found", ["whole", "cut short", "none"])
    def test_samples_made_while_clips_were_judged_are_taken_over_or_made_again(self, folders, made, tmp_path, found):
        class Stopping(SerialExecutor):
            """Stops after the clips are judged."""

            def map(self, fn, items):
                if any(tmp_path.rglob("part-*.json")):
                    raise KeyboardInterrupt
                yield from super().map(fn, items)

        config = SynthesizeConfig(layout="folders", blur_samples=7, shard_samples=3, shot_noise=0.05)
        out = tmp_path / "out"
        with pytest.raises(KeyboardInterrupt):
            run(folders, out, config, executor=Stopping())
        spools = sorted((out / "survey").glob("*.samples"))
        assert len(spools) == 3
        for spool in spools:
            if found == "none":
                spool.unlink()
            elif found == "cut short":
                spool.write_bytes(spool.read_bytes()[:-1000])
        run(folders, out, config)
        assert digests(out) == digests(made)
        assert not list(out.rglob("*.samples"))

    @pytest.mark.parametrize("stride", [3, 7, 9])
    def test_samples_are_the_same_however_many_frames_are_judged_at_once(self, tmp_path, monkeypatch, stride):
        frames = make_pan(40) + make_pan(12, seed=5)
        frames[12] = frames[11]
        frames[30:32] = [cv2.blur(frame, (9, 1)) for frame in frames[30:32]]
        write_frames(tmp_path / "c", frames)
        synthesize(tmp_path / "c", tmp_path / "at once", stride=stride)
        assert {"", "cut", "repeat", "blurred"} <= set(reasons_of(tmp_path / "at once"))
        monkeypatch.setattr("rb2v.stages.synthesize.spool._MAX_HELD", 1)
        synthesize(tmp_path / "c", tmp_path / "one by one", stride=stride)
        monkeypatch.setattr("rb2v.stages.synthesize.survey.count_workers", lambda executor: None)
        synthesize(tmp_path / "c", tmp_path / "decoded twice", stride=stride)
        assert digests(tmp_path / "at once") == digests(tmp_path / "one by one") == digests(tmp_path / "decoded twice")

    def test_few_samples_of_a_clip_are_made_alone(self, folders, made, tmp_path):
        # Those that are not wanted would have been rendered in vain: another way to the same samples.
        options = {"shard_samples": 3, "shot_noise": 0.05}
        synthesize(folders, tmp_path / "out", max_per_clip=4, **options)
        for name in ("train-00000.h5", "test-00000.h5"):
            assert digests(tmp_path / "out")[name] == digests(made)[name]

    def test_noise_does_not_depend_on_the_shards(self, folders, made, tmp_path):
        synthesize(folders, tmp_path / "out", shard_samples=2, shot_noise=0.05)
        one, other = (
            {(s.take, s.blurry_index): s.blurry.tobytes() for s in ShardReader(folder).iterate(shuffle=False)}
            for folder in (made, tmp_path / "out")
        )
        assert one == other
        assert len(set(one.values())) == len(one)

    def test_another_configuration_or_source_is_named(self, folders, made, tmp_path):
        for options, key in (({"shot_noise": 0.04}, "shot_noise"), ({"stride": 5}, "stride")):
            with pytest.raises(ConfigMismatchError) as error:
                synthesize(folders, made, **{"shard_samples": 3, "shot_noise": 0.05} | options)
            assert error.value.key == f"config.synthesize.{key}"

    def test_strides_and_limits_choose_sequences(self, folders, tmp_path):
        synthesize(folders / "clip0", tmp_path / "dense", stride=2)
        assert ShardReader(tmp_path / "dense").table["position"].tolist() == list(range(0, 23, 2))
        made = synthesize(folders / "clip0", tmp_path / "few", stride=2, max_per_clip=3)
        assert ShardReader(tmp_path / "few").table["position"].tolist() == [4, 12, 20]
        assert [(clip.accepted, clip.surplus) for clip in made.clips] == [(3, 9)]
        assert sorted(set(reasons_of(tmp_path / "few"))) == ["", "surplus"]

    def test_splits_are_as_published_or_seeded(self, tmp_path):
        for seed, name in enumerate(("train/a", "train/b", "test/c")):
            write_frames(tmp_path / "g" / name, make_pan(7, seed=seed), first=47, name="{:06d}.png")
        synthesize(tmp_path / "g", tmp_path / "published", layout="gopro")
        assert set(ShardReader(tmp_path / "published", "test").table["take"]) == {"test-c"}
        drawn = set()
        for seed in range(6):
            synthesize(tmp_path / "g", tmp_path / f"s{seed}", layout="gopro", split="seeded", seed=seed)
            (take,) = ShardReader(tmp_path / f"s{seed}", "test").table["take"]
            drawn.add(take)
        assert len(drawn) > 1

    def test_marks_survive_every_exchange(self, rb2v, tmp_path):
        write_frames(tmp_path / "reds" / "val" / "val_orig" / "000", make_pan(8))
        synthesize(tmp_path / "reds", tmp_path / "out", layout="reds", interpolator="linear")
        for layout in ("hypercut", "webdataset", "datasets"):
            exported, back = tmp_path / layout, tmp_path / f"{layout}-back"
            assert rb2v("export", tmp_path / "out", "--format", layout, "--out", exported).status == 0
            assert rb2v("import", exported, "--out", back, "--workers", 1).status == 0
            for index in range(2):
                marks = ShardReader(back, "test").read_marks(index)
                assert marks.tolist() == [False, True] * 3 + [False], layout
            assert verify(back, read_all=True) == []


class TestRejections:
    def test_a_cut(self, tmp_path):
        write_frames(tmp_path / "c", make_pan(10) + make_pan(11, seed=5))
        synthesize(tmp_path / "c", tmp_path / "out")
        assert reasons_of(tmp_path / "out") == ["", "cut", ""]

    def test_repeated_frames(self, tmp_path):
        frames = make_pan(42)
        frames[17] = frames[16]
        write_frames(tmp_path / "c", frames)
        synthesize(tmp_path / "c", tmp_path / "out")
        assert reasons_of(tmp_path / "out") == ["", "", "repeat", "", "", ""]

    def test_thirty_frames_in_sixty(self, tmp_path):
        write_frames(tmp_path / "c", [frame for frame in make_pan(14) for _ in range(2)])
        with pytest.raises(InputError) as error:
            synthesize(tmp_path / "c", tmp_path / "out")
        assert "4 of 4 sequences are rejected as repeat" in error.value.problem
        # Nothing is left that a run with another configuration would have to be told of.
        synthesize(tmp_path / "c", tmp_path / "out", keep=("repeat",))
        assert reasons_of(tmp_path / "out") == [""] * 4

    def test_a_still_stretch(self, tmp_path):
        frames = make_pan(14)
        write_frames(tmp_path / "c", frames[:7] + [frames[7]] * 7 + frames[7:])
        synthesize(tmp_path / "c", tmp_path / "out")
        assert reasons_of(tmp_path / "out") == ["", "static", ""]

    def test_frames_that_are_blurred_themselves(self, tmp_path):
        frames = make_pan(28)
        frames[15:17] = [cv2.blur(frame, (9, 1)) for frame in frames[15:17]]
        write_frames(tmp_path / "c", frames)
        synthesize(tmp_path / "c", tmp_path / "out")
        assert reasons_of(tmp_path / "out") == ["", "", "blurred", ""]

    def test_black_bars(self, tmp_path):
        barred = [cv2.copyMakeBorder(frame[10:-10], 10, 10, 0, 0, cv2.BORDER_CONSTANT) for frame in make_pan(7)]
        write_frames(tmp_path / "c", barred + make_pan(7, seed=9))
        synthesize(tmp_path / "c", tmp_path / "out")
        assert reasons_of(tmp_path / "out") == ["bars", ""]
        synthesize(tmp_path / "c", tmp_path / "kept", keep=("bars",))
        assert reasons_of(tmp_path / "kept") == ["", ""]
        # What is cut away is no matter.
        synthesize(tmp_path / "c", tmp_path / "cut", output_size=(96, 60))
        assert reasons_of(tmp_path / "cut") == ["", ""]

    def test_uneven_times(self, tmp_path):
        steps = [1 / 120] * 9 + [1 / 40] + [1 / 120] * 10
        path = write_steps(tmp_path / "c.mp4", make_pan(21), np.cumsum([0, *steps]))
        synthesize(path, tmp_path / "out", layout="clips")
        assert reasons_of(tmp_path / "out") == ["", "variable-rate", ""]

    def test_a_stretch_of_slow_motion(self, tmp_path):
        steps = [1 / 120] * 13 + [1 / 30] * 7
        path = write_steps(tmp_path / "c.mp4", make_pan(21), np.cumsum([0, *steps]))
        synthesize(path, tmp_path / "out", layout="clips")
        assert reasons_of(tmp_path / "out") == ["", "", "slow-motion"]

    def test_a_container_that_plays_slower_than_it_was_recorded_is_taken_at_its_capture_rate(self, tmp_path):
        path = write_steps(tmp_path / "c.mp4", make_pan(14), np.arange(14) / 30)
        (plain,) = synthesize(path, tmp_path / "plain", layout="clips").clips
        (told,) = synthesize(path, tmp_path / "told", layout="clips", fps=240).clips
        assert (plain.fps, plain.stored_fps) == pytest.approx((30, 30), rel=1e-3)
        assert (told.fps, told.stored_fps) == pytest.approx((240, 30), rel=1e-3)
        assert float(rows_of(tmp_path / "told")[1]["time"]) == pytest.approx(7 / 240, abs=1e-4)

    @pytest.mark.parametrize("layout", ["folders", "clips"])
    def test_nothing_is_looked_at_where_nothing_is_rejected(self, tmp_path, layout):
        frames = make_pan(7) + [make_pan(1, seed=3)[0]] * 7
        write_frames(tmp_path / "c", frames)
        source = tmp_path / "c"
        if layout == "clips":
            source = write_video(tmp_path / "c.mp4", frames, 240)
        (clip,) = synthesize(source, tmp_path / "out", layout=layout, reject=False).clips
        assert (clip.frames, clip.accepted) == (14, 2)
        assert [row["motion_levels"] for row in rows_of(tmp_path / "out")] == ["", ""]
        assert len(ShardReader(tmp_path / "out")) == 2

    def test_every_reason_can_be_kept(self, tmp_path):
        write_frames(tmp_path / "c", make_pan(7) + [make_pan(1, seed=3)[0]] * 7)
        synthesize(tmp_path / "c", tmp_path / "out", keep=tuple(REJECTIONS))
        assert reasons_of(tmp_path / "out") == ["", ""]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "pan.mp4"
    return write_video(path, make_pan(140, step=1), 240, crf=12)


class TestVideos:
    def test_frames_are_those_of_the_decoder(self, video, tmp_path):
        synthesize(video, tmp_path / "out", layout="clips", shard_samples=4)
        decoded = [image.rgb() for _, image in iter_images([video])]
        reader = ShardReader(tmp_path / "out")
        assert len(reader) == 20
        for index in range(20):
            np.testing.assert_array_equal(reader.read_sharp(index), decoded[7 * index : 7 * index + 7])

    def test_decoding_from_a_frame_on_gives_the_same_frames(self, video):
        shown = [(time, image.luma.tobytes()) for time, image in iter_images([video])]
        for index in (0, 1, 17, 90, 139):
            found = [(time, image.luma.tobytes()) for time, image in iter_images_from(video, shown[index][0])]
            assert found == shown[index:]
        with pytest.raises(InputError) as error:
            next(iter_images_from(video, 17.0))
        assert error.value.source == str(video)

    def test_a_folder_of_videos_is_split_by_its_folders(self, video, tmp_path):
        for name in ("train/one.mp4", "test/two.mp4"):
            (tmp_path / "v" / name).parent.mkdir(parents=True)
            (tmp_path / "v" / name).write_bytes(video.read_bytes())
        synthesize(tmp_path / "v", tmp_path / "out", layout="clips", max_per_clip=2)
        assert set(ShardReader(tmp_path / "out", "test").table["take"]) == {"test-two"}

    def test_adobe240_takes_its_lists(self, video, tmp_path):
        root = tmp_path / "adobe" / "original_high_fps_videos"
        root.mkdir(parents=True)
        for name in ("a.mov", "b.MOV", "c.m4v"):
            (root / name).write_bytes(video.read_bytes())
        (root.parent / "adobe240fps_folder_train.txt").write_text("a\n")
        (root.parent / "adobe240fps_folder_test.txt").write_text("c\n")
        found = {clip.name: clip.split for clip in find_clips(root.parent, "adobe240")}
        assert found == {"a": "train", "c": "test"}
        (root.parent / "adobe240fps_folder_test.txt").write_text("c\nd\n")
        with pytest.raises(InputError) as error:
            find_clips(root.parent, "adobe240")
        assert (error.value.source, error.value.key) == (
            str(root.parent / "adobe240fps_folder_test.txt"),
            "line 2",
        )


class TestRealClips:
    def test_a_clip_of_240_frames_a_second_stored_at_30(self, shared_data, tmp_path):
        (clip,) = synthesize(shared_data / "highspeed" / "pan_240fps.mp4", tmp_path / "out", layout="clips").clips
        assert (clip.fps, clip.stored_fps) == pytest.approx((240, 30), rel=0.01)
        assert (clip.frames, clip.sequences, clip.accepted) == (63, 9, 9)

    def test_a_turned_phone_clip_of_uneven_steps(self, shared_data):
        source = shared_data / "highspeed" / "phone_4k60_vfr.mp4"
        _, _, image = next(Footage(Clip("phone", source)).frames())
        assert image.shape == (3840, 2160, 3)
        # The steps vary by 7 %, which moves no instant of a blur by a tenth of a frame.
        with open_pictures(source) as track:
            times, _ = track.read_packets()
        n = len(times)
        assert n == 18
        measures = ClipMeasures(
            times=np.sort(times),
            tick_seconds=track.tick_seconds,
            differences=np.full(n - 1, 9.0),
            spans=np.full(n - 6, 9.0),
            cuts=np.zeros(n - 1, bool),
            sharpness=np.ones(n),
            bars=np.zeros((n, 4), int),
        )
        assert [one.reason for one in judge_sequences(measures, SynthesizeConfig())] == ["", ""]
        strict = judge_sequences(measures, SynthesizeConfig(max_jitter=0.01))
        assert {one.reason for one in strict} == {"variable-rate"}

    def test_a_gap_is_a_variable_rate(self, shared_data, tmp_path):
        source = shared_data / "highspeed" / "still_240fps_gap.mp4"
        with pytest.raises(InputError) as error:
            synthesize(source, tmp_path / "out", layout="clips", output_size=(128, 72))
        assert "variable-rate" in error.value.problem
        assert not (tmp_path / "out" / "manifest.json").exists()


class TestBadInput:
    def break_gap(self, root):
        folder = write_frames(root / "c", make_pan(9))
        (folder / "00000004.png").unlink()
        return {"layout": "folders"}, folder, None

    def break_size(self, root):
        folder = write_frames(root / "c", make_pan(9))
        write_image(folder / "00000005.png", make_pan(1, size=(64, 64))[0])
        return {"layout": "folders"}, folder / "00000005.png", None

    def break_sizes_of_clips(self, root):
        write_frames(root / "a", make_pan(7))
        write_frames(root / "b", make_pan(7, size=(64, 64)))
        return {"layout": "folders"}, root, "output_size"

    def break_number_twice(self, root):
        folder = write_frames(root / "c", make_pan(9))
        write_image(folder / "4.png", make_pan(1)[0])
        return {"layout": "folders"}, folder, None

    def break_names(self, root):
        folder = write_frames(root / "c", make_pan(9))
        write_image(folder / "cover.png", make_pan(1)[0])
        return {"layout": "folders"}, folder / "cover.png", None

    def break_frame(self, root):
        folder = write_frames(root / "c", make_pan(9))
        path = folder / "00000003.png"
        path.write_bytes(path.read_bytes()[:200])
        return {"layout": "folders"}, path, None

    def break_list(self, root):
        write_frames(root / "sequences" / "00001" / "0001", make_pan(3), first=1, name="im{}.png")
        (root / "tri_trainlist.txt").write_text("00001/0001\n00001/0002\n")
        return {"layout": "vimeo90k-triplet"}, root / "tri_trainlist.txt", "line 2"

    def break_adobe_lists(self, root):
        write_frames(root / "a", make_pan(7))
        for name in ("train", "test"):
            (root / f"adobe240fps_folder_{name}.txt").write_text("\ufeffa\n")
        return {"layout": "adobe240"}, root / "adobe240fps_folder_test.txt", "line 1"

    def break_list_path(self, root):
        root.mkdir()
        (root / "tri_trainlist.txt").write_text("../elsewhere\n")
        return {"layout": "vimeo90k-triplet"}, root / "tri_trainlist.txt", "line 1"

    def break_list_twice(self, root):
        write_frames(root / "sequences" / "00001" / "0001", make_pan(3), first=1, name="im{}.png")
        for name in ("tri_trainlist.txt", "tri_testlist.txt"):
            (root / name).write_text("00001/0001\n")
        return {"layout": "vimeo90k-triplet"}, root / "tri_testlist.txt", "line 1"

    def break_layout(self, root):
        write_frames(root / "c", make_pan(9))
        return {"layout": "reds"}, root, None

    def break_gopro_release(self, root):
        write_frames(root / "train" / "GOPR0" / "sharp", make_pan(9))
        return {"layout": "gopro"}, root / "train" / "GOPR0", None

    def break_short(self, root):
        write_frames(root / "c", make_pan(6))
        return {"layout": "folders"}, root, None

    def break_large(self, root):
        write_frames(root / "c", make_pan(9))
        return {"layout": "folders", "output_size": (448, 448)}, root / "c", None

    def break_rate(self, root):
        root.mkdir()
        path = write_video(root / "c.mp4", make_pan(9), 240)
        return {"layout": "clips", "fps": 25.0}, path, "fps"

    def break_stated_rate(self, root):
        root.mkdir()
        stated = {"com.android.capture.fps": "240"}
        path = root / "c.mp4"
        with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as container:
            container.metadata.update(stated)
            stream = container.add_stream("libx264", rate=30)
            stream.height, stream.width, stream.pix_fmt = 80, 96, "yuv420p"
            for frame in make_pan(9):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
        return {"layout": "clips", "fps": 120.0}, path, "fps"

    def break_video(self, root):
        root.mkdir()
        path = write_video(root / "c.mp4", make_pan(9), 240)
        path.write_bytes(path.read_bytes()[:2000])
        return {"layout": "clips"}, path, None

    def break_missing(self, root):
        return {"layout": "clips"}, root, None

    def break_empty(self, root):
        root.mkdir()
        return {"layout": "clips"}, root, None

    def break_names_alike(self, root):
        for name in ("a b", "a_b"):
            write_frames(root / name, make_pan(7))
        return {"layout": "folders"}, root, None

    def break_splits(self, root):
        for name in ("train/a", "b"):
            write_frames(root / name, make_pan(7))
        return {"layout": "folders"}, root, "split"

    @pytest.mark.parametrize("fault", [name for name in dir() if name.startswith("break_")])
    def test_is_named_and_nothing_is_written(self, tmp_path, fault):
        options, source, key = getattr(self, fault)(tmp_path / "source")
        options |= {"reject": fault != "break_size"}  # which is then found without a look at the frames
        with pytest.raises(InputError) as error:
            synthesize(tmp_path / "source", tmp_path / "out", **options)
        assert (error.value.source, error.value.key) == (str(source), key)
        assert {path.name for path in tmp_path.glob("out/*")} <= {"config.json"}

    def test_a_frame_that_is_found_damaged_late_leaves_nothing_either(self, tmp_path):
        folder = write_frames(tmp_path / "c", make_pan(9))
        path = folder / "00000003.png"
        sound = path.read_bytes()
        path.write_bytes(sound[:-40])
        with pytest.raises(InputError) as error:
            synthesize(folder, tmp_path / "out", reject=False)
        assert error.value.source == str(path)
        path.write_bytes(sound)
        synthesize(folder, tmp_path / "out", reject=False)
        assert verify(tmp_path / "out") == []

    @pytest.mark.parametrize(
        ("options", "key"),
        [
            ({"blur_samples": 8}, "blur_samples"),
            ({"frames_per_sequence": 6}, "frames_per_sequence"),
            ({"upsampling": 4}, "upsampling"),
            ({"layout": "vimeo90k-triplet", "upsampling": 2}, "upsampling"),
            ({"exposure": 1.5}, "exposure"),
            ({"saturation": 0.5}, "saturation"),
            ({"keep": ("nothing",)}, "keep.0"),
            ({"layout": "davis"}, "layout"),
        ],
    )
    def test_options_that_cannot_be(self, options, key):
        with pytest.raises(InputError) as error:
            SynthesizeConfig(**options)
        assert error.value.key == key


class TestCommand:
    def test_counts_what_was_rejected(self, rb2v, tmp_path):
        write_frames(tmp_path / "c" / "one", make_pan(14))
        write_frames(tmp_path / "c" / "two", make_pan(10, seed=1) + make_pan(11, seed=5))
        options = ("--layout", "folders", "--preset", "jin", "--workers", 1)
        outcome = rb2v("synthesize", tmp_path / "c", "--out", tmp_path / "out", *options)
        assert outcome.status == 0, outcome.output
        assert "cut: 1" in outcome.out
        config = json.loads((tmp_path / "out" / "manifest.json").read_text())["provenance"]["config"]["synthesize"]
        assert (config["blur_samples"], config["response"], config["rejected"]) == (7, "linear", {"cut": 1})
        assert rb2v("verify", tmp_path / "out").status == 0
        assert rb2v("inspect", tmp_path / "out").status == 0

    def test_wrong_input_is_one_message(self, rb2v, tmp_path):
        outcome = rb2v("synthesize", tmp_path / "no", "--out", tmp_path / "out")
        assert outcome.status == 2
        assert outcome.err.count("\n") == 1
        assert not (tmp_path / "out").exists()

    def test_what_is_given_prevails_over_a_preset(self):
        config = recommend("gopro", blur_samples=9, response=None)
        assert (config.blur_samples, config.response, config.sharp_per_recorded) == (9, 2.2, 1)
        with pytest.raises(InputError):
            recommend("none")


def test_every_layout_has_its_defaults():
    from rb2v.stages.synthesize.config import LAYOUT_DEFAULTS

    assert set(LAYOUT_DEFAULTS) == set(LAYOUTS)


def test_frames_read_back_are_those_written(folders):
    np.testing.assert_array_equal(read_image(folders / "clip0" / "00000000.png"), make_pan(29)[0])
