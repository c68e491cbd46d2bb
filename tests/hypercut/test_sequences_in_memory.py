import torch

from rb2v.hypercut.sequences import load_sequences
from rb2v.shards import ShardReader


def test_load_sequences(tiny_shards, tmp_path, monkeypatch):
    monkeypatch.setenv("RB2V_FRAME_CACHE", str(tmp_path / "frames"))
    seen = []
    sequences = load_sequences(ShardReader(tiny_shards, "train"), 20, lambda *count: seen.append(count))
    assert sequences.shape == (10, 7, 3, 20, 20)
    assert sequences.dtype == torch.uint8
    assert seen[-1] == (10, 10)
