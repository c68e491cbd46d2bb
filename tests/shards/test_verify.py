import json
import shutil

import h5py
import numpy as np
import pytest
from test_shards import edit_manifest, flip_bytes, make_sample, write_folder

from rb2v.cli import main
from rb2v.errors import InputError
from rb2v.execution import SerialExecutor
from rb2v.shards import ShardEntry, SplitEntry, manifest_path, read_manifest, sha256_of, verify, write_manifest
from rb2v.shards.verification import Fault

N_FLIPS = 200  # tests/benchmarks/check_flips.py makes more


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path, [[make_sample(0), make_sample(1)], [make_sample(2)]], [[make_sample(3, subject="Ann")]])
    return tmp_path


def chunk_of(path, name, row):
    with h5py.File(path) as file:
        return file[name].id.get_chunk_info(row)


def agree(folder):
    """Let the manifest agree with the shards as they are."""

    def change(document):
        for split in document["splits"].values():
            for shard in split["shards"]:
                path = folder / shard["file"]
                shard.update(bytes=path.stat().st_size, sha256=sha256_of(path))

    edit_manifest(folder, change)


def edit_shard(folder, change):
    with h5py.File(folder / "train-00000.h5", "a") as file:
        change(file)
    agree(folder)


def test_a_sound_data_set_has_no_faults(folder):
    seen = []
    assert verify(folder, progress=lambda done, total: seen.append((done, total))) == []
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert verify(folder, read_all=True, executor=SerialExecutor(check_pickle=True)) == []


@pytest.mark.parametrize("name", ["blurry", "sharp"])
def test_a_damaged_tile_costs_its_sample(folder, name):
    path = folder / "train-00000.h5"
    chunk = chunk_of(path, name, 1)
    flip_bytes(path, chunk.byte_offset + chunk.size // 2)
    (fault,) = verify(folder)
    assert (fault.file, fault.rows, fault.n_samples) == ("train-00000.h5", (1,), 2)
    assert str(fault) == (
        "train-00000.h5: its bytes do not have the SHA-256 that the manifest gives; sample 1 of 2 is lost"
    )


def test_a_changed_number_costs_its_sample(folder):
    with h5py.File(folder / "train-00000.h5", "a") as file:
        file["position"][0] += 1
    (fault,) = verify(folder)
    assert fault.rows == (0,)


def test_what_was_changed_before_the_manifest_was_written_is_found_by_reading(folder):
    def change(file):
        file["blurry"][1] = 7

    edit_shard(folder, change)
    assert verify(folder) == []
    assert verify(folder, read_all=True) == [Fault("train-00000.h5", "samples do not have their checksums", (1,), 2)]


def test_a_file_that_is_gone_cut_or_no_hdf5_loses_all_its_samples(folder):
    (folder / "train-00001.h5").unlink()
    content = (folder / "train-00000.h5").read_bytes()
    (folder / "train-00000.h5").write_bytes(content[:-1000])
    (folder / "test-00000.h5").write_bytes(b"no shard")
    faults = {fault.file: fault for fault in verify(folder)}
    assert {name: fault.rows for name, fault in faults.items()} == {
        "train-00000.h5": (0, 1),
        "train-00001.h5": (0,),
        "test-00000.h5": (0,),
    }
    assert faults["train-00001.h5"].problem == "there is no such file"
    assert f"has {len(content) - 1000} bytes; expected {len(content)}" in faults["train-00000.h5"].problem
    assert str(faults["test-00000.h5"]).endswith("its only sample is lost")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda file: file.pop("psnr"), "psnr: there is no such data set"),
        (lambda file: file["blurry"].resize(1, axis=0), "blurry: has the shape"),
        (
            lambda file: file.move("order", "color_2") or file.create_dataset("order", data=[0, 1]),
            "order: has the type",
        ),
        (lambda file: file.__delitem__("order") or file.__setitem__("order", np.int8([0, 5])), "another value"),
        (lambda file: file.__delitem__("sharp") or file.__setitem__("sharp", h5py.ExternalLink("a.h5", "x")), "sharp"),
    ],
)
def test_another_schema_is_a_fault(folder, change, problem):
    edit_shard(folder, change)
    (fault,) = verify(folder)
    assert problem in str(fault)
    assert fault.rows == (0, 1)


def test_counts_and_splits_are_compared(folder):
    def change(document):
        document["splits"]["train"]["categories"] = {"face": 2, "street": 1}

    edit_manifest(folder, change)
    (fault,) = verify(folder)
    assert str(fault) == (
        "manifest.json: splits.train.categories says {'face': 2, 'street': 1}, the shards hold {'street': 3}"
    )
    write_folder(folder, [[make_sample(0), make_sample(0)]], [[make_sample(3)]])
    (folder / "train-00001.h5").unlink()
    assert [str(fault) for fault in verify(folder)] == [
        "manifest.json: 'Zoë' is in both splits",
        "manifest.json: 'take-0, 0' stands in the shards more than once",
    ]


def test_what_the_manifest_does_not_list_is_said(folder):
    shutil.copy(folder / "train-00000.h5", folder / "train-00002.h5")
    assert verify(folder) == [Fault("train-00002.h5", "the manifest does not list it")]


def test_a_shard_that_lies_elsewhere_is_refused(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "shard.h5"
    (folder / "train-00001.h5").rename(elsewhere)
    (folder / "train-00001.h5").symlink_to(elsewhere)
    (fault,) = verify(folder)
    assert "leads out of the folder" in fault.problem


def test_a_wrong_digest_in_the_manifest_costs_no_sample(folder):
    edit_manifest(folder, lambda document: document["splits"]["test"]["shards"][0].update(sha256="0" * 64))
    (fault,) = verify(folder)
    assert fault.rows == ()
    assert "every sample has its checksum" in fault.problem


def test_shards_without_checksums_are_checked_by_their_tiles(folder):
    edit_shard(folder, lambda file: file.pop("checksum"))
    assert verify(folder, read_all=True) == []
    path = folder / "train-00000.h5"
    flip_bytes(path, chunk_of(path, "sharp", 1).byte_offset)
    (fault,) = verify(folder)
    assert fault.rows == (1,)


@pytest.mark.slow
def test_every_flipped_byte_is_found(tmp_path):
    """Each flip in a shard of its own."""
    rng = np.random.default_rng(0)
    samples = [make_sample(index, size=(40, 50)) for index in range(3)]
    write_folder(tmp_path, [samples], size=(40, 50))
    sound = (tmp_path / "train-00000.h5").read_bytes()
    manifest = read_manifest(tmp_path)
    entry = manifest.splits["train"].shards[0]
    names = [f"train-{index:05d}.h5" for index in range(N_FLIPS)]
    for name in names:
        damaged = bytearray(sound)
        damaged[rng.integers(len(sound))] ^= 1 << rng.integers(8)
        (tmp_path / name).write_bytes(damaged)
    shards = tuple(ShardEntry(name, entry.samples, entry.bytes, entry.sha256) for name in names)
    write_manifest(
        tmp_path,
        manifest.__class__(**{**vars(manifest), "splits": {"train": SplitEntry(shards, {"street": 3 * N_FLIPS})}}),
    )
    faults = verify(tmp_path)
    assert [fault.file for fault in faults] == names


def test_the_command_names_what_is_lost(folder, capsys, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["rb2v", "verify", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr()

    code, output = run(folder, "--workers", 1)
    assert code in (0, None)
    assert "3 shards, 4 samples: all as the manifest says" in output.out
    flip_bytes(folder / "train-00001.h5", 5000)
    code, output = run(folder, "--workers", 1)
    assert code == 2
    assert "train-00001.h5: its bytes do not have the SHA-256" in output.out
    assert "of 4 samples are lost" in output.err.replace("\n", " ")
    manifest_path(folder).write_text(json.dumps({"schema": 1}))
    code, output = run(folder)
    assert code == 2
    assert "manifest.json" in output.err


def test_without_a_manifest_there_is_nothing_to_check(tmp_path):
    with pytest.raises(InputError, match="manifest"):
        verify(tmp_path)
