import hashlib

import numpy as np
import pandas as pd
import pytest
from executors import LastFirstExecutor

from rb2v.core.color import encode, to_linear
from rb2v.core.metrics import psnr
from rb2v.core.motion_classes import classes_of_flow
from rb2v.errors import ConfigMismatchError, InputError
from rb2v.execution import SerialExecutor
from rb2v.io.video import write_image
from rb2v.shards import ShardReader, read_manifest, verify
from rb2v.shards.displacement_table import DisplacementReader
from rb2v.shards.guidance_table import GuidanceReader
from rb2v.simulator.sequences import build_take, split_photos
from rb2v.simulator.textures import list_photos
from rb2v.stages import guidance, simulate_shards
from rb2v.stages.simulate_shards import SequencesConfig, run

CONFIG = SequencesConfig(train=14, test=5, size=32, per_scene=4, seed=3)
OPPOSED = SequencesConfig("opposed", train=8, test=4, size=48, per_scene=2)


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of 5 samples, so that takes of 4 lie across them."""
    monkeypatch.setattr(simulate_shards, "SHARD_SAMPLES", 5)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "shards"
    run(out, CONFIG, executor=SerialExecutor(check_pickle=True))
    return out


@pytest.fixture(scope="module")
def opposed(tmp_path_factory):
    out = tmp_path_factory.mktemp("opposed") / "shards"
    run(out, OPPOSED)
    return out


def digests(*folders):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for one in folders for path in one.iterdir()}


def truth_of(out):
    return out.parent / "truth" / out.name


def write_photos(folder, colors):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index, color in enumerate(colors):
        lightness = rng.uniform(0.5, 1, (64, 80, 1))
        write_image(folder / f"{index}.png", (lightness * color).astype(np.uint8))
    return folder


class TestDataSet:
    def test_says_of_every_sample_where_it_comes_from(self, made):
        table = ShardReader(made).table
        names = [f"street-train-{index // 4:04d}" for index in range(14)]
        names += [f"street-test-{index // 4:04d}" for index in range(5)]
        assert table["take"].tolist() == table["subject"].tolist() == names
        assert table["blurry_index"].tolist() == [index % 4 for index in (*range(14), *range(5))]
        assert set(table["category"]) == {"street"}
        assert not table[["position", "order"]].to_numpy().any()
        assert verify(made) == []

    def test_psnr_is_that_of_the_sharp_frames_own_blur(self, made):
        reader = ShardReader(made)
        for index in (0, 9, 18):
            sample = reader.read(index)
            np.testing.assert_array_equal(sample.color, np.eye(3, 4))
            light = np.stack([to_linear(frame, "srgb") for frame in sample.sharp])
            blur = np.average(light, axis=0, weights=[2, 3, 3, 3, 3, 3, 2])
            assert sample.psnr == pytest.approx(psnr(encode(blur, "srgb"), sample.blurry), abs=0.02)
            assert 35 < sample.psnr < 55

    def test_frames_and_truth_are_those_of_the_takes(self, made):
        reader, truth = ShardReader(made), pd.read_csv(truth_of(made) / "motion.csv")
        assert truth.columns.tolist() == ["split", "take", "blurry_index", "motion_x_px", "motion_y_px"]
        assert truth["take"].tolist() == reader.table["take"].tolist()
        assert truth["blurry_index"].tolist() == reader.table["blurry_index"].tolist()
        assert truth["split"].tolist() == ["train"] * 14 + ["test"] * 5
        for row, split, take, index in ((6, "train", 1, 2), (18, "test", 1, 0)):
            simulated = build_take(CONFIG, split_photos(list_photos(more=True), split), split, take)
            np.testing.assert_array_equal(reader.read(row).sharp, simulated.render(index).sharp)
            motion = truth.loc[row, ["motion_x_px", "motion_y_px"]].to_numpy(float)
            np.testing.assert_allclose(motion, simulated.motion_px(index), atol=1e-6)

    def test_nothing_of_the_truth_lies_in_the_data(self, made):
        assert sorted(path.name for path in made.iterdir()) == [
            "config.json",
            "manifest.json",
            "test-00000.h5",
            "train-00000.h5",
        ]

    def test_provenance_has_the_settings_the_seed_and_the_photographs(self, made):
        provenance = read_manifest(made).provenance
        settings = provenance.config["simulate_shards"]
        assert provenance.seeds == {"simulate_shards": 3}
        assert {name: settings[name] for name in ("motion", "train", "size", "per_scene")} == {
            "motion": "mixed",
            "train": 14,
            "size": 32,
            "per_scene": 4,
        }
        train, test = (settings["photos"][split] for split in ("train", "test"))
        assert {*train, *test} == {path.name for path in list_photos(more=True)}
        assert not set(train.values()) & set(test.values())

    def test_test_pictures_show_nothing_of_training_photographs(self, tmp_path):
        photos = write_photos(tmp_path / "photos", [(200, 20, 20), (200, 20, 20), (20, 20, 200)])
        write_image(photos / "1.png", np.full((64, 64, 3), (150, 30, 30), np.uint8))
        run(tmp_path / "shards", CONFIG, photos_dir=photos)
        for split, channel in (("train", 0), ("test", 2)):
            reader = ShardReader(tmp_path / "shards", split)
            for index in range(len(reader)):
                sharp = reader.read_sharp(index).astype(int)
                assert (sharp[..., channel] > sharp[..., 2 - channel] + 40).all()

    def test_without_a_test_split(self, tmp_path):
        run(tmp_path / "shards", SequencesConfig("single", train=3, test=0, size=32))
        assert {name: entry.samples for name, entry in read_manifest(tmp_path / "shards").splits.items()} == {
            "train": 3,
            "test": 0,
        }


class TestOpposed:
    """Objects that move against each other, and the displacement of every pixel."""

    def test_the_truth_is_that_of_the_takes(self, opposed):
        reader = ShardReader(opposed)
        truth = DisplacementReader(truth_of(opposed), reader)
        for row, split, take, index in ((5, "train", 2, 1), (10, "test", 1, 0)):
            simulated = build_take(OPPOSED, split_photos(list_photos(more=True), split), split, take)
            np.testing.assert_allclose(truth.read(row).moved_px, simulated.displacement(index), atol=0.01)
            np.testing.assert_array_equal(truth.read(row).layers, simulated.layers(index))

    def test_much_of_what_moves_moves_against_the_rest(self, opposed):
        reader = ShardReader(opposed)
        truth = DisplacementReader(truth_of(opposed), reader)
        shares = []
        for index in range(len(reader)):
            moved = truth.read(index).moved_px
            moving = np.linalg.norm(moved, axis=-1) > 1
            shares.append((moved[moving] @ moved[moving].mean(axis=0) < 0).mean())
        assert np.mean(shares) > 0.2

    def test_truth_of_other_data_is_refused(self, opposed, made):
        with pytest.raises(InputError) as caught:
            DisplacementReader(truth_of(opposed), ShardReader(made))
        assert caught.value.key == "made_with"

    def test_guidance_by_the_truth_is_that_of_the_displacement(self, opposed, tmp_path):
        summary = guidance.run(opposed, tmp_path / "table.h5", truth=truth_of(opposed))
        assert summary.source.method == "truth"
        reader = ShardReader(opposed, "train")
        classes = GuidanceReader(tmp_path / "table.h5", reader).read(3)
        moved = DisplacementReader(truth_of(opposed), reader).read(3).moved_px
        means = moved.reshape(24, 2, 24, 2, 2).mean(axis=(1, 3))
        np.testing.assert_array_equal(classes, classes_of_flow(means, 1.0))


class TestRuns:
    def test_workers_write_the_same_bytes(self, small_shards, tmp_path):
        for name, executor in (("one", None), ("two", LastFirstExecutor())):
            run(tmp_path / name / "shards", CONFIG, executor=executor)
        one, two = (tmp_path / name / "shards" for name in ("one", "two"))
        assert digests(one, truth_of(one)) == digests(two, truth_of(two))
        assert [entry.samples for entry in read_manifest(one).splits["train"].shards] == [5, 5, 4]

    def test_samples_do_not_depend_on_how_they_are_cut_into_shards(self, made, small_shards, tmp_path):
        run(tmp_path / "shards", CONFIG)
        one, other = ShardReader(made), ShardReader(tmp_path / "shards")
        for index in range(len(one)):
            np.testing.assert_array_equal(one.read(index).sharp, other.read(index).sharp)
        assert (truth_of(made) / "motion.csv").read_bytes() == (
            truth_of(tmp_path / "shards") / "motion.csv"
        ).read_bytes()

    def test_goes_on_where_a_killed_run_was(self, small_shards, tmp_path):
        class Killed(Exception):
            pass

        def stop(done, total, label):
            assert total == 19
            if label == "writing samples" and done >= 10:
                raise Killed

        out = tmp_path / "shards"
        with pytest.raises(Killed):
            run(out, CONFIG, progress=stop)
        assert not (out / "manifest.json").exists()
        written = {path: path.stat().st_mtime_ns for path in out.glob("*.h5")}
        assert len(written) == 2
        run(out, CONFIG)
        assert {path: path.stat().st_mtime_ns for path in written} == written
        run(tmp_path / "whole" / "shards", CONFIG)
        whole = tmp_path / "whole" / "shards"
        assert digests(out, truth_of(out)) == digests(whole, truth_of(whole))

    @pytest.mark.parametrize(
        "damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-9])]
    )
    def test_truth_that_was_lost_is_written_again(self, tmp_path, damage):
        out = tmp_path / "shards"
        config = SequencesConfig(train=2, test=1, size=32)
        run(out, config)
        before = digests(truth_of(out))
        damage(truth_of(out) / "motion.csv")
        run(out, config)
        assert digests(truth_of(out)) == before

    def test_what_is_there_is_not_measured_again(self, tmp_path, monkeypatch):
        out = tmp_path / "shards"
        config = SequencesConfig(train=2, test=1, size=32)
        shown = []
        run(out, config, progress=lambda *step: shown.append(step))
        assert shown == [
            *((2, 3, "measuring motion"), (3, 3, "measuring motion")),
            *((2, 3, "writing samples"), (3, 3, "writing samples")),
        ]
        written = truth_of(out) / "motion.csv"
        before = written.stat().st_mtime_ns

        def build_take(*_):
            raise AssertionError("a take was built")

        monkeypatch.setattr(simulate_shards, "build_take", build_take)
        run(out, config, progress=lambda *step: shown.append(step))
        assert [label for *_, label in shown[4:]] == ["writing samples"] * 2
        assert written.stat().st_mtime_ns == before

    def test_another_configuration_is_refused(self, made):
        before = digests(made, truth_of(made))
        with pytest.raises(
            ConfigMismatchError, match=r"simulate_shards\.size: the folder was made with 32, this run has 48"
        ):
            run(made, SequencesConfig(train=14, test=5, size=48, per_scene=4, seed=3))
        assert digests(made, truth_of(made)) == before

    def test_truth_of_another_data_set_is_kept(self, tmp_path):
        out = tmp_path / "shards"
        run(out, SequencesConfig(train=2, test=1, size=32))
        out.rename(tmp_path / "moved")
        before = digests(truth_of(out))
        with pytest.raises(ConfigMismatchError, match=r"truth/shards/config.json: .*seed"):
            run(out, SequencesConfig(train=2, test=1, size=32, seed=1))
        assert digests(truth_of(out)) == before
        assert not list(out.glob("*.h5"))

    @pytest.mark.parametrize(
        ("colors", "message"),
        [
            ([], "holds no image"),
            ([(200, 20, 20)], "holds one image; expected two or more"),
        ],
    )
    def test_photographs_that_two_splits_cannot_share_out(self, tmp_path, colors, message):
        photos = write_photos(tmp_path / "photos", colors)
        with pytest.raises(InputError, match=message):
            run(tmp_path / "shards", CONFIG, photos_dir=photos)
        assert not (tmp_path / "shards").exists()

    def test_copies_of_a_photograph_are_one(self, tmp_path):
        photos = write_photos(tmp_path / "photos", [(200, 20, 20)])
        for index in (1, 2):
            (photos / f"{index}.png").write_bytes((photos / "0.png").read_bytes())
        with pytest.raises(InputError, match="holds one image"):
            run(tmp_path / "shards", CONFIG, photos_dir=photos)

    def test_a_folder_whose_truth_would_lie_within_it_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="expected another name than 'truth'"):
            run(tmp_path / "truth", CONFIG)
        assert not (tmp_path / "truth").exists()


class TestCommand:
    def test_writes_what_can_be_verified(self, rb2v, tmp_path):
        out = tmp_path / "set" / "shards"
        options = "--motion single --train 3 --test 2 --size 40 --seed 5 --workers 1"
        status, printed, errors = rb2v("simulate-shards", "--out", out, *options.split())
        assert (status, errors) == (0, "")
        assert "train: 3 samples in 1 shard" in printed
        assert f"truth: {tmp_path}/set/truth/shards/motion.csv" in printed
        assert rb2v("verify", out)[0] == 0
        settings = read_manifest(out).provenance.config["simulate_shards"]
        assert [settings[name] for name in ("motion", "train", "test", "size", "seed")] == ["single", 3, 2, 40, 5]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("--train 0", "--train: 0 is out of range; expected at least 1"),
            ("--size 2000", "--size: 2000 is out of range; expected at most 1024"),
            ("--photos nowhere", "nowhere: is not a folder"),
        ],
    )
    def test_a_mistake_is_one_message(self, rb2v, tmp_path, monkeypatch, options, message):
        monkeypatch.chdir(tmp_path)
        status, _, errors = rb2v("simulate-shards", "--out", tmp_path / "shards", "--workers", 1, *options.split())
        assert status == 2
        assert message in errors
        assert not (tmp_path / "shards").exists()
