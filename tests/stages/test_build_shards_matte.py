"""Green screens in build-shards: which matter, which samples, and what is stored of their composites."""

import hashlib
import json
import math

import h5py
import numpy as np
import pytest
from test_align_matte import HalvingMatting
from test_build_shards import add_take, all_bytes, finish, make_disc

from rb2v.core.color import to_linear
from rb2v.core.compositing import blur_residual_psnr
from rb2v.errors import InputError, Rb2vError
from rb2v.execution import SerialExecutor
from rb2v.io.aligned import AlignedSample, aligned_take_path
from rb2v.io.store import read_alignment
from rb2v.io.video import write_image
from rb2v.matting import MATTING_METHODS, Matte
from rb2v.shards import ShardReader, verify
from rb2v.stages.build_shards import BuildShardsConfig, run

MOST_QUANTIZATION = 2 * 0.5 / 255 * 2.4 / 1.055
"""How far the mean of sharp frames may move from the blurry one, in linear light, because both are 8-bit sRGB."""


def make_aligned(folder, config=None, composite_psnr=None):
    """A street and two hand takes, of which the first has a sample that is not what eq. (1) says."""
    rng = np.random.default_rng(5)
    samples = [make_disc(rng, 12 + index) for index in range(4)]
    samples[2] = AlignedSample(samples[0].sharp[0], samples[2].sharp)
    names = [
        add_take(folder, "take-g", "gina", category="hand", green_screen=True, n_samples=4, samples=samples),
        add_take(folder, "take-h", "hugo", category="hand", green_screen=True, split="test"),
        add_take(folder, "take-s", "sara"),
    ]
    for name in names[:2]:
        with h5py.File(aligned_take_path(folder, name), "a") as file:
            if composite_psnr is None:
                del file["frames/composite_psnr"]  # as in files of older versions
            else:
                file["frames/composite_psnr"][...] = composite_psnr
    return finish(folder, names, config=config or {})


class EmptyMatting:
    """A matting method that finds no foreground."""

    needs = "nothing"

    def __init__(self, weights):
        assert weights is None

    def fit(self, frames, response, plate=None):
        return self

    def matte(self, sharp, blurry):
        nothing = [Matte(np.zeros(frame.shape[:-1]), np.zeros(frame.shape)) for frame in (sharp, blurry)]
        return nothing[0], nothing[1]


def kept_of(shards, take="take-g"):
    table = ShardReader(shards).table
    return table["blurry_index"][table["take"] == take].tolist()


def left_out_of(shards):
    return ShardReader(shards).manifest.provenance.config["build_shards"]["left_out"]


@pytest.fixture
def halving(monkeypatch, tmp_path):
    """Files of weights for the matting method 'background', in whose place `HalvingMatting` is."""
    monkeypatch.setitem(MATTING_METHODS, "background", HalvingMatting)
    for share in ("1.0", "0.5"):
        (tmp_path / share).write_text(share)
    return tmp_path


def test_what_is_stored_is_the_residual_of_the_stored_frames(tmp_path):
    reader = ShardReader(run(make_aligned(tmp_path / "aligned", composite_psnr=40.0), tmp_path / "shards").parent)
    for index, row in reader.table.iterrows():
        sample = reader.read(index)
        if row["take"] == "take-s":
            assert math.isnan(sample.composite_psnr)
        else:
            light = (to_linear(frames, "srgb") for frames in (sample.sharp, sample.blurry))
            assert sample.composite_psnr == pytest.approx(blur_residual_psnr(*light), rel=1e-6)
            assert sample.composite_psnr == row["composite_psnr"]


@pytest.mark.parametrize("level", [0, 255, None], ids=["black", "white", "noise"])
def test_no_composite_is_worse_than_its_frame_was_judged_by(session, tmp_path, level):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    write_image(pictures / "a.png", noise if level is None else np.full_like(noise, level))
    out = run(session.aligned, tmp_path / "shards", backgrounds=pictures).parent
    rows = read_alignment(session.aligned / "alignment.csv")
    judged = {row.blurry_index: row.composite_psnr for row in rows if row.take == "hand_train" and row.accepted}
    table = ShardReader(out).table
    hands = table[table["take"] == "hand_train"]
    assert hands["blurry_index"].tolist() == list(judged)
    for blurry_index, psnr_db in zip(hands["blurry_index"], hands["composite_psnr"], strict=True):
        assert 10 ** (-psnr_db / 20) <= 10 ** (-judged[blurry_index] / 20) + MOST_QUANTIZATION
    assert verify(out, read_all=True) == []


class SpyExecutor(SerialExecutor):
    """Pickles what travels, and counts the takes that are judged."""

    def __init__(self):
        super().__init__(check_pickle=True)
        self.n_judged = 0

    def map(self, fn, items):
        self.n_judged += sum(isinstance(item, str) for item in items)
        return super().map(fn, items)


def test_takes_that_nobody_judged_are_judged_before_shards_are_planned(tmp_path, caplog):
    aligned = make_aligned(tmp_path / "aligned")
    out = run(aligned, tmp_path / "shards", BuildShardsConfig(shard_samples=2)).parent
    assert kept_of(out) == [1, 3, 7]
    assert len(ShardReader(out)) == 3 + 3 + 3
    assert ShardReader(out).manifest.splits["train"].categories == {"street": 3, "hand": 3}
    assert left_out_of(out) == {"take-g": 1}
    assert "take-g: 1 of 4 samples are left out: with the green screen replaced" in caplog.text
    assert ShardReader(out).table["composite_psnr"].min() > 35


def test_takes_are_judged_once(tmp_path, caplog):
    aligned, out = make_aligned(tmp_path / "aligned"), tmp_path / "shards"
    first, again, after_kill = SpyExecutor(), SpyExecutor(), SpyExecutor()
    run(aligned, out, executor=first)
    before = all_bytes(out)
    caplog.clear()
    run(aligned, out, executor=again)
    # As a killed run leaves it: one take is judged, and no shard is there.
    decisions = json.loads(before["judged.json"])
    (out / "judged.json").write_text(json.dumps({**decisions, "kept": {"take-g": decisions["kept"]["take-g"]}}))
    for path in (*out.glob("*.h5"), out / "manifest.json"):
        path.unlink()
    run(aligned, out, executor=after_kill)
    assert all_bytes(out) == before
    assert [spy.n_judged for spy in (first, again, after_kill)] == [2, 0, 1]
    assert not caplog.records


@pytest.mark.parametrize("indices", [[0, 4], [-1], [1, 0], [0, 0], ["0"], [0.5]])
def test_decisions_that_cannot_be_are_refused(tmp_path, indices):
    aligned, out = make_aligned(tmp_path / "aligned"), tmp_path / "shards"
    run(aligned, out)
    decisions = json.loads((out / "judged.json").read_text())
    decisions["kept"]["take-g"] = indices
    (out / "judged.json").write_text(json.dumps(decisions))
    with pytest.raises(InputError, match=r"judged\.json: kept\.take-g"):
        run(aligned, out)


def test_decisions_of_other_settings_do_not_count(tmp_path):
    aligned, out = make_aligned(tmp_path / "aligned"), tmp_path / "shards"
    path = run(aligned, out)
    before = (out / "judged.json").read_text()
    (out / "judged.json").write_text(json.dumps(json.loads(before) | {"settings_sha256": "0" * 64}))
    run(aligned, out)
    assert (out / "judged.json").read_text() == before
    assert path.is_file()


def test_a_folder_in_which_no_sample_was_sound_takes_another_threshold(tmp_path):
    aligned, out = make_aligned(tmp_path / "aligned", {"min_composite_psnr_db": 90.0}), tmp_path / "shards"
    finish(aligned, ["take-g", "take-h"], config={"min_composite_psnr_db": 90.0})
    with pytest.raises(InputError, match="no composite reaches 90 dB"):
        run(aligned, out)
    finish(aligned, ["take-g", "take-h"], config={"min_composite_psnr_db": 30.0})
    assert kept_of(run(aligned, out).parent) == [1, 3, 7]


def test_samples_that_lost_their_foreground_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setitem(MATTING_METHODS, "background", EmptyMatting)
    aligned = make_aligned(tmp_path / "aligned", composite_psnr=40.0)
    assert left_out_of(run(aligned, tmp_path / "shards", BuildShardsConfig(matter="background")).parent) == {
        "take-g": 4,
        "take-h": 3,
    }
    config = {"min_explained_psnr_db": 90.0}
    strict = make_aligned(tmp_path / "strict", config)
    assert left_out_of(run(strict, tmp_path / "none").parent) == {"take-g": 4, "take-h": 3}


def test_takes_that_were_judged_by_the_same_matter_are_not_judged_again(tmp_path):
    aligned = make_aligned(tmp_path / "aligned", {"matter": "chroma", "weights_sha256": None}, composite_psnr=40.0)
    out = run(aligned, tmp_path / "shards").parent
    assert kept_of(out) == [1, 3, 5, 7]
    assert left_out_of(out) == {}
    run(aligned, tmp_path / "named", BuildShardsConfig(matter="chroma"))
    assert all_bytes(tmp_path / "named") == all_bytes(out)


def test_a_part_of_the_picture_is_judged_by_itself(tmp_path):
    aligned = make_aligned(tmp_path / "aligned", composite_psnr=40.0)
    assert kept_of(run(aligned, tmp_path / "small", BuildShardsConfig(output_size=(24, 20))).parent) == [1, 3, 5, 7]
    assert kept_of(run(aligned, tmp_path / "part", BuildShardsConfig(output_size=(40, 40))).parent) == [1, 3, 7]


def test_the_threshold_is_that_of_the_aligned_folder(tmp_path):
    lenient = make_aligned(tmp_path / "lenient", {"min_composite_psnr_db": 0.0})
    assert kept_of(run(lenient, tmp_path / "all").parent) == [1, 3, 5, 7]
    strict = make_aligned(tmp_path / "strict", {"min_composite_psnr_db": 90.0})
    assert kept_of(run(strict, tmp_path / "none").parent) == []
    assert set(ShardReader(tmp_path / "none").table["take"]) == {"take-s"}
    finish(strict, ["take-g", "take-h"], config={"min_composite_psnr_db": 90.0})
    message = (
        r"no composite reaches 90 dB, and explains .* 28 dB, by the matting method 'chroma'; expected at least one"
    )
    with pytest.raises(InputError, match=message):
        run(strict, tmp_path / "nothing")
    assert not (tmp_path / "nothing" / "manifest.json").exists()


def test_another_matter_judges_the_takes_anew(tmp_path, halving):
    aligned = make_aligned(tmp_path / "aligned", {"matter": "chroma"}, composite_psnr=40.0)
    config = BuildShardsConfig(matter="background")
    out = run(aligned, tmp_path / "whole", config, weights=halving / "1.0").parent
    assert kept_of(out) == [1, 3, 7]
    build = ShardReader(out).manifest.provenance.config["build_shards"]
    assert (build["matter"], build["weights_sha256"]) == ("background", hashlib.sha256(b"1.0").hexdigest())
    assert str(tmp_path) not in (out / "manifest.json").read_text()
    assert left_out_of(run(aligned, tmp_path / "half", config, weights=halving / "0.5").parent) == {
        "take-g": 4,
        "take-h": 3,
    }
    with pytest.raises(Rb2vError, match="None: holds no weights"):
        run(aligned, tmp_path / "none", config)


def test_weights_are_those_that_the_takes_were_aligned_with(tmp_path, halving, rb2v):
    sha256 = hashlib.sha256(b"1.0").hexdigest()
    aligned = make_aligned(
        tmp_path / "aligned", {"matter": "background", "weights_sha256": sha256}, composite_psnr=40.0
    )
    out = tmp_path / "shards"
    command = ("build-shards", "--aligned", aligned, "--out", out, "--workers", 1)
    status, _, error = rb2v(*command)
    assert (status, len(error.splitlines())) == (2, 1)
    said = f"the takes were keyed by the matting method 'background' with weights of SHA-256 {sha256}"
    assert f"manifest.json: config.weights_sha256: {said}" in error
    assert "; expected that file as --weights, or another --matter" in error
    status, _, error = rb2v(*command, "--weights", halving / "0.5")
    assert (status, len(error.splitlines())) == (2, 1)
    assert f"0.5: has the SHA-256 {hashlib.sha256(b'0.5').hexdigest()}; expected {sha256} by " in error
    assert not out.exists()
    assert rb2v(*command, "--weights", halving / "1.0")[0] == 0
    assert kept_of(out) == [1, 3, 5, 7]
    asked = ("--matter", "background", "--weights", halving / "0.5", "--out", tmp_path / "anew")
    assert rb2v(*command, *asked)[0] == 0
    assert left_out_of(tmp_path / "anew") == {"take-g": 4, "take-h": 3}


def test_takes_without_a_screen_need_no_weights(tmp_path, halving):
    config = {"matter": "background", "weights_sha256": "0" * 64}
    aligned = finish(tmp_path / "aligned", [add_take(tmp_path / "aligned", "take-s", "sara")], config=config)
    assert len(ShardReader(run(aligned, tmp_path / "shards").parent)) == 3


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"matter": "magic"}, "'magic' is not a matting method"),
        ({"matter": 3}, "manifest.json: config.matter: "),
        ({"weights_sha256": 3}, "manifest.json: config.weights_sha256: "),
        ({"min_composite_psnr_db": "high"}, "manifest.json: config.min_composite_psnr_db: "),
        ({"min_explained_psnr_db": "high"}, "manifest.json: config.min_explained_psnr_db: "),
    ],
)
def test_an_aligned_folder_that_says_what_cannot_be_is_refused(tmp_path, config, message):
    with pytest.raises(Rb2vError, match=message):
        run(make_aligned(tmp_path / "aligned", config), tmp_path / "shards")
    assert not (tmp_path / "shards").exists()
