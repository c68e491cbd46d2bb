import dataclasses
import json
import shutil
import struct
import subprocess
import sys
import zlib

import h5py
import numpy as np
import pytest
from test_shards import flip_bytes, make_sample, write_folder

from rb2v.errors import InputError
from rb2v.execution import SerialExecutor
from rb2v.shards import manifest_path, read_manifest, sha256_of, verify, write_manifest
from rb2v.shards.layout import sample_checksum
from rb2v.shards.verification import Fault

N_FLIPS = 100  # tests/benchmarks/check_flips.py makes more


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path, [[make_sample(0), make_sample(1)], [make_sample(2)]], [[make_sample(3, subject="Ann")]])
    return tmp_path


def chunk_of(path, name, row):
    with h5py.File(path) as file:
        return file[name].id.get_chunk_info(row)


def rewrite_manifest(folder, split, **changes):
    manifest = read_manifest(folder)
    entry = dataclasses.replace(manifest.splits[split], **changes)
    write_manifest(folder, dataclasses.replace(manifest, splits={**manifest.splits, split: entry}))


def agree(folder):
    """Let the manifest agree with the shards as they are."""
    for split, entry in read_manifest(folder).splits.items():
        shards = [
            dataclasses.replace(shard, bytes=path.stat().st_size, sha256=sha256_of(path))
            for shard in entry.shards
            for path in [folder / shard.file]
        ]
        rewrite_manifest(folder, split, shards=tuple(shards))


def edit_shard(folder, change):
    with h5py.File(folder / "train-00000.h5", "a") as file:
        change(file)
    agree(folder)


def test_a_sound_data_set_has_no_faults(folder):
    seen = []
    assert verify(folder, progress=lambda done, total: seen.append((done, total))) == []
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert verify(folder, read_all=True, executor=SerialExecutor(check_pickle=True)) == []


def older_checksum(sample):
    """As it was defined before composites were measured."""
    texts = b"".join(text.encode() + b"\0" for text in (sample.take, sample.subject, sample.category))
    numbers = struct.pack(
        "<qqf12fb", sample.blurry_index, sample.position, sample.psnr, *sample.color.flat, sample.order
    )
    return zlib.crc32(sample.blurry.tobytes() + sample.sharp.tobytes() + texts + numbers)


def test_a_shard_of_an_older_version_is_sound(folder):
    def make_older(file):
        del file["composite_psnr"]
        file["checksum"][...] = [older_checksum(make_sample(index)) for index in range(2)]

    edit_shard(folder, make_older)
    assert verify(folder, read_all=True) == []


def test_a_shard_that_lost_its_composites_is_found(folder):
    edit_shard(folder, lambda file: file.pop("composite_psnr"))
    (fault,) = verify(folder, read_all=True)
    assert (fault.file, fault.rows) == ("train-00000.h5", (0, 1))


def test_a_composite_that_changed_is_found(folder):
    edit_shard(folder, lambda file: file["composite_psnr"].__setitem__(1, 60.0))
    (fault,) = verify(folder, read_all=True)
    assert (fault.file, fault.rows) == ("train-00000.h5", (1,))


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
    rewrite_manifest(folder, "train", categories={"face": 2, "street": 1})
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
    (shard,) = read_manifest(folder).splits["test"].shards
    rewrite_manifest(folder, "test", shards=(dataclasses.replace(shard, sha256="0" * 64),))
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


def changed_rows(path, samples):
    """The rows that plain h5py cannot read, or reads as something else than was written."""
    rows = []
    with h5py.File(path) as file:
        for row, sample in enumerate(samples):
            try:
                found = {name: (d.asstr() if d.dtype.kind == "O" else d)[row] for name, d in file.items()}
                same = all(
                    np.array_equal(found[name], value) for name, value in vars(sample).items() if value is not None
                )
                rows += [] if same and found["checksum"] == sample_checksum(sample) else [row]
            except (AttributeError, OSError, RuntimeError, KeyError, TypeError, ValueError):
                rows.append(row)
    return tuple(rows)


@pytest.mark.slow
@pytest.mark.parametrize("manifest_agrees", [False, True])
def test_flipped_bits_cost_the_samples_that_they_change(tmp_path, manifest_agrees):
    """Each flip in a shard of its own; SHA-256 finds all of them, and where it agrees the samples' own checksums do."""
    rng = np.random.default_rng(0)
    samples = [make_sample(index, size=(40, 50), psnr=30.5) for index in range(3)]
    write_folder(tmp_path, [samples], size=(40, 50))
    sound = (tmp_path / "train-00000.h5").read_bytes()
    (entry,) = read_manifest(tmp_path).splits["train"].shards
    lost, entries = {}, []
    for index in range(N_FLIPS):
        path = tmp_path / f"train-{index:05d}.h5"
        damaged = bytearray(sound)
        damaged[rng.integers(len(sound))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            lost[path.name] = changed_rows(path, samples)
        except (OSError, RuntimeError):
            lost[path.name] = (0, 1, 2)
        sha256 = sha256_of(path) if manifest_agrees else entry.sha256
        entries.append(dataclasses.replace(entry, file=path.name, sha256=sha256))
    rewrite_manifest(tmp_path, "train", shards=tuple(entries), categories={"street": 3 * N_FLIPS})
    faults = {fault.file: fault for fault in verify(tmp_path, read_all=manifest_agrees)}
    assert sum(len(rows) == 1 for rows in lost.values()) > 0.8 * N_FLIPS
    if manifest_agrees:
        assert {name: faults[name].rows for name in lost if lost[name]} == {n: rows for n, rows in lost.items() if rows}
    else:
        assert {name: fault.rows for name, fault in faults.items()} == lost


@pytest.mark.parametrize(("old", "new"), [('"srgb"', '"linear"'), ('"rig": "rig"', '"rig": "rIg"'), ("\n}", "\n }")])
def test_a_manifest_that_was_changed_is_found(folder, old, new):
    path = manifest_path(folder)
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    assert verify(folder) == [Fault("manifest.json", "was changed after it was written")]


def test_damaged_shards_are_examined_wherever_the_work_runs(folder):
    """From a script that has no main guard, and by workers that may have no children."""
    path = folder / "train-00000.h5"
    flip_bytes(path, chunk_of(path, "sharp", 1).byte_offset)
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from rb2v.execution import make_executor\n"
        "from rb2v.shards import verify\n"
        "print([fault.rows for fault in verify(Path(sys.argv[1]))])\n"
        "if __name__ == '__main__':\n"
        "    print([fault.rows for fault in verify(Path(sys.argv[1]), executor=make_executor(1, 'dask'))])\n"
    )
    (folder.parent / "check.py").write_text(script)
    command = [sys.executable, folder.parent / "check.py", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines().count("[(1,)]") >= 2


def test_the_command_names_what_is_lost(folder, rb2v):
    output = rb2v("verify", folder, "--workers", 1)
    assert output.status == 0
    assert "3 shards, 4 samples: all as the manifest says" in output.out
    path = folder / "train-00001.h5"
    flip_bytes(path, chunk_of(path, "blurry", 0).byte_offset)
    output = rb2v("verify", folder, "--workers", 1)
    assert output.status == 2
    assert "train-00001.h5: its bytes do not have the SHA-256" in output.out
    assert "of 4 samples are lost" in output.err.replace("\n", " ")
    manifest_path(folder).write_text(json.dumps({"schema": 1}))
    output = rb2v("verify", folder)
    assert output.status == 2
    assert "manifest.json" in output.err


def test_without_a_manifest_there_is_nothing_to_check(tmp_path):
    with pytest.raises(InputError, match="manifest"):
        verify(tmp_path)
