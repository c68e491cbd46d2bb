import pytest
import torch

from rb2v.hypercut.augmentation import draw_batch, draw_sequences
from rb2v.hypercut.sequences import load_sequences
from rb2v.shards import ShardReader


@pytest.fixture
def sequences(tiny_shards):
    return load_sequences(ShardReader(tiny_shards, "train"), 20)


class TestDrawBatch:
    def test_depends_on_seed_and_step_alone(self, sequences):
        torch.manual_seed(1)
        once = draw_batch(sequences, 4, 0, 7)
        torch.manual_seed(2)
        again = draw_batch(sequences, 4, 0, 7)
        assert all(torch.equal(*frames) for frames in zip(once, again, strict=True))
        assert not torch.equal(once[0], draw_batch(sequences, 4, 0, 8)[0])
        assert not torch.equal(once[0], draw_batch(sequences, 4, 1, 7)[0])

    def test_rows_of_a_batch_are_those_of_the_whole(self, sequences):
        whole = draw_batch(sequences, 6, 0, 3)
        for rows in (range(0, 2), range(2, 6)):
            part = draw_batch(sequences, 6, 0, 3, rows)
            assert all(torch.equal(one, other[rows.start : rows.stop]) for one, other in zip(part, whole, strict=True))

    def test_draws_more_than_there_are(self, sequences):
        first, second = draw_batch(sequences[:2], 5, 0, 0)
        assert first.shape == second.shape == (5, 3, 3, 18, 18)
        assert first.dtype == torch.float32

    def test_treats_all_frames_alike(self):
        still = torch.randint(0, 256, (1, 1, 3, 32, 32), dtype=torch.uint8).expand(6, 7, -1, -1, -1)
        drawn, _ = draw_sequences(still, 6, 0, 0)
        assert torch.equal(drawn, drawn[:, :1].expand_as(drawn))
        assert len({frame.numpy().tobytes() for frame in drawn[:, 0]}) == 6  # but every sequence by itself
        first, second = draw_batch(still, 6, 0, 0)
        assert torch.equal(first, second)

    @pytest.mark.parametrize("axis", [0, 2, 3])
    def test_turns_time_rows_and_columns_of_half_the_sequences(self, axis):
        shape = [16 if place == axis else 1 for place in range(4)]
        ramp = (torch.arange(16, dtype=torch.uint8) * 10).reshape(shape).expand(16, 3, 16, 16)[None]
        ramp = ramp if axis == 0 else ramp[:, :7]
        ends = []
        for step in range(32):
            drawn, _ = draw_sequences(ramp, 8, 0, step)
            ends.append((drawn.select(axis + 1, -1) - drawn.select(axis + 1, 0)).mean((-3, -2, -1)).sign())
        share = (torch.cat(ends) > 0).double().mean().item()
        assert share == pytest.approx(0.5, abs=0.1)  # of 256; a standard deviation is 0.03

    def test_reverses_the_contrast_of_every_pair_by_itself(self):
        ramp = (torch.arange(7, dtype=torch.uint8) * 20)[None, :, None, None, None].expand(1, 7, 3, 16, 16)
        signs = set()
        for step in range(8):
            first, second = draw_batch(ramp.contiguous(), 4, 0, step)
            change = (second - first).mean((-3, -2, -1)).sign()
            signs |= {tuple(row) for row in change.int().tolist()}
        assert len(signs) == 8  # every pair's contrast is drawn by itself
