"""Data sets in other layouts, there and back: what is kept, who reads it, and what wrong input ends in."""

import hashlib
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace

import cv2
import h5py
import numpy as np
import pandas as pd
import pytest
from data_sets import write_samples
from examples import draws
from executors import LastFirstExecutor
from hypothesis import given
from hypothesis import strategies as st

from rb2v import benchmark
from rb2v.artifacts import Crop
from rb2v.errors import InputError, Rb2vError
from rb2v.execution import SerialExecutor
from rb2v.execution.task import MAX_TASK_BYTES, pack
from rb2v.shards import (
    Manifest,
    Provenance,
    ShardEntry,
    ShardReader,
    ShardSample,
    SplitEntry,
    manifest_path,
    read_manifest,
    sha256_of,
    write_manifest,
    write_shard,
)
from rb2v.shards.exchange import LAYOUTS, ImportConfig, export_shards, import_folder
from rb2v.shards.exchange.samples import Source

SIZE = (10, 12)
"""Width and height."""


def make_sample(seed, *, n_sharp=7, **values):
    rng = np.random.default_rng(seed)
    given = {
        "blurry": rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8),
        "sharp": rng.integers(0, 256, (n_sharp, SIZE[1], SIZE[0], 3), dtype=np.uint8),
        "color": rng.normal(size=(3, 4)).astype(np.float32),
        "take": f"take {seed // 3}",
        "subject": f"Zoë {seed // 3}",
        "category": ("street", "face", "hand")[seed // 3 % 3],
        "blurry_index": 7 * seed + 2,
        "position": 8 * seed + 3,
        "psnr": 31.25 + seed,
        "order": (-1, 0, 1)[seed % 3],
        "composite_psnr": 40.5 + seed,
    }
    return ShardSample(**{**given, **values})


def write_shards(folder, train, test=(), n_sharp=7):
    """Write shards, each a list of samples, and their manifest."""
    provenance = Provenance("0.1.0", {"align": {"sync": "auto"}}, "0" * 64, {"build_shards": 4}, 2.2)
    says = {"crop": Crop(3, 4, 20, 24), "rig": "a rig", "provenance": provenance, "n_frames": n_sharp}
    write_samples(folder, {"train": train, "test": test}, SIZE, **says)
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Two takes for training in two shards that part the second of them, one take for the test."""
    train, test = [make_sample(seed) for seed in range(6)], [make_sample(seed) for seed in range(6, 9)]
    return write_shards(tmp_path_factory.mktemp("exchange") / "shards", [train[:4], train[4:]], [test])


def assert_same_samples(found_dir, expected_dir):
    found, expected = ShardReader(found_dir), ShardReader(expected_dir)
    assert len(found) == len(expected)
    for split in ("train", "test"):
        assert len(ShardReader(found_dir, split)) == len(ShardReader(expected_dir, split))
    for index in range(len(expected)):
        for name, value in vars(expected.read(index)).items():
            np.testing.assert_array_equal(getattr(found.read(index), name), value, err_msg=f"{name} of {index}")


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("layout", LAYOUTS)
class TestEveryLayout:
    def test_it_comes_back_by_the_commands(self, shards, tmp_path, rb2v, layout):
        out, back = tmp_path / "out", tmp_path / "back"
        status, said, _ = rb2v("export", shards, "--out", out, "--format", layout, "--workers", 1)
        assert (status, said.splitlines()[:2]) == (0, ["train: 6 samples", "test: 3 samples"])
        status, said, _ = rb2v("import", out, "--out", back, "--workers", 1)
        assert status == 0
        assert "test: 3 samples in 1 shard" in said
        assert_same_samples(back, shards)
        found, expected = read_manifest(back), read_manifest(shards)
        for name in ("rig", "crop", "output_size", "frames_per_sequence"):
            assert getattr(found, name) == getattr(expected, name)
        assert found.splits["train"].categories == expected.splits["train"].categories
        assert found.provenance.response == 2.2
        assert found.provenance.config["align"] == {"sync": "auto"}
        assert found.provenance.config["import"]["format"] == layout
        assert str(tmp_path) not in manifest_path(back).read_text()

    def test_workers_write_the_same_bytes(self, shards, tmp_path, layout):
        for name, executor in (("serial", SerialExecutor(check_pickle=True)), ("parallel", LastFirstExecutor())):
            export_shards(shards, tmp_path / name, layout, executor=executor)
            import_folder(tmp_path / name, tmp_path / f"{name}_back", executor=executor)
        assert digests(tmp_path / "parallel") == digests(tmp_path / "serial")
        assert digests(tmp_path / "parallel_back") == digests(tmp_path / "serial_back")

    @draws(8)
    @given(
        text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8),
        index=st.integers(0, 2**63 - 1),
        position=st.integers(-(2**63), 2**63 - 1),
        psnr=st.floats(width=32),
        color=st.lists(st.floats(width=32), min_size=12, max_size=12),
        n_sharp=st.sampled_from([3, 7]),
    )
    def test_all_values_come_back(self, tmp_path, layout, text, index, position, psnr, color, n_sharp):
        columns = {"take": text, "subject": text, "blurry_index": index, "position": position, "psnr": psnr}
        columns["composite_psnr"] = -psnr
        color = np.array(color, dtype=np.float32).reshape(3, 4)
        for name in ("shards", "out", "back"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
        write_shards(tmp_path / "shards", [[make_sample(1, n_sharp=n_sharp, color=color, **columns)]], n_sharp=n_sharp)
        export_shards(tmp_path / "shards", tmp_path / "out", layout)
        import_folder(tmp_path / "out", tmp_path / "back")
        assert_same_samples(tmp_path / "back", tmp_path / "shards")

    @pytest.mark.parametrize("n_files", [1, 3])
    def test_killed_and_run_again_it_ends_in_the_same_bytes(self, shards, fork_server, tmp_path, layout, n_files):
        export_shards(shards, tmp_path / "whole", layout)
        import_folder(tmp_path / "whole", tmp_path / "whole_back")
        kill(fork_server, n_files, f"export_shards(Path({str(shards)!r}), Path({str(tmp_path / 'out')!r}), {layout!r})")
        finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("[!.]*.*") if path.is_file()}
        export_shards(shards, tmp_path / "out", layout)
        assert digests(tmp_path / "out") == digests(tmp_path / "whole")
        if n_files > 2:
            kept = {path: time for path, time in finished.items() if path.exists() and path.suffix != ".json"}
            assert any(path.stat().st_mtime_ns == time for path, time in kept.items())
        kill(fork_server, n_files, f"import_folder(Path({str(tmp_path / 'out')!r}), Path({str(tmp_path / 'back')!r}))")
        assert not manifest_path(tmp_path / "back").exists()
        import_folder(tmp_path / "out", tmp_path / "back")
        assert digests(tmp_path / "back") == digests(tmp_path / "whole_back")

    @pytest.mark.parametrize("finished", [True, False])
    def test_run_again_it_writes_anew_what_is_not_whole(self, shards, tmp_path, layout, finished):
        last = export_shards(shards, tmp_path / "out", layout)
        whole = digests(tmp_path / "out")
        files = sorted(path for path in last.parent.rglob("*") if path.suffix in (".png", ".tar", ".parquet"))
        damaged, kept = files[-1], files[0]
        before, text = kept.stat().st_mtime_ns, damaged.read_bytes()
        flipped = bytearray(text)
        flipped[min(700, len(text) // 2)] ^= 1
        for damage in (b"", bytes(flipped), text[: len(text) // 2]):
            damaged.write_bytes(damage)
            if not finished:
                last.unlink()
            export_shards(shards, tmp_path / "out", layout)
            assert digests(tmp_path / "out") == whole
            assert kept.stat().st_mtime_ns == before

    def test_what_was_made_of_other_shards_is_refused(self, shards, tmp_path, layout):
        export_shards(shards, tmp_path / "out", layout)
        before = digests(tmp_path / "out")
        other = write_shards(tmp_path / "other", [[make_sample(20)]])
        with pytest.raises(InputError, match="manifest_sha256"):
            export_shards(other, tmp_path / "out", layout)
        assert digests(tmp_path / "out") == before

    def test_orders_can_come_from_a_table_of_labels(self, shards, tmp_path, layout):
        table = ShardReader(shards).table[["take", "blurry_index"]].assign(order=[1, -1, 0, 1, 1, -1, -1, 1, 1])
        table[::-1].to_csv(tmp_path / "order_labels.csv", index=False)
        export_shards(shards, tmp_path / "out", layout, labels=tmp_path / "order_labels.csv")
        import_folder(tmp_path / "out", tmp_path / "back")
        assert ShardReader(tmp_path / "back").table["order"].tolist() == table["order"].tolist()

    def test_an_empty_data_set_is_refused(self, tmp_path, layout):
        write_shards(tmp_path / "shards", [])
        with pytest.raises(InputError, match="holds no sample"):
            export_shards(tmp_path / "shards", tmp_path / "out", layout)
        assert not (tmp_path / "out").exists()


def test_a_column_that_changed_in_an_unfinished_export_is_written_anew(shards, tmp_path):
    manifest = export_shards(shards, tmp_path / "out", "webdataset")
    whole = digests(tmp_path / "out")
    path = tmp_path / "out" / "train-000000.tar"
    path.write_bytes(path.read_bytes().replace(b'"psnr": 31.25', b'"psnr": 31.35'))
    manifest.unlink()
    export_shards(shards, tmp_path / "out", "webdataset")
    assert digests(tmp_path / "out") == whole


class Measuring:
    """An executor that notes what tasks weigh, and stops."""

    def __init__(self):
        self.sizes = []

    def map(self, function, items):
        self.sizes += [len(pack(function, item).call) for item in items]
        raise InterruptedError


@pytest.fixture(scope="module")
def large_source(tmp_path_factory):
    """A set of 40,000 samples in twenty shards, which are the same but for the table."""
    folder = tmp_path_factory.mktemp("large")
    pixel = np.zeros((1, 1, 3), dtype=np.uint8)
    samples = (make_sample(1, blurry=pixel, sharp=np.stack([pixel] * 3)) for _ in range(2000))
    entry = write_shard(folder / "train-00000.h5", samples)
    for index in range(1, 20):
        os.link(folder / entry.file, folder / f"train-{index:05d}.h5")
    entries = tuple(replace(entry, file=f"train-{index:05d}.h5") for index in range(20))
    splits = {"train": SplitEntry(entries, {"street": 40_000})}
    provenance = Provenance("0.1.0", {}, None, {}, "srgb")
    write_manifest(folder, Manifest("a rig", (1, 1), Crop(0, 0, 1, 1), splits, provenance, 3))
    reader = ShardReader(folder)
    reader.table["blurry_index"] = np.arange(40_000)
    return Source(reader, (-1,) * 40_000)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_tasks_of_a_large_export_are_small(large_source, tmp_path, layout):
    executor = Measuring()
    with pytest.raises(InterruptedError):
        LAYOUTS[layout].export_shards(large_source, tmp_path, executor, print)
    assert len(executor.sizes) >= 20
    assert max(executor.sizes) < MAX_TASK_BYTES / 16


@pytest.mark.parametrize(("layout", "name"), [("webdataset", "train-{}.tar"), ("datasets", "data/train-{}.parquet")])
def test_the_tasks_of_a_large_import_are_small(shards, tmp_path, layout, name):
    (tmp_path / "data").mkdir()
    files = [tmp_path / name.format(index) for index in range(1000)]
    for path in files:
        path.touch()
    entries = tuple(ShardEntry(path.name, 40, 10_000, "0" * 64) for path in files)
    splits = {"train": SplitEntry(entries, {"face": 40_000})}
    write_manifest(tmp_path, replace(read_manifest(shards), splits=splits))
    plan = LAYOUTS[layout].plan_import(tmp_path, ImportConfig())
    assert max(len(pickle.dumps(part)) for part in plan.parts) < MAX_TASK_BYTES / 256


def test_the_tasks_of_a_large_import_of_pictures_are_small(tmp_path):
    entries = [make_entry("00000/0000", id=f"00000/{index}") for index in range(8000)]
    document = write_foreign(tmp_path, entries[:1])
    (tmp_path / "metadata.json").write_text(json.dumps({**document, "data": entries}))
    plan = LAYOUTS["hypercut"].plan_import(tmp_path, ImportConfig(shard_samples=8000))
    assert sum(part.samples for part in plan.parts) == 8000
    assert max(len(pickle.dumps(part)) for part in plan.parts) < MAX_TASK_BYTES * 0.6


def kill(fork_server, n_files, call):
    """Run a call in another process, which is killed when it has written a number of files and renames the next."""
    code = f"""
import os, signal
from pathlib import Path
from rb2v.shards.exchange import export_shards, import_folder
names, replace = [], os.replace
def kill_or_replace(source, target):
    if len(names) == {n_files}:
        os.kill(os.getpid(), signal.SIGKILL)
    names.append(target)
    replace(source, target)
os.replace = kill_or_replace
{call}
"""
    process = fork_server.start(code)
    assert process.wait() == -signal.SIGKILL, process.communicate()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table[1:], "frame 2 of take 'take 0' has no label"),
        (lambda table: pd.concat([table, table[:1]]), "has a label already"),
        (lambda table: table.assign(order=2), "line 2: '2' is not an order"),
        (lambda table: table.drop(columns="order"), "order: column is missing"),
    ],
)
def test_wrong_labels_are_told(shards, tmp_path, change, message):
    table = ShardReader(shards).table[["take", "blurry_index"]].assign(order=1)
    change(table).to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(InputError, match=message):
        export_shards(shards, tmp_path / "out", "hypercut", labels=tmp_path / "labels.csv")


# The layout of the public RB2V release


def test_the_published_layout_is_met(shards, tmp_path):
    out = tmp_path / "out"
    assert export_shards(shards, out, "hypercut") == out / "metadata.json"
    metadata = json.loads((out / "metadata.json").read_text())
    assert list(metadata) == ["name", "frame_per_seq", "data"]
    assert (metadata["name"], metadata["frame_per_seq"], len(metadata["data"])) == ("RB2V", 7, 9)
    assert metadata["data"][4] == {
        "id": "00001/0030",
        "order": "ignore",
        "partition": "train",
        "blur_path": "00001/blur/0030.png",
        **{f"frame00{k}_path": f"00001/sharp/0030_{k}.png" for k in range(1, 8)},
    }
    assert [entry["order"] for entry in metadata["data"][:3]] == ["reverse", "ignore", "keep"]
    assert [entry["partition"] for entry in metadata["data"]] == ["train"] * 6 + ["test"] * 3
    for entry, index in zip(metadata["data"], range(9), strict=True):
        sample = make_sample(index)
        paths = [entry["blur_path"], *(entry[f"frame{k:03d}_path"] for k in range(1, 8))]
        for path, frame in zip(paths, (sample.blurry, *sample.sharp), strict=True):
            np.testing.assert_array_equal(cv2.imread(str(out / path))[..., ::-1], frame)


def test_a_data_set_of_one_category_is_named_by_it(tmp_path):
    write_shards(tmp_path / "shards", [[make_sample(0), make_sample(1)]])
    written = export_shards(tmp_path / "shards", tmp_path / "out", "hypercut")
    assert json.loads(written.read_text())["name"] == "Street"


def test_a_list_that_their_program_wrote_anew_keeps_the_columns(shards, tmp_path):
    written = export_shards(shards, tmp_path / "out", "hypercut")
    metadata = json.loads(written.read_text())
    for entry in metadata["data"]:
        entry["order"] = "reverse"
    written.write_text(json.dumps({**metadata, "name": "anything", "data": metadata["data"][::-1]}))
    import_folder(tmp_path / "out", tmp_path / "back")
    reader = ShardReader(tmp_path / "back", "train")
    assert set(reader.table["order"]) == {-1}
    assert reader.table["take"].tolist() == ["take 1"] * 3 + ["take 0"] * 3
    np.testing.assert_array_equal(reader.read(0).color, make_sample(5).color)


@pytest.mark.parametrize("values", [{"blurry_index": 2, "take": "take 0"}, {"blurry_index": -1}])
def test_samples_without_an_id_of_their_own_are_told(tmp_path, values):
    write_shards(tmp_path / "shards", [[make_sample(0), make_sample(1, **values)]])
    with pytest.raises(InputError, match="blurry_index"):
        export_shards(tmp_path / "shards", tmp_path / "out", "hypercut")


def make_entry(name, **values):
    folder, _, index = name.rpartition("/")
    sharp = {f"frame{k:03d}_path": f"{folder}/sharp/{index}_{k}.png" for k in range(1, 4)}
    entry = {"id": name, "order": "ignore", "partition": "train", "blur_path": f"{folder}/blur/{index}.png", **sharp}
    return {**entry, **values}


def write_foreign(folder, entries, name="RB2V-Street", **values):
    """Write a data set of the layout as others do, with three sharp frames; return its list."""
    rng = np.random.default_rng(0)
    for entry in entries:
        for key in [key for key in entry if key.endswith("_path")]:
            path = folder / entry[key]
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8))
    document = {"name": name, "frame_per_seq": 3, "data": entries, **values}
    (folder / "metadata.json").write_text(json.dumps(document))
    return document


@pytest.fixture
def foreign(tmp_path):
    folder = tmp_path / "foreign"
    write_foreign(
        folder,
        [
            make_entry("00000/0000", order="keep"),
            make_entry("00000/0007", order="reverse", bbox=[1, 2]),
            make_entry("00001/0003", order="random", partition="test"),
            make_entry("00002/0004", order="ignore", partition="val"),
        ],
    )
    return folder


def test_a_foreign_data_set_is_imported(foreign, tmp_path, caplog):
    summary = import_folder(foreign, tmp_path / "shards", executor=SerialExecutor(check_pickle=True))
    assert summary.n_val == 1
    assert not caplog.records
    train, test = ShardReader(tmp_path / "shards", "train"), ShardReader(tmp_path / "shards", "test")
    assert train.table["order"].tolist() == [1, -1]
    assert train.table["blurry_index"].tolist() == [0, 7]
    assert test.table["order"].tolist() == [0, 0]
    assert test.table["subject"].tolist() == test.table["take"].tolist() == ["00001", "00002"]
    assert set(test.table["category"]) == {"street"}
    sample = train.read(1)
    np.testing.assert_array_equal(sample.blurry, cv2.imread(str(foreign / "00000/blur/0007.png"))[..., ::-1])
    np.testing.assert_array_equal(sample.sharp[2], cv2.imread(str(foreign / "00000/sharp/0007_3.png"))[..., ::-1])
    assert sample.position == -1
    assert np.isnan([sample.psnr, *sample.color.ravel()]).all()
    manifest = read_manifest(tmp_path / "shards")
    assert (manifest.rig, manifest.output_size, manifest.crop) == ("imported", SIZE, Crop(0, 0, *SIZE))
    assert manifest.frames_per_sequence == 3
    assert manifest.provenance.calibration_sha256 is None
    assert manifest.provenance.config["import"]["metadata_sha256"] == sha256_of(foreign / "metadata.json")
    assert str(tmp_path) not in manifest_path(tmp_path / "shards").read_text()


def test_a_foreign_data_set_is_scored_without_a_psnr(foreign, tmp_path):
    import_folder(foreign, tmp_path / "shards")
    benchmark.run(benchmark.SessionPaths(tmp_path / "shards"), tmp_path / "report")
    results = pd.read_csv(tmp_path / "report" / "results.csv").set_index("metric")
    assert results.loc["samples.train.street", "value"] == 2
    assert results.loc[["psnr_p05.street", "psnr_median.street"], "value"].isna().all()


@pytest.mark.parametrize(
    ("val", "counts", "line"),
    [
        ("test", (2, 2), "val: 1 samples, among those of test"),
        ("train", (3, 1), "val: 1 samples, among those of train"),
        ("skip", (2, 1), "val: 1 samples, left out"),
    ],
)
def test_samples_of_val_go_where_they_are_wanted(foreign, tmp_path, rb2v, val, counts, line):
    arguments = ("import", foreign, "--out", tmp_path / "shards", "--val", val, "--workers", 1)
    status, said, _ = rb2v(*arguments)
    assert (status, line in said) == (0, True)
    splits = read_manifest(tmp_path / "shards").splits
    assert (splits["train"].samples, splits["test"].samples) == counts


def test_shards_are_of_bounded_size(foreign, tmp_path):
    import_folder(foreign, tmp_path / "shards", ImportConfig(shard_samples=1))
    assert [len(entry.shards) for entry in read_manifest(tmp_path / "shards").splits.values()] == [2, 2]


def test_subjects_of_both_splits_become_two(tmp_path, caplog):
    entries = [
        make_entry("00000/0000"),
        make_entry("00000/0001", partition="test"),
        make_entry("00001/0000", partition="test"),
    ]
    write_foreign(tmp_path / "foreign", entries)
    import_folder(tmp_path / "foreign", tmp_path / "shards")
    assert "1 of 2 subjects stand in both splits" in caplog.text
    table = ShardReader(tmp_path / "shards").table
    assert table["subject"].tolist() == ["00000@train", "00000@test", "00001"]
    assert table["take"].tolist() == ["00000", "00000", "00001"]


def test_new_names_of_subjects_are_nobody_elses(tmp_path):
    samples = [make_sample(seed, subject=name) for seed, name in enumerate(("a", "a", "a@test", "a@train"))]
    write_shards(tmp_path / "shards", [samples])
    written = export_shards(tmp_path / "shards", tmp_path / "out", "hypercut")
    metadata = json.loads(written.read_text())
    metadata["data"][1]["partition"] = metadata["data"][3]["partition"] = "test"
    written.write_text(json.dumps(metadata))
    import_folder(tmp_path / "out", tmp_path / "back")
    train, test = (set(ShardReader(tmp_path / "back", split).table["subject"]) for split in ("train", "test"))
    assert len(train) == len(test) == 2
    assert not train & test


@pytest.mark.parametrize(
    ("name", "category"), [("RB2V-Street", "street"), ("rb2v_face", "face"), ("Hand", "hand"), ("HAND2", "hand")]
)
def test_the_category_is_a_word_of_the_name(tmp_path, name, category):
    write_foreign(tmp_path / "foreign", [make_entry("00000/0000")], name=name)
    import_folder(tmp_path / "foreign", tmp_path / "shards")
    assert set(ShardReader(tmp_path / "shards").table["category"]) == {category}


@pytest.mark.parametrize("name", ["B-AIST++", "hand or face", "Surfaces", "Beforehand"])
def test_the_category_comes_from_the_name_or_is_asked_for(tmp_path, rb2v, name):
    write_foreign(tmp_path / "foreign", [make_entry("00000/0000")], name=name)
    arguments = ("import", tmp_path / "foreign", "--out", tmp_path / "shards", "--workers", 1)
    status, _, error = rb2v(*arguments)
    assert status == 2
    assert "name: " in error
    assert "--category" in error
    assert not (tmp_path / "shards").exists()
    assert rb2v(*arguments, "--category", "hand")[0] == 0
    assert set(ShardReader(tmp_path / "shards").table["category"]) == {"hand"}


def change_entry(**values):
    """Change the second entry; a value of None takes the key away."""

    def change(document):
        entry = {**document["data"][1], **values}
        document["data"][1] = {key: value for key, value in entry.items() if value is not None}

    return change


def drop(*names):
    def change(document):
        for name in names:
            del document[name]

    return change


HOSTILE = {
    "absolute path": (
        change_entry(blur_path="/etc/hostname"),
        "data.1.blur_path: '/etc/hostname' is not a path inside",
    ),
    "parent": (change_entry(blur_path="../secret.png"), "data.1.blur_path: .* is not a path inside"),
    "parent on the way": (
        change_entry(frame002_path="00000/../../secret.png"),
        "data.1.frame002_path: .* is not a path",
    ),
    "inside again": (change_entry(frame002_path="00000/../00000/sharp/0007_2.png"), "data.1.frame002_path"),
    "here": (change_entry(blur_path="./00000/blur/0007.png"), "data.1.blur_path"),
    "empty path": (change_entry(blur_path=""), "data.1.blur_path"),
    "two slashes": (change_entry(blur_path="00000//blur/0007.png"), "data.1.blur_path"),
    "backslash": (change_entry(blur_path="..\\secret.png"), "data.1.blur_path"),
    "NUL": (change_entry(blur_path="00000/blur/0007.png\0"), "data.1.blur_path"),
    "surrogate": (change_entry(blur_path="\ud800.png"), "metadata.json: "),
    "no file": (change_entry(blur_path="00000/blur/0009.png"), "0009.png: data.1: there is no such file"),
    "a folder": (change_entry(blur_path="00000/blur"), "blur: data.1: there is no such file"),
    "long name": (change_entry(blur_path="a" * 5000), "data.1: there is no such file"),
    "path of another kind": (change_entry(frame001_path=["00000"]), "data.1.frame001_path"),
    "no blurry frame": (change_entry(blur_path=None), "data.1.blur_path: is missing"),
    "too few frames": (change_entry(frame003_path=None), "data.1.frame003_path: is missing"),
    "too many frames": (change_entry(frame004_path="00000/sharp/0000_1.png"), "data.1.frame004_path: is one more"),
    "frame 0": (change_entry(frame000_path="00000/sharp/0000_1.png"), "data.1.frame000_path: is one more"),
    "same id": (change_entry(id="00000/0000"), "data.1.id: '00000/0000' is the id of data.0 already"),
    "same frame": (change_entry(id="00000/0"), "data.1.id: '00000/0' is the id of data.0 already"),
    "id without folder": (change_entry(id="0007"), "data.1.id: '0007' is no id"),
    "id without index": (change_entry(id="00000/frame"), "data.1.id: "),
    "id that no number holds": (change_entry(id="00000/9223372036854775808"), "data.1.id: .* is no id"),
    "long text": (change_entry(id="a" * 2**20 + "/0007"), "data.1: says .* bytes"),
    "id that leads out": (change_entry(id="../a b/0007"), "data.1.id: "),
    "no id": (change_entry(id=None), "data.1.id: is missing"),
    "id of another kind": (change_entry(id=7), "data.1.id: "),
    "unknown order": (change_entry(order="forward"), "data.1.order: 'forward'"),
    "no order": (change_entry(order=None), "data.1.order: is missing"),
    "unknown partition": (change_entry(partition="dev"), "data.1.partition: 'dev'"),
    "no partition": (change_entry(partition=None), "data.1.partition: is missing"),
    "no name": (drop("name"), "name: is missing"),
    "no count": (drop("frame_per_seq"), "frame_per_seq: is missing"),
    "no data": (drop("data"), "data: is missing"),
    "empty": (lambda document: document.update(data=[]), "data: holds no sample"),
    "entry of another kind": (lambda document: document["data"].insert(1, "00000/0000"), "data.1"),
    "data of another kind": (lambda document: document.update(data={}), "data: "),
    "wrong count": (lambda document: document.update(frame_per_seq=5), "data.0.frame004_path: is missing"),
    "count of one": (lambda document: document.update(frame_per_seq=1), "frame_per_seq: 1"),
    "count as text": (lambda document: document.update(frame_per_seq="3"), "frame_per_seq: "),
    "huge count": (lambda document: document.update(frame_per_seq=10**30), "frame_per_seq: "),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_list_is_told(foreign, tmp_path, case):
    change, message = HOSTILE[case]
    path = foreign / "metadata.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=message):
        import_folder(foreign, tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"data": NaN}', "[" * 100_000, '"\\ud800"', "\xff\xfe"])
def test_a_list_that_is_none_is_told(foreign, tmp_path, text):
    (foreign / "metadata.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"metadata\.json"):
        import_folder(foreign, tmp_path / "shards")


def encode(image, suffix=".png"):
    return cv2.imencode(suffix, image)[1].tobytes()


PIXELS = np.random.default_rng(1).integers(0, 256, (SIZE[1], SIZE[0], 4), dtype=np.uint8)
WHOLE = encode(PIXELS[..., :3])
BAD_PICTURES = {
    "empty": (b"", "is not a PNG"),
    "JPEG": (encode(PIXELS[..., :3], ".jpg"), "is not a PNG"),
    "header alone": (WHOLE[:30], "is damaged"),
    "cut short": (WHOLE[:-30], "is damaged"),
    "one bit flipped": (WHOLE[:100] + bytes([WHOLE[100] ^ 4]) + WHOLE[101:], "is damaged"),
    "gray": (encode(PIXELS[..., 0]), "8-bit gray; expected 8-bit RGB"),
    "alpha": (encode(PIXELS), "8-bit RGBA; expected 8-bit RGB"),
    "16 bits": (encode(PIXELS[..., :3].astype(np.uint16)), "16-bit RGB; expected 8-bit RGB"),
    "another size": (encode(PIXELS[1:, :, :3]), "is 10x11; expected 10x12"),
    "huge": (WHOLE[:16] + b"\x7f\xff\xff\xff" * 2 + WHOLE[24:], "expected at most 89 megapixels"),
}


@pytest.mark.parametrize("case", BAD_PICTURES)
@pytest.mark.parametrize("name", ["00000/blur/0000.png", "00001/sharp/0003_2.png"])
def test_a_picture_that_is_none_is_told(foreign, tmp_path, capfd, case, name):
    data, message = BAD_PICTURES[case]
    (foreign / name).write_bytes(data)
    first_decides_the_size = case == "another size" and name.endswith("0000.png")
    with pytest.raises(InputError, match="is 10x12" if first_decides_the_size else message) as error:
        import_folder(foreign, tmp_path / "shards")
    assert first_decides_the_size or error.value.source == str(foreign / name)
    assert not manifest_path(tmp_path / "shards").exists()


def test_links_that_lead_out_are_refused(foreign, tmp_path):
    (tmp_path / "secret.png").write_bytes(WHOLE)
    picture = foreign / "00000/blur/0000.png"
    picture.unlink()
    picture.symlink_to(tmp_path / "secret.png")
    with pytest.raises(InputError, match=r"data.0: '00000/blur/0000.png' leads out of the folder"):
        import_folder(foreign, tmp_path / "shards")
    picture.unlink()
    picture.symlink_to(foreign / "00000/blur/0007.png")
    import_folder(foreign, tmp_path / "shards")  # one that stays inside is as good as a file


def test_a_folder_that_leads_out_is_refused(foreign, tmp_path):
    shutil.move(foreign / "00001", tmp_path / "elsewhere")
    (foreign / "00001").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="leads out of the folder"):
        import_folder(foreign, tmp_path / "shards")


LINKED = [
    ("hypercut", "metadata.json"),
    ("hypercut", "rb2v"),
    ("hypercut", "rb2v/columns.json"),
    ("hypercut", "rb2v/manifest.json"),
    ("webdataset", "manifest.json"),
    ("webdataset", "train-000001.tar"),
    ("datasets", "manifest.json"),
    ("datasets", "data"),
    ("datasets", "data/train-00001.parquet"),
]


@pytest.mark.parametrize(("layout", "name"), LINKED)
def test_whatever_is_read_lies_in_the_folder(shards, tmp_path, layout, name):
    export_shards(shards, tmp_path / "out", layout)
    path, moved = tmp_path / "out" / name, tmp_path / "elsewhere"
    shutil.move(path, moved)
    path.symlink_to(moved)
    with pytest.raises(InputError, match="leads out of the folder"):
        import_folder(tmp_path / "out", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_small_picture_file_cannot_become_a_large_sample(tmp_path):
    path = tmp_path / "foreign" / "picture.png"
    path.parent.mkdir()
    path.write_bytes(encode(np.zeros((1000, 1000, 3), dtype=np.uint8)))
    paths = {f"frame{k:03d}_path": path.name for k in range(1, 1000)}
    entry = {**make_entry("0/0", blur_path=path.name), **paths}
    document = {"name": "hand", "frame_per_seq": 999, "data": [entry]}
    (tmp_path / "foreign" / "metadata.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"data\.0: has 1000 frames of 1000x1000; expected at most"):
        import_folder(tmp_path / "foreign", tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_a_pipe_in_place_of_a_picture_is_refused(foreign, tmp_path):
    (foreign / "00000/blur/0000.png").unlink()
    os.mkfifo(foreign / "00000/blur/0000.png")
    with pytest.raises(InputError, match="there is no such file"):
        import_folder(foreign, tmp_path / "shards")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document["data"].pop("00000/0002"), "there is no sample '00000/0002'"),
        (lambda document: document["data"]["00000/0002"].update(take="a\0b"), "data.00000/0002.take"),
        (lambda document: document["data"]["00000/0002"].update(take=""), "data.00000/0002.take"),
        (lambda document: document["data"]["00000/0002"].update(category="dog"), "data.00000/0002.category: 'dog'"),
        (lambda document: document["data"]["00000/0002"].update(position=2**63), "data.00000/0002.position"),
        (lambda document: document["data"]["00000/0002"].update(position=1.5), "data.00000/0002.position"),
        (lambda document: document["data"]["00000/0002"].update(psnr=1e39), "data.00000/0002.psnr"),
        (lambda document: document["data"]["00000/0002"].update(psnr="high"), "data.00000/0002.psnr"),
        (lambda document: document["data"]["00000/0002"].update(color=[[1, 2, 3, 4]]), "data.00000/0002.color"),
        (lambda document: document["data"]["00000/0002"].update(more=1), "data.00000/0002.more: is not a known key"),
        (lambda document: document.update(schema=2), "schema: is 2"),
    ],
)
def test_columns_that_cannot_be_are_told(shards, tmp_path, change, message):
    export_shards(shards, tmp_path / "out", "hypercut")
    path = tmp_path / "out" / "rb2v" / "columns.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=message):
        import_folder(tmp_path / "out", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_wrong_input_ends_the_commands_with_one_message(foreign, shards, tmp_path, rb2v):
    (foreign / "00001/sharp/0003_2.png").unlink()
    status, _, error = rb2v("import", foreign, "--out", tmp_path / "shards")
    assert status == 2
    assert "0003_2.png: data.2: there is no such file" in error
    assert len(error.splitlines()) == 1
    status, _, error = rb2v("export", foreign, "--out", tmp_path / "a", "--format", "datasets")
    assert status == 2
    assert "manifest.json: there is no such file" in error
    status, _, error = rb2v("export", shards, "--out", tmp_path / "a", "--format", "zip")
    assert status == 2
    assert not (tmp_path / "a").exists()


def test_a_folder_is_known_by_what_it_holds(shards, foreign, tmp_path):
    with pytest.raises(InputError, match="there is no such folder"):
        import_folder(tmp_path / "nothing", tmp_path / "back")
    with pytest.raises(InputError, match="is of no known layout"):
        import_folder(shards, tmp_path / "back")
    (foreign / "a.tar").write_bytes(b"")
    with pytest.raises(InputError, match="looks like hypercut and webdataset; expected one of them by --format"):
        import_folder(foreign, tmp_path / "back")
    import_folder(foreign, tmp_path / "back", layout="hypercut")


# WebDataset


def read_elsewhere(tmp_path, code, *arguments):
    """Read an exported folder in a process of its own, since the libraries leave files open; return what it saved."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", code, str(tmp_path / "found.npz"), *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert process.returncode == 0, process.stderr
    with np.load(tmp_path / "found.npz") as file:
        return file["pixels"], json.loads(str(file["columns"]))


def assert_are_samples(pixels, columns, n_samples):
    assert pixels.dtype == np.uint8
    assert len(pixels) == len(columns) == n_samples
    for index, (frames, values) in enumerate(zip(pixels, columns, strict=True)):
        expected = make_sample(index)
        np.testing.assert_array_equal(frames, [expected.blurry, *expected.sharp])
        np.testing.assert_array_equal(np.float32(values.pop("color")), expected.color)
        assert values == {name: getattr(expected, name) for name in values}
        assert sorted(values) == [
            "blurry_index", "category", "composite_psnr", "order", "position", "psnr", "subject", "take",
        ]  # fmt: skip


def test_webdataset_reads_the_tar_files(shards, tmp_path):
    export_shards(shards, tmp_path / "out", "webdataset")
    paths = sorted((tmp_path / "out").glob("*.tar"))
    assert [path.name for path in paths] == ["test-000000.tar", "train-000000.tar", "train-000001.tar"]
    code = """
import json, sys
import numpy as np, webdataset
found = list(webdataset.WebDataset(sys.argv[2:], shardshuffle=False).decode("rgb8"))
assert len({sample["__key__"] for sample in found}) == len(found)
frames = ["blurry.png", *(f"sharp_{index}.png" for index in range(7))]
pixels = [np.stack([sample[name] for name in frames]) for sample in found]
np.savez(sys.argv[1], pixels=pixels, columns=json.dumps([sample["json"] for sample in found]))
"""
    assert_are_samples(*read_elsewhere(tmp_path, code, *paths[1:], paths[0]), n_samples=9)


def test_tar_files_tell_neither_time_nor_owner(shards, tmp_path):
    export_shards(shards, tmp_path / "out", "webdataset")
    with tarfile.open(tmp_path / "out" / "train-000000.tar") as archive:
        members = {(member.mtime, member.uid, member.gid, member.uname, member.gname) for member in archive}
    assert members == {(0, 0, 0, "", "")}


def rewrite_tar(path, change):
    """Change a list of (name, bytes or a member of another kind) and let the manifest agree."""
    with tarfile.open(path) as archive:
        members = [(member.name, archive.extractfile(member).read()) for member in archive]
    change(members)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = b"" if content is member else content
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    agree(path)


def agree(path):
    """Let the manifest beside a file, or above its folder, agree with it."""
    folder = path.parent if manifest_path(path.parent).exists() else path.parent.parent
    document = json.loads(manifest_path(folder).read_text())
    for split in document["splits"].values():
        for entry in split["shards"]:
            if entry["file"] == path.name:
                entry.update(bytes=path.stat().st_size, sha256=sha256_of(path))
    manifest_path(folder).write_text(json.dumps(document))


def make_link(kind):
    member = tarfile.TarInfo("train-000000-000000.blurry.png")
    member.type, member.linkname = kind, "/etc/hostname"
    return member


BAD_TARS = {
    "lost part": (lambda members: members.pop(1), "000000.sharp_0.png: is missing"),
    "lost columns": (lambda members: members.pop(8), "000000.json: is missing"),
    "part twice": (lambda members: members.insert(1, members[0]), "000000.blurry.png: stands twice"),
    "one more part": (lambda members: members.insert(1, ("train-000000-000000.sharp_7.png", WHOLE)), "sharp_7.png"),
    "lost sample": (lambda members: members.__delitem__(slice(0, 9)), "holds 3 samples; expected 4"),
    "one more sample": (
        lambda members: members.extend([(f"x{name}", data) for name, data in members[:9]]),
        "holds more samples; expected 4",
    ),
    "symbolic link": (lambda members: members.__setitem__(0, ("", make_link(tarfile.SYMTYPE))), "is no part"),
    "hard link": (lambda members: members.__setitem__(0, ("", make_link(tarfile.LNKTYPE))), "is no part"),
    "device": (lambda members: members.__setitem__(0, ("", make_link(tarfile.CHRTYPE))), "is no part"),
    "path": (lambda members: members.insert(0, ("../evil.json", b"{}")), "'../evil.json': is no part"),
    "no image": (lambda members: members.__setitem__(0, (members[0][0], b"text")), "blurry.png: is not a PNG"),
    "another size": (
        lambda members: members.__setitem__(0, (members[0][0], BAD_PICTURES["another size"][0])),
        "is 10x11; expected 10x12",
    ),
    "no JSON": (lambda members: members.__setitem__(8, (members[8][0], b"{")), "json: is not JSON"),
    "no text": (lambda members: members.__setitem__(8, (members[8][0], b"\xff")), "json: is not UTF-8"),
    "other JSON": (lambda members: members.__setitem__(8, (members[8][0], b"[]")), "000000.json"),
    "too few columns": (lambda members: members.__setitem__(8, (members[8][0], b"{}")), "000000.json.take: is missing"),
    "wrong order": (
        lambda members: members.__setitem__(8, (members[8][0], members[8][1].replace(b'"order": -1', b'"order": 2'))),
        "000000.json.order",
    ),
}


@pytest.mark.parametrize("case", BAD_TARS)
def test_a_hostile_tar_file_is_told(shards, tmp_path, case):
    change, message = BAD_TARS[case]
    export_shards(shards, tmp_path / "out", "webdataset")
    path = tmp_path / "out" / "train-000000.tar"
    rewrite_tar(path, change)
    with pytest.raises(InputError, match=message) as error:
        import_folder(tmp_path / "out", tmp_path / "back")
    assert error.value.source == str(path)
    assert not manifest_path(tmp_path / "back").exists()


@pytest.mark.parametrize("layout", ["webdataset", "datasets"])
def test_damaged_files_are_told(shards, tmp_path, layout):
    export_shards(shards, tmp_path / "out", layout)
    path = next((tmp_path / "out").rglob("train-*1.*"))
    whole = path.read_bytes()
    path.write_bytes(whole[:600] + bytes([whole[600] ^ 1]) + whole[601:])
    with pytest.raises(InputError, match="is damaged"):
        import_folder(tmp_path / "out", tmp_path / "back")
    for cut in (0, 300, len(whole) // 2):
        path.write_bytes(whole[:cut] + b"\1" * 200)
        agree(path)
        with pytest.raises(InputError) as error:
            import_folder(tmp_path / "out", tmp_path / f"back_{cut}")
        assert error.value.source == str(path)


@pytest.mark.parametrize("layout", ["webdataset", "datasets"])
def test_files_are_where_the_manifest_says(shards, tmp_path, layout):
    export_shards(shards, tmp_path / "out", layout)
    path = next((tmp_path / "out").rglob("train-*1.*"))
    shutil.move(path, tmp_path / path.name)
    with pytest.raises(InputError, match="there is no such file"):
        import_folder(tmp_path / "out", tmp_path / "back")
    manifest_path(tmp_path / "out").unlink()
    with pytest.raises(InputError, match=f"a folder that 'rb2v export --format {layout}' wrote"):
        import_folder(tmp_path / "out", tmp_path / "back")


@pytest.mark.parametrize("layout", ["webdataset", "datasets"])
def test_a_subject_in_both_splits_is_told_before_the_work(tmp_path, layout):
    write_shards(tmp_path / "shards", [[make_sample(0)]], [[make_sample(1)]])
    export_shards(tmp_path / "shards", tmp_path / "out", layout)
    with pytest.raises(InputError, match="the subject 'Zoë 0' is in both splits"):
        import_folder(tmp_path / "out", tmp_path / "back")
    assert not (tmp_path / "back").exists()


# Hugging Face's datasets


def test_datasets_loads_the_folder(shards, tmp_path):
    export_shards(shards, tmp_path / "out", "datasets")
    code = """
import json, sys
import numpy as np
from datasets import Image, load_dataset
found = load_dataset(sys.argv[2], cache_dir=sys.argv[3])
assert list(found) == ["train", "test"], found
frames = ["blurry", *(f"sharp_{index}" for index in range(7))]
assert all(isinstance(found["train"].features[name], Image) for name in frames)
rows = [row for split in found.values() for row in split]
pixels = [np.stack([np.asarray(row[name]) for name in frames]) for row in rows]
columns = [{name: row[name] for name in row if name not in frames} for row in rows]
np.savez(sys.argv[1], pixels=pixels, columns=json.dumps(columns))
"""
    assert_are_samples(*read_elsewhere(tmp_path, code, tmp_path / "out", tmp_path / "cache"), n_samples=9)


def test_without_pyarrow_the_message_says_what_to_install(shards, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(Rb2vError, match=r"pip install 'rb2v\[datasets\]'"):
        export_shards(shards, tmp_path / "out", "datasets")
    assert not list((tmp_path / "out").rglob("*.parquet"))


def rewrite_parquet(path, change):
    from pyarrow import parquet

    table = parquet.read_table(path)
    parquet.write_table(change(table), path)
    agree(path)


def replace_picture(picture):
    def change(table):
        rows = table.to_pylist()
        rows[1]["sharp_3"] = picture
        return table.from_pylist(rows, schema=table.schema)

    return change


def replace_cell(name, value):
    def change(table):
        rows = table.to_pylist()
        rows[1][name] = value
        return table.from_pylist(rows, schema=table.schema)

    return change


def without_composites(folder, layout):
    """Turn an export into one of a version that knew of no composites."""
    if layout in ("hypercut", "baist"):
        path = folder / "rb2v" / "columns.json"
        document = json.loads(path.read_text())
        for columns in document["data"].values():
            del columns["composite_psnr"]
        path.write_text(json.dumps(document))
    for path in folder.glob("*.tar"):

        def strip(members):
            for index, (name, data) in enumerate(members):
                if name.endswith(".json"):
                    columns = {key: value for key, value in json.loads(data).items() if key != "composite_psnr"}
                    members[index] = (name, json.dumps(columns).encode())

        rewrite_tar(path, strip)
    for path in folder.glob("data/*.parquet"):
        rewrite_parquet(path, lambda table: table.drop_columns("composite_psnr"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_export_of_an_older_version_is_imported(shards, tmp_path, layout):
    export_shards(shards, tmp_path / "out", layout)
    without_composites(tmp_path / "out", layout)
    import_folder(tmp_path / "out", tmp_path / "back")
    found, expected = ShardReader(tmp_path / "back").table, ShardReader(shards).table
    assert np.isnan(found["composite_psnr"]).all()
    columns = ["take", "blurry_index", "position", "psnr", "order"]
    assert found[columns].equals(expected[columns])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shards_of_an_older_version_are_exported(tmp_path, layout):
    sample = make_sample(0)
    older = write_shards(tmp_path / "older", [[sample]])
    with h5py.File(older / "train-00000.h5", "a") as file:
        del file["composite_psnr"]
    agree(older / "train-00000.h5")
    export_shards(older, tmp_path / "out", layout)
    import_folder(tmp_path / "out", tmp_path / "back")
    found = ShardReader(tmp_path / "back").read(0)
    assert np.isnan(found.composite_psnr)
    assert (found.take, found.psnr) == (sample.take, sample.psnr)
    np.testing.assert_array_equal(found.sharp, sample.sharp)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace_cell("take", "a" * 2**21), "row 1.take: is too large"),
        (replace_cell("subject", "a" * 2**21), "row 1.subject: is too large"),
        (replace_cell("color", [[0.0] * 2**18] * 3), "row 1.color: is too large"),
        (replace_cell("color", [[]] * 2**19), "row 1.color: is too large"),
        (lambda table: table.drop_columns("sharp_6"), "has other columns"),
        (lambda table: table.rename_columns({"order": "sorted"}), "has other columns"),
        (lambda table: table.slice(1), "holds 3 samples; expected 4"),
        (replace_picture(None), "row 1.sharp_3: is missing, or stored outside"),
        (replace_picture({"bytes": None, "path": "/etc/hostname"}), "row 1.sharp_3: is missing, or stored outside"),
        (replace_picture({"bytes": b"text", "path": None}), "row 1.sharp_3: is not a PNG"),
        (replace_picture({"bytes": BAD_PICTURES["gray"][0], "path": None}), "row 1.sharp_3: .*gray"),
    ],
)
def test_a_hostile_parquet_file_is_told(shards, tmp_path, change, message):
    export_shards(shards, tmp_path / "out", "datasets")
    rewrite_parquet(tmp_path / "out" / "data" / "train-00000.parquet", change)
    with pytest.raises(InputError, match=message):
        import_folder(tmp_path / "out", tmp_path / "back")
    assert not manifest_path(tmp_path / "back").exists()
