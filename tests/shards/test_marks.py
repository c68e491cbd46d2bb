"""Marks of interpolated frames, which only some data sets have."""

import dataclasses

import h5py
import numpy as np
import pytest
from data_sets import write_samples
from test_reader import make_sample

from rb2v.errors import InputError
from rb2v.shards import ShardReader, verify, write_shard
from rb2v.shards.layout import MARK_NAME, sample_checksum

MARKS = np.array([False, True, True, False, True, True, False])


def marked(index, marks=MARKS):
    return dataclasses.replace(make_sample(index), is_interpolated=marks)


def size_of(sample):
    return sample.blurry.shape[1::-1]


def test_marks_come_back_and_are_part_of_the_checksum(tmp_path):
    samples = [marked(0), marked(1, ~MARKS)]
    write_samples(tmp_path, {"train": [samples]}, size_of(samples[0]))
    reader = ShardReader(tmp_path)
    np.testing.assert_array_equal(reader.read_marks(0), MARKS)
    np.testing.assert_array_equal(reader.read(1).is_interpolated, ~MARKS)
    assert verify(tmp_path, read_all=True) == []
    assert len({sample_checksum(one) for one in (samples[0], marked(0, ~MARKS), make_sample(0))}) == 3


def test_a_data_set_without_marks_says_so(tmp_path):
    write_samples(tmp_path, {"train": [[make_sample(0)]]}, size_of(make_sample(0)))
    assert ShardReader(tmp_path).read_marks(0) is None
    with h5py.File(tmp_path / "train-00000.h5") as file:
        assert MARK_NAME not in file


@pytest.mark.parametrize("second", [None, MARKS[:3], MARKS.astype(np.uint8)])
def test_samples_that_do_not_agree_are_not_written(tmp_path, second):
    with pytest.raises(ValueError, match="interpolated"):
        write_shard(tmp_path / "train-00000.h5", [marked(0), marked(1, second)])
    assert not list(tmp_path.iterdir())


def test_changed_marks_are_found(tmp_path):
    samples = [marked(0), marked(1)]
    write_samples(tmp_path, {"train": [samples]}, size_of(samples[0]))
    with h5py.File(tmp_path / "train-00000.h5", "a") as file:
        file[MARK_NAME][1, 3] = 1
    (fault,) = verify(tmp_path)
    assert fault.rows == (1,)


def test_marks_of_another_shape_are_refused(tmp_path):
    write_samples(tmp_path, {"train": [[marked(0)]]}, size_of(marked(0)))
    path = tmp_path / "train-00000.h5"
    n_bytes = path.stat().st_size
    with h5py.File(path, "a") as file:
        del file[MARK_NAME]
        file.create_dataset(MARK_NAME, data=np.zeros((1, 5), np.uint8))
    text = (tmp_path / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(text.replace(f'"bytes": {n_bytes}', f'"bytes": {path.stat().st_size}'))
    with pytest.raises(InputError) as error:
        ShardReader(tmp_path)
    assert (error.value.source, error.value.key) == (str(path), MARK_NAME)
