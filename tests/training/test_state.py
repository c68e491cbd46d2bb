import pytest
import torch
from torch import nn

from rb2v.errors import InputError
from rb2v.training.ranks import Ranks
from rb2v.training.state import STATE_NAME, TrainingState


def state_of(folder, network):
    return TrainingState(folder, {"seed": 0}, "0" * 64, 10, Ranks("cpu"), {"network": network})


@pytest.fixture
def saved(tmp_path):
    state = state_of(tmp_path, nn.Linear(64, 64))
    state.step = 4
    state.save()
    return tmp_path / STATE_NAME


def test_it_goes_on_where_it_was_saved(saved):
    network = nn.Linear(64, 64)
    state = state_of(saved.parent, network)
    state.resume()
    assert state.step == 4
    assert torch.equal(network.weight, torch.load(saved)["network"]["weight"])


@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_what_is_cut_short_is_refused(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"state\.pt: cannot be read; remove it"):
        state_of(saved.parent, nn.Linear(64, 64)).resume()


def test_other_bytes_are_refused(saved):
    saved.write_bytes(b"hello")
    with pytest.raises(InputError, match=r"state\.pt: cannot be read; remove it"):
        state_of(saved.parent, nn.Linear(64, 64)).resume()


def test_a_number_that_changed_on_disk_is_noticed(saved):
    content = bytearray(saved.read_bytes())
    content[content.find(torch.load(saved)["network"]["weight"].numpy().tobytes()) + 40] ^= 1
    saved.write_bytes(content)
    with pytest.raises(InputError, match=r"state\.pt: is damaged; remove it"):
        state_of(saved.parent, nn.Linear(64, 64)).resume()


def test_no_number_of_steps(saved):
    torch.save(torch.load(saved) | {"step": float("inf")}, saved)
    with pytest.raises(InputError, match="holds no state of training"):
        state_of(saved.parent, nn.Linear(64, 64)).resume()
