import pytest
import torch

from rb2v.blur2vid.backbones.purohit import UpstreamPurohit
from rb2v.blur2vid.purohit_weights import read_purohit, read_purohit_decoder
from rb2v.errors import InputError

# Names and shapes of a state dict of HyperCUT's Blur2Vid with its Purohit backbone, without ``model.``.
BIE = {
    f"bie.model.{index}.weight": (after, before, 5, 5)
    for index, (before, after) in zip(
        range(0, 14, 2), [(6, 64), (64, 64), (64, 64), (64, 128), (128, 128), (128, 128), (128, 128)], strict=True
    )
}
ENCODER = [(2, 16), (16, 32), (32, 164), (164, 128)]
DECONVS = [(128, 164), (164, 32), (32, 16)]
RVD = (
    {f"rvd.flow_encoder.model.{scale}.0.weight": (after, before, 3, 3) for scale, (before, after) in enumerate(ENCODER)}
    | {"rvd.conv_lstm.conv.weight": (512, 256, 3, 3)}
    | {f"rvd.flow_decoder.deconvs.{scale}.conv.weight": (n, m, 5, 5) for scale, (m, n) in enumerate(DECONVS)}
    | {f"rvd.flow_decoder.convs.{scale}.weight": (2, n, 3, 3) for scale, n in enumerate((256, 330, 66, 34))}
)
BLOCKS = {
    f"rvd.flow_encoder.model.{scale}.1.conv{which}.weight": (n, n, 3, 3)
    for scale, (_, n) in enumerate(ENCODER)
    for which in (1, 2)
}


def with_biases(shapes):
    return shapes | {f"{name.removesuffix('weight')}bias": shape[:1] for name, shape in shapes.items()}


def draw(shapes, prefix=""):
    rng = torch.Generator().manual_seed(0)
    return {prefix + name: torch.randn(shape, generator=rng) / 10 for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def decoder():
    return draw(with_biases(RVD) | BLOCKS)


@pytest.fixture(scope="module")
def weights(decoder):
    return {f"model.{name}": tensor for name, tensor in (draw(with_biases(BIE)) | decoder).items()}


def write(folder, tensors):
    path = folder / "purohit.pth"
    torch.save(tensors, path)
    return path


class TestReadPurohit:
    def test_sizes_are_those_of_the_layout(self, weights):
        sizes = {part: [v.numel() for name, v in weights.items() if f".{part}." in name] for part in ("bie", "rvd")}
        assert {part: (len(numbers), sum(numbers)) for part, numbers in sizes.items()} == {
            "bie": (14, 1_648_704),
            "rvd": (32, 2_905_004),
        }

    def test_every_weight_arrives_and_those_of_the_loss_are_left(self, tmp_path, weights):
        extra = {"model.loss.hypercut.hyperplane.hyperplane": torch.zeros(129)}
        before = torch.get_rng_state()
        network = read_purohit(write(tmp_path, weights | extra))
        assert torch.equal(torch.get_rng_state(), before)
        state = network.state_dict()
        assert state.keys() == {name.removeprefix("model.") for name in weights}
        assert all(torch.equal(state[name.removeprefix("model.")], tensor) for name, tensor in weights.items())
        assert network.takes_center
        assert not network.training
        assert not network.rvd.flow_feedback

    def test_frames_come_out(self, tmp_path, weights):
        network = read_purohit(write(tmp_path, weights), n_frames=3)
        blurry, center = torch.rand(2, 1, 3, 20, 28, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            frames = network(blurry, center)
        assert frames.shape == (1, 3, 3, 20, 28)
        assert torch.isfinite(frames).all()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"model.rvd.conv_lstm.conv.bias": None}, r"model\.rvd\.conv_lstm\.conv\.bias: is missing"),
            ({"model.rve.weight": torch.zeros(2)}, r"model\.rve\.weight: is not a tensor of HyperCUT's 'Purohit'"),
            (
                {"model.bie.model.0.bias": torch.zeros(32)},
                r"bie\.model\.0\.bias: is float32 \(32,\); expected .*\(64,\)",
            ),
            ({"model.bie.model.2.bias": torch.full((64,), torch.nan)}, r"bie\.model\.2\.bias: .*not finite"),
        ],
    )
    def test_other_tensors_are_named(self, tmp_path, weights, change, message):
        changed = {name: tensor for name, tensor in (weights | change).items() if tensor is not None}
        with pytest.raises(InputError, match=message):
            read_purohit(write(tmp_path, changed))

    def test_a_stage_1_file_is_no_trained_network(self, tmp_path, decoder):
        with pytest.raises(InputError, match=r"is missing; expected .*train_blur2vid"):
            read_purohit(write(tmp_path, decoder))


class TestReadPurohitDecoder:
    def test_the_decoder_arrives_and_the_rest_follows_the_seed(self, tmp_path, decoder):
        path = write(tmp_path, decoder | {"rve.conv.weight": torch.zeros(3)})
        network, again, other = (read_purohit_decoder(path, seed=seed) for seed in (0, 0, 1))
        assert isinstance(network, UpstreamPurohit)
        assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in decoder.items())
        drawn = "bie.model.0.weight"
        assert torch.equal(network.state_dict()[drawn], again.state_dict()[drawn])
        assert not torch.equal(network.state_dict()[drawn], other.state_dict()[drawn])

    def test_a_missing_tensor_is_named(self, tmp_path, weights):
        with pytest.raises(InputError, match=r"rvd\.conv_lstm\.conv\.bias: is missing"):
            read_purohit_decoder(write(tmp_path, weights))
