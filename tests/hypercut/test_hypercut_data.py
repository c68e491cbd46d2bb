import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import rb2v
from rb2v.errors import InputError
from rb2v.hypercut.data import draw_batch, load_sequences, resize_frames
from rb2v.shards import ShardReader


@pytest.fixture
def sequences(tiny_shards):
    return load_sequences(ShardReader(tiny_shards, "train"), 20)


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

    def test_feeds_spawned_workers(self, tiny_shards):
        dataset = rb2v.ShardDataset(tiny_shards, "test")
        expected = [dataset[index]["blurry"] for index in range(6)]
        loader = DataLoader(dataset, batch_size=3, num_workers=2, multiprocessing_context="spawn")
        assert torch.equal(torch.cat([batch["blurry"] for batch in loader]), torch.stack(expected))


def test_resize_keeps_mean_and_aspect():
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), dtype=np.uint8)
    small = resize_frames(frames, 16)
    assert small.shape == (2, 16, 24, 3)
    np.testing.assert_allclose(small[:, 0, 0], frames[:, :2, :2].mean((1, 2)), atol=0.51)
    assert resize_frames(frames, 64) is frames


def test_load_sequences(tiny_shards):
    seen = []
    sequences = load_sequences(ShardReader(tiny_shards, "train"), 20, lambda *count: seen.append(count))
    assert sequences.shape == (10, 7, 3, 20, 20)
    assert sequences.dtype == torch.uint8
    assert seen[-1] == (10, 10)


class TestDrawBatch:
    def test_depends_on_seed_and_step_alone(self, sequences):
        torch.manual_seed(1)
        once = draw_batch(sequences, 4, 0, 7)
        torch.manual_seed(2)
        again = draw_batch(sequences, 4, 0, 7)
        assert all(torch.equal(*frames) for frames in zip(once, again, strict=True))
        assert not torch.equal(once[0], draw_batch(sequences, 4, 0, 8)[0])
        assert not torch.equal(once[0], draw_batch(sequences, 4, 1, 7)[0])

    def test_draws_more_than_there_are(self, sequences):
        first, second = draw_batch(sequences[:2], 5, 0, 0)
        assert first.shape == second.shape == (5, 3, 3, 18, 18)
        assert first.dtype == torch.float32

    def test_treats_all_frames_alike(self):
        still = torch.randint(0, 256, (6, 1, 3, 32, 32), dtype=torch.uint8).expand(-1, 7, -1, -1, -1)
        first, second = draw_batch(still, 6, 0, 0)
        assert torch.equal(first, second)

    def test_shows_both_directions_and_both_contrasts(self):
        ramp = (torch.arange(7, dtype=torch.uint8) * 20)[None, :, None, None, None].expand(1, 7, 3, 16, 16)
        signs = set()
        for step in range(8):
            first, second = draw_batch(ramp.contiguous(), 4, 0, step)
            change = (second - first).mean((-3, -2, -1)).sign()
            signs |= {tuple(row) for row in change.int().tolist()}
        assert len(signs) == 8  # every pair's contrast is drawn by itself


def test_the_readme_s_lines_run(tiny_shards, monkeypatch):
    readme = Path(__file__).resolve().parents[2] / "README.md"
    code = re.search(r"## In Python\n\n```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)[1]
    monkeypatch.chdir(tiny_shards.parent)
    names = {}
    exec(code, names)
    assert len(names["samples"]) == 10
    assert list(names["reader"].table["order"]) == [0] * 6
