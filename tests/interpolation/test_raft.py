import warnings

import numpy as np
import pytest
import torch

from rb2v.errors import InputError
from rb2v.interpolation.learned.raft import Raft, load_raft
from rb2v.interpolation.learned.raft.network import correlate, look_up, upsample


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("raft") / "raft.pth"
    torch.save({f"module.{name}": tensor for name, tensor in Raft().state_dict().items()}, path)
    return path


def test_it_has_the_published_number_of_weights_and_their_names():
    network = Raft()
    assert sum(weight.numel() for weight in network.parameters()) == 5_257_536
    names = network.state_dict().keys()
    wanted = {
        "fnet.layer2.0.downsample.0.weight",
        "cnet.layer3.0.norm3.running_mean",
        "cnet.layer3.0.downsample.1.running_mean",
        "update_block.encoder.convc1.weight",
        "update_block.gru.convq2.bias",
        "update_block.flow_head.conv2.weight",
        "update_block.mask.2.weight",
    }
    assert wanted <= names
    assert not any(name.startswith("fnet.norm1") for name in names)


def test_what_is_looked_up_is_the_correlation_with_the_place():
    features = torch.randn(1, 256, 16, 16, generator=torch.Generator().manual_seed(0))
    shifted = features.roll(2, dims=-1)  # what is at x is at x + 2
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    found = look_up(correlate(features, shifted), torch.stack([x, y])[None])
    best = found[0, :81, 8, 6].argmax()
    # Offsets in x vary slowest: (2, 0) is 6 * 9 + 4.
    assert best == 6 * 9 + 4


def test_constant_flow_stays_constant_when_it_is_enlarged():
    flow = torch.full((1, 2, 5, 6), 1.5)
    fine = upsample(flow, torch.randn(1, 576, 5, 6))
    assert fine.shape == (1, 2, 40, 48)
    torch.testing.assert_close(fine[..., 8:-8, 8:-8], torch.full((1, 2, 24, 32), 12.0))


def test_weights_are_read_and_frames_of_any_size_taken(weights, monkeypatch):
    monkeypatch.setattr("rb2v.interpolation.learned.raft.weights._ITERATIONS", 1)
    flow = load_raft(weights, "cpu")(*np.zeros((2, 90, 131, 3), dtype=np.uint8))
    assert flow.shape == (90, 131, 2)
    assert np.isfinite(flow).all()


@pytest.mark.parametrize("fault", ["missing", "shape", "script"])
def test_wrong_weights_are_named(weights, tmp_path, fault):
    path = tmp_path / "wrong.pth"
    tensors = torch.load(weights, weights_only=True)
    key = "update_block.mask.2.bias"
    if fault == "script":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript itself
            torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
        key = None
    else:
        if fault == "missing":
            del tensors[f"module.{key}"]
        else:
            tensors[f"module.{key}"] = torch.zeros(3)
        torch.save(tensors, path)
    with pytest.raises(InputError) as caught:
        load_raft(path, "cpu")
    assert (caught.value.source, caught.value.key) == (str(path), key)
