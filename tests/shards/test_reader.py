"""How shards are read: order, crops, many files, links."""

import dataclasses
import itertools
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from data_sets import write_samples

from rb2v.errors import InputError, Rb2vError
from rb2v.shards import (
    ShardReader,
    ShardSample,
    SplitEntry,
    read_manifest,
    write_manifest,
)
from rb2v.shards.epoch_order import draw_order
from rb2v.shards.reader import MAX_OPEN_SHARDS

WIDTH, HEIGHT = 150, 130
SHARD_SIZES = (3, 4, 1, 2)


def make_sample(index):
    rng = np.random.default_rng(index)
    blurry, sharp = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8), rng.integers(0, 256, (7, HEIGHT, WIDTH, 3))
    color = np.eye(3, 4, dtype=np.float32)
    return ShardSample(blurry, sharp.astype(np.uint8), color, f"take-{index}", "someone", "street", index, 0, 30.0)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Ten samples of frames that several tiles make up, in four shards."""
    folder = tmp_path_factory.mktemp("shards")
    numbers = itertools.count()
    samples = [[make_sample(next(numbers)) for _ in range(size)] for size in SHARD_SIZES]
    write_samples(folder, {"train": samples}, (WIDTH, HEIGHT))
    return folder


@pytest.fixture
def copied(shards, tmp_path):
    """The same folder, to be changed."""
    for path in shards.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def indices(samples):
    return [sample.blurry_index for sample in samples]


def find_crop(sample):
    """Return where a crop of 5 pixels or more was cut from a sample's blurry frame."""
    whole, part = make_sample(sample.blurry_index).blurry, sample.blurry
    for top, left in np.argwhere((whole == part[0, 0]).all(-1)):
        if np.array_equal(whole[top : top + part.shape[0], left : left + part.shape[1]], part):
            return int(top), int(left)
    raise AssertionError("the crop is no part of the frame")


class TestReading:
    @pytest.mark.parametrize("crop", [np.s_[0:130, 0:150], np.s_[63:65, 49:151], np.s_[10:110, 3:4], np.s_[129:, :]])
    def test_into_memory_that_is_there(self, shards, crop):
        reader, whole = ShardReader(shards), make_sample(4)
        blurry, sharp = np.empty_like(whole.blurry[crop]), np.empty_like(whole.sharp[:, *crop])
        assert reader.read_blurry(4, crop, out=blurry) is blurry
        reader.read_sharp(4, crop=crop, out=sharp)
        np.testing.assert_array_equal(blurry, whole.blurry[crop])
        np.testing.assert_array_equal(sharp, whole.sharp[:, *crop])
        np.testing.assert_array_equal(reader.read_sharp(4, [6, 1, 6], crop), sharp[[6, 1, 6]])

    def test_a_crop_is_read_though_a_tile_beside_it_is_damaged(self, copied):
        path = copied / "train-00000.h5"
        with h5py.File(path) as file:
            tile = file["sharp"].id.get_chunk_info_by_coord((0, 0, 0, 0, 0))
            height, width = file["sharp"].chunks[2:4]
        content = bytearray(path.read_bytes())
        content[tile.byte_offset + tile.size // 2] ^= 255
        path.write_bytes(content)
        reader = ShardReader(copied)
        np.testing.assert_array_equal(
            reader.read_sharp(0, crop=np.s_[height:, width:]), make_sample(0).sharp[:, height:, width:]
        )
        with pytest.raises(InputError, match="sharp: is damaged"):
            reader.read_sharp(0, crop=np.s_[height - 1 :, width - 1 :])

    def test_more_shards_than_may_be_open(self, copied):
        manifest = read_manifest(copied)
        entry = manifest.splits["train"].shards[2]
        names = [f"train-{k:05d}.h5" for k in range(MAX_OPEN_SHARDS + 10)]
        for name in names:
            (copied / name).write_bytes((copied / entry.file).read_bytes()) if name != entry.file else None
        entries = tuple(dataclasses.replace(entry, file=name) for name in names)
        write_manifest(
            copied, dataclasses.replace(manifest, splits={"train": SplitEntry(entries, {"street": len(names)})})
        )
        reader = ShardReader(copied)
        for _ in range(2):
            for index in range(len(names)):
                assert reader.read_blurry(index)[5, 5, 1] == make_sample(7).blurry[5, 5, 1]
        opened = [link for link in Path("/proc/self/fd").iterdir() if str(copied) in os.path.realpath(link)]
        assert len(opened) == MAX_OPEN_SHARDS


class TestLinks:
    def test_a_link_out_of_the_folder_is_refused(self, copied, tmp_path_factory):
        path, outside = copied / "train-00001.h5", tmp_path_factory.mktemp("outside") / "train-00001.h5"
        reader = ShardReader(copied)
        path.rename(outside)
        path.symlink_to(outside)
        for read in (lambda: ShardReader(copied), lambda: reader.read(3)):
            with pytest.raises(InputError, match=r"train-00001\.h5: is a link that leads out of the folder"):
                read()

    def test_a_link_within_the_folder_is_followed(self, copied):
        path = copied / "train-00001.h5"
        path.rename(copied / "moved.h5")
        path.symlink_to("moved.h5")
        assert ShardReader(copied).read(3).take == "take-3"


class TestIterate:
    def test_every_sample_once_in_an_order_of_its_own_per_epoch(self, shards):
        reader = ShardReader(shards)
        orders = [indices(reader.iterate(seed=seed, epoch=epoch)) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
        assert all(sorted(order) == list(range(10)) for order in orders)
        assert len({tuple(order) for order in orders}) == 3
        assert indices(reader.iterate(seed=0, epoch=1)) == orders[1]
        assert indices(reader.iterate(shuffle=False)) == list(range(10))

    @pytest.mark.parametrize("window", [None, 2])
    @pytest.mark.parametrize("start", [0, 1, 9, 10])
    def test_goes_on_where_it_stopped(self, shards, start, window):
        reader = ShardReader(shards)
        options = {"crop": 16, "seed": 3, "epoch": 2, "window": window}
        whole, rest = list(reader.iterate(**options)), list(reader.iterate(**options, start=start))
        assert indices(rest) == indices(whole)[start:]
        for one, other in zip(rest, whole[start:], strict=True):
            np.testing.assert_array_equal(one.blurry, other.blurry)

    def test_crops_are_cut_from_all_frames_alike_and_anew_in_each_epoch(self, shards):
        reader = ShardReader(shards)
        places = {}
        for epoch in (0, 1):
            for sample in reader.iterate(crop=(20, 30), epoch=epoch):
                top, left = places[epoch, sample.blurry_index] = find_crop(sample)
                assert sample.blurry.shape == (20, 30, 3)
                whole = make_sample(sample.blurry_index)
                np.testing.assert_array_equal(sample.sharp, whole.sharp[:, top : top + 20, left : left + 30])
        assert len(set(places.values())) > 15

    def test_random_crops_reach_every_edge(self, shards):
        reader = ShardReader(shards)
        crop = (HEIGHT - 1, WIDTH - 1)
        places = {find_crop(sample) for epoch in range(4) for sample in reader.iterate(crop=crop, epoch=epoch)}
        assert places == {(0, 0), (0, 1), (1, 0), (1, 1)}

    def test_center(self, shards):
        samples = ShardReader(shards).iterate(crop=30, crop_position="center")
        assert {find_crop(sample) for sample in samples} == {(50, 60)}

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"crop": 131}, r"crop: a crop of 131x131 pixels .*150x130"),
            ({"crop": (1, 151)}, "a crop of 151x1 pixels"),
            ({"crop": 0}, "a crop of 0x0 pixels"),
            ({"crop": 8, "crop_position": "left"}, "'left' is not known; expected random or center"),
            ({"seed": -1}, "must not be negative"),
            ({"window": 0}, "window must be at least 1"),
            ({"start": 11}, "start: there is no sample 11 .*; expected 0 to 10"),
        ],
    )
    def test_refusals(self, shards, options, message):
        with pytest.raises(Rb2vError, match=message):
            ShardReader(shards).iterate(**options)

    def test_knows_no_torch(self, shards):
        code = (
            "import sys, rb2v\n"
            f"first = next(rb2v.ShardReader({str(shards)!r}, 'train').iterate(crop=16))\n"
            "assert first.sharp.shape == (7, 16, 16, 3)\n"
            "assert 'torch' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


class TestWindow:
    def test_mixes_so_many_shards_at_a_time(self):
        sizes = (5, 3, 4, 6, 2)
        shard_of = np.repeat(np.arange(5), sizes)
        seen = set()
        for epoch in range(20):
            order = draw_order(sizes, seed=0, epoch=epoch, window=2)
            assert sorted(order) == list(range(20))
            visits = shard_of[order]
            for shard in range(5):
                first, last = np.flatnonzero(visits == shard)[[0, -1]]
                assert len(set(visits[first : last + 1])) <= 2
            seen.add(tuple(dict.fromkeys(visits.tolist())))
        assert len(seen) > 10

    def test_of_one_shard_reads_each_to_its_end(self):
        visits = np.repeat(np.arange(3), 4)[draw_order((4, 4, 4), seed=1, epoch=0, window=1)]
        assert sum(visits[1:] != visits[:-1]) == 2

    def test_of_no_shards(self):
        assert draw_order((), seed=0, epoch=0, window=2).tolist() == []


def test_a_reader_with_open_shards_pickles_without_them(shards):
    reader = ShardReader(shards)
    reader.read(0)
    assert len(pickle.dumps(reader)) < 20_000
    assert pickle.loads(pickle.dumps(reader)).read(9).take == "take-9"


def test_a_callers_mistake_is_not_the_files(shards):
    reader = ShardReader(shards)
    for crop, out, message in (
        ((slice(None, None, 2), slice(None)), None, "no steps"),
        (None, np.empty((HEIGHT, WIDTH + 1, 3), np.uint8), "must be"),
        (None, np.empty((HEIGHT, WIDTH, 3), np.float32), "must be"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            reader.read_blurry(0, crop, out=out)
        assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize("kept", [96, 512, 4096])
def test_a_shard_of_which_only_the_ends_are_left_is_named(copied, kept):
    path = copied / read_manifest(copied).splits["train"].shards[1].file
    content = path.read_bytes()
    path.write_bytes(content[:kept] + bytes(len(content) - 2 * kept) + content[-kept:])
    with pytest.raises(InputError) as caught:
        list(ShardReader(copied).iterate())
    assert caught.value.source == str(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.update(output_size=[2**15, 2**15]), "output_size: 8 frames of 32768x32768"),
        (
            lambda document: document["splits"]["train"].update(
                shards=[{**document["splits"]["train"]["shards"][0], "samples": 10**9}], categories={"street": 10**9}
            ),
            "cannot hold 1000000000 samples",
        ),
    ],
)
def test_a_manifest_that_promises_too_much_is_refused(copied, change, message):
    document = json.loads((copied / "manifest.json").read_text())
    change(document)
    (copied / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=message):
        ShardReader(copied)
