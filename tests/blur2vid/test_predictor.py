import json

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from textures import write_data_set

from rb2v.blur2vid.predictor import train
from rb2v.blur2vid.predictor.checkpoint import load_predictor
from rb2v.blur2vid.predictor.config import TrainPredictorConfig, recommend
from rb2v.blur2vid.predictor.networks import PREDICTORS, make_predictor
from rb2v.blur2vid.predictor.networks.predictor import reversed_scores
from rb2v.blur2vid.predictor.objectives import best_of_many, least_squares
from rb2v.blur2vid.predictor.sampling import describe_guidance, sample_guidance
from rb2v.blur2vid.predictor.scores import diversity, is_consistent, moving_regions, score_samples_of
from rb2v.core.motion_classes import reverse
from rb2v.errors import InputError
from rb2v.stages import guidance as guidance_stage

SIZES = {"categorical": 24, "cvae_gan": 64}


def config(network, **chosen):
    small = {"batch_size": 2, "steps": 3, "checkpoint_every": 2, "log_every": 1, "image_size": SIZES[network]}
    return recommend(network, **{**small, **chosen})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predictor")
    write_data_set(folder / "shards", 4, 2, 24)
    guidance_stage.run(folder / "shards", folder / "guidance.h5")
    return folder


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("predicted") / "run"
    train.run(data / "shards", data / "guidance.h5", folder, config("categorical"), device="cpu")
    return folder


@pytest.mark.parametrize("name", PREDICTORS)
class TestNetworks:
    def test_images_of_any_size_get_a_class_for_every_pixel(self, name):
        network = make_predictor(name, SIZES[name], is_symmetric=True, seed=0).eval()
        image = np.random.default_rng(0).random((37, 50, 3), dtype=np.float32)
        samples = sample_guidance(network, image, 3, seed=1)
        assert samples.shape == (3, 37, 50)
        assert samples.dtype == np.uint8
        assert samples.max() < 5
        np.testing.assert_array_equal(samples[:2], sample_guidance(network, image, 2, seed=1))

    @pytest.mark.usefixtures("narrow_predictors")
    def test_a_stopped_training_ends_in_the_same_bytes(self, name, data, tmp_path):
        def stop(done, total, label):
            if label == "training" and done == 3:
                raise KeyboardInterrupt

        inputs = (data / "shards", data / "guidance.h5")
        train.run(*inputs, tmp_path / "whole", config(name), device="cpu")
        with pytest.raises(KeyboardInterrupt):
            train.run(*inputs, tmp_path / "halves", config(name), device="cpu", progress=stop)
        train.run(*inputs, tmp_path / "halves", config(name), device="cpu")
        for written in ("checkpoint.safetensors", "samples.csv", "metrics.json"):
            assert (tmp_path / "halves" / written).read_bytes() == (tmp_path / "whole" / written).read_bytes()
        scores = json.loads((tmp_path / "whole" / "metrics.json").read_text())["test"]
        assert {"accuracy", "best_accuracy", "diversity", "consistent"} <= scores.keys()


def test_the_negative_latent_is_the_reversed_guidance():
    network = make_predictor("categorical", 24, is_symmetric=True, seed=0)
    images, latent = torch.rand(2, 3, 21, 26), torch.randn(2, 4)
    torch.testing.assert_close(network(images, -latent), reversed_scores(network(images, latent)))
    free = make_predictor("categorical", 24, is_symmetric=False, seed=0)
    assert not torch.allclose(free(images, -latent), reversed_scores(free(images, latent)))


def test_the_published_generator_has_eight_levels_and_the_latent_in_all():
    network = make_predictor("cvae_gan", 256, is_symmetric=True, seed=0)
    shapes = [tuple(down.weight.shape[:2]) for down in network.generator.downs]
    assert shapes == [(64, 7), (128, 68), (256, 132), (512, 260), *[(512, 516)] * 4]
    assert network.generator.ups[0].weight.shape[1] == 5
    mean, log_variance = network.encode(torch.zeros(2, 256, 256, dtype=torch.int64))
    assert mean.shape == log_variance.shape == (2, 4)
    found = network.discriminate(torch.zeros(1, 5, 256, 256))
    assert [one.shape[-1] for one in found] == [30, 14]


class TestLosses:
    def test_the_nearest_candidate_is_trained(self):
        class Constant(torch.nn.Module):
            def forward(self, images, latent):
                return latent[:, :, None, None].expand(-1, -1, 2, 2)

        classes = torch.full((1, 2, 2), 3)
        latents = torch.zeros(2, 1, 5)
        latents[0, 0, 3] = 4.0
        near, far = -np.log(np.exp(4) / (np.exp(4) + 4)), np.log(5)
        loss, best = best_of_many(Constant(), torch.zeros(1, 3, 2, 2), classes, latents, 0.25, is_symmetric=False)
        assert best.item() == pytest.approx(near, rel=1e-4)
        assert loss.item() == pytest.approx(0.75 * near + 0.25 * (near + far) / 2, rel=1e-4)
        # The reversed truth is class 1: its map is a candidate at no cost.
        latents = latents[:1].roll(-2, dims=-1)
        loss, best = best_of_many(Constant(), torch.zeros(1, 3, 2, 2), classes, latents, 0.0, is_symmetric=True)
        assert best.item() == loss.item() == pytest.approx(near, rel=1e-4)

    def test_least_squares_is_summed_over_the_discriminators(self):
        assert least_squares([torch.zeros(2), torch.full((3,), 3.0)], 1.0).item() == pytest.approx(5.0)


class TestScores:
    def test_a_map_is_consistent_where_each_region_goes_one_way(self):
        truth = np.zeros((20, 20), dtype=np.uint8)
        truth[:, :8], truth[:, 12:] = 1, 4
        assert len(moving_regions(truth)) == 2
        one_turned = truth.copy()
        one_turned[:, 12:] = 2  # against 4
        half_turned = truth.copy()
        half_turned[:10, 12:] = 2
        assert is_consistent(truth, truth)
        assert is_consistent(reverse(truth), truth)
        assert is_consistent(one_turned, truth)
        assert not is_consistent(half_turned, truth)

    def test_samples_are_scored(self):
        truth = np.full((10, 10), 1, dtype=np.uint8)
        samples = np.stack([reverse(truth), truth])
        scores = score_samples_of(samples, truth)
        assert scores == {
            "accuracy": 0.0,
            "accuracy_free": 1.0,
            "best_accuracy": 1.0,
            "static_accuracy": 1.0,
            "diversity": 1.0,
            "consistent": 1.0,
        }
        assert diversity(samples[:1]) == 0

    def test_a_map_is_named_by_most_of_what_moves(self):
        classes = np.array([[1] * 10 + [3] * 3 + [2]], dtype=np.uint8)
        assert describe_guidance(classes) == "right-up+left-down"


class TestCheckpoint:
    def test_another_class_order_is_rejected(self, finished, tmp_path):
        path = finished / "checkpoint.safetensors"
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["rb2v"])
        header["classes"] = header["classes"][::-1]
        wrong = tmp_path / "wrong.safetensors"
        tensors = safetensors.torch.load_file(path)
        safetensors.torch.save_file(tensors, wrong, metadata={"rb2v": json.dumps(header)})
        with pytest.raises(InputError) as caught:
            load_predictor(wrong)
        assert (caught.value.source, caught.value.key) == (str(wrong), "classes")

    def test_a_finished_run_is_left_as_it_is(self, data, finished):
        before = (finished / "checkpoint.safetensors").read_bytes()
        train.run(
            data / "shards",
            data / "guidance.h5",
            finished,
            config("categorical"),
            device="cpu",
            progress=lambda *_: pytest.fail("it ran"),
        )
        assert (finished / "checkpoint.safetensors").read_bytes() == before


def test_the_command_trains_and_says_the_scores(rb2v, data, tmp_path):
    outcome = rb2v(
        *("train-guidance", "--shards", data / "shards", "--guidance", data / "guidance.h5"),
        *("--out", tmp_path / "run", "--steps", 2, "--batch-size", 2, "--image-size", 24, "--device", "cpu"),
    )
    assert outcome.status == 0, outcome.err
    assert "2 test images, 5 samples each" in outcome.out


@pytest.mark.parametrize(("chosen", "key"), [({"image_size": 96}, "image_size"), ({"batch_size": 1}, "batch_size")])
def test_sizes_that_the_published_network_cannot_are_named(chosen, key):
    with pytest.raises(InputError) as caught:
        TrainPredictorConfig(**{"network": "cvae_gan", "image_size": 64, **chosen})
    assert caught.value.key == key
