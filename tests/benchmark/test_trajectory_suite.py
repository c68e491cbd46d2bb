"""The suite of landmarks: rows, figures of known sequences, resuming, and input that cannot be used."""

import dataclasses
import json

import numpy as np
import pytest
from data_sets import write_samples
from spots import SpotModel, draw_spots

from rb2v.benchmark.suites.trajectories import PRESETS, TrajectorySuite, TrajectorySuiteConfig
from rb2v.benchmark.suites.trajectories.sequence_points import (
    choose_samples,
    follow,
    read_points,
    trivial_estimate,
    write_points,
)
from rb2v.errors import ConfigMismatchError, InputError
from rb2v.shards import ShardReader, ShardSample

CONFIG = TrajectorySuiteConfig(
    backbone="unet",
    image_size=None,
    crop_size=32,
    batch_size=2,
    steps=2,
    seeds=2,
    order_steps=2,
    order_size=32,
    max_samples=2,
    noise_levels=0.0,
    shown_sequences=1,
)
SIZE = (64, 64)


def make_sample(category, split, index):
    """A spot that moves 12 px to the right."""
    sharp = np.stack([draw_spots((24 + 2 * k, 30 + index), size=SIZE) for k in range(7)])
    blurry = sharp.mean(axis=0).round().astype(np.uint8)
    names = (f"{split}-{category}-{index}", f"{split}-{category}")
    return ShardSample(blurry, sharp, np.eye(3, 4, dtype=np.float32), *names, category, index, 0, 40.0)


@pytest.fixture(autouse=True)
def _spots(monkeypatch):
    models = {target: lambda target=target: SpotModel(target) for target in ("face", "hand")}
    monkeypatch.setattr("rb2v.landmarks.models.LANDMARK_MODELS", models)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spots") / "shards"
    splits = {
        "train": [[make_sample("face", "train", 0), make_sample("hand", "train", 1)]],
        "test": [[make_sample(category, "test", k) for category in ("street", "face", "hand") for k in range(2)]],
    }
    write_samples(folder, splits, SIZE)
    return folder


@pytest.fixture(scope="module")
def report(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trajectory_suite") / "report"
    with pytest.MonkeyPatch.context() as patch:
        models = {target: lambda target=target: SpotModel(target) for target in ("face", "hand")}
        patch.setattr("rb2v.landmarks.models.LANDMARK_MODELS", models)
        TrajectorySuite(shards, CONFIG, device="cpu").run(folder)
    return folder


def results(folder):
    return {row["metric"]: row["value"] for row in json.loads((folder / "results.json").read_text())["scores"]}


def test_rows_are_the_methods_the_shipped_weights_and_the_trivial_estimates(report):
    names = {metric.split(".")[1] for metric in results(report) if metric.startswith("hand.")}
    assert names == {"order_invariant", "label", "shipped", "blurry", "mean_frame", "noisy_truth", "truth"}
    runs = {path.name for path in (report / "runs").iterdir()}
    assert runs == {f"{method}-s{seed}" for method in ("order_invariant", "label") for seed in range(2)} | {"order"}
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "Faces: 68 landmarks" in page
    assert "Hands: tip of the index finger" in page
    assert page.count("data:image/jpeg") == 2 * 4
    assert "finding landmarks" in page


def test_the_true_frames_have_no_error_and_the_whole_path(report):
    values = results(report)
    for target in ("face", "hand"):
        assert values[f"{target}.truth.found"] == 1
        assert values[f"{target}.noisy_truth.error.mean"] == pytest.approx(0, abs=1e-6)
        assert values[f"{target}.noisy_truth.found.mean"] == 1
        assert values[f"{target}.noisy_truth.path_ratio.mean"] == pytest.approx(1)
        assert values[f"{target}.noisy_truth.cosine.mean"] == pytest.approx(1)


def test_what_stands_still_is_off_by_the_known_path(report):
    """The mean frame's spot stands in the middle: off by 6, 4, 2, 0, 2, 4 and 6 px."""
    values = results(report)
    off = np.array([6, 4, 2, 0, 2, 4, 6])
    assert values["hand.mean_frame.error.mean"] == pytest.approx(off.mean(), abs=0.2)
    assert values["face.mean_frame.error.mean"] == pytest.approx((off**2).mean(), rel=0.1)
    assert values["hand.mean_frame.path_ratio.mean"] == 0
    assert "hand.mean_frame.cosine.mean" not in values


def test_again_it_measures_nothing_and_writes_the_same(report, shards):
    before = (report / "results.json").read_bytes()
    times = {path: path.stat().st_mtime_ns for name in ("runs", "points") for path in (report / name).rglob("*")}
    TrajectorySuite(shards, CONFIG, device="cpu").run(report)
    assert (report / "results.json").read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_other_settings_need_another_folder(report, shards):
    with pytest.raises(ConfigMismatchError) as error:
        TrajectorySuite(shards, dataclasses.replace(CONFIG, max_samples=1), device="cpu").run(report)
    assert error.value.key == "max_samples"


def test_the_command_measures_given_networks_without_training(rb2v, report, shards, tmp_path):
    given = report / "runs" / "label-s0"
    status, output, _ = rb2v(
        *("benchmark", "trajectories", "--shards", shards, "--out", tmp_path / "out", "--run", f"mine={given}"),
        *("--no-train", "--max-samples", 1, "--workers", 1),
    )
    assert status == 0
    assert "face mine" in output
    assert not (tmp_path / "out" / "runs").exists()


@pytest.mark.parametrize("label", ["label", "shipped", "truth", "../mine", "a/b", "a b"])
def test_labels_that_would_be_mistaken_are_rejected(report, shards, tmp_path, label):
    with pytest.raises(InputError) as error:
        TrajectorySuite(shards, CONFIG, runs={label: report / "runs" / "label-s0"}).run(tmp_path / "out")
    assert error.value.key == "run"
    assert not (tmp_path / "out").exists()


def test_a_data_set_without_faces_and_hands_is_rejected(tmp_path, tiny_shards):
    with pytest.raises(InputError) as error:
        TrajectorySuite(tiny_shards, CONFIG, device="cpu").run(tmp_path / "out")
    assert (error.value.source, error.value.key) == (str(tiny_shards), "category")


def test_missing_weights_are_named_before_anything_is_trained(monkeypatch, tmp_path, shards):
    monkeypatch.undo()
    monkeypatch.setenv("RB2V_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="rb2v models fetch landmarks"):
        TrajectorySuite(shards, CONFIG, device="cpu").run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_points_are_named(report, shards, tmp_path):
    samples = choose_samples(ShardReader(shards, "test"), 2, None)
    path = tmp_path / "truth.safetensors"
    points = read_points(report / "points" / "truth.safetensors", samples)
    write_points(path, {**points, "face": points["face"][:1]})
    for content in (path.read_bytes(), path.read_bytes()[:50]):
        path.write_bytes(content)
        with pytest.raises(InputError) as error:
            read_points(path, samples)
        assert error.value.source == str(path)


def test_of_several_hands_the_one_near_the_true_one_is_followed():
    frames = np.stack([draw_spots((20, 20), (50, 50), size=SIZE)] * 3)
    for middle in (20, 50):
        near = np.full((3, 21, 2), float(middle))
        near[0] = np.nan
        points = follow(SpotModel(), frames, near)
        np.testing.assert_allclose(points.mean(axis=1), middle, atol=0.5)
    assert np.isnan(follow(SpotModel(), np.zeros_like(frames), near)).all()


def test_without_a_known_place_it_is_the_one_seen_in_most_frames():
    frames = np.stack([draw_spots((20, 20), (50, 50), size=SIZE), *[draw_spots((50, 50), size=SIZE)] * 2])
    np.testing.assert_allclose(follow(SpotModel(), frames).mean(axis=1), 50, atol=0.5)


def test_noise_is_the_same_in_every_run():
    sharp = np.full((7, 8, 8, 3), 128, dtype=np.uint8)
    one, other = (trivial_estimate("noisy_truth", 5.0)(sharp[0], sharp) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert np.std(one.astype(float)) == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize(("name", "value"), [("seeds", 0), ("noise_levels", -1), ("max_samples", 0)])
def test_values_out_of_range_are_named(name, value):
    with pytest.raises(InputError) as error:
        PRESETS["small"].chosen(**{name: value})
    assert error.value.key == name
