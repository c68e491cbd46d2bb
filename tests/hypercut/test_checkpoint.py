import json

import pytest
import safetensors.torch
import torch

from rb2v.errors import InputError
from rb2v.hypercut.checkpoint import load_order_network, save_order_network
from rb2v.hypercut.config import TrainHyperCutConfig
from rb2v.hypercut.networks import make_order_network

CONFIG = TrainHyperCutConfig(n_dimensions=8)


@pytest.fixture
def checkpoint(tmp_path):
    network = make_order_network(CONFIG.arch, 8, 0)
    return save_order_network(tmp_path / "checkpoint.safetensors", network.state_dict(), CONFIG, "0" * 64)


def rewrite(checkpoint, header=None, **tensors):
    """Change a checkpoint's header or tensors; a tensor of None is left out."""
    with safetensors.safe_open(checkpoint, framework="pt") as file:
        old_header = json.loads(file.metadata()["rb2v"])
    new = safetensors.torch.load_file(checkpoint) | {name.replace("__", "."): value for name, value in tensors.items()}
    new = {name: value for name, value in new.items() if value is not None}
    safetensors.torch.save_file(new, checkpoint, metadata={"rb2v": json.dumps(old_header | (header or {}))})


class TestCheckpoint:
    def test_round_trip(self, checkpoint):
        network, config = load_order_network(checkpoint)
        assert config == CONFIG
        assert not network.training
        expected = make_order_network(CONFIG.arch, 8, 0).state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())

    def test_same_weights_same_bytes(self, checkpoint, tmp_path):
        network, config = load_order_network(checkpoint)
        again = save_order_network(tmp_path / "again.safetensors", network.state_dict(), config, "0" * 64)
        assert again.read_bytes() == checkpoint.read_bytes()

    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match="there is no such file"):
            load_order_network(tmp_path / "no.safetensors")

    def test_a_pickle_is_refused(self, tmp_path):
        path = tmp_path / "checkpoint.safetensors"
        torch.save({"normal": torch.zeros(8)}, path)
        with pytest.raises(InputError, match="no safetensors file"):
            load_order_network(path)

    def test_cut_short(self, checkpoint):
        checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
        with pytest.raises(InputError, match="cut short"):
            load_order_network(checkpoint)

    def test_foreign_safetensors(self, tmp_path):
        path = tmp_path / "other.safetensors"
        safetensors.torch.save_file({"weight": torch.zeros(3)}, path)
        with pytest.raises(InputError, match=r"other\.safetensors: rb2v: holds no rb2v header"):
            load_order_network(path)

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            ({"schema": 2}, "schema: is 2"),
            ({"kind": "blur2vid"}, "kind: is 'blur2vid'"),
            ({"config": {"arch": "resnet"}}, "'resnet' is not known"),
            ({"config": None}, "config|None"),
            ({"config": {"n_dimensions": 10**12}}, "n_dimensions must be at most"),
            ({"config": {"n_dimensions": 64}}, "normal"),
            ({"config": {"n_dimensions": "many"}}, "n_dimensions"),
        ],
    )
    def test_wrong_header(self, checkpoint, header, message):
        rewrite(checkpoint, header)
        with pytest.raises(InputError, match=message):
            load_order_network(checkpoint)

    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            ({"trunk__0__weight": None}, r"trunk\.0\.weight: is missing"),
            ({"trunk__0__bias": torch.zeros(5)}, r"trunk\.0\.bias: is float32 \(5,\); expected float32 \(32,\)"),
            ({"trunk__0__bias": torch.zeros(32, dtype=torch.int64)}, r"trunk\.0\.bias: is int64"),
            ({"trunk__0__bias": torch.full((32,), torch.nan)}, "not finite"),
            ({"extra": torch.zeros(1)}, "extra: is no tensor of a 'motion' network"),
            ({"normal": None}, "normal: is missing"),
        ],
    )
    def test_wrong_tensor(self, checkpoint, tensors, message):
        rewrite(checkpoint, **tensors)
        with pytest.raises(InputError, match=message):
            load_order_network(checkpoint)
