import io

import pytest
import torch

from rb2v.errors import InputError
from rb2v.training.state_dicts import read_state_dict

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)}


def saved(document, *, older):
    buffer = io.BytesIO()
    torch.save(document, buffer, _use_new_zipfile_serialization=not older)
    return buffer.getvalue()


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("entry", [None, "inner"])
def test_both_forms_come_back(tmp_path, older, entry):
    path = tmp_path / "x.pth"
    path.write_bytes(saved(TENSORS if entry is None else {"inner": TENSORS, "epoch": 3}, older=older))
    tensors = read_state_dict(path, "weights", entry=entry, allow_older_form=True)
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())


def test_the_older_form_is_refused_where_it_is_not_asked_for(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(saved(TENSORS, older=True))
    with pytest.raises(InputError, match=r"was not written by torch 1\.6 or later; expected weights"):
        read_state_dict(path, "weights")


def test_an_archive_behind_other_bytes_is_none(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(saved(TENSORS, older=True) + saved(TENSORS, older=False))
    with pytest.raises(InputError, match=r"was not written by torch 1\.6 or later"):
        read_state_dict(path, "weights")


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_cut_short(tmp_path, older, share):
    data = saved({"a": torch.zeros(1000)}, older=older)
    path = tmp_path / "x.pth"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match="is damaged"):
        read_state_dict(path, "weights", allow_older_form=True)


@pytest.mark.parametrize("older", [False, True])
def test_one_storage_under_two_names(tmp_path, older):
    path = tmp_path / "x.pth"
    path.write_bytes(saved({"a": TENSORS["a"], "turned": TENSORS["a"].T}, older=older))
    tensors = read_state_dict(path, "weights", allow_older_form=True)
    assert torch.equal(tensors["turned"], TENSORS["a"].T)
