from itertools import pairwise

import cv2
import data_sets
import numpy as np
import pandas as pd
import pytest
from sessions import write_rig

from rb2v.artifacts import Crop
from rb2v.benchmark.truth.motion_truth import read_motion
from rb2v.benchmark.truth.reference import TruthRenderer
from rb2v.errors import InputError
from rb2v.io.encoder import write_video
from rb2v.shards import Provenance, ShardReader, ShardSample
from rb2v.simulator import SimulateConfig, simulate
from rb2v.stages.simulate_shards import SequencesConfig, run

COLUMNS = ["split", "take", "blurry_index", "motion_x_px", "motion_y_px"]
CROP = Crop(20, 10, 152, 140)
SIZE = (114, 105)


def write_samples(folder, samples, size=SIZE, crop=CROP, n_frames=7, rig="tiny"):
    """Write shards of (split, take, index, sharp) samples."""
    splits = {}
    for split in ("train", "test"):
        chosen = [
            ShardSample(sharp[0], sharp, np.eye(3, 4, dtype=np.float32), take, take, "street", index, -1, 40.0)
            for of_split, take, index, sharp in samples
            if of_split == split
        ]
        if chosen:
            splits[split] = [chosen]
    provenance = Provenance("0", {}, None, {}, "srgb")
    data_sets.write_samples(folder, splits, size, crop=crop, rig=rig, provenance=provenance, n_frames=n_frames)
    return folder


def blank(n_frames=7, size=SIZE):
    return np.zeros((n_frames, size[1], size[0], 3), np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("table") / "shards"
    run(out, SequencesConfig(train=5, test=3, size=32, per_scene=2))
    return out


@pytest.fixture(scope="module")
def session_shards(brief_session, tmp_path_factory):
    """Frames at the true positions, without errors of a pipeline."""
    samples = []
    for take in ("hand_train", "street_train"):
        renderer = TruthRenderer(brief_session.truth.rig, brief_session.truth.take(take), CROP, SIZE)
        for index in (1, 3):
            position = round(renderer.position(index / 25))
            samples.append(("train", take, index, np.stack([renderer.sharp(position + k) for k in range(7)])))
    return write_samples(tmp_path_factory.mktemp("shards") / "shards", samples)


class TestTable:
    @pytest.fixture
    def truth(self, made, tmp_path):
        """A copy of the truth, to be spoiled."""
        for name in ("motion.csv", "config.json"):
            (tmp_path / name).write_bytes((made.parent / "truth" / "shards" / name).read_bytes())
        return tmp_path

    @pytest.mark.parametrize("split", ["train", "test", None])
    def test_has_a_row_for_every_sample_of_the_reader(self, made, truth, split):
        reader = ShardReader(made, split)
        found = read_motion(truth, reader)
        assert found.columns.tolist() == COLUMNS
        expected = pd.read_csv(truth / "motion.csv")
        expected = expected if split is None else expected[expected["split"] == split].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected)
        assert found["take"].tolist() == reader.table["take"].tolist()

    def test_follows_the_reader_and_not_the_table(self, made, truth):
        path = truth / "motion.csv"
        before = read_motion(truth, ShardReader(made))
        head, *rows = path.read_text().splitlines()
        path.write_text("\n".join([head, *rows[::-1]]) + "\n")
        pd.testing.assert_frame_equal(read_motion(truth, ShardReader(made)), before)

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda lines: lines[:-1], r"motion.csv: tells nothing of frame 0 of take 'street-test-0001' of the test"),
            (lambda lines: [*lines, lines[1]], r"line 10 tells of frame 0 of take 'street-train-0000' once more"),
            (lambda lines: lines[1:], r"motion.csv: has other columns; expected split,take,blurry_index,motion_x_px"),
            (lambda lines: [], r"has other columns"),
            (lambda lines: [lines[0], "train,street-train-0000,0,1.5"], r"line 2 is 'train,street-train-0000,0,1.5'"),
            (lambda lines: [lines[0], "train,street-train-0000,0,1.5,nan"], r"line 2 is .*nan'; expected split,take"),
            (lambda lines: [lines[0], "train,street-train-0000,first,1.5,2"], r"line 2 is .*first"),
            (lambda lines: [lines[0], 'train,"street'], r"is not a table"),
        ],
    )
    def test_a_spoiled_table_is_named(self, made, truth, spoil, message):
        path = truth / "motion.csv"
        path.write_text("".join(f"{line}\n" for line in spoil(path.read_text().splitlines())))
        with pytest.raises(InputError, match=message):
            read_motion(truth, ShardReader(made))

    @pytest.mark.parametrize("changes", [{"seed": 1}, {"motion": "single"}, {"size": 40}])
    def test_that_of_another_data_set_with_the_same_takes_is_refused(self, made, tmp_path, changes):
        other = SequencesConfig(**{"train": 5, "test": 3, "size": 32, "per_scene": 2} | changes)
        run(tmp_path / "shards", other)
        read_motion(tmp_path / "truth" / "shards", ShardReader(tmp_path / "shards"))
        with pytest.raises(
            InputError, match=r"config\.json: config: is of another data set; expected that of .*shards"
        ):
            read_motion(tmp_path / "truth" / "shards", ShardReader(made))

    def test_a_truth_that_does_not_say_whose_it_is(self, made, truth):
        (truth / "config.json").unlink()
        with pytest.raises(InputError, match=r"config\.json: there is no such file"):
            read_motion(truth, ShardReader(made))

    def test_a_folder_without_truth_is_named(self, made, tmp_path):
        with pytest.raises(InputError, match=r"holds no truth; expected motion\.csv of .* or truth\.json of"):
            read_motion(tmp_path, ShardReader(made))


class TestSession:
    def test_has_a_row_for_every_sample(self, brief_session, session_shards):
        found = read_motion(brief_session.root / "truth", ShardReader(session_shards))
        assert found[COLUMNS[:3]].to_numpy().tolist() == [
            ["train", "hand_train", 1],
            ["train", "hand_train", 3],
            ["train", "street_train", 1],
            ["train", "street_train", 3],
        ]

    def test_is_the_motion_of_a_street(self, brief_session, session_shards):
        reader = ShardReader(session_shards)
        found = read_motion(brief_session.root / "truth", reader)[COLUMNS[3:]].to_numpy()
        flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        for index in (2, 3):
            gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in reader.read_sharp(index)]
            seen = np.sum([flow.calc(one, other, None).mean(axis=(0, 1)) for one, other in pairwise(gray)], axis=0)
            assert np.linalg.norm(found[index]) > 0.8
            assert np.linalg.norm(found[index] - seen) < 0.25 * np.linalg.norm(found[index])

    def test_before_a_green_screen_the_foreground_alone_moves(self, brief_session, session_shards):
        found = read_motion(brief_session.root / "truth", ShardReader(session_shards))[COLUMNS[3:]].to_numpy()
        renderer = TruthRenderer(brief_session.truth.rig, brief_session.truth.take("hand_train"), CROP, SIZE)
        y, x = np.mgrid[: SIZE[1], : SIZE[0]]
        for row, index in ((0, 1), (1, 3)):
            position = round(renderer.position(index / 25))
            alphas = [renderer.sharp_matte(position + k).alpha for k in (0, 6)]
            first, last = (np.array([np.average(x, weights=one), np.average(y, weights=one)]) for one in alphas)
            expected = (last - first) * np.mean(alphas)
            assert np.linalg.norm(expected) > 0.3
            assert np.linalg.norm(found[row] - expected) < 0.15 * np.linalg.norm(expected)

    def test_is_measured_in_pixels_of_the_frames(self, brief_session, session_shards, tmp_path):
        full = read_motion(brief_session.root / "truth", ShardReader(session_shards))[COLUMNS[3:]].to_numpy()
        samples = [
            ("train", take, index, blank(size=(57, 35))) for take in ("hand_train", "street_train") for index in (1, 3)
        ]
        half = write_samples(tmp_path / "half", samples, size=(57, 35))
        found = read_motion(brief_session.root / "truth", ShardReader(half))[COLUMNS[3:]].to_numpy()
        np.testing.assert_allclose(found, full * [57 / 114, 35 / 105], atol=0.02)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"take": "hand_test"},
                r"truth\.json: tells nothing of frame 1 of take 'hand_test'; expected every sample",
            ),
            ({"index": 9}, r"tells nothing of frame 9 of take 'hand_train'"),
            ({"index": -1}, r"tells nothing of frame -1 of take 'hand_train'"),
            ({"crop": Crop(100, 0, 114, 105)}, r"truth\.json: config\.size: is of 192x160 frames"),
            ({"rig": "other"}, r"truth\.json: config\.rig: is of 'tiny'; expected 'other' as in the data set"),
            ({"n_frames": 5}, r"truth\.json: config\.rig: is of a rig with 7 frames in a sequence; expected 5"),
        ],
    )
    def test_samples_of_another_session_are_named(self, brief_session, tmp_path, changes, message):
        values = {"take": "hand_train", "index": 1, "crop": CROP, "n_frames": 7, "rig": "tiny"} | changes
        sample = ("train", values["take"], values["index"], blank(values["n_frames"]))
        settings = {name: values[name] for name in ("crop", "n_frames", "rig")}
        shards = write_samples(tmp_path / "shards", [sample], **settings)
        with pytest.raises(InputError, match=message):
            read_motion(brief_session.root / "truth", ShardReader(shards))

    def test_of_a_clip_nobody_knows_it(self, tmp_path):
        clip = tmp_path / "clip.mp4"
        rng = np.random.default_rng(0)
        write_video(clip, rng.integers(0, 256, (60, 64, 64, 3), dtype=np.uint8), 30)
        rig = write_rig(tmp_path / "rig.yaml")
        simulate(tmp_path / "raw", SimulateConfig(rig=str(rig), size=(64, 64), noise=False), video=clip)
        sample = ("train", "clip_train", 0, blank(size=(32, 32)))
        shards = write_samples(tmp_path / "shards", [sample], size=(32, 32), crop=Crop(8, 8, 48, 48))
        found = read_motion(tmp_path / "truth", ShardReader(shards))
        assert found[COLUMNS[:3]].to_numpy().tolist() == [["train", "clip_train", 0]]
        assert found[COLUMNS[3:]].isna().to_numpy().all()
