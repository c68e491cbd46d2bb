import json

import numpy as np
import pandas as pd
import pytest
import torch
from textures import write_data_set

from rb2v.blur2vid import train
from rb2v.blur2vid.backbones import make_backbone
from rb2v.blur2vid.backbones.zhong import UpstreamZhong
from rb2v.blur2vid.backbones.zhong.decomposer import Decomposer
from rb2v.blur2vid.backbones.zhong.network import slopes_along
from rb2v.blur2vid.checkpoint import load_backbone
from rb2v.blur2vid.config import TrainBlur2VidConfig
from rb2v.blur2vid.train import turn_guidance, turn_sequences
from rb2v.blur2vid.zhong_weights import STAGE_FILES, read_zhong
from rb2v.errors import InputError
from rb2v.stages import guidance as guidance_stage
from rb2v.training.transforms import to_vectors


def config(**chosen):
    small = {"crop_size": 16, "batch_size": 2, "steps": 3, "warmup_steps": 1, "checkpoint_every": 2, "log_every": 1}
    return TrainBlur2VidConfig(**{"backbone": "zhong_small", "loss": "naive", **small, **chosen})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zhong")
    write_data_set(folder / "shards", 6, 3, 24)
    guidance_stage.run(folder / "shards", folder / "guidance.h5")
    return folder


@pytest.fixture(scope="module")
def order_run(data, tmp_path_factory):
    from rb2v.hypercut.config import TrainHyperCutConfig
    from rb2v.hypercut.train import run

    folder = tmp_path_factory.mktemp("order") / "run"
    options = {"n_dimensions": 8, "image_size": 20, "batch_size": 4, "steps": 2}
    run(data / "shards", folder, TrainHyperCutConfig(**options), device="cpu")
    return folder


class TestPublishedWeights:
    def test_each_stage_has_the_published_tensors(self):
        with torch.device("meta"):
            network = UpstreamZhong(7, width=128, n_blocks=12)
        for stage, weights in ((network.decomposer_s1, 64_612_757), (network.decomposer_s2, 64_731_925)):
            state = stage.state_dict()
            assert len(state) == 233
            assert sum(weight.numel() for weight in stage.parameters()) == weights
        assert state["first_conv.conv.weight"].shape == (128, 24, 7, 7)
        assert state["bottleneck.11.norm2.num_batches_tracked"].shape == ()
        assert state["up_blocks.0.trans.weight"].shape == (512, 256, 4, 4)
        assert state["final_conv.0.bias"].shape == (21,)

    def test_files_fill_both_stages_and_wrong_ones_are_named(self, tmp_path, monkeypatch):
        # Narrow stages of the same names: the published ones take half a gigabyte.
        monkeypatch.setattr(
            "rb2v.blur2vid.zhong_weights.UpstreamZhong", lambda n: UpstreamZhong(n, width=2, n_blocks=12)
        )
        source = UpstreamZhong(7, width=2, n_blocks=12)
        for name, stage in zip(STAGE_FILES, (source.decomposer_s1, source.decomposer_s2), strict=True):
            torch.save({f"module.{key}": tensor for key, tensor in stage.state_dict().items()}, tmp_path / name)
        network = read_zhong(tmp_path)
        for name, tensor in source.state_dict().items():
            torch.testing.assert_close(network.state_dict()[name], tensor, rtol=0, atol=0)
        (tmp_path / STAGE_FILES[1]).write_bytes((tmp_path / STAGE_FILES[0]).read_bytes())
        with pytest.raises(InputError) as caught:
            read_zhong(tmp_path)
        assert (caught.value.source, caught.value.key) == (str(tmp_path / STAGE_FILES[1]), "first_conv.conv.weight")

    def test_outputs_are_those_computed_by_hand(self):
        network = UpstreamZhong(3, width=1, n_blocks=1).eval()
        with torch.no_grad():
            for weight in network.parameters():
                weight.zero_()
            # All features are zero, so that the last biases are what is squashed: 0.5 and 0.25 by hand.
            network.decomposer_s1.final_conv[0].bias.fill_(0.0)
            network.decomposer_s2.final_conv[0].bias.fill_(-np.log(3.0))
        blurry = torch.full((1, 3, 4, 4), 0.2)
        guidance = torch.ones(1, 2, 4, 4)
        guidance[..., :2] = 0
        first, second = network.stages(blurry, guidance)
        assert first[0, 0, 0, 0].tolist() == pytest.approx([0.2, 0.2, 0.5, 0.5])
        # The second stage adds to static pixels as well.
        assert second[0, 2, 1, 3].tolist() == pytest.approx([0.45, 0.45, 0.75, 0.75])

    def test_a_stage_computes_what_its_layers_say(self):
        torch.manual_seed(0)
        stage = Decomposer(2, 3, width=2, n_blocks=1).eval()
        images = torch.randn(1, 2, 8, 8)
        conv, relu = torch.nn.functional.conv2d, torch.relu
        first = stage.first_conv
        x = relu(first.norm(conv(images, first.conv.weight, first.conv.bias, padding=3)))
        for block in stage.down_blocks:
            x = relu(block.norm1(conv(x, block.conv1.weight, block.conv1.bias, padding=1)))
            x = relu(block.norm2(conv(x, block.conv2.weight, block.conv2.bias, padding=1, stride=2)))
        (block,) = stage.bottleneck
        inner = conv(relu(block.norm1(x)), block.conv1.weight, block.conv1.bias, padding=1)
        x = x + conv(relu(block.norm2(inner)), block.conv2.weight, block.conv2.bias, padding=1)
        for block in stage.up_blocks:
            trans = block.trans
            x = torch.nn.functional.conv_transpose2d(x, trans.weight, trans.bias, stride=2, padding=1)
            x = relu(block.norm2(conv(relu(block.norm1(x)), block.conv.weight, block.conv.bias, padding=1)))
        last = stage.final_conv[0]
        torch.testing.assert_close(stage(images), conv(x, last.weight, last.bias, padding=3))


@pytest.fixture(scope="module")
def network():
    network = make_backbone("zhong_small", 7, 0).eval()
    for stage in (network.stage_1, network.stage_2):
        torch.nn.init.normal_(stage.ending.weight, std=0.1)  # training begins at zero
    return network


def test_training_begins_at_the_blurry_image():
    blurry = torch.rand(1, 3, 16, 16)
    guidance = to_vectors(torch.full((1, 16, 16), 4))
    frames = make_backbone("zhong_small", 7, 0)(blurry, None, guidance)
    assert torch.equal(frames[0], blurry.expand(7, 3, 16, 16))


def test_slopes_are_those_along_the_guidance():
    images = torch.arange(5.0).expand(1, 3, 4, 5) + 10 * torch.arange(4.0)[:, None]
    slopes = slopes_along(images, to_vectors(torch.full((1, 4, 5), 1)))  # right and up
    assert slopes[0, :3, 1:-1, 1:-1].unique().tolist() == [1.0]
    assert slopes[0, 3:, 1:-1, 1:-1].unique().tolist() == [-10.0]


class TestGuidedBackbone:
    def test_static_pixels_are_the_blurry_image_in_both_stages(self, network):
        blurry = torch.rand(2, 3, 13, 18)
        classes = torch.randint(0, 5, (2, 13, 18))
        stages = network.stages(blurry, to_vectors(classes))
        assert stages.shape == (2, 2, 7, 3, 13, 18)
        still = (classes == 0)[None, :, None, None].expand_as(stages)
        assert torch.equal(stages[still], blurry[None, :, None].expand_as(stages)[still])
        assert (stages != blurry[None, :, None])[~still].any()
        assert torch.equal(network(blurry, None, to_vectors(classes)), stages[-1])

    def test_without_guidance_nothing_is_copied(self, network):
        blurry = torch.rand(1, 3, 16, 16)
        zeros = torch.zeros(1, 2, 16, 16)
        assert torch.equal(network(blurry, None, zeros)[0], blurry.expand(7, 3, 16, 16))
        assert not torch.equal(network(blurry)[0], blurry.expand(7, 3, 16, 16))

    def test_guidance_of_another_size_is_rejected(self, network):
        with pytest.raises(ValueError, match="guidance of"):
            network(torch.rand(1, 3, 16, 16), None, torch.zeros(1, 2, 8, 8))

    def test_turned_guidance_goes_with_turned_sequences(self):
        frames, guidance = torch.rand(2, 7, 3, 4, 4), torch.ones(2, 2, 4, 4)
        order = torch.tensor([1, -1])
        turned = turn_sequences(frames, order)
        assert torch.equal(turned[0], frames[0])
        assert torch.equal(turned[1], frames[1].flip(0))
        assert turn_guidance(guidance, order)[:, 0, 0, 0].tolist() == [1, -1]


class TestTraining:
    @pytest.mark.parametrize(
        "chosen",
        [
            {},
            {"augment": True},
            {"loss": "order_invariant"},
            {"loss": "best_direction"},
            {"loss": "label"},
            {"regularizer": "softplus"},
        ],
        ids=str,
    )
    def test_every_loss_works_with_it(self, data, order_run, tmp_path, chosen):
        made = config(**chosen)
        order = order_run if made.needs_order else None
        path = train.run(
            data / "shards", tmp_path / "run", made, guidance=data / "guidance.h5", order_run=order, device="cpu"
        )
        trained = load_backbone(path)
        assert trained.network.needs_guidance
        metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
        assert metrics["true_guidance"]
        table = pd.read_csv(tmp_path / "run" / "metrics.csv")
        assert np.isfinite(table["loss"]).all()
        assert (table["regularizer"] > 0).all() == ("regularizer" in chosen)
        assert (tmp_path / "run" / "order_labels.csv").exists() == (order is not None)

    def test_a_stopped_run_ends_in_the_same_bytes(self, data, tmp_path):
        def stop(done, total, label):
            if label == "training" and done == 3:
                raise KeyboardInterrupt

        options = {"guidance": data / "guidance.h5", "device": "cpu"}
        train.run(data / "shards", tmp_path / "whole", config(augment=True), **options)
        with pytest.raises(KeyboardInterrupt):
            train.run(data / "shards", tmp_path / "halves", config(augment=True), **options, progress=stop)
        train.run(data / "shards", tmp_path / "halves", config(augment=True), **options)
        for name in ("checkpoint.safetensors", "samples.csv", "metrics.json"):
            assert (tmp_path / "halves" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    def test_the_decomposer_alone_needs_no_guidance(self, data, tmp_path):
        path = train.run(data / "shards", tmp_path / "run", config(), device="cpu")
        assert not load_backbone(path).network.needs_guidance

    def test_guidance_is_for_guided_backbones(self, data, tmp_path):
        with pytest.raises(InputError) as caught:
            train.run(
                data / "shards", tmp_path / "run", config(backbone="unet"), guidance=data / "guidance.h5", device="cpu"
            )
        assert caught.value.key == "guidance"

    def test_an_order_holds_for_no_mirrored_frames(self):
        with pytest.raises(InputError) as caught:
            config(loss="label", augment=True)
        assert caught.value.key == "augment"
