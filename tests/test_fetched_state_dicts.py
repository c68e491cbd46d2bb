"""State dicts that torch saved, read without torch: the same tensors, and nothing else."""

import io
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rb2v.errors import InputError
from rb2v.models.state_dicts import convert_state_dict

FORMS = pytest.mark.parametrize("is_archive", [True, False], ids=["archive", "older form"])


def save(state, is_archive):
    stream = io.BytesIO()
    torch.save(state, stream, _use_new_zipfile_serialization=is_archive)
    return stream.getvalue()


@FORMS
@pytest.mark.parametrize("prefix", ["", "module."])
def test_tensors_come_back_under_their_own_names(is_archive, prefix):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU(4), nn.ConvTranspose2d(4, 2, 4))
    state = OrderedDict((prefix + name, tensor) for name, tensor in network.state_dict().items())
    read = convert_state_dict(save(state, is_archive), "file")
    assert list(read) == list(network.state_dict())
    for name, tensor in network.state_dict().items():
        np.testing.assert_array_equal(read[name], tensor.numpy())
        assert read[name].flags.writeable


@FORMS
def test_a_prefix_that_not_all_names_bear_is_kept(is_archive):
    state = {"module.a": torch.zeros(2), "b": torch.zeros(2)}
    assert list(convert_state_dict(save(state, is_archive), "file")) == list(state)


class Malicious:
    def __reduce__(self):
        return (Path.touch, (Path("run"),))


@FORMS
@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": Malicious()}, "file: names '.*', which no float32 tensor is written with"),
        ({"a": torch.zeros(2, dtype=torch.float64)}, "names 'torch DoubleStorage'"),
        ({"a": torch.zeros(4, 4)[1:]}, "part of another"),
        ({"a": torch.zeros(4, 3).T}, "part of another"),
        ({"a": {"b": torch.zeros(2)}}, "holds 'a', which is not a tensor"),
        ({"a": 1.0}, "holds 'a', which is not a tensor"),
        ({1: torch.zeros(2)}, "holds a int where a str belongs"),
        ({}, "holds no tensors by name"),
        (torch.zeros(2), "holds no tensors by name"),
    ],
)
def test_anything_else_is_refused_and_not_run(monkeypatch, tmp_path, is_archive, state, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        convert_state_dict(save(state, is_archive), "file")
    assert not (tmp_path / "run").exists()


@FORMS
def test_what_is_cut_short_or_changed_is_refused_or_read(is_archive):
    content = save({"a": torch.arange(3.0), "b": torch.ones(1, 2)}, is_archive)
    for length in range(0, len(content), 7):
        with pytest.raises(InputError):
            convert_state_dict(content[:length], "file")
    numbers = np.random.default_rng(0)
    for _ in range(200):
        changed = bytearray(content)
        changed[numbers.integers(len(content))] = numbers.integers(256)
        try:
            convert_state_dict(bytes(changed), "file")
        except InputError:
            continue
