import json
import multiprocessing
import pickle
import time

import h5py
import numpy as np
import pytest
from data_sets import write_samples
from examples import draws
from hypothesis import given
from hypothesis import strategies as st

from rb2v.errors import InputError
from rb2v.shards import (
    Provenance,
    ShardReader,
    ShardSample,
    manifest_path,
    read_manifest,
    sha256_of,
    write_manifest,
    write_shard,
)


def make_sample(seed, *, size=(12, 10), n_sharp=7, **values):
    rng = np.random.default_rng(seed)
    height, width = size
    given = {
        "blurry": rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        "sharp": rng.integers(0, 256, (n_sharp, height, width, 3), dtype=np.uint8),
        "color": rng.normal(size=(3, 4)).astype(np.float32),
        "take": f"take-{seed}",
        "subject": "Zoë",
        "category": "street",
        "blurry_index": seed,
        "position": 8 * seed + 3,
        "psnr": 31.25 + seed,
        "order": (-1, 0, 1)[seed % 3],
        "composite_psnr": 40.5 + seed,
    }
    return ShardSample(**{**given, **values})


def write_folder(folder, train, test=(), size=(12, 10), n_sharp=7):
    provenance = Provenance("0.1.0", {"align": {"max": 1}}, None, {"build_shards": 0}, "srgb")
    splits = {"train": train, "test": test}
    return write_samples(folder, splits, size[::-1], provenance=provenance, n_frames=n_sharp)


def assert_same(found, sample):
    for name, value in vars(sample).items():
        if isinstance(value, np.ndarray):
            assert getattr(found, name).dtype == value.dtype
            np.testing.assert_array_equal(getattr(found, name), value)
        else:
            assert getattr(found, name) == value


def edit_manifest(folder, change):
    document = json.loads(manifest_path(folder).read_text())
    change(document)
    manifest_path(folder).write_text(json.dumps(document))


def break_shard(folder, change):
    """Change a shard and let the manifest agree with its new size, so that only the change is to be found."""
    path = folder / "train-00000.h5"
    with h5py.File(path, "a") as file:
        change(file)
    edit_manifest(folder, lambda document: document["splits"]["train"]["shards"][0].update(bytes=path.stat().st_size))


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path, [[make_sample(0), make_sample(1)], [make_sample(2)]], [[make_sample(3)]])
    return tmp_path


@draws(10)
@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8),
    index=st.integers(-(2**63), 2**63 - 1),
    psnr=st.floats(width=32, allow_nan=False),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    n_sharp=st.sampled_from([3, 7]),
)
def test_what_is_written_is_read(tmp_path, text, index, psnr, size, n_sharp):
    sample = make_sample(
        5, size=size, n_sharp=n_sharp, take=text, subject=text, blurry_index=index, position=index, psnr=psnr
    )
    write_folder(tmp_path, [[sample, make_sample(6, size=size, n_sharp=n_sharp)]], size=size, n_sharp=n_sharp)
    assert_same(ShardReader(tmp_path).read(0), sample)


def test_samples_stand_in_the_order_of_splits_and_shards(folder):
    reader = ShardReader(folder)
    assert len(reader) == 4
    for index in range(4):
        assert_same(reader.read(index), make_sample(index))
    assert list(reader.table) == [
        "take", "subject", "category", "blurry_index", "position", "psnr", "order", "composite_psnr", "shard", "row",
    ]  # fmt: skip
    assert reader.table["shard"].tolist() == ["train-00000.h5"] * 2 + ["train-00001.h5", "test-00000.h5"]
    assert reader.table["row"].tolist() == [0, 1, 0, 0]
    assert ShardReader(folder, "test").table["take"].tolist() == ["take-3"]


def test_parts_of_a_sample_are_the_parts_of_the_whole(folder):
    reader, sample = ShardReader(folder), make_sample(1)
    crop = (slice(2, 7), slice(1, 5))
    np.testing.assert_array_equal(reader.read_blurry(1), sample.blurry)
    np.testing.assert_array_equal(reader.read_blurry(1, crop), sample.blurry[crop])
    np.testing.assert_array_equal(reader.read_sharp(1), sample.sharp)
    np.testing.assert_array_equal(reader.read_sharp(1, [6, 0, 6], crop), sample.sharp[[6, 0, 6], 2:7, 1:5])
    with pytest.raises(IndexError, match="sharp frame 7 of 7"):
        reader.read_sharp(1, [7])
    with pytest.raises(IndexError, match="sample 4 of 4"):
        reader.read(4)


def test_a_split_without_shards_is_empty(tmp_path):
    write_folder(tmp_path, [[make_sample(0)]])
    reader = ShardReader(tmp_path, "test")
    assert len(reader) == 0
    assert "take" in reader.table


def test_a_shard_reads_with_plain_h5py(folder):
    with h5py.File(folder / "train-00000.h5") as file:
        assert {name: (data.dtype.kind, data.shape) for name, data in file.items()} == {
            "blurry": ("u", (2, 12, 10, 3)),
            "sharp": ("u", (2, 7, 12, 10, 3)),
            "take": ("O", (2,)),
            "subject": ("O", (2,)),
            "category": ("O", (2,)),
            "blurry_index": ("i", (2,)),
            "position": ("i", (2,)),
            "psnr": ("f", (2,)),
            "color": ("f", (2, 3, 4)),
            "order": ("i", (2,)),
            "composite_psnr": ("f", (2,)),
            "checksum": ("u", (2,)),
        }
        assert file["sharp"].chunks == (1, 7, 12, 10, 3)
        np.testing.assert_array_equal(file["sharp"][1], make_sample(1).sharp)
        assert file["order"].dtype == np.int8
        assert file["psnr"].dtype == file["color"].dtype == file["composite_psnr"].dtype == np.float32
        assert h5py.check_string_dtype(file["take"].dtype).encoding == "utf-8"


def test_a_shard_of_an_older_version_is_read(folder):
    break_shard(folder, lambda file: file.pop("composite_psnr"))
    reader = ShardReader(folder)
    assert np.isnan(reader.table["composite_psnr"]).tolist() == [True, True, False, False]
    assert np.isnan(reader.read(1).composite_psnr)
    assert reader.read(1).psnr == make_sample(1).psnr
    assert reader.read(2).composite_psnr == make_sample(2).composite_psnr


def test_same_samples_give_same_bytes(tmp_path, monkeypatch):
    # Large enough for Blosc to split a frame among threads.
    samples = [make_sample(0, size=(512, 512), n_sharp=3)]
    monkeypatch.setenv("BLOSC_NTHREADS", "4")
    entries = []
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        entries.append(write_shard(tmp_path / name / "x.h5", iter(samples)))
        time.sleep(0.4)  # HDF5 keeps times in seconds
    assert entries[0] == entries[1] == entries[2]
    assert sha256_of(tmp_path / "a" / "x.h5") == entries[0].sha256


def test_a_failing_writer_leaves_nothing(tmp_path):
    def samples():
        yield make_sample(0)
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError):
        write_shard(tmp_path / "x.h5", samples())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "at least one sample"),
        ([make_sample(0), make_sample(1, size=(8, 8))], r"blurry of sample 1 is \(8, 8, 3\)"),
        ([make_sample(0, blurry=np.zeros((12, 10, 3), np.float32))], "must be uint8"),
        ([make_sample(0, category="steet")], "'steet' is not one of"),
        ([make_sample(0, order=2)], "got 2"),
    ],
)
def test_samples_that_do_not_fit_are_refused(tmp_path, samples, message):
    with pytest.raises(ValueError, match=message):
        write_shard(tmp_path / "x.h5", samples)
    assert list(tmp_path.iterdir()) == []


def read_in_worker(reader, results):
    results.put(reader.read(2).sharp)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_reader_in_use_works_in_a_worker(folder, method):
    reader = ShardReader(folder)
    expected = reader.read(2).sharp
    context = multiprocessing.get_context(method)
    results = context.Queue()
    worker = context.Process(target=read_in_worker, args=(reader, results))
    worker.start()
    np.testing.assert_array_equal(results.get(timeout=60), expected)
    worker.join()
    np.testing.assert_array_equal(reader.read(2).sharp, expected)


def test_a_reader_pickles(folder):
    reader = ShardReader(folder, "test")
    reader.read(0)
    assert_same(pickle.loads(pickle.dumps(reader)).read(0), make_sample(3))


def test_manifest_round_trip(tmp_path):
    manifest = write_folder(tmp_path, [[make_sample(0)]])
    assert read_manifest(tmp_path) == manifest
    first = manifest_path(tmp_path).read_bytes()
    write_manifest(tmp_path, manifest)
    assert manifest_path(tmp_path).read_bytes() == first
    assert str(tmp_path) not in first.decode()


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"manifest\.json: there is no such file; expected a folder that"):
        ShardReader(tmp_path)


def rename_shard(name):
    def change(document):
        document["splits"]["train"]["shards"][0]["file"] = name

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.update(schema=2), "schema: is 2; expected 1"),
        (lambda document: document.pop("schema"), "schema: is missing"),
        (lambda document: document.pop("rig"), "rig: is missing"),
        (lambda document: document.update(colour=1), "colour: is not a known key"),
        (rename_shard("../train-00000.h5"), r"splits\.train\.shards\.0\.file"),
        (rename_shard("/etc/passwd"), r"splits\.train\.shards\.0\.file"),
        (rename_shard(".."), r"splits\.train\.shards\.0\.file"),
        (rename_shard("train-00001.h5"), "listed twice"),
        (rename_shard("train-00009.h5"), r"train-00009\.h5: there is no such file"),
        (lambda document: document.update(output_size=[10, 11]), r"blurry: has the shape \(2, 12, 10, 3\)"),
        (
            lambda document: document["splits"]["train"]["categories"].update(street=5),
            r"splits\.train: the categories count 5 samples, the shards 3",
        ),
    ],
)
def test_a_wrong_manifest_is_refused(folder, change, message):
    edit_manifest(folder, change)
    with pytest.raises(InputError, match=message):
        ShardReader(folder)


def replace(name, data):
    def change(file):
        del file[name]
        file[name] = data

    return change


def store_outside(file):
    del file["blurry"]
    file.create_dataset("blurry", (2, 12, 10, 3), np.uint8, external=[("/etc/passwd", 0, 720)])


def store_virtually(file):
    del file["blurry"]
    layout = h5py.VirtualLayout((2, 12, 10, 3), np.uint8)
    layout[:] = h5py.VirtualSource("other.h5", "blurry", (2, 12, 10, 3), np.uint8)
    file.create_virtual_dataset("blurry", layout)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.pop("order"), "order: there is no such data set"),
        (replace("order", np.zeros(2, np.int64)), "order: has the type int64; expected int8"),
        (replace("order", np.full(2, 2, np.int8)), "order: holds another value"),
        (replace("psnr", np.zeros(3, np.float32)), r"psnr: has the shape \(3,\); expected \(2,\)"),
        (replace("sharp", np.zeros((2, 5, 12, 10, 3), np.uint8)), r"expected \(2, 7, 12, 10, 3\)"),
        (replace("take", np.zeros(2, np.int8)), "take: has the type int8; expected utf-8 text"),
        (replace("category", ["street", "steet"]), "category: 'steet' is not a category"),
        (replace("blurry", h5py.ExternalLink("other.h5", "/blurry")), "blurry: is stored outside the file"),
        (store_outside, "blurry: is stored outside the file"),
        (store_virtually, "blurry: is stored outside the file"),
    ],
)
def test_a_wrong_shard_is_refused(folder, change, message):
    break_shard(folder, change)
    with pytest.raises(InputError, match=message):
        ShardReader(folder)


def test_a_shard_cut_short_is_refused(folder):
    path = folder / "train-00000.h5"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"train-00000\.h5: has \d+ bytes; expected \d+ bytes by the manifest"):
        ShardReader(folder)


def test_a_shard_that_is_no_hdf5_is_refused(folder):
    path = folder / "train-00000.h5"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(InputError, match="is not an HDF5 file"):
        ShardReader(folder)


@pytest.mark.parametrize("name", ["blurry", "sharp"])
@pytest.mark.parametrize("place", [0, 0.5])
def test_damaged_frames_are_named(folder, name, place):
    path = folder / "train-00000.h5"
    with h5py.File(path) as file:
        chunk = file[name].id.get_chunk_info(0)
        assert file[name].fletcher32
    flip_bytes(path, chunk.byte_offset + int(place * chunk.size))
    reader = ShardReader(folder)
    read_frames = {"blurry": reader.read_blurry, "sharp": reader.read_sharp}[name]
    read_frames(1)
    for read in (reader.read, read_frames):
        with pytest.raises(InputError, match=rf"train-00000\.h5: {name}: is damaged"):
            read(0)


@pytest.mark.parametrize("name", ["sharp", "take", "order"])
def test_a_damaged_data_set_is_named(folder, name):
    path = folder / "train-00000.h5"
    with h5py.File(path) as file:
        header = h5py.h5o.get_info(file[name].id).addr
    reader = ShardReader(folder)
    flip_bytes(path, header)
    with pytest.raises(InputError, match=rf"train-00000\.h5: {name}: is damaged"):
        reader.read(0)
    with pytest.raises(InputError, match=rf"train-00000\.h5: {name}: is damaged"):
        ShardReader(folder)


def flip_bytes(path, at, n=8):
    content = bytearray(path.read_bytes())
    content[at : at + n] = bytes(255 - byte for byte in content[at : at + n])
    path.write_bytes(content)


def test_a_folder_may_be_given_as_text(folder):
    reader = ShardReader(str(folder), "test")
    assert_same(reader.read(0), make_sample(3))
    assert reader.folder == folder
