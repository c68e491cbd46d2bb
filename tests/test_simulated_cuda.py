"""Whatever computes with torch keeps to one device: run whole on a simulated CUDA, where two devices may not meet."""

import numpy as np
import pytest
import torch
from simulated_cuda import DEVICE, DeviceError, simulated_cuda
from textures import write_data_set

from rb2v.blur2vid.backbones import BACKBONES, make_backbone
from rb2v.blur2vid.backbones.zhong import decomposer
from rb2v.hypercut.networks import ORDER_NETWORKS
from rb2v.interpolation.learned.cdfi.interpolator import CdfiInterpolator
from rb2v.interpolation.learned.cdfi.network import Cdfi
from rb2v.interpolation.learned.raft import Raft, load_raft
from rb2v.interpolation.learned.rife import VERSIONS, RifeInterpolator
from rb2v.lpips import Lpips
from rb2v.matting.background.network import MattingNetwork, Refinement


@pytest.fixture
def cuda(monkeypatch):
    with simulated_cuda(monkeypatch):
        yield


class TestTheSimulation:
    def test_tensors_of_two_devices_do_not_meet(self, cuda):
        on_device, on_cpu = torch.rand(3, device="cuda"), torch.rand(3)
        assert on_device.device == DEVICE
        for meet in (
            lambda: on_device + on_cpu,
            lambda: torch.cat([on_cpu, on_device]),
            lambda: torch.nn.Linear(3, 2)(on_device),
            lambda: torch.nn.Linear(3, 2).to("cuda")(on_cpu),
            lambda: on_cpu[torch.arange(2, device="cuda")],
        ):
            with pytest.raises(DeviceError):
                meet()
        with pytest.raises(TypeError):
            on_device.numpy()
        with pytest.raises(TypeError):
            np.asarray(on_device)

    def test_what_cuda_allows_goes_through(self, cuda):
        on_device = torch.zeros(3, device="cuda")
        on_device += torch.tensor(2.0)
        on_device[torch.tensor([1])] = 5.0
        assert on_device.tolist() == [2, 5, 2]
        on_device.copy_(torch.ones(3))
        assert on_device.cpu().numpy().tolist() == [1, 1, 1]

    def test_gradients_and_steps_are_those_of_the_cpu(self, cuda):
        weights = []
        for device in ("cpu", "cuda"):
            torch.manual_seed(0)
            layer = torch.nn.Conv2d(2, 3, 3).to(device)
            optimizer = torch.optim.AdamW(layer.parameters())
            layer(torch.rand(1, 2, 8, 8).to(device)).square().mean().backward()
            optimizer.step()
            weights.append(layer.weight.detach().cpu().numpy())
        np.testing.assert_array_equal(*weights)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated_cuda")
    write_data_set(folder / "shards", 2, 1, 40)
    return folder / "shards"


STEPS = {"steps": 1, "checkpoint_every": 1, "log_every": 1, "warmup_steps": 1}


class TestNetworks:
    @pytest.mark.usefixtures("narrow_cascades")
    @pytest.mark.parametrize("name", BACKBONES)
    def test_deblurring(self, name, cuda, monkeypatch):
        monkeypatch.setattr(decomposer, "WIDTH", 4)
        monkeypatch.setattr(decomposer, "N_BLOCKS", 1)
        network = make_backbone(name, 7, 0).to("cuda")
        images = torch.rand(1, 3, 32, 32, device="cuda")
        frames = network(images, images) if network.takes_center else network(images)
        assert frames.device == DEVICE
        frames.mean().backward()

    @pytest.mark.parametrize("version", VERSIONS)
    def test_rife(self, version, cuda):
        interpolator = RifeInterpolator(VERSIONS[version]().eval(), "srgb", "cuda", symmetric=True)
        frames = np.random.default_rng(0).random((2, 64, 64, 3), dtype=np.float32)
        for frame in interpolator.between(*frames, [0.3, 0.5]):
            assert frame.shape == (64, 64, 3)

    def test_cdfi(self, cuda):
        interpolator = CdfiInterpolator(Cdfi().start_narrow().eval().requires_grad_(False), "srgb", "cuda")
        frames = np.random.default_rng(0).random((2, 32, 32, 3), dtype=np.float32)
        assert interpolator.between(*frames, [0.3, 0.5])[0].shape == (32, 32, 3)

    def test_raft(self, cuda, tmp_path, monkeypatch):
        torch.save(Raft().state_dict(), tmp_path / "raft.pth")
        monkeypatch.setattr("rb2v.interpolation.learned.raft.weights._ITERATIONS", 1)
        assert load_raft(tmp_path / "raft.pth", "cuda")(*np.zeros((2, 64, 64, 3), np.uint8)).shape == (64, 64, 2)

    @pytest.mark.parametrize("net", ["alex", "vgg"])
    def test_lpips(self, net, cuda):
        images = np.zeros((2, 64, 64, 3), np.uint8)
        assert Lpips(net).to("cuda").distance(*images) == 0

    def test_matting(self, cuda):
        network = MattingNetwork("mobilenetv2").eval().to("cuda")
        images = torch.rand(2, 1, 3, 64, 64, device="cuda")
        assert network(*images, 0.5, Refinement("full"))[0].device == DEVICE


class TestTrainings:
    """One step, its scores and what is written."""

    @pytest.mark.parametrize("arch", ORDER_NETWORKS)
    def test_order(self, arch, shards, tmp_path, cuda):
        from rb2v.hypercut.config import recommend
        from rb2v.hypercut.train import run

        small = recommend(arch, n_dimensions=8, image_size=38, batch_size=2, **STEPS)
        assert run(shards, tmp_path / "run", small, device="cuda").exists()

    def test_deblurring(self, shards, tmp_path, cuda):
        from rb2v.blur2vid.config import TrainBlur2VidConfig
        from rb2v.blur2vid.train import run

        small = TrainBlur2VidConfig(crop_size=20, batch_size=2, **STEPS)
        assert run(shards, tmp_path / "run", small, device="cuda").exists()

    @pytest.mark.usefixtures("narrow_predictors")
    @pytest.mark.parametrize(("name", "size"), [("categorical", 24), ("cvae_gan", 64)])
    def test_guidance(self, name, size, shards, tmp_path, cuda):
        from rb2v.blur2vid.predictor.config import recommend
        from rb2v.blur2vid.predictor.train import run
        from rb2v.stages import guidance

        guidance.run(shards, tmp_path / "guidance.h5")
        small = recommend(name, image_size=size, batch_size=2, **STEPS)
        assert run(shards, tmp_path / "guidance.h5", tmp_path / "run", small, device="cuda").exists()

    def test_matting(self, tmp_path, cuda):
        from rb2v.matting.background.train import TrainMattingConfig, run

        small = TrainMattingConfig(size=32, batch_size=2, n_held_out=1, **STEPS)
        assert run(tmp_path / "run", small, device="cuda").exists()

    def test_interpolation(self, tmp_path, cuda, monkeypatch):
        monkeypatch.setattr("rb2v.interpolation.learned.cdfi.train._PANS_PER_TRIPLET", 1)
        from rb2v.interpolation.learned.cdfi.config import TrainInterpolatorConfig
        from rb2v.interpolation.learned.cdfi.train import run

        small = TrainInterpolatorConfig(
            crop_size=32, batch_size=1, n_held_out=1, motion_share=0.5, **STEPS | {"steps": 2}
        )
        assert run(tmp_path / "run", small, device="cuda").exists()
