import numpy as np
import pytest
import torch
from textures import N_FRAMES, translating_texture

from rb2v.blur2vid.backbones import BACKBONES, make_backbone
from rb2v.blur2vid.backbones.purohit import Purohit, UpstreamPurohit
from rb2v.blur2vid.backbones.purohit.recurrent import VideoDecoder
from rb2v.blur2vid.backbones.purohit.warping import warp, warp_upstream
from rb2v.errors import Rb2vError

MIDDLE = N_FRAMES // 2


def random_images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def small_purohit(oracle_center=True, seed=0):
    """Return a small network whose flow does not begin as zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Purohit(N_FRAMES, width=8, oracle_center=oracle_center)
        for conv in network.rvd.flow_decoder.convs:
            torch.nn.init.normal_(conv.weight, std=0.1)
    return network.eval()


def textures(rng, n, size):
    frames = np.stack([translating_texture(rng, size, rng.choice([-1, 1])) for _ in range(n)])
    return torch.from_numpy(frames).permute(0, 1, 4, 2, 3) / 255


class TestWarp:
    @pytest.mark.parametrize("size", [(24, 40), (1, 5)])
    def test_no_flow_is_the_identity(self, size):
        images = random_images(2, 3, *size)
        torch.testing.assert_close(warp(images, torch.zeros(2, 2, *size)), images, atol=1e-5, rtol=0)

    def test_flow_in_half_precision_finds_far_places(self):
        images = random_images(1, 3, 4, 448)
        flow = torch.zeros(1, 2, 4, 448, dtype=torch.bfloat16)
        torch.testing.assert_close(warp(images, flow), images, atol=1e-4, rtol=0)

    @pytest.mark.parametrize(("right", "down"), [(3, 0), (0, -2), (-4, 5)])
    def test_flow_points_to_what_is_seen(self, right, down):
        images = random_images(2, 3, 24, 40)
        flow = torch.tensor([float(right), float(down)])[:, None, None].expand(2, 2, 24, 40)
        columns, rows = (torch.arange(40) + right).clamp(0, 39), (torch.arange(24) + down).clamp(0, 23)
        expected = images[..., rows, :][..., columns]
        torch.testing.assert_close(warp(images, flow), expected, atol=1e-5, rtol=0)

    def test_half_a_pixel_is_a_mean(self):
        images = random_images(1, 1, 8, 8)
        flow = torch.tensor([0.5, 0.0])[:, None, None].expand(1, 2, 8, 8)
        expected = (images[..., :-1] + images[..., 1:]) / 2
        torch.testing.assert_close(warp(images, flow)[..., :-1], expected, atol=1e-5, rtol=0)

    def test_upstream_no_flow_moves_and_blanks_the_border(self):
        # Its places p of n pixels are p n / (n - 1) - 1 / 2.
        images = torch.arange(1.0, 9.0).expand(1, 1, 8, 8)
        row = warp_upstream(images, torch.zeros(1, 2, 8, 8))[0, 0, 4]
        expected = torch.arange(8) * 8 / 7 - 0.5 + 1
        expected[[0, -1]] = 0
        torch.testing.assert_close(row, expected)


class TestPurohit:
    def test_it_begins_as_the_centre_frame(self):
        network = Purohit(N_FRAMES, width=8, oracle_center=True)
        blurry, center = random_images(2, 2, 3, 20, 28)
        expected = center[:, None].expand(-1, N_FRAMES, -1, -1, -1)
        torch.testing.assert_close(network(blurry, center), expected, atol=1e-5, rtol=0)

    def test_the_true_centre_frame_is_given_back_and_only_the_oracle_takes_it(self):
        assert BACKBONES["purohit_oracle"](N_FRAMES).takes_center
        assert not BACKBONES["purohit"](N_FRAMES).takes_center
        network = small_purohit()
        blurry, center = random_images(2, 2, 3, 20, 28)
        frames = network(blurry, center)
        assert torch.equal(frames[:, MIDDLE], center)
        assert all((frames[:, index] - center).abs().max() > 1e-3 for index in range(N_FRAMES) if index != MIDDLE)

    def test_the_centre_frame_is_the_deblurrer_s_estimate(self):
        network = small_purohit(oracle_center=False)
        blurry = random_images(2, 3, 16, 24)
        assert torch.equal(network(blurry)[:, MIDDLE], network.deblurrer(blurry)[:, 0])

    @pytest.mark.parametrize("size", [(24, 32), (13, 21)])
    def test_autoencoded_sequences_have_their_shape_and_centre(self, size):
        sharp = random_images(2, N_FRAMES, 3, *size)
        frames = small_purohit().autoencode(sharp)
        assert frames.shape == sharp.shape
        assert torch.equal(frames[:, MIDDLE], sharp[:, MIDDLE])

    def test_a_reversed_sequence_is_autoencoded_in_reverse(self):
        network, sharp = small_purohit(), random_images(2, N_FRAMES, 3, 16, 16)
        torch.testing.assert_close(network.autoencode(sharp.flip(1)).flip(1), network.autoencode(sharp))

    def test_exchanged_codes_are_the_reversed_sequence(self):
        network = small_purohit()
        blurry, center = random_images(2, 2, 3, 16, 16)
        before = network(blurry, center)
        last = network.bie[-2]
        for parameter in last.parameters():
            parameter.data = torch.cat(parameter.data.chunk(2)[::-1])
        torch.testing.assert_close(network(blurry, center).flip(1), before)

    @pytest.mark.parametrize("feedback", [True, False])
    def test_a_step_sees_the_flow_of_the_one_before(self, feedback):
        decoder = VideoDecoder((4, 4, 4, 8), flow_feedback=feedback)
        for conv in decoder.flow_decoder.convs:
            torch.nn.init.normal_(conv.weight, std=0.1)
        seen = []
        decoder.flow_encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
        flows = [flow.detach() for flow in decoder(random_images(2, 8, 2, 3), 3)]
        assert not seen[0].any()
        assert len(seen) == (3 if feedback else 1)
        assert all(torch.equal(shown, flow) for shown, flow in zip(seen[1:], flows, strict=False))

    def test_the_autoencoder_learns_motion(self):
        sharp = textures(np.random.default_rng(0), 2, 16)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = Purohit(N_FRAMES, width=16, oracle_center=True)
        optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, betas=(0.9, 0.95))
        repeated = (sharp - sharp[:, MIDDLE : MIDDLE + 1]).abs().mean().item()
        for _ in range(60):
            error = (network.autoencode(sharp) - sharp).abs().mean()
            optimizer.zero_grad()
            error.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        assert error.item() < 0.5 * repeated

    @pytest.mark.parametrize("n_frames", [3, 9])
    def test_odd_numbers_of_frames(self, n_frames):
        network = Purohit(n_frames, width=8)
        assert network(random_images(1, 3, 16, 16)).shape == (1, n_frames, 3, 16, 16)

    @pytest.mark.parametrize("n_frames", [1, 6])
    @pytest.mark.parametrize("name", ["purohit", "purohit_oracle"])
    def test_other_numbers_are_refused(self, name, n_frames):
        with pytest.raises(Rb2vError, match=f"odd number of frames.*not {n_frames}"):
            make_backbone(name, n_frames, 0)


class TestUpstreamPurohit:
    def test_it_is_as_large_as_the_released_code_s(self):
        network = UpstreamPurohit(N_FRAMES)
        assert sum(value.numel() for value in network.bie.parameters()) == 1_648_704
        assert sum(value.numel() for value in network.rvd.parameters()) == 2_905_004
        assert len(network.state_dict()) == 46

    def test_channels_are_normalised_as_there(self):
        # Without flow the middle of an even image keeps its colors; the border becomes the mean color.
        network = UpstreamPurohit(N_FRAMES)
        for parameter in network.rvd.flow_decoder.convs.parameters():
            torch.nn.init.zeros_(parameter)
        color = torch.tensor([0.9, 0.5, 0.1])
        image = color[:, None, None].expand(1, 3, 16, 16)
        frames = network(image, image)
        expected = color[:, None, None].expand(1, N_FRAMES, 3, 14, 14)
        torch.testing.assert_close(frames[..., 1:-1, 1:-1], expected)
        mean_rgb = torch.tensor([0.406, 0.456, 0.485])  # blue, green, red are normalised by red's, green's, blue's
        torch.testing.assert_close(frames[0, 0, :, 0, 0], mean_rgb)
