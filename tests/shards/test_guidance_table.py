import h5py
import numpy as np
import pytest
from textures import write_data_set

from rb2v.errors import InputError
from rb2v.shards import ShardReader
from rb2v.shards.guidance_table import GuidanceReader, GuidanceSource, write_guidance

SOURCE = GuidanceSource("dis", 1.0)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guided") / "shards"
    write_data_set(folder, 3, 2, 24)
    return folder


def maps_of(reader):
    return {key: np.full((12, 12), index % 5, dtype=np.uint8) for index, key in enumerate(reader.keys)}


@pytest.fixture(scope="module")
def table(shards, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "guidance.h5"
    return write_guidance(path, shards, SOURCE, maps_of(ShardReader(shards)).items())


def test_every_sample_finds_its_own(shards, table):
    maps = maps_of(ShardReader(shards))
    for split in ("train", "test"):
        reader = ShardReader(shards, split)
        guidance = GuidanceReader(table, reader)
        assert (len(guidance), guidance.source) == (len(reader), SOURCE)
        for index, key in enumerate(reader.keys):
            np.testing.assert_array_equal(guidance.read(index), maps[key])


def test_the_same_maps_give_the_same_bytes(shards, table, tmp_path):
    again = write_guidance(tmp_path / "again.h5", shards, SOURCE, maps_of(ShardReader(shards)).items())
    assert again.read_bytes() == table.read_bytes()


def change(table, path, edit):
    path.write_bytes(table.read_bytes())
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def set_class(file):
    file["classes"][1, 3, 4] = 7


@pytest.mark.parametrize(
    ("edit", "key"),
    [
        (lambda file: file.attrs.__setitem__("data_sha256", "0" * 64), "data_sha256"),
        (lambda file: file.attrs.__setitem__("classes", "static,right-down"), "classes"),
        (lambda file: file.attrs.__delitem__("kind"), "kind"),
        (lambda file: file["blurry_index"].__setitem__(0, 99), "blurry_index"),
        (lambda file: file["blurry_index"].__setitem__(0, 1), "blurry_index"),
        (lambda file: file.__delitem__("take"), "take"),
        (set_class, "classes"),
    ],
)
def test_what_is_wrong_is_named(shards, table, tmp_path, edit, key):
    path = change(table, tmp_path / "wrong.h5", edit)
    with pytest.raises(InputError) as caught:
        GuidanceReader(path, ShardReader(shards)).read(0)
    assert (caught.value.source, caught.value.key) == (str(path), key)


def test_other_files_are_neither_read_nor_replaced(shards, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("mine")
    with pytest.raises(InputError):
        GuidanceReader(other, ShardReader(shards))
    with pytest.raises(InputError):
        write_guidance(other, shards, SOURCE, maps_of(ShardReader(shards)).items())
    assert other.read_text() == "mine"
