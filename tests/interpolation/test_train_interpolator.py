import json

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from rb2v.errors import ConfigMismatchError, InputError
from rb2v.interpolation.learned.cdfi import train
from rb2v.interpolation.learned.cdfi.config import TrainInterpolatorConfig
from rb2v.interpolation.learned.cdfi.network import Cdfi
from rb2v.interpolation.learned.cdfi.pans import PanBatches
from rb2v.interpolation.learned.cdfi.triplets import (
    TripletBatches,
    find_clips,
    gather_triplets,
    generated_triplets,
    vary,
)
from rb2v.interpolation.learned.cdfi.weights import load_cdfi
from rb2v.io.encoder import write_video
from rb2v.io.video import write_image
from rb2v.lpips import Lpips
from rb2v.training.ranks import check_precision


def config(**chosen):
    small = {
        "crop_size": 32,
        "batch_size": 1,
        "warmup_steps": 1,
        "motion_share": 0.34,
        "checkpoint_every": 2,
        "log_every": 1,
        "n_held_out": 2,
    }
    return TrainInterpolatorConfig(**{**small, "steps": 2, **chosen})


def contents(folder):
    names = ("checkpoint.safetensors", "metrics.csv", "metrics.json", "config.json")
    return {name: (folder / name).read_bytes() for name in names}


def moving_frames(n, size=(48, 40)):
    """A bright block that moves a pixel a frame before noise that is static."""
    width, height = size
    background = np.random.default_rng(0).integers(0, 90, (height, width, 3), dtype=np.uint8)
    frames = np.stack([background] * n)
    for index, frame in enumerate(frames):
        frame[10:26, 4 + index : 20 + index] = 200
    return frames


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for index, frame in enumerate(moving_frames(7)):
        path = folder / "pictures" / f"{index:03d}.png"
        path.parent.mkdir(exist_ok=True)
        write_image(path, frame)
    return folder


def test_a_stopped_run_ends_in_the_same_bytes(tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train.run(whole, config(steps=3), device="cpu")

    class Stopped(Exception):
        pass

    def stop(done, total, label):
        if (done, label) == (3, "training"):
            raise Stopped

    with pytest.raises(Stopped):
        train.run(halves, config(steps=3), device="cpu", progress=stop)
    assert (halves / "state.pt").exists()
    checkpoint = train.run(halves, config(steps=3), device="cpu")
    assert contents(halves) == contents(whole)
    table = pd.read_csv(whole / "metrics.csv")
    assert table["step"].tolist() == [1, 2, 3]
    # The first of three steps looks for motion alone.
    assert table["missed_px"].notna().tolist() == [True, False, False]
    assert table["distance"].notna().tolist() == [False, True, True]
    scores = json.loads((whole / "metrics.json").read_text())
    assert scores["n_held_out"] == 2
    # An untrained network begins near the mean.
    assert abs(scores["psnr"] - scores["psnr_of_mean"]) < 12
    assert not load_cdfi(checkpoint).as_published
    before = contents(whole)
    train.run(whole, config(steps=3), device="cpu", progress=lambda *_: pytest.fail("it ran"))
    assert contents(whole) == before
    with pytest.raises(ConfigMismatchError, match="lr"):
        train.run(whole, config(steps=3, lr=1e-5), device="cpu")


def test_few_taps_are_all_taps_whose_outer_ones_weigh_nothing():
    network = Cdfi().start_narrow()
    outer = torch.ones(11, 11, dtype=torch.bool)
    outer[3:8, 3:8] = False
    with torch.no_grad():
        for which in (1, 2):
            last = network.get_kernel.get_submodule(f"moduleWeight{which}.7")
            last.weight[outer.flatten()] = 0
            last.bias[outer.flatten()] = -200
    ends = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for few, every in zip(network(*ends, n_taps=5), network(*ends), strict=True):
        torch.testing.assert_close(few, every, rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_precision_that_is_slower_on_this_cpu_is_refused(tmp_path, monkeypatch, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    with pytest.raises(InputError) as caught:
        train.run(tmp_path / "run", config(precision=precision), device="cpu")
    assert (caught.value.source, caught.value.key) == ("options", "precision")
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    check_precision("bfloat16", "cpu")


def test_the_perceptual_term_is_part_of_the_loss(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "load_lpips", lambda: Lpips("alex"))
    weights = {"motion_share": 0, "smoothness": 0, "steps": 1, "perceptual": 0.5}
    train.run(tmp_path / "run", config(**weights), device="cpu")
    (row,) = pd.read_csv(tmp_path / "run" / "metrics.csv").to_dict("records")
    assert row["perceptual"] > 0
    assert row["loss"] == pytest.approx(row["distance"] + 0.5 * row["perceptual"], rel=1e-5)


def test_clips_are_trained_on_and_weights_gone_on_from(tmp_path, clips):
    first = train.run(tmp_path / "first", config(steps=1), clips=clips, device="cpu")
    assert not (tmp_path / "first" / "triplets.npy").exists()
    again = train.run(tmp_path / "again", config(steps=1, lr=1e-9), clips=clips, init=first, device="cpu")
    begun = load_cdfi(first).state_dict()
    for name, tensor in load_cdfi(again).state_dict().items():
        np.testing.assert_allclose(tensor, begun[name], rtol=2e-3, atol=1e-5)


def test_the_command_trains(tmp_path, rb2v):
    sizes = ["--steps", 1, "--batch-size", 1, "--crop-size", 32]
    result = rb2v("train-interpolator", "--out", tmp_path / "run", "--device", "cpu", *sizes)
    assert result.status == 0
    assert "generated triplets of held-out photographs" in result.output
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_generated_triplets_show_motion_and_their_middle_lies_between():
    triplets, _ = generated_triplets(64, 0)
    drawn = [triplets.draw(index) for index in range(8)]
    for index, triplet in enumerate(drawn):
        assert triplet.shape == (3, 64, 64, 3)
        assert triplet.dtype == np.uint8
        np.testing.assert_array_equal(triplets.draw(index), triplet)
    first, middle, last = np.stack(drawn).astype(np.float32).swapaxes(0, 1)
    apart = np.abs(last - first).mean()
    assert apart > 5
    assert max(np.abs(middle - first).mean(), np.abs(last - middle).mean()) < apart
    other, _ = generated_triplets(64, 0, held_out=True)
    assert not set(other.photos) & set(triplets.photos)


def test_variants_hold_the_same_values():
    triplet = np.arange(3 * 4 * 4 * 3).reshape(3, 4, 4, 3).astype(np.uint8)
    seen = set()
    for seed in range(40):
        varied = vary(triplet, np.random.default_rng(seed))
        assert varied.shape == (3, 3, 4, 4)
        assert sorted(varied.ravel()) == sorted(triplet.ravel())
        np.testing.assert_array_equal(np.sort(varied[1].ravel()), np.sort(triplet[1].ravel()))
        seen.add(varied.tobytes())
    assert len(seen) > 20


def test_batches_do_not_depend_on_who_makes_them():
    triplets, _ = generated_triplets(32, 0)
    whole = TripletBatches(triplets, range(4), 4, range(5), 0)[3]
    part = TripletBatches(triplets, range(2, 4), 4, range(3, 5), 0)[0]
    np.testing.assert_array_equal(whole[2:], part)
    whole_pans = PanBatches(triplets.photos, range(4), range(5), 9, 0)[3]
    part_of_pans = PanBatches(triplets.photos, range(2, 4), range(3, 5), 9, 0)[0]
    for all_rows, rows in zip(whole_pans, part_of_pans, strict=True):
        np.testing.assert_array_equal(all_rows[2:], rows)


def test_the_views_of_a_pan_meet_halfway():
    triplets, _ = generated_triplets(32, 0)
    pans = PanBatches(triplets.photos, range(12), range(100), 100, 0)
    down, right = np.mgrid[:32, :32].astype(np.float32)
    for step, least, most in ((0, 0.2, 1.5), (99, 2, 6)):
        for views, motion in zip(*(each.numpy() for each in pans[step]), strict=True):
            first, last = (view.transpose(1, 2, 0).astype(np.float32) for view in views)
            meeting = [
                cv2.remap(view, right + way * motion[1], down + way * motion[0], cv2.INTER_LINEAR)
                for view, way in ((first, 1), (last, -1))
            ]
            differing = np.abs(meeting[0] - meeting[1])[8:-8, 8:-8].mean()
            assert differing < 0.1 * np.abs(first - last).mean() + 0.5
        assert least < float(pans[step][1].abs().max()) <= most


def test_clips_of_both_kinds_are_found_and_cut(tmp_path, clips):
    write_video(tmp_path / "b.mp4", moving_frames(6), frame_rate=25)
    for index, frame in enumerate(moving_frames(3)):
        (tmp_path / "a").mkdir(exist_ok=True)
        write_image(tmp_path / "a" / f"{index}.png", frame)
    found, digest = find_clips(tmp_path)
    assert [clip.name for clip in found] == ["a", "b.mp4"]
    assert digest == find_clips(tmp_path)[1] != find_clips(clips)[1]
    for name in ("one.npy", "two.npy"):
        gather_triplets(found, tmp_path / name, size=32, n_triplets=4, seed=0)
    triplets = np.load(tmp_path / "one.npy")
    assert triplets.shape == (4, 3, 32, 32, 3)
    np.testing.assert_array_equal(triplets, np.load(tmp_path / "two.npy"))


def test_wrong_input_is_named(tmp_path, clips, rb2v):
    with pytest.raises(InputError, match="is no folder"):
        find_clips(tmp_path / "nothing")
    with pytest.raises(InputError, match="holds no clip"):
        find_clips(tmp_path)
    with pytest.raises(InputError, match="is 48x40; expected frames of at least 64x64 pixels"):
        gather_triplets(find_clips(clips)[0], tmp_path / "t.npy", size=64, n_triplets=4, seed=0)
    assert not list(tmp_path.iterdir())
    for key, value in (("crop_size", 40), ("lr", 0), ("motion_share", 1.5)):
        with pytest.raises(InputError) as caught:
            config(**{key: value})
        assert caught.value.key == key
    assert rb2v("train-interpolator", "--out", tmp_path / "run", "--crop-size", 33).status == 2
    assert not (tmp_path / "run").exists()
