"""The matting method `rvm`: weights read as data, the recurrent network's state, and mattes of a sequence."""

import struct

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from rb2v.core.blur import step_weights
from rb2v.errors import InputError
from rb2v.matting import make_matting_method
from rb2v.matting.recurrent.network import RecurrentNetwork
from rb2v.models import fetched_file
from rb2v.models.onnx import convert_convolutions


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def record(field, value):
    if isinstance(value, int):
        return varint(field << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(content)) + content


def tensor(name, array, *, packed=False, data_type=1):
    shape = [record(1, b"".join(map(varint, array.shape)))] if packed else [record(1, side) for side in array.shape]
    return b"".join([*shape, record(2, data_type), record(8, name), record(9, array.astype("<f4").tobytes())])


def node(operator, *inputs):
    return b"".join([*(record(1, name) for name in inputs), record(2, "out"), record(4, operator)])


WEIGHTS = {
    "first.weight": np.arange(54, dtype=np.float32).reshape(2, 3, 3, 3),
    "first.bias": np.float32([0.5, -1]),
    "7": np.full((4, 2, 1, 1), 0.25, np.float32),
}


def onnx(tensors=None, nodes=None):
    tensors = [tensor(name, array) for name, array in WEIGHTS.items()] if tensors is None else tensors
    if nodes is None:
        nodes = [node("Conv", "x", "first.weight", "first.bias"), node("Relu", "y"), node("Conv", "z", "7")]
    graph = b"".join([*(record(1, one) for one in nodes), *(record(5, one) for one in tensors)])
    # A version before, a float and a double that nobody reads behind.
    return record(1, 6) + record(7, graph) + varint(13 << 3 | 5) + struct.pack("<f", 1) + varint(14 << 3 | 1) + bytes(8)


def test_convolutions_are_read_in_the_order_in_which_they_run():
    names = list(WEIGHTS)
    for packed in (False, True):
        tensors = [tensor(name, WEIGHTS[name], packed=packed) for name in reversed(names)]
        found = convert_convolutions(onnx(tensors), "net.onnx")
        assert list(found) == ["000.weight", "000.bias", "001.weight"]
        for array, name in zip(found.values(), names, strict=True):
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, WEIGHTS[name])


def test_a_convolution_that_runs_twice_is_there_once():
    nodes = [node("Conv", "x", "7"), node("Conv", "y", "7")]
    assert list(convert_convolutions(onnx(nodes=nodes), "net.onnx")) == ["000.weight"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 40,
        record(7, 5),
        varint(7 << 3 | 3),
        onnx(tensors=[]),
        onnx(nodes=[node("Relu", "x")]),
        onnx(tensors=[tensor("7", WEIGHTS["7"], data_type=10)], nodes=[node("Conv", "x", "7")]),
        onnx(tensors=[tensor("7", np.ones((1, 1, 1, 1, 1)))], nodes=[node("Conv", "x", "7")]),
        onnx(tensors=[record(1, 2**40) + tensor("7", WEIGHTS["7"])], nodes=[node("Conv", "x", "7")]),
        onnx(tensors=[record(8, b"\xff\xfe")]),
    ],
)
def test_what_is_no_such_file_is_refused(content):
    with pytest.raises(InputError) as caught:
        convert_convolutions(content, "net.onnx")
    assert caught.value.source == "net.onnx"


def test_a_file_that_is_cut_short_is_refused_wherever_that_is():
    whole = onnx(tensors=[tensor("7", WEIGHTS["7"])], nodes=[node("Conv", "x", "7")])
    behind = len(whole) - 14  # two fields that nobody needs
    for length in range(behind):
        with pytest.raises(InputError):
            convert_convolutions(whole[:length], "net.onnx")


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = RecurrentNetwork()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.constant_(network.box.weight, 1 / 9)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    """The weights as `rb2v models fetch` keeps them: convolutions by their numbers."""
    modules = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    tensors = {
        f"{index:03d}.{name}": parameter.numpy()
        for index, module in enumerate(modules)
        for name, parameter in module.named_parameters()
    }
    path = tmp_path_factory.mktemp("weights") / "rvm.safetensors"
    save_file(tensors, path)
    return path


def test_the_network_is_the_published_one(network):
    state = network.state_dict()
    assert len(state) == 162
    assert sum(tensor.numel() for tensor in state.values()) == 3_736_072


@pytest.mark.parametrize("size", [(64, 64), (45, 70), (33, 530)])
def test_any_size_gives_alpha_of_that_size_and_a_state_to_go_on_from(network, size):
    picture = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    first = network(picture)
    assert first.alpha.shape == (1, 1, *size)
    assert first.foreground.shape == (1, 3, *size)
    assert first.alpha.min() >= 0
    assert first.alpha.max() <= 1
    assert [memory.shape[1] for memory in first.state] == [16, 20, 40, 64]
    zeros = [torch.zeros_like(memory) for memory in first.state]
    torch.testing.assert_close(network(picture, zeros).alpha, first.alpha)
    assert not torch.equal(network(picture, first.state).state[-1], first.state[-1])


def test_frames_beyond_512_px_are_seen_smaller_and_matted_in_full(network):
    picture = torch.rand(1, 3, 16, 1024, generator=torch.Generator().manual_seed(1))
    assert network(picture).state[0].shape[2:] == (4, 256)


def test_a_sequence_is_matted_alike_whatever_was_before(weights):
    rng = np.random.default_rng(2)
    sharp = rng.integers(0, 256, (7, 32, 48, 3), dtype=np.uint8)
    fitted = make_matting_method("rvm", weights).fit(sharp, "srgb")
    blurry = sharp[3]
    one = fitted.matte(sharp, blurry)
    fitted.matte(sharp[::-1], blurry)
    two = fitted.matte(sharp, blurry)
    for before, after in zip(one, two, strict=True):
        np.testing.assert_array_equal(before.alpha, after.alpha)
        np.testing.assert_array_equal(before.premultiplied_linear, after.premultiplied_linear)
        assert (before.premultiplied_linear <= before.alpha[..., None]).all()
    mean = np.tensordot(step_weights(7), one[0].alpha, axes=1)
    np.testing.assert_allclose(one[1].alpha, mean, atol=1e-6)


def test_weights_that_are_missing_or_others_are_said(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("RB2V_CACHE", str(tmp_path))
    with pytest.raises(InputError) as caught:
        make_matting_method("rvm")
    assert caught.value.source == str(fetched_file("rvm", "mobilenetv3.safetensors"))
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(weights.read_bytes()[:5000])
    other = tmp_path / "other.safetensors"
    save_file({"000.weight": np.zeros((1, 3, 3, 3), np.float32)}, other)
    for path in (damaged, other):
        with pytest.raises(InputError) as caught:
            make_matting_method("rvm", path)
        assert caught.value.source == str(path)
