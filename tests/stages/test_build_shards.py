import dataclasses
import json
import re
import textwrap
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from executors import LastFirstExecutor
from skimage import data as skimage_data

from rb2v.artifacts import AlignedFrame, Crop, Take, Timing
from rb2v.core.color import encode, from_linear, to_linear
from rb2v.core.compositing import blur_residual_psnr
from rb2v.core.metrics import psnr
from rb2v.errors import ConfigMismatchError, InputError
from rb2v.execution import SerialExecutor
from rb2v.io.aligned import (
    AlignedSample,
    AlignedTake,
    AlignedTakeReader,
    FrameChecks,
    ScoreCurves,
    aligned_take_path,
    write_aligned_take,
)
from rb2v.io.store import write_json
from rb2v.io.video import write_image
from rb2v.matting import Matte, fit_to_take, make_matting_method
from rb2v.shards import ShardReader, read_manifest
from rb2v.stages.build_shards import BuildShardsConfig, Recompositor, run

WIDTH, HEIGHT = 48, 40
SCREEN = np.array([0.08, 0.45, 0.12])
SKIN = np.array([0.5, 0.25, 0.18])


def make_street(rng):
    sharp = rng.integers(0, 256, (7, HEIGHT, WIDTH, 3), dtype=np.uint8)
    return AlignedSample(encode(np.mean([to_linear(frame, "srgb") for frame in sharp], axis=0), "srgb"), sharp)


def disc_alpha(start):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([np.clip(9.5 - np.hypot(x - start - 2 * k, y - HEIGHT / 2), 0, 1) for k in range(7)])


def make_disc(rng, start):
    alpha = disc_alpha(start)[..., None]
    frames = alpha * SKIN + (1 - alpha) * SCREEN
    coded = from_linear(np.concatenate([frames, frames.mean(axis=0)[None]]), "srgb") * 255
    noisy = np.rint(coded + rng.normal(0, 1, coded.shape)).clip(0, 255).astype(np.uint8)
    return AlignedSample(noisy[7], noisy[:7])


def add_take(folder, name, subject, *, n_samples=3, category="street", split=None, green_screen=False, samples=None):
    rng = np.random.default_rng(sum(name.encode()))
    take = Take(name, category, subject, green_screen, split, (), ())
    frames = [
        AlignedFrame(
            name,
            index,
            index / 25,
            8 * index,
            8.0 * index,
            35.0 + index,
            3.0,
            index % 2 == 1,
            "" if index % 2 else "static",
        )
        for index in range(2 * n_samples)
    ]
    if samples is None:
        samples = [make_disc(rng, 12 + index) if green_screen else make_street(rng) for index in range(n_samples)]
    n_frames = len(frames)
    curves = ScoreCurves(
        np.zeros(n_frames, np.int64), np.zeros((n_frames, 1), np.float32), np.zeros(n_frames, np.float64)
    )
    checks = FrameChecks(*np.zeros((5, n_frames)))
    write_aligned_take(aligned_take_path(folder, name), AlignedTake(take, frames, curves, checks, Timing()), samples)
    return name


def finish(folder, names, **changes):
    document = {
        "schema": 1,
        "rig": "gopro_hero8",
        "response": "srgb",
        "output_size": [WIDTH, HEIGHT],
        "crop": {"x": 10, "y": 20, "width": 2 * WIDTH, "height": 2 * HEIGHT},
        "calibration_sha256": "0" * 64,
        "config": {"min_psnr": 25.0},
        "takes": names,
    }
    write_json(folder / "manifest.json", {**document, **changes})
    return folder


@pytest.fixture
def aligned(tmp_path):
    folder = tmp_path / "aligned"
    names = [
        add_take(folder, "take-a", "anna", n_samples=5),
        add_take(folder, "take-b", "bert"),
        add_take(folder, "take-c", "carl"),
        add_take(folder, "take-d", "anna", n_samples=2),
        add_take(folder, "take-g", "gina", category="hand", green_screen=True, split="train"),
        add_take(folder, "take-h", "hugo", category="hand", green_screen=True, split="test"),
    ]
    return finish(folder, names)


def all_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_data_set_holds_every_accepted_frame_once(aligned, tmp_path):
    path = run(aligned, tmp_path / "shards", BuildShardsConfig(shard_samples=4))
    assert path == tmp_path / "shards" / "manifest.json"
    reader = ShardReader(path.parent)
    rows = sorted(zip(reader.table["take"], reader.table["blurry_index"], strict=True))
    counts = {"take-a": 5, "take-b": 3, "take-c": 3, "take-d": 2, "take-g": 3, "take-h": 3}
    assert rows == [(take, 2 * index + 1) for take, n_samples in counts.items() for index in range(n_samples)]
    assert (reader.table["position"] == 8 * reader.table["blurry_index"]).all()
    assert (reader.table["order"] == 0).all()
    assert reader.table.groupby("shard").size().max() == 4
    manifest = reader.manifest
    assert manifest.rig == "gopro_hero8"
    assert manifest.output_size == (WIDTH, HEIGHT)
    assert manifest.crop == Crop(10, 20, 2 * WIDTH, 2 * HEIGHT)
    assert manifest.provenance.config["align"] == {"min_psnr": 25.0}
    assert manifest.splits["train"].samples + manifest.splits["test"].samples == len(reader) == 19
    assert str(tmp_path) not in path.read_text()


def test_frames_without_a_screen_pass_unchanged(tmp_path):
    samples = [make_street(np.random.default_rng(index)) for index in range(3)]
    folder = tmp_path / "aligned"
    finish(folder, [add_take(folder, "take-a", "anna", samples=samples)])
    reader = ShardReader(run(folder, tmp_path / "shards").parent)
    for index, sample in enumerate(samples):
        np.testing.assert_array_equal(reader.read_blurry(index), sample.blurry)
        np.testing.assert_array_equal(reader.read_sharp(index), sample.sharp)


@pytest.mark.parametrize("seed", range(5))
def test_no_subject_is_in_both_splits(aligned, tmp_path, seed):
    out = run(aligned, tmp_path / "shards", BuildShardsConfig(seed=seed)).parent
    train, test = (set(ShardReader(out, split).table["subject"]) for split in ("train", "test"))
    assert not train & test
    assert train | test == {"anna", "bert", "carl", "gina", "hugo"}
    assert "gina" in train
    assert "hugo" in test
    assert test & {"anna", "bert", "carl"}
    assert train & {"anna", "bert", "carl"}


def test_a_subject_said_to_be_in_both_splits_is_refused(tmp_path):
    folder = tmp_path / "aligned"
    finish(
        folder, [add_take(folder, "take-a", "anna", split="train"), add_take(folder, "take-b", "anna", split="test")]
    )
    with pytest.raises(InputError, match="takes 'take-a' and 'take-b' show the subject 'anna', one for train and one"):
        run(folder, tmp_path / "shards")


def test_a_subject_follows_the_take_that_says_its_split(tmp_path):
    folder = tmp_path / "aligned"
    finish(folder, [add_take(folder, "take-a", "anna"), add_take(folder, "take-b", "anna", split="test")])
    out = run(folder, tmp_path / "shards").parent
    assert len(ShardReader(out, "train")) == 0
    assert len(ShardReader(out, "test")) == 6


def test_the_bytes_do_not_depend_on_the_workers(aligned, tmp_path):
    config = BuildShardsConfig(shard_samples=4)
    run(aligned, tmp_path / "one", config, executor=SerialExecutor(check_pickle=True))
    run(aligned, tmp_path / "two", config, executor=LastFirstExecutor())
    assert all_bytes(tmp_path / "one") == all_bytes(tmp_path / "two")


def test_a_killed_run_goes_on_to_the_same_bytes(aligned, tmp_path, fork_server):
    config = BuildShardsConfig(shard_samples=4)
    run(aligned, tmp_path / "whole", config)
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        import rb2v.shards.packing as packing
        from rb2v.stages.build_shards import BuildShardsConfig, run

        check, seen = packing.check_sample, []

        def die_in_the_second_shard(sample):
            seen.append(sample)
            if len(seen) == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            check(sample)

        packing.check_sample = die_in_the_second_shard
        run(Path(sys.argv[1]), Path(sys.argv[2]), BuildShardsConfig(shard_samples=4))
        """
    )
    assert fork_server.start(script, aligned, tmp_path / "killed").wait() == -9
    partial, *left = sorted(path.name for path in (tmp_path / "killed").iterdir())
    assert re.fullmatch(r"\.partial-\w+-train-00001\.h5", partial)
    assert left == ["config.json", "judged.json", "train-00000.h5"]
    finished_at = (tmp_path / "killed" / "train-00000.h5").stat().st_mtime_ns
    calls = []
    run(aligned, tmp_path / "killed", config, progress=lambda done, total: calls.append((done, total)))
    assert all_bytes(tmp_path / "killed") == all_bytes(tmp_path / "whole")
    assert (tmp_path / "killed" / "train-00000.h5").stat().st_mtime_ns == finished_at
    assert calls[0] == (4, 19)
    assert calls[-1] == (19, 19)


@pytest.mark.parametrize("damage", [lambda content: content[:-100], lambda content: b"", lambda content: b"x" * 2000])
def test_a_shard_that_is_not_whole_is_written_anew(aligned, tmp_path, damage):
    run(aligned, tmp_path / "shards")
    whole = all_bytes(tmp_path / "shards")
    path = tmp_path / "shards" / "train-00000.h5"
    path.write_bytes(damage(path.read_bytes()))
    run(aligned, tmp_path / "shards")
    assert all_bytes(tmp_path / "shards") == whole


@pytest.mark.parametrize("finished", [True, False])
def test_a_shard_that_was_damaged_is_not_taken_over(aligned, tmp_path, finished):
    run(aligned, tmp_path / "shards")
    whole = all_bytes(tmp_path / "shards")
    path = tmp_path / "shards" / "train-00000.h5"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    if not finished:
        (tmp_path / "shards" / "manifest.json").unlink()
    run(aligned, tmp_path / "shards")
    assert all_bytes(tmp_path / "shards") == whole


def test_a_folder_of_another_configuration_is_refused(aligned, tmp_path):
    run(aligned, tmp_path / "shards")
    with pytest.raises(ConfigMismatchError, match="same configuration, or another output folder"):
        run(aligned, tmp_path / "shards", BuildShardsConfig(seed=1))
    add_take(aligned, "take-a", "anna", n_samples=4)
    with pytest.raises(ConfigMismatchError, match=r"takes\.take-a: the folder was made with"):
        run(aligned, tmp_path / "shards")


@pytest.mark.parametrize("change", ["plate", "recording"])
def test_shards_of_a_take_that_was_aligned_anew_are_not_kept(aligned, tmp_path, change):
    run(aligned, tmp_path / "shards")
    with h5py.File(aligned_take_path(aligned, "take-g"), "a") as file:
        if change == "plate":
            file["plate"] = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
        else:
            file.attrs["inputs_sha256"] = "1" * 64
    with pytest.raises(ConfigMismatchError, match=r"config\.json: takes\.take-g: the folder was made with "):
        run(aligned, tmp_path / "shards")


def make_pictures(folder, n_pictures):
    folder.mkdir()
    for index in range(n_pictures):
        write_image(folder / f"{index}.png", np.full((60, 60, 3), 40 + 50 * index, np.uint8))
    return folder


def test_a_screen_is_replaced_by_one_static_background(aligned, tmp_path):
    pictures = make_pictures(tmp_path / "pictures", 2)
    reader = ShardReader(run(aligned, tmp_path / "shards", backgrounds=pictures).parent)
    levels = {}
    for index in np.flatnonzero(reader.table["category"] == "hand"):
        sample = reader.read(int(index))
        alpha = disc_alpha(12 + sample.blurry_index // 2)
        level = int(np.median(sample.sharp[0][alpha[0] == 0]))
        levels.setdefault(sample.take, set()).add(level)
        background = np.full(3, to_linear(np.array([[[level]]], np.uint8), "srgb").item())
        truth = alpha[..., None] * SKIN + (1 - alpha[..., None]) * background
        assert psnr(sample.sharp, from_linear(truth, "srgb")) > 30
        assert psnr(sample.blurry, from_linear(truth.mean(axis=0), "srgb")) > 30
        linear = np.stack([to_linear(frame, "srgb") for frame in sample.sharp])
        assert blur_residual_psnr(linear, to_linear(sample.blurry, "srgb")) > 40
    assert sorted(map(sorted, levels.values())) == [[40], [90]], "the splits share no image"


def test_the_default_backgrounds_differ_from_sample_to_sample(aligned, tmp_path):
    reader = ShardReader(run(aligned, tmp_path / "shards").parent, "train")
    hands = [reader.read(int(index)) for index in np.flatnonzero(reader.table["category"] == "hand")]
    corners = [sample.sharp[:, :8, :8] for sample in hands]
    for corner in corners:
        assert np.abs(corner - corner[:1].astype(int)).mean() < 8, "it is static"
    assert max(np.abs(corners[0] - corner.astype(int)).mean() for corner in corners[1:]) > 5
    names = reader.manifest.provenance.config["build_shards"]["backgrounds"]
    assert not set(names["train"]) & set(names["test"])
    for name in (*names["train"], *names["test"]):
        image = cv2.imread(str(Path(skimage_data.__file__).parent / name))
        assert np.ptp(image) > 100, "a photograph"


def test_light_is_matched_on_request(aligned, tmp_path):
    """The disc is reddish and dim, and the images are bright and grey."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, level in (("a", 200), ("b", 230)):
        write_image(folder / f"{name}.png", np.full((60, 60, 3), level, np.uint8))
    matched = ShardReader(run(aligned, tmp_path / "a", BuildShardsConfig(light_match=True), backgrounds=folder).parent)
    plain = ShardReader(run(aligned, tmp_path / "b", backgrounds=folder).parent)
    for index in np.flatnonzero(plain.table["category"] == "hand"):
        one, other = matched.read(int(index)), plain.read(int(index))
        corners = np.stack([*one.sharp[:, :6, :6], one.blurry[:6, :6]]).astype(int)
        assert np.abs(corners - corners[0]).max() < 8, "it is static"
        before, after = (sample.blurry[:6, :6].mean(axis=(0, 1)) for sample in (other, one))
        assert after.mean() < before.mean() - 10
        assert after[0] > after[2] + 10
        light = np.stack([to_linear(frame, "srgb") for frame in one.sharp])
        assert blur_residual_psnr(light, to_linear(one.blurry, "srgb")) > 38


@pytest.mark.parametrize("values", [{}, {"light_match": True, "seed": 3}, {"output_size": (20, 20)}])
def test_composites_can_be_made_again_from_the_manifest(aligned, tmp_path, values):
    pictures = make_pictures(tmp_path / "pictures", 3)
    path = run(aligned, tmp_path / "shards", BuildShardsConfig(**values), backgrounds=pictures)
    again = Recompositor(read_manifest(path.parent), path, (WIDTH, HEIGHT), "srgb", pictures)
    for split, take in (("train", "take-g"), ("test", "take-h")):
        reader = ShardReader(path.parent, split)
        with AlignedTakeReader(aligned_take_path(aligned, take)) as aligned_reader:
            matter = fit_to_take(aligned_reader, make_matting_method("chroma"), "srgb", again.cut)
            for index, row in enumerate(np.flatnonzero(reader.table["take"] == take)):
                sample, stored = aligned_reader.read(index), reader.read(int(row))
                sharp, blurry = matter.matte(again.cut(sample.sharp), again.cut(sample.blurry))
                background = again.background(split, take, stored.blurry_index, blurry)
                np.testing.assert_array_equal(again.lay(blurry, background), stored.blurry)
                for k in range(7):
                    matte = Matte(sharp.alpha[k], sharp.premultiplied_linear[k])
                    np.testing.assert_array_equal(again.lay(matte, background), stored.sharp[k])


def test_any_part_of_a_sample_is_cut_alike(aligned, tmp_path):
    path = run(aligned, tmp_path / "shards", BuildShardsConfig(output_size=(20, 20)))
    again = Recompositor(read_manifest(path.parent), path, (WIDTH, HEIGHT), "srgb")
    frames = np.random.default_rng(0).integers(0, 256, (7, HEIGHT, WIDTH, 3), dtype=np.uint8)
    kept = again.cut(frames)
    assert kept.shape == (7, 40, 40, 3)
    np.testing.assert_array_equal(kept, frames[:, :, 4:-4])
    np.testing.assert_array_equal(again.cut(frames[..., 1]), kept[..., 1])
    np.testing.assert_array_equal(again.cut(frames[0, ..., 2]), kept[0, ..., 2])
    np.testing.assert_array_equal(again.cut(frames[0]), kept[0])


def test_composites_of_data_from_elsewhere_cannot_be_made_again(aligned, tmp_path):
    path = run(aligned, tmp_path / "shards")
    manifest = read_manifest(path.parent)
    other = dataclasses.replace(manifest, provenance=dataclasses.replace(manifest.provenance, config={}))
    with pytest.raises(InputError, match="seed"):
        Recompositor(other, path, (WIDTH, HEIGHT), "srgb")


def test_frames_are_cropped_and_averaged_in_linear_light(tmp_path):
    sharp = np.zeros((7, HEIGHT, WIDTH, 3), np.uint8)
    sharp[:, :, ::2] = 255  # columns of black and white
    folder = tmp_path / "aligned"
    finish(folder, [add_take(folder, "take-a", "anna", samples=[AlignedSample(sharp[0], sharp)], n_samples=1)])
    out = run(folder, tmp_path / "shards", BuildShardsConfig(output_size=(20, 20))).parent
    manifest = read_manifest(out)
    assert manifest.output_size == (20, 20)
    assert manifest.crop == Crop(10 + 8, 20, 80, 80)
    sample = ShardReader(out).read(0)
    assert sample.sharp.shape == (7, 20, 20, 3)
    assert (sample.blurry == 188).all(), "half the light, in sRGB"


def test_frames_are_not_enlarged(aligned, tmp_path):
    with pytest.raises(InputError, match="its frames are 48x40; expected at least the output size, 64x64"):
        run(aligned, tmp_path / "shards", BuildShardsConfig(output_size=(64, 64)))


def test_a_green_take_without_a_screen_is_refused(tmp_path):
    folder = tmp_path / "aligned"
    grey = np.full((7, HEIGHT, WIDTH, 3), 120, np.uint8)
    name = add_take(folder, "take-a", "anna", green_screen=True, n_samples=1, samples=[AlignedSample(grey[0], grey)])
    finish(folder, [name])
    with pytest.raises(InputError, match=r"take-a\.h5: green_screen: no green screen is seen"):
        run(folder, tmp_path / "shards")
    assert not (tmp_path / "shards" / "manifest.json").exists()


def test_takes_without_accepted_frames_are_refused(tmp_path):
    folder = tmp_path / "aligned"
    finish(folder, [add_take(folder, "take-a", "anna", n_samples=0)])
    with pytest.raises(InputError, match="no take holds an accepted frame"):
        run(folder, tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema: is 2; expected 1"),
        ({"takes": ["take-x"]}, r"take-x\.h5: there is no such file"),
        ({"takes": ["../take-a"]}, "takes"),
        ({"output_size": [WIDTH, WIDTH]}, "its frames are 48x40; expected 48x48 by the manifest"),
        ({"response": "log"}, "response"),
    ],
)
def test_a_wrong_aligned_folder_is_refused(aligned, tmp_path, changes, message):
    finish(aligned, ["take-a", "take-b"], **changes)
    with pytest.raises(InputError, match=message):
        run(aligned, tmp_path / "shards")


def test_a_missing_aligned_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no such file; expected a folder that 'rb2v align' finished"):
        run(tmp_path / "aligned", tmp_path / "shards")


def test_backgrounds_that_cannot_be_used_are_refused(aligned, tmp_path):
    with pytest.raises(InputError, match="there is no such folder"):
        run(aligned, tmp_path / "shards", backgrounds=tmp_path / "none")
    pictures = make_pictures(tmp_path / "pictures", 1)
    (pictures / "notes.png").write_text("no image")
    with pytest.raises(InputError, match="holds 1 different images that can be used; expected at least 2"):
        run(aligned, tmp_path / "shards", backgrounds=pictures)
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    "values",
    [
        {"output_size": (0, 4)},
        {"test_share": 1.0},
        {"shard_samples": 0},
        {"seed": -1},
        {"matter": "magic"},
    ],
)
def test_a_wrong_configuration_is_refused(values):
    with pytest.raises(InputError) as caught:
        BuildShardsConfig(**values)
    assert caught.value.key.partition(".")[0] == next(iter(values))


def test_the_manifest_is_json_without_machine_paths(aligned, tmp_path):
    path = run(aligned, tmp_path / "shards")
    document = json.loads(path.read_text())
    assert list(document) == [
        "schema", "rig", "output_size", "frames_per_sequence", "crop", "splits", "provenance", "sha256",
    ]  # fmt: skip
    shard = document["splits"]["train"]["shards"][0]
    assert shard["bytes"] == (path.parent / shard["file"]).stat().st_size
    assert document["splits"]["train"]["categories"]["hand"] == 3
    assert str(Path(skimage_data.__file__).parent) not in path.read_text()
