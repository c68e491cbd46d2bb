import dataclasses
import json
import re
import shutil
from functools import cache

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from rb2v.errors import ConfigMismatchError, InputError, Rb2vError
from rb2v.matting import make_matting_method
from rb2v.matting.background.composites import draw_composite, find_pictures
from rb2v.matting.background.train import TrainMattingConfig, run
from rb2v.matting.background.weights import load_network
from rb2v.matting.backgrounds import DEFAULT_PICTURES

TINY = TrainMattingConfig(
    size=32, steps=6, batch_size=2, warmup_steps=1, n_held_out=2, checkpoint_every=3, log_every=2, seed=3
)
OUTPUTS = ["checkpoint.safetensors", "config.json", "metrics.csv", "metrics.json"]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert run(folder, TINY, device="cpu") == folder / "checkpoint.safetensors"
    return folder


@pytest.fixture(scope="module")
def cutouts(tmp_path_factory):
    """Two discs: a red one and a blue one, each with a soft edge."""
    folder = tmp_path_factory.mktemp("cutouts")
    y, x = np.mgrid[:80, :60]
    alpha = np.clip(25 - np.hypot(x - 30, y - 40), 0, 1) * 255
    for name, color in (("blue", (250, 20, 20)), ("red", (20, 20, 250))):
        image = np.dstack([np.broadcast_to(color, (80, 60, 3)), alpha]).astype(np.uint8)
        assert cv2.imwrite(str(folder / f"{name}.png"), image)
    return folder


@cache
def default_pictures():
    return find_pictures(None, None)[0]


class StoppedError(Exception):
    pass


def stop_at(step):
    def progress(done, total, what):
        if what == "training" and done == step:
            raise StoppedError

    return progress


class TestComposites:
    def draw(self, seed, pictures=None):
        return draw_composite(pictures or default_pictures(), 96, np.random.default_rng(seed))

    def test_a_composite_depends_on_its_seed_alone(self):
        first, again, other = self.draw(1), self.draw(1), self.draw(2)
        for name in ("picture", "plate", "alpha", "foreground"):
            np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
            assert not np.array_equal(getattr(first, name), getattr(other, name))

    def test_opaque_pixels_show_the_foreground_and_empty_ones_the_plate(self):
        n_soft = 0
        for seed in range(30):
            composite = self.draw(seed)
            for image in (composite.picture, composite.plate, composite.alpha, composite.foreground):
                assert image.dtype == np.float32
                assert 0 <= image.min() <= image.max() <= 1
            opaque, empty = composite.alpha == 1, composite.alpha == 0
            if opaque.any():
                assert np.abs(composite.picture - composite.foreground)[opaque].mean() < 0.03
            assert np.abs(composite.picture - composite.plate)[empty].mean() < 0.2
            n_soft += (~opaque & ~empty).any()
        assert n_soft == 30

    def test_light_adds_up_where_foreground_and_plate_meet(self, cutouts):
        """Red over a green wall at one half: each channel between, brighter than the mean of coded values."""
        pictures = find_pictures(cutouts, None)[0]
        found = []
        for seed in range(40):
            composite = self.draw(seed, pictures)
            half = np.abs(composite.alpha - 0.5) < 0.1
            coded_mean = (composite.foreground + composite.plate) / 2
            found.append((composite.picture - coded_mean)[half])
        assert np.concatenate(found).mean() > 0.01

    def test_cutouts_keep_their_colors(self, cutouts):
        pictures = find_pictures(cutouts, None)[0]
        for seed in range(10):
            composite = self.draw(seed, pictures)
            inside = composite.foreground[composite.alpha > 0.9]
            assert len(inside)
            median = np.median(inside, axis=0)
            assert median[1] < 0.2
            assert median[[0, 2]].max() > 0.8

    def test_pictures_are_held_out(self, cutouts):
        for pictures in (default_pictures(), find_pictures(cutouts, cutouts)[0]):
            training, held_out = pictures.split()
            assert training.backgrounds
            assert held_out.backgrounds
            assert set(training.backgrounds) | set(held_out.backgrounds) == set(pictures.backgrounds)
            assert not set(training.backgrounds) & set(held_out.backgrounds)
        assert [path.name for path in held_out.cutouts] == ["blue.png"]
        assert [path.name for path in training.cutouts] == ["red.png"]


class TestRun:
    def test_what_is_written(self, uninterrupted):
        assert sorted(path.name for path in uninterrupted.iterdir()) == [*OUTPUTS, "tensorboard"]
        rows = pd.read_csv(uninterrupted / "metrics.csv")
        assert rows["step"].tolist() == [2, 4, 6]
        parts = rows[["alpha", "gradient", "foreground", "error"]]
        assert (parts > 0).all(axis=None)
        assert parts.sum(axis=1).tolist() == pytest.approx(rows["loss"].tolist(), rel=1e-5)
        scores = json.loads((uninterrupted / "metrics.json").read_text())
        assert scores["n_held_out"] == 2
        assert 0 < scores["alpha_mse"] <= scores["alpha_mad"] < 1
        assert load_network(uninterrupted / "checkpoint.safetensors").backbone_name == "mobilenetv2"

    def test_the_checkpoint_is_a_matter(self, uninterrupted):
        frame = np.full((40, 40, 3), 90, np.uint8)
        matter = make_matting_method("background", uninterrupted / "checkpoint.safetensors").fit(
            frame[None], "srgb", frame
        )
        assert matter.matte(frame[None], frame)[1].alpha.shape == (40, 40)

    @pytest.mark.slow
    def test_errors_fall(self, cutouts, tmp_path):
        """Saturated discs before photographs are told from the plate after a minute's training at the most."""
        config = dataclasses.replace(TINY, steps=60, lr=2e-3, warmup_steps=5, log_every=1, checkpoint_every=45)
        with pytest.raises(StoppedError):
            run(tmp_path / "run", config, foregrounds=cutouts, device="cpu", progress=stop_at(config.base_steps))
        base = pd.read_csv(tmp_path / "run" / "metrics.csv")["alpha"][: config.base_steps]
        assert base[-10:].mean() < 0.6 * base[:5].mean()

    def test_a_stopped_run_ends_in_the_same_bytes(self, uninterrupted, tmp_path):
        for step in (1, 5, 6):  # before the first state, after the refiner came in, at the end
            with pytest.raises(StoppedError):
                run(tmp_path / "run", TINY, device="cpu", progress=stop_at(step))
            assert (tmp_path / "run" / "state.pt").exists() == (step >= 3)
            assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
        torch.rand(3)
        run(tmp_path / "run", TINY, device="cpu")
        assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [*OUTPUTS, "tensorboard"]
        for name in OUTPUTS:
            assert (tmp_path / "run" / name).read_bytes() == (uninterrupted / name).read_bytes(), name

    def test_a_finished_run_is_skipped(self, uninterrupted):
        before = {name: (uninterrupted / name).stat().st_mtime_ns for name in OUTPUTS}
        done = []
        run(uninterrupted, TINY, device="cpu", progress=lambda *call: done.append(call[2]))
        assert set(done) == {"reading images"}
        assert {name: (uninterrupted / name).stat().st_mtime_ns for name in OUTPUTS} == before

    def test_training_leaves_the_random_numbers_of_others_alone(self, tmp_path):
        torch.manual_seed(1)
        wanted = torch.rand(3)
        torch.manual_seed(1)
        run(tmp_path / "run", dataclasses.replace(TINY, steps=1), device="cpu")
        assert torch.equal(torch.rand(3), wanted)

    def test_training_starts_from_given_weights(self, uninterrupted, tmp_path):
        init = uninterrupted / "checkpoint.safetensors"
        config = dataclasses.replace(TINY, steps=1, lr=1e-9)
        started = load_network(run(tmp_path / "run", config, init=init, device="cpu")).state_dict()
        for name, tensor in load_network(init).state_dict().items():
            if name.endswith("weight"):
                torch.testing.assert_close(started[name], tensor, atol=1e-6, rtol=0)


class TestRefusals:
    def test_another_run(self, uninterrupted, cutouts):
        with pytest.raises(ConfigMismatchError, match=r"lr: the folder was made with 0\.0005, this run has 0\.1"):
            run(uninterrupted, dataclasses.replace(TINY, lr=0.1), device="cpu")
        with pytest.raises(ConfigMismatchError, match="data_sha256"):
            run(uninterrupted, TINY, foregrounds=cutouts, device="cpu")
        with pytest.raises(ConfigMismatchError, match="init_sha256"):
            run(uninterrupted, TINY, init=uninterrupted / "checkpoint.safetensors", device="cpu")

    def test_weights_of_another_backbone(self, uninterrupted, tmp_path):
        config = dataclasses.replace(TINY, backbone="resnet50")
        with pytest.raises(InputError, match=r"backbone: is a mobilenetv2 network; expected resnet50"):
            run(tmp_path / "run", config, init=uninterrupted / "checkpoint.safetensors", device="cpu")
        assert not (tmp_path / "run").exists()

    def test_a_state_that_is_broken_or_of_another_run(self, tmp_path):
        with pytest.raises(StoppedError):
            run(tmp_path / "run", TINY, device="cpu", progress=stop_at(3))
        path = tmp_path / "run" / "state.pt"
        state = torch.load(path, weights_only=True)
        for change, message in (
            ({"config": "{}"}, "is of another run"),
            ({"network": {}}, "holds no state of training"),
            ({"step": 99}, "step: is 99; expected 1 to 6"),
        ):
            torch.save({**state, **change}, path)
            with pytest.raises(InputError, match=message):
                run(tmp_path / "run", TINY, device="cpu")
        for content in (b"not a state", b""):
            path.write_bytes(content)
            with pytest.raises(InputError, match=r"state\.pt: cannot be read; remove it"):
                run(tmp_path / "run", TINY, device="cpu")

    @pytest.mark.parametrize(
        "change", [{"backbone": "vgg"}, {"size": 30}, {"size": 8}, {"steps": 0}, {"batch_size": 1}, {"lr": 0.0}]
    )
    def test_bad_config(self, change):
        with pytest.raises(Rb2vError, match=next(iter(change))):
            TrainMattingConfig(**change)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
    def test_no_cuda(self, tmp_path):
        with pytest.raises(Rb2vError, match="no CUDA device"):
            run(tmp_path / "run", TINY, device="cuda")

    def test_pictures_that_cannot_be_used(self, cutouts, tmp_path, caplog):
        def refused(message, **folders):
            with pytest.raises(InputError, match=message):
                run(tmp_path / "run", TINY, device="cpu", **folders)
            assert not (tmp_path / "run").exists()

        pictures = tmp_path / "pictures"
        refused(r"pictures: there is no such folder", backgrounds=pictures)
        pictures.mkdir()
        shutil.copy(cutouts / "red.png", pictures / "a.png")
        shutil.copy(cutouts / "red.png", pictures / ".hidden.png")
        refused(r"pictures: holds 1 images that can be used; expected at least 2", backgrounds=pictures)

        def left_out(message, **folders):
            caplog.clear()
            refused("holds 1 images that can be used", **folders)
            assert re.search(f"{message}.*it is left out", caplog.text)

        path = pictures / "c.png"
        path.write_bytes(b"no image")
        left_out(r"c\.png: cannot be read as an image", backgrounds=pictures)
        assert cv2.imwrite(str(path), np.zeros((9, 9, 3), np.uint8))
        left_out(r"c\.png: has no alpha channel", foregrounds=pictures)
        assert cv2.imwrite(str(path), np.full((9, 9, 4), 255, np.uint8))
        left_out(r"c\.png: its alpha is the same everywhere", foregrounds=pictures)

    def test_a_broken_picture_is_left_out_and_the_others_are_used(self, cutouts, tmp_path):
        wanted = find_pictures(cutouts, None)
        folder = shutil.copytree(cutouts, tmp_path / "cutouts")
        (folder / "a.png").write_bytes(b"no image")
        shutil.copy(folder / "red.png", folder / ".red.png")
        pictures, sha256 = find_pictures(folder, None)
        assert [path.name for path in pictures.cutouts] == ["blue.png", "red.png"]
        assert sha256 == wanted[1]

    def test_no_default_background_of_a_test_split_is_trained_on(self):
        names = {path.name for path in find_pictures(None, None)[0].backgrounds}
        assert names.isdisjoint(DEFAULT_PICTURES["test"])
        assert names.issuperset(DEFAULT_PICTURES["train"])


class TestCommand:
    def test_a_run(self, rb2v, cutouts, tmp_path):
        arguments = ["--out", tmp_path / "run", "--foregrounds", cutouts, "--steps", 1, "--size", 32, "--device", "cpu"]
        code, out, _ = rb2v("train-matting", *arguments)
        assert code == 0
        assert "32 composites of held-out images: alpha MAD 0." in out
        assert str(tmp_path / "run" / "checkpoint.safetensors") in out

    def test_wrong_input_ends_in_one_message(self, rb2v, tmp_path):
        arguments = ["--out", tmp_path / "run", "--init", tmp_path / "none.pth"]
        code, _, err = rb2v("train-matting", *arguments)
        assert code == 2
        assert err.startswith("error: ")
        assert "none.pth: there is no such file" in err
        assert "Traceback" not in err
        assert not (tmp_path / "run").exists()

    def test_help_has_an_example(self, rb2v):
        code, out, _ = rb2v("train-matting", "--help")
        assert code == 0
        assert "Example: rb2v train-matting" in out
