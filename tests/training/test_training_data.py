import copy
import itertools
import json
import multiprocessing
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from textures import write_data_set
from torch.utils.data import DataLoader, Subset, default_collate

import rb2v
from rb2v.errors import InputError, Rb2vError
from rb2v.shards import ShardReader
from rb2v.shards.resizing import resize_frames
from rb2v.training import batches


class TestShardDataset:
    def test_samples_are_the_shards_frames(self, tiny_shards):
        dataset = rb2v.ShardDataset(tiny_shards, "test")
        assert len(dataset) == 6
        sample, stored = dataset[2], ShardReader(tiny_shards, "test").read(2)
        assert sample["blurry"].shape == (3, 24, 24)
        assert sample["sharp"].shape == (7, 3, 24, 24)
        assert sample["sharp"].dtype == torch.float32
        assert (sample["index"], sample["order"]) == (2, 0)
        np.testing.assert_array_equal((sample["sharp"] * 255).round().numpy(), stored.sharp.transpose(0, 3, 1, 2))
        np.testing.assert_array_equal((sample["blurry"] * 255).round().numpy(), stored.blurry.transpose(2, 0, 1))

    def test_size_and_frames(self, tiny_shards):
        sample = rb2v.ShardDataset(tiny_shards, size=16, frames=[6, 0])[0]
        assert sample["blurry"].shape == (3, 16, 16)
        assert sample["sharp"].shape == (2, 3, 16, 16)
        whole = rb2v.ShardDataset(tiny_shards, size=16)[0]
        assert torch.equal(sample["sharp"], whole["sharp"][[6, 0]])

    def test_unknown_frame(self, tiny_shards):
        with pytest.raises(InputError, match="no frame 7"):
            rb2v.ShardDataset(tiny_shards, frames=[0, 7])

    def test_pickles_after_use(self, tiny_shards):
        dataset = rb2v.ShardDataset(tiny_shards)
        first = dataset[0]["sharp"]
        assert torch.equal(pickle.loads(pickle.dumps(dataset))[0]["sharp"], first)


class TestCrops:
    def test_are_those_of_the_numpy_iterator(self, tiny_shards):
        dataset = rb2v.ShardDataset(tiny_shards, "train", crop=(10, 12), seed=5, dtype="uint8")
        dataset.set_epoch(3)
        order = list(rb2v.ShardSampler(dataset))
        stored = list(dataset.reader.iterate(crop=(10, 12), seed=5, epoch=3))
        assert order == [sample.blurry_index for sample in stored]
        for index, sample in zip(order, stored, strict=True):
            np.testing.assert_array_equal(dataset[index]["sharp"].numpy(), sample.sharp.transpose(0, 3, 1, 2))
            np.testing.assert_array_equal(dataset[index]["blurry"].numpy(), sample.blurry.transpose(2, 0, 1))

    def test_change_with_epoch_and_seed(self, tiny_shards):
        dataset = rb2v.ShardDataset(tiny_shards, crop=8)
        other = rb2v.ShardDataset(tiny_shards, crop=8, seed=1)
        first = torch.stack([sample["blurry"] for sample in dataset])
        assert not torch.equal(first, torch.stack([sample["blurry"] for sample in other]))
        dataset.set_epoch(1)
        assert not torch.equal(first, torch.stack([sample["blurry"] for sample in dataset]))
        dataset.set_epoch(0)
        assert torch.equal(first, torch.stack([sample["blurry"] for sample in dataset]))

    def test_center_then_size(self, tiny_shards):
        whole = rb2v.ShardDataset(tiny_shards, dtype="uint8")[0]
        sample = rb2v.ShardDataset(tiny_shards, dtype="uint8", crop=16, crop_position="center")[0]
        assert torch.equal(sample["sharp"], whole["sharp"][..., 4:20, 4:20])
        small = rb2v.ShardDataset(tiny_shards, dtype="uint8", crop=16, crop_position="center", size=8)[0]
        mean = sample["blurry"].float().unfold(1, 2, 2).unfold(2, 2, 2).mean((-2, -1))
        torch.testing.assert_close(small["blurry"].float(), mean, atol=0.51, rtol=0)

    def test_bytes_are_the_pixels_of_the_floats(self, tiny_shards):
        stored = rb2v.ShardDataset(tiny_shards, dtype="uint8")[1]
        assert stored["sharp"].dtype == stored["blurry"].dtype == torch.uint8
        assert torch.equal(stored["sharp"].float() / 255, rb2v.ShardDataset(tiny_shards)[1]["sharp"])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"crop": 25}, "crop: a crop of 25x25 pixels cannot be cut from its frames; expected .* 24x24"),
            ({"crop": (24, 0)}, "a crop of 0x24 pixels"),
            ({"crop_position": "left"}, "'left' is not known; expected random or center"),
            ({"dtype": "float16"}, "'float16' is not known; expected float32 or uint8"),
            ({"seed": -1}, "seed must not be negative"),
        ],
    )
    def test_refusals(self, tiny_shards, options, message):
        with pytest.raises(Rb2vError, match=message):
            rb2v.ShardDataset(tiny_shards, **options)


def batches_of(loader):
    return [{name: tensor.clone() for name, tensor in batch.items()} for batch in loader]


def assert_same_batches(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def darken(samples):
    for sample in samples:
        sample["blurry"].floor_divide_(2)
        sample["sharp"] = 255 - sample["sharp"]
    return default_collate(samples)


def darken_batch(samples):
    batch = default_collate(samples)
    batch["blurry"] //= 2
    batch["sharp"] = 255 - batch["sharp"]
    return batch


def tell_places(samples):
    return {"place": torch.arange(len(samples)), **default_collate(samples)}


def identity(samples):
    return samples


class DarkDataset(rb2v.ShardDataset):
    def __getitem__(self, index):
        return darken([super().__getitem__(index)])


@pytest.mark.parametrize("workers", [0, 2])
class TestCollation:
    @pytest.mark.parametrize("collate", [darken, darken_batch])
    def test_may_change_what_was_read(self, tiny_shards, collate, workers):
        dataset = rb2v.ShardDataset(tiny_shards, dtype="uint8")
        order = list(rb2v.ShardSampler(dataset))
        ours = rb2v.make_loader(dataset, 3, workers=workers, collate_fn=collate)
        plain = DataLoader(dataset, 3, sampler=order, num_workers=workers, collate_fn=collate)
        expected = {
            "blurry": torch.stack([dataset[index]["blurry"] // 2 for index in order]),
            "sharp": torch.stack([255 - dataset[index]["sharp"] for index in order]),
            "order": torch.zeros(16, dtype=torch.int64),
            "index": torch.tensor(order),
        }
        for loader in (ours, plain):
            found = batches_of(loader)
            assert_same_batches([{name: torch.cat([batch[name] for batch in found]) for name in expected}], [expected])

    def test_may_add_tensors(self, tiny_shards, workers):
        dataset = rb2v.ShardDataset(tiny_shards, dtype="uint8")
        for batch in DataLoader(dataset, 4, num_workers=workers, collate_fn=tell_places):
            assert batch["place"].tolist() == [0, 1, 2, 3]
            assert torch.equal(batch["blurry"][1], dataset[int(batch["index"][1])]["blurry"])

    def test_may_be_left_to_the_process_that_trains(self, tiny_shards, workers):
        dataset = rb2v.ShardDataset(tiny_shards, dtype="uint8")
        samples = [dataset[index] for index in range(16)]
        expected = [default_collate(samples[start : start + 2]) for start in range(0, 16, 2)]
        loader = DataLoader(dataset, 2, num_workers=workers, collate_fn=identity, persistent_workers=workers > 0)
        for _ in range(8):
            assert_same_batches([default_collate(samples) for samples in loader], expected)

    def test_of_a_data_set_that_changes_its_samples(self, tiny_shards, workers):
        loader = rb2v.make_loader(DarkDataset(tiny_shards, dtype="uint8"), 4, workers=workers)
        stored = rb2v.ShardDataset(tiny_shards, dtype="uint8")
        batch = next(iter(loader))
        assert torch.equal(batch["sharp"][2, 0], 255 - stored[int(batch["index"][2])]["sharp"])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
class TestWorkers:
    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    def test_read_the_same_samples_in_every_epoch(self, tiny_shards, method):
        dataset = rb2v.ShardDataset(tiny_shards, crop=16)
        alone = rb2v.make_loader(rb2v.ShardDataset(tiny_shards, crop=16), 3, workers=0)
        # Spawned workers load torch anew, once and not in both epochs.
        settings = {"multiprocessing_context": method, "persistent_workers": method == "spawn"}
        loader = rb2v.make_loader(dataset, 3, workers=2, **settings)
        dataset[0]  # opens a shard, which the workers are not to share
        for epoch in (0, 1):
            alone.set_epoch(epoch)
            loader.set_epoch(epoch)
            assert_same_batches(batches_of(loader), batches_of(alone))

    @pytest.mark.parametrize("dtype", ["float32", "uint8"])
    def test_of_an_ordinary_loader(self, tiny_shards, dtype):
        dataset = rb2v.ShardDataset(tiny_shards, "train", crop=9, dtype=dtype)
        expected = {name: torch.stack([sample[name] for sample in dataset]) for name in dataset[0]}
        for chosen in (dataset, Subset(dataset, range(10))):
            found = batches_of(DataLoader(chosen, 4, num_workers=1))
            assert [type(batch) for batch in found] == [dict] * 3
            assert_same_batches([{name: torch.cat([batch[name] for batch in found]) for name in expected}], [expected])
        single = batches_of(DataLoader(dataset, None, num_workers=1))
        assert_same_batches([{name: torch.stack([sample[name] for sample in single]) for name in expected}], [expected])

    def test_do_not_write_to_batches_that_are_held(self, tiny_shards):
        dataset = rb2v.ShardDataset(tiny_shards, crop=16, dtype="uint8")
        expected = batches_of(rb2v.make_loader(dataset, 2, workers=0))
        # More of them than a worker keeps pieces of memory, and views as well as whole tensors.
        loader = rb2v.make_loader(dataset, 2, workers=1)
        held = [[batch["sharp"][:, 1:3, ..., 4:] for batch in loader] for _ in range(batches.MAX_PIECES // 8 + 2)]
        assert sum(map(len, held)) > batches.MAX_PIECES
        for views in held:
            for view, batch in zip(views, expected, strict=True):
                assert torch.equal(view, batch["sharp"][:, 1:3, ..., 4:])

    def test_do_not_write_to_batches_that_a_forked_process_holds(self, tiny_shards):
        loader = rb2v.make_loader(rb2v.ShardDataset(tiny_shards, dtype="uint8"), 1, workers=1, prefetch_factor=1)
        context = multiprocessing.get_context("fork")
        released = context.Event()
        held = [next(iter(loader))["sharp"]]
        expected = held[0].clone()

        def compare():
            released.wait(30)
            raise SystemExit(0 if torch.equal(held[0], expected) else 1)

        child = context.Process(target=compare)
        child.start()
        held.clear()
        for epoch in range(3):
            loader.set_epoch(epoch)
            list(loader)
        released.set()
        child.join(30)
        assert child.exitcode == 0

    def test_give_batches_that_can_be_copied_and_sent_on(self, tiny_shards):
        dataset = rb2v.ShardDataset(tiny_shards, crop=16)
        expected = batches_of(rb2v.make_loader(dataset, 2, workers=0))
        loader = rb2v.make_loader(dataset, 2, workers=1)
        assert_same_batches([copy.deepcopy(batch) for batch in loader], expected)
        assert_same_batches([pickle.loads(pickle.dumps(batch)) for batch in loader], expected)

    def test_write_to_the_same_memory_again(self, tiny_shards):
        dataset = rb2v.ShardDataset(tiny_shards, crop=16)
        loader = rb2v.make_loader(dataset, 1, workers=1, prefetch_factor=1)
        inodes = set()
        for batch in loader:
            address = batch["sharp"].data_ptr()
            for line in Path("/proc/self/maps").read_text().splitlines():
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                if start <= address < end:
                    inodes.add(line.split()[4])
        assert 1 <= len(inodes) < len(dataset) // 2

    def test_name_a_damaged_shard(self, tiny_shards, tmp_path):
        for path in tiny_shards.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        loader = rb2v.make_loader(rb2v.ShardDataset(tmp_path, "test"), 2, workers=1)
        (tmp_path / "test-00000.h5").unlink()
        with pytest.raises(Rb2vError, match=r"test-00000\.h5: there is no such file"):
            list(loader)


class TestShardSampler:
    @pytest.mark.parametrize("window", [None, 1])
    @pytest.mark.parametrize("drop_last", [False, True])
    @pytest.mark.parametrize("world_size", [1, 2, 3, 5, 20])
    def test_shares_are_even_and_cover_all(self, tiny_shards, world_size, drop_last, window):
        dataset = rb2v.ShardDataset(tiny_shards)  # of 16 samples
        options = {"world_size": world_size, "drop_last": drop_last, "window": window}
        samplers = [rb2v.ShardSampler(dataset, rank=rank, **options) for rank in range(world_size)]
        shares = [list(sampler) for sampler in samplers]
        each = 16 // world_size if drop_last else -(-16 // world_size)
        assert [len(share) for share in shares] == [len(sampler) for sampler in samplers] == [each] * world_size
        seen = [index for share in shares for index in share]
        assert len(set(seen)) == min(16, each * world_size)

    def test_order_changes_with_epoch_and_seed_alone(self, tiny_shards):
        dataset = rb2v.ShardDataset(tiny_shards)
        sampler = rb2v.ShardSampler(dataset)
        first = list(sampler)
        assert list(sampler) == first != list(range(16))
        sampler.set_epoch(1)
        assert list(sampler) != first
        assert list(rb2v.ShardSampler(rb2v.ShardDataset(tiny_shards, seed=1))) != first
        assert list(rb2v.ShardSampler(dataset, shuffle=False)) == list(range(16))

    def test_rank_that_does_not_exist(self, tiny_shards):
        with pytest.raises(Rb2vError, match="no rank 2 of 2"):
            rb2v.ShardSampler(rb2v.ShardDataset(tiny_shards), rank=2, world_size=2)


def make_loader(folder, batch_size=3, *, workers=0, seed=0, split=None, **options):
    dataset = rb2v.ShardDataset(folder, split, crop=16, seed=seed)
    return rb2v.make_loader(dataset, batch_size, sampler=rb2v.ShardSampler(dataset, **options), workers=workers)


class TestResume:
    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize("n_batches", [1, 2, 5, 6])
    def test_goes_on_with_the_next_batch(self, tiny_shards, n_batches, workers):
        loader = make_loader(tiny_shards, workers=workers)
        loader.set_epoch(1)
        whole, state = [], None
        for batch in loader:
            whole.append({name: tensor.clone() for name, tensor in batch.items()})
            if len(whole) == n_batches:
                state = json.loads(json.dumps(loader.state_dict()))
        assert len(whole) == 6
        again = make_loader(tiny_shards, workers=workers)
        again.load_state_dict(state)
        assert again.epoch == 1
        again.set_epoch(again.epoch)
        assert_same_batches(batches_of(again), whole[n_batches:])
        again.set_epoch(2)
        loader.set_epoch(2)
        assert_same_batches(batches_of(again), batches_of(loader))

    def test_before_the_first_batch_and_after_stopping_early(self, tiny_shards):
        loader = make_loader(tiny_shards, workers=1)
        loader.set_epoch(4)
        start = loader.state_dict()
        next(iter(loader))
        loader.set_epoch(5)
        again = make_loader(tiny_shards)
        again.load_state_dict(loader.state_dict())
        assert_same_batches(batches_of(again), batches_of(loader))
        again.load_state_dict(start)
        loader.set_epoch(4)
        assert_same_batches(batches_of(again), batches_of(loader))

    def test_with_another_number_of_processes(self, tiny_shards):
        loaders = [make_loader(tiny_shards, 3, rank=rank, world_size=2) for rank in range(2)]
        used = []
        for loader in loaders:
            for batch in itertools.islice(loader, 2):
                used += batch["index"].tolist()
        state = loaders[0].state_dict()
        assert state == loaders[1].state_dict()
        left = []
        for rank in range(4):
            again = make_loader(tiny_shards, 3, rank=rank, world_size=4)
            again.load_state_dict(state)
            left += [index for batch in again for index in batch["index"].tolist()]
        assert sorted(used + left) == list(range(16))
        with pytest.raises(InputError, match=r"consumed: 12 samples were used, .* expected a multiple of 5"):
            make_loader(tiny_shards, 3, rank=0, world_size=5).load_state_dict(state)

    def test_a_finished_epoch_is_finished_for_any_number(self, tiny_shards):
        loader = make_loader(tiny_shards, rank=0, world_size=3)
        list(loader)
        again = make_loader(tiny_shards, rank=4, world_size=5)
        again.load_state_dict(loader.state_dict())
        assert list(again) == []

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"seed": 1}, "state: seed: is 0 in the state, and 1 here"),
            ({"split": "train"}, "state: data_sha256: is"),
            ({"window": 2}, "state: window: is None in the state, and 2 here"),
            ({"shuffle": False}, "state: shuffle: is True in the state, and False here"),
        ],
    )
    def test_another_order_is_refused(self, tiny_shards, options, message):
        state = make_loader(tiny_shards).state_dict()
        with pytest.raises(InputError, match=message):
            make_loader(tiny_shards, **options).load_state_dict(state)

    def test_another_data_set_is_refused(self, tiny_shards, tmp_path):
        write_data_set(tmp_path / "shards", 10, 6, 24, seed=1)
        with pytest.raises(InputError, match="data_sha256"):
            make_loader(tmp_path / "shards").load_state_dict(make_loader(tiny_shards).state_dict())

    @pytest.mark.parametrize("change", [{"epoch": -1}, {"epoch": "1"}, {"consumed": None}])
    def test_a_broken_state_is_refused(self, tiny_shards, change):
        loader = make_loader(tiny_shards)
        with pytest.raises(InputError, match="state: holds no epoch and number of samples"):
            loader.load_state_dict({**loader.state_dict(), **change})


def test_resize_keeps_mean_and_aspect():
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), dtype=np.uint8)
    small = resize_frames(frames, 16)
    assert small.shape == (2, 16, 24, 3)
    np.testing.assert_allclose(small[:, 0, 0], frames[:, :2, :2].mean((1, 2)), atol=0.51)
    assert resize_frames(frames, 64) is frames


def test_the_readme_s_lines_run(tiny_shards, monkeypatch):
    readme = Path(__file__).resolve().parents[2] / "README.md"
    code = re.search(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)[1]
    monkeypatch.chdir(tiny_shards.parent)
    names = {}
    exec(code, names)
    assert len(names["samples"]) == 10
    assert list(names["reader"].table["order"]) == [0] * 6


class TestPrepare:
    @pytest.mark.parametrize("options", [{"size": 16}, {"size": 12, "crop": 18}, {"size": 16, "frames": [6, 0]}])
    @pytest.mark.parametrize("dtype", ["uint8", "float32"])
    def test_changes_no_sample(self, tiny_shards, options, dtype):
        plain, prepared = (rb2v.ShardDataset(tiny_shards, "train", dtype=dtype, **options) for _ in range(2))
        prepared.prepare()
        prepared.reader.read_sharp = prepared.reader.read_blurry = None  # nothing is decoded any more
        for epoch in range(2):
            for dataset in (plain, prepared):
                dataset.set_epoch(epoch)
            copied = pickle.loads(pickle.dumps(prepared))
            for index in range(len(plain)):
                for one in (prepared[index], copied[index]):
                    assert all(torch.equal(one[name], values) for name, values in plain[index].items())

    def test_a_pickled_data_set_does_not_hold_the_frames(self, tiny_shards):
        dataset = rb2v.ShardDataset(tiny_shards, "train", size=16)
        n_bytes = len(pickle.dumps(dataset))
        dataset.prepare()
        assert len(pickle.dumps(dataset)) < n_bytes + 100

    def test_keeps_nothing_where_nothing_is_shrunk(self, tiny_shards, tmp_path, monkeypatch):
        monkeypatch.setenv("RB2V_FRAME_CACHE", str(tmp_path / "frames"))
        for options in ({}, {"crop": 16}, {"size": 24}, {"size": 16, "crop": 16}):
            rb2v.ShardDataset(tiny_shards, "train", **options).prepare()
        assert not (tmp_path / "frames").exists()
