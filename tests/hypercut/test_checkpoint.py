import json
import math
import pickle
import zipfile

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from rb2v.errors import InputError
from rb2v.hypercut.checkpoint import load_order_network, save_order_network
from rb2v.hypercut.config import TrainHyperCutConfig, recommend
from rb2v.hypercut.networks import ORDER_NETWORKS, make_order_network

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

    def test_the_folder_of_a_run_stands_for_its_checkpoint(self, checkpoint):
        assert load_order_network(checkpoint.parent)[1] == CONFIG
        checkpoint.unlink()
        with pytest.raises(InputError, match=r"checkpoint\.safetensors: there is no such file"):
            load_order_network(checkpoint.parent)

    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match="there is no such file"):
            load_order_network(tmp_path / "no.safetensors")

    def test_a_pickle_is_refused(self, tmp_path):
        path = tmp_path / "checkpoint.safetensors"
        torch.save({"normal": torch.zeros(8)}, path)
        with pytest.raises(InputError, match="is not a safetensors file"):
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
            ({"format": 1}, r"format: is 1, of rb2v .*: its scores mean something else; expected 2; train .* again"),
            ({"format": 3}, "format: is 3"),
            ({"format": True}, "format: is True"),
            ({"config": {"arch": "upstream", "n_dimensions": 1025}}, "n_dimensions must be at most 1024"),
            ({"config": {"arch": "resnet"}}, "arch: 'resnet'"),
            ({"config": None}, "config|None"),
            ({"config": {"n_dimensions": 10**12}}, "n_dimensions: 1000000000000"),
            ({"config": {"n_dimensions": 64}}, "normal"),
            ({"config": {"n_dimensions": "many"}}, "n_dimensions"),
        ],
    )
    def test_wrong_header(self, checkpoint, header, message):
        rewrite(checkpoint, header)
        with pytest.raises(InputError, match=message):
            load_order_network(checkpoint)

    def test_of_a_version_that_named_the_sides_the_other_way_round(self, checkpoint):
        with safetensors.safe_open(checkpoint, framework="pt") as file:
            header = json.loads(file.metadata()["rb2v"])
        del header["format"]
        tensors = safetensors.torch.load_file(checkpoint)
        safetensors.torch.save_file(tensors, checkpoint, metadata={"rb2v": json.dumps(header)})
        with pytest.raises(InputError, match=r"format: is 1, .* train the network again"):
            load_order_network(checkpoint)

    def test_too_large(self, checkpoint):
        with checkpoint.open("ab") as file:
            file.truncate(2**29 + 1)
        with pytest.raises(InputError, match="is larger than 512 MiB"):
            load_order_network(checkpoint)

    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            ({"trunk__0__weight": None}, r"trunk\.0\.weight: is missing"),
            ({"trunk__0__bias": torch.zeros(5)}, r"trunk\.0\.bias: is float32 \(5,\); expected float32 \(32,\)"),
            ({"trunk__0__bias": torch.zeros(32, dtype=torch.int64)}, r"trunk\.0\.bias: is int64"),
            ({"trunk__0__bias": torch.full((32,), torch.nan)}, "not finite"),
            ({"extra": torch.zeros(1)}, "extra: is not a tensor of a 'motion' network"),
            ({"normal": None}, "normal: is missing"),
        ],
    )
    def test_wrong_tensor(self, checkpoint, tensors, message):
        rewrite(checkpoint, **tensors)
        with pytest.raises(InputError, match=message):
            load_order_network(checkpoint)


@pytest.mark.parametrize("arch", ORDER_NETWORKS)
def test_every_network_comes_back(arch, tmp_path):
    config = recommend(arch, n_dimensions=4)
    network = make_order_network(arch, 4, 3)
    save_order_network(tmp_path / "checkpoint.safetensors", network.state_dict(), config, "0" * 64)
    loaded, found = load_order_network(tmp_path)
    assert found == config
    first, second = torch.rand(2, 1, 3, 40, 40)
    assert torch.equal(loaded(first, second), network(first, second))


# The names and shapes of the weights that the authors of HyperCUT released, for n dimensions


def released_shapes(n=128):
    stem, widths = 32, [min(width, n) for width in (64, 128, 256, 512, 1024)]
    shapes = {
        "hyperplane.hyperplane": (n + 1,),
        "f_func.model.1.weight": (stem, 6, 7, 7),
        "f_func.model.1.bias": (stem,),
    }
    for place, n_in, n_out in zip((3, 5, 7, 9, 11), (stem, *widths), widths, strict=False):
        shapes |= {f"f_func.model.{place}.weight": (n_out, n_in, 3, 3), f"f_func.model.{place}.bias": (n_out,)}
    for block in range(13, 19):
        for conv in (1, 4):
            name = f"f_func.model.{block}.conv_block.{conv}"
            shapes |= {f"{name}.weight": (widths[-1], widths[-1], 3, 3), f"{name}.bias": (widths[-1],)}
    return shapes


def released_weights(n=128, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in released_shapes(n).items():
        scale = 1 / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 0.5
        weights[name] = scale * torch.randn(shape, generator=generator)
    return weights


def released_score(weights, first, second):
    """Score pairs of RGB frames by the weights: layer by layer, and in double precision."""
    w = {name: tensor.double() for name, tensor in weights.items()}
    constants = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
    planes = [(frame[:, 2 - c] - mean) / std for frame in (first, second) for c, (mean, std) in enumerate(constants)]
    x = torch.stack([plane.double() for plane in planes], dim=1)

    def convolve(x, name, **options):
        return F.conv2d(x, w[f"f_func.model.{name}.weight"], w[f"f_func.model.{name}.bias"], **options)

    x = convolve(F.pad(x, (3, 3, 3, 3), mode="reflect"), 1)
    for place in (3, 5, 7, 9, 11):
        x = convolve(x, place, stride=2, padding=1)
    for block in range(13, 19):
        y = F.relu(convolve(F.pad(x, (1, 1, 1, 1), mode="reflect"), f"{block}.conv_block.1"))
        x = x + convolve(F.pad(y, (1, 1, 1, 1), mode="reflect"), f"{block}.conv_block.4")
    points = x.mean(dim=(2, 3))
    return sum(
        points[:, i] * (w["hyperplane.hyperplane"][i] + w["hyperplane.hyperplane"][-1]) for i in range(points.shape[1])
    )


class TestReleasedWeights:
    @pytest.fixture
    def path(self, tmp_path):
        torch.save(released_weights(), tmp_path / "street.pth")
        return tmp_path / "street.pth"

    def test_are_37_tensors(self):
        shapes = released_shapes()
        assert len(shapes) == 37
        assert sum(math.prod(shape) for shape in shapes.values()) == 2_315_681

    @pytest.mark.parametrize(("n", "prefix"), [(1, ""), (16, "module."), (128, ""), (300, "")])
    def test_give_the_score_that_is_computed_by_hand(self, n, prefix, tmp_path):
        weights = released_weights(n)
        torch.save({prefix + name: tensor for name, tensor in weights.items()}, tmp_path / "street.pth")
        network, config = load_order_network(tmp_path / "street.pth")
        assert (config.arch, config.n_dimensions, config.image_size) == ("upstream", n, 448)
        assert not network.training
        first, second = torch.rand(2, 3, 3, 47, 64, generator=torch.Generator().manual_seed(1))
        expected = released_score(weights, first, second)
        assert expected.abs().min() > 1e-3
        torch.testing.assert_close(network.score(first, second).double(), expected, rtol=1e-4, atol=1e-5)
        back = released_score(weights, second, first)
        torch.testing.assert_close(network(first, second)[1].double(), back, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"f_func.model.3.bias": None}, r"f_func\.model\.3\.bias: is missing; expected the state dict"),
            ({"hyperplane.hyperplane": None}, r"hyperplane\.hyperplane: is missing"),
            (
                {"f_func.model.19.weight": torch.zeros(1)},
                r"f_func\.model\.19\.weight: is not a tensor of a 'upstream' net",
            ),
            ({"a\x1b[2J\nb" + "c" * 200: torch.zeros(1)}, r"a\\x1b\[2J\\nbc{0,80}: is not a tensor"),
            ({"f_func.model.3.weight": torch.zeros(64, 32, 5, 5)}, r"is float32 \(64, 32, 5, 5\); expected .* 3, 3\)"),
            ({"f_func.model.3.bias": torch.zeros(64).double()}, r"bias: is float64 \(64,\); expected float32"),
            ({"f_func.model.3.bias": torch.full((64,), math.inf)}, "bias: holds values that are not finite"),
            ({"f_func.model.3.bias": torch.zeros(64).to_sparse()}, "bias: is "),
            ({"f_func.model.3.bias": torch.zeros(64, device="meta")}, "bias: "),
            ({"f_func.model.3.bias": torch.zeros(1).expand(10**15)}, r"bias: is float32 \(10{15},\)"),
            (
                {"hyperplane.hyperplane": torch.zeros(65)},
                r"f_func\.model\.11\.bias: is float32 \(128,\); expected .*64",
            ),
            ({"hyperplane.hyperplane": torch.zeros(1)}, r"hyperplane: is float32 \(1,\); expected 2 to 1025 numbers"),
            ({"hyperplane.hyperplane": torch.zeros(1).expand(10**15)}, "expected 2 to 1025 numbers"),
            ({"hyperplane.hyperplane": torch.zeros(3, 43)}, "expected 2 to 1025 numbers"),
        ],
    )
    def test_wrong_tensors_are_named(self, path, change, message):
        weights = {name: tensor for name, tensor in (released_weights() | change).items() if tensor is not None}
        torch.save(weights, path)
        with pytest.raises(InputError, match=message):
            load_order_network(path)

    @pytest.mark.parametrize(
        "document", [3, [torch.zeros(1)], {"state_dict": released_weights(16)}, {1: torch.zeros(1)}, {"epoch": 7}]
    )
    def test_other_things_than_a_state_dict(self, path, document):
        torch.save(document, path)
        with pytest.raises(InputError, match="holds other things than tensors by their names"):
            load_order_network(path)

    def test_an_empty_state_dict(self, path):
        torch.save({}, path)
        with pytest.raises(InputError, match="is missing"):
            load_order_network(path)

    def test_nothing_is_executed(self, path, tmp_path):
        class Bomb:
            def __reduce__(self):
                return (open, (str(tmp_path / "executed"), "w"))

        torch.save(released_weights(16) | {"bomb": Bomb()}, path)
        with pytest.raises(InputError, match="is damaged, or holds more than tensors"):
            load_order_network(path)
        path.write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(InputError, match=r"damaged, or was not written by torch 1\.6 or later"):
            load_order_network(path)
        assert not (tmp_path / "executed").exists()

    def test_the_older_form_of_torch(self, path):
        torch.save(released_weights(16), path, _use_new_zipfile_serialization=False)
        with pytest.raises(InputError, match=r"was not written by torch 1\.6 or later"):
            load_order_network(path)

    def test_compressed(self, path, tmp_path):
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as target:
            for name in source.namelist():
                target.writestr(name, source.read(name))
        with pytest.raises(InputError, match="is a compressed archive"):
            load_order_network(tmp_path / "x.pth")

    def test_too_large(self, path):
        with path.open("ab") as file:
            file.truncate(2**29 + 1)
        with pytest.raises(InputError, match="is larger than 512 MiB"):
            load_order_network(path)

    @pytest.mark.parametrize("where", [0.3, 0.7])
    def test_damaged(self, path, where):
        data = bytearray(path.read_bytes())
        data[int(where * len(data))] ^= 1
        path.write_bytes(data)
        with pytest.raises(InputError, match="is damaged"):
            load_order_network(path)
        path.write_bytes(data[: int(where * len(data))])
        with pytest.raises(InputError, match="is damaged"):
            load_order_network(path)

    @pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
    def test_anything_else(self, path, content):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is damaged"):
            load_order_network(path)

    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match="there is no such file; expected the state dict"):
            load_order_network(tmp_path / "no.pth")
