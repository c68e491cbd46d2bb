import numpy as np
import pytest
from textures import translating_texture, write_data_set

from rb2v.core.motion_classes import VECTORS, reverse
from rb2v.errors import InputError
from rb2v.interpolation.dense_flow import estimate_dis, mean_flow
from rb2v.shards import ShardReader
from rb2v.shards.guidance_table import GuidanceReader
from rb2v.stages import guidance as stage
from rb2v.stages.guidance.sources import guidance_of_sequence


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guidance")
    directions = write_data_set(folder / "shards", 3, 2, 64)
    return folder / "shards", directions


def test_flow_is_that_of_what_moves():
    frames = translating_texture(np.random.default_rng(1), 64, 1)
    flow = mean_flow(frames)
    inner = flow[8:-8, 8:-8]
    assert 0.5 <= np.median(inner[..., 0]) <= 1.3
    assert np.abs(np.median(inner[..., 1])) < 0.05
    np.testing.assert_allclose(mean_flow(frames[::-1]), -flow, atol=1e-6)
    small = estimate_dis(frames[0, :24, :24], frames[1, :24, :24])
    assert small.shape == (24, 24, 2)
    assert np.median(small[..., 0]) > 0.3


def test_reversed_sequences_have_reversed_guidance():
    frames = translating_texture(np.random.default_rng(2), 48, -1)
    classes = guidance_of_sequence(frames, 1.0)
    assert classes.shape == (24, 24)
    np.testing.assert_array_equal(guidance_of_sequence(frames[::-1], 1.0), reverse(classes))


def test_a_still_sequence_is_static():
    frames = np.repeat(translating_texture(np.random.default_rng(2), 48, 1)[:1], 7, axis=0)
    assert not guidance_of_sequence(frames, 1.0).any()


def test_the_command_writes_every_sequence_and_the_same_bytes_by_more_workers(rb2v, data, tmp_path):
    shards, directions = data
    outcome = rb2v("guidance", shards, "--out", tmp_path / "one.h5", "--workers", 1)
    assert outcome.status == 0, outcome.err
    assert "5 sequences by dis, static below 1 px a sequence" in outcome.out
    stage.run(shards, tmp_path / "two.h5", executor=None)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    for split in ("train", "test"):
        guidance = GuidanceReader(tmp_path / "one.h5", ShardReader(shards, split))
        for index, direction in enumerate(directions[split]):
            moving = guidance.read(index)[4:-4, 4:-4]
            assert (VECTORS[moving][..., 0] == direction).mean() > 0.95


class TestFiles:
    @pytest.fixture
    def flows(self, data, tmp_path):
        folder = tmp_path / "flows"
        for _, take, index in ShardReader(data[0]).keys:
            (folder / take).mkdir(parents=True, exist_ok=True)
            pairs = np.zeros((64, 64, 12), dtype=np.float32)
            pairs[..., 0::2], pairs[..., 1::2] = -1, 0.5
            pairs[:32] = 0
            np.save(folder / take / f"{index:08d}_flow.npy", pairs)
        return folder

    def test_flow_and_guidance_are_read(self, rb2v, data, flows, tmp_path):
        reader = ShardReader(data[0])
        _, take, index = reader.keys[0]
        (flows / take / f"{index:08d}_flow.npy").unlink()
        np.save(flows / take / f"{index:08d}_trend.npy", np.full((32, 32, 2), (1, -1), dtype=np.float32))
        assert rb2v("guidance", data[0], "--out", tmp_path / "g.h5", "--flow-dir", flows).status == 0
        guidance = GuidanceReader(tmp_path / "g.h5", reader)
        assert (guidance.read(0) == 1).all()
        assert (guidance.read(1)[:16] == 0).all()
        assert (guidance.read(1)[16:] == 3).all()

    def test_middlebury_files_are_read(self, data, flows, tmp_path):
        _, take, index = ShardReader(data[0]).keys[2]
        (flows / take / f"{index:08d}_flow.npy").unlink()
        body = np.full((64, 64, 2), (2, 3), dtype="<f4").tobytes()
        header = np.float32(202021.25).tobytes() + np.array([64, 64], dtype="<i4").tobytes()
        (flows / take / f"{index:08d}.flo").write_bytes(header + body)
        stage.run(data[0], tmp_path / "g.h5", flow_dir=flows)
        assert (GuidanceReader(tmp_path / "g.h5", ShardReader(data[0])).read(2) == 4).all()

    @pytest.mark.parametrize("fault", ["missing", "truncated", "shape", "nan", "objects", "vector", "flo"])
    def test_what_is_wrong_is_named_and_nothing_is_written(self, rb2v, data, flows, tmp_path, fault):
        _, take, index = ShardReader(data[0]).keys[1]
        path = flows / take / f"{index:08d}_flow.npy"
        wrong = path
        if fault == "missing":
            path.unlink()
            wrong = flows / take
        elif fault == "truncated":
            path.write_bytes(path.read_bytes()[:-40])
        elif fault == "shape":
            np.save(path, np.zeros((64, 32, 2)))
        elif fault == "nan":
            np.save(path, np.full((64, 64, 2), np.nan))
        elif fault == "objects":
            np.save(path, np.array([{}], dtype=object), allow_pickle=True)
        elif fault == "vector":
            wrong = flows / take / f"{index:08d}_trend.npy"
            np.save(wrong, np.full((32, 32, 2), (1, 0)))
        else:
            path.unlink()
            wrong = flows / take / f"{index:08d}.flo"
            wrong.write_bytes(b"PIEH" + np.array([64, 64], dtype="<i4").tobytes() + b"\0" * 100)
        outcome = rb2v("guidance", data[0], "--out", tmp_path / "g.h5", "--flow-dir", flows, "--workers", 1)
        assert outcome.status == 2
        assert str(wrong) in outcome.err
        assert not (tmp_path / "g.h5").exists()

    def test_two_sources_are_rejected(self, data, flows, tmp_path):
        with pytest.raises(InputError) as caught:
            stage.run(data[0], tmp_path / "g.h5", flow_dir=flows, flow_weights=tmp_path / "raft.pth")
        assert caught.value.key == "flow_weights"
