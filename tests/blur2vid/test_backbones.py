import pytest
import torch

from rb2v.blur2vid.backbones import BACKBONES, make_backbone
from rb2v.blur2vid.backbones.unet import ChannelNorm

N_FRAMES = 7


def inputs(network, height, width, seed=0):
    rng = torch.Generator().manual_seed(seed)
    blurry, center = (torch.rand(2, 3, height, width, generator=rng) for _ in range(2))
    return (blurry, center) if network.takes_center else (blurry,)


@pytest.mark.parametrize("name", BACKBONES)
class TestEveryBackbone:
    @pytest.mark.parametrize("size", [(64, 64), (37, 51), (1, 5)])
    def test_frames_have_the_image_s_size(self, name, size):
        network = make_backbone(name, N_FRAMES, 0).eval()
        with torch.inference_mode():
            frames = network(*inputs(network, *size))
        assert frames.shape == (2, N_FRAMES, 3, *size)
        assert torch.isfinite(frames).all()

    def test_the_seed_decides_the_weights_and_nothing_else_changes(self, name):
        before = torch.get_rng_state()
        first, again, other = (make_backbone(name, N_FRAMES, seed).state_dict() for seed in (3, 3, 4))
        assert torch.equal(torch.get_rng_state(), before)
        assert all(torch.equal(first[key], again[key]) for key in first)
        assert any(not torch.equal(first[key], other[key]) for key in first)

    def test_images_of_a_batch_do_not_see_each_other(self, name):
        network = make_backbone(name, N_FRAMES, 0).eval()
        together = inputs(network, 40, 44)
        with torch.inference_mode():
            frames, alone = network(*together), network(*(images[:1] for images in together))
        torch.testing.assert_close(frames[:1], alone, atol=1e-5, rtol=0)

    def test_every_weight_is_trained(self, name):
        network = make_backbone(name, N_FRAMES, 0)
        for parameter in network.parameters():
            if not parameter.any():  # what begins at zero keeps gradients from what lies before it
                torch.nn.init.normal_(parameter, std=0.1)
        network(*inputs(network, 40, 44)).square().sum().backward()
        if network.has_autoencoder:
            sharp = torch.rand(2, N_FRAMES, 3, 40, 44, generator=torch.Generator().manual_seed(0))
            network.autoencode(sharp).square().sum().backward()
        untrained = [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()]
        assert untrained == []


class TestUNet:
    def test_padding_is_not_seen_where_none_is_needed(self):
        network = make_backbone("unet", N_FRAMES, 0)
        (blurry,) = inputs(network, 48, 40)
        torch.testing.assert_close(network(blurry), network.estimate(blurry, None))

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_channels_of_every_place_have_the_mean_and_the_spread_that_are_learnt(self, layout):
        norm = ChannelNorm(4)
        norm.scale.data.fill_(2)
        norm.offset.data.fill_(3)
        features = 5 + 7 * torch.rand(2, 4, 6, 5, generator=torch.Generator().manual_seed(0))
        normed = norm(features.contiguous(memory_format=layout))
        assert normed.is_contiguous(memory_format=layout)
        torch.testing.assert_close(normed.mean(dim=1), torch.full((2, 6, 5), 3.0))
        torch.testing.assert_close(normed.std(dim=1, correction=0), torch.full((2, 6, 5), 2.0))

    @pytest.mark.parametrize("n_frames", [3, 9])
    def test_any_odd_number_of_frames(self, n_frames):
        network = make_backbone("unet", n_frames, 0)
        assert network(*inputs(network, 16, 16)).shape == (2, n_frames, 3, 16, 16)
