import json
import math

import numpy as np
import pytest
from small_sets import damage, make_sample, moving_texture, write_set, write_takes

from rb2v.errors import InputError
from rb2v.inspection import (
    bin_values,
    contact_sheet,
    difference_picture,
    draw_samples,
    mean_of_sharp,
    measure_motion,
    motion_px,
    position_period,
    select_samples,
    strip,
    summarize,
)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return write_takes(tmp_path_factory.mktemp("shards"))


def test_a_summary_counts_what_was_written(reader):
    summary = summarize(reader)
    train, test = summary.splits
    assert (train.split, train.shards, train.samples, train.takes, train.subjects) == ("train", 1, 7, 2, 2)
    assert (test.split, test.shards, test.samples, test.takes, test.subjects) == ("test", 1, 2, 1, 1)
    assert train.categories == {"street": 4, "face": 0, "hand": 3}
    assert train.bytes == (reader.folder / "train-00000.h5").stat().st_size
    assert summary.samples == 9
    assert list(summary.takes.items()) == [("walk", 4), ("wave", 3), ("<b>nod</b>", 2)]
    assert summary.subjects == {"Zoë": 4, "Ann": 3, "Bob": 2}
    assert summary.orders == {1: 9, -1: 0, 0: 0}
    assert summary.phases == (0, 0, 0, 0, 0, 9, 0, 0)
    assert sum(summary.psnr.counts) == 9
    assert summary.motion.indices == tuple(range(9))
    assert json.loads(json.dumps(summary.to_document(), allow_nan=False))["orders"] == {"+1": 9, "-1": 0, "0": 0}


def test_composites_are_counted_where_a_screen_was_replaced(tmp_path, reader):
    assert summarize(reader).composite_psnr.counts == ()
    samples = [make_sample("a", "a", "hand", k, composite_psnr=psnr) for k, psnr in enumerate((math.nan, 41.0, 45.0))]
    histogram = summarize(write_set(tmp_path, {"train": samples})).composite_psnr
    assert (sum(histogram.counts), histogram.n_not_finite) == (2, 0)
    assert histogram.edges[0] <= 41 < 45 < histogram.edges[-1]


def test_samples_are_narrowed_down_and_keep_their_index(reader):
    assert select_samples(reader, split="test").tolist() == [7, 8]
    assert select_samples(reader, split="train", category="hand").tolist() == [4, 5, 6]
    assert select_samples(reader, take="walk").tolist() == [0, 1, 2, 3]
    summary = summarize(reader, select_samples(reader, take="walk"))
    assert (summary.samples, [split.split for split in summary.splits]) == (4, ["train"])
    with pytest.raises(InputError, match=r"'run' is no take of it; expected <b>nod</b>, walk, wave"):
        select_samples(reader, take="run")
    with pytest.raises(InputError, match="no sample is of test and hand"):
        select_samples(reader, split="test", category="hand")


@pytest.mark.parametrize("shift_px", [0.0, 3.0])
@pytest.mark.parametrize("size", [(48, 64), (320, 300), (10, 90)])
def test_motion_is_that_of_the_texture(shift_px, size):
    frames = moving_texture(3, shift_px, size=size)
    assert np.median(motion_px(frames[0], frames[-1])) == pytest.approx(shift_px, abs=0.15)


def test_motion_is_told_per_sample_and_of_a_drawn_few(tmp_path):
    shifts = {"still": 0.0, "slow": 2.0, "fast": 4.0}
    samples = [make_sample(take, "a", "street", k, shift_px=px) for take, px in shifts.items() for k in range(2)]
    reader = write_set(tmp_path, {"train": samples})
    motion = measure_motion(reader, range(6))
    np.testing.assert_allclose(motion.median_px, [0, 0, 2, 2, 4, 4], atol=0.2)
    assert all(p95 >= median for median, p95 in zip(motion.median_px, motion.p95_px, strict=True))
    few = measure_motion(reader, range(6), most_samples=3, seed=1)
    assert len(few.indices) == 3
    assert few == measure_motion(reader, range(6), most_samples=3, seed=1)
    assert [motion.median_px[index] for index in few.indices] == list(few.median_px)


def test_a_damaged_sample_is_set_aside(tmp_path):
    reader = write_takes(tmp_path)
    damage(tmp_path, "train-00000.h5", 2)
    motion = measure_motion(reader, range(9))
    assert motion.damaged == (2,)
    assert motion.indices == (0, 1, 3, 4, 5, 6, 7, 8)
    sheet = contact_sheet(reader, [2, 3])
    assert (sheet == 222).all(axis=2).sum() >= 5 * 48 * 64
    assert holds(sheet, reader.read(3).blurry)


@pytest.mark.parametrize(("step", "drift"), [(8, 0.0), (8, 0.004), (5, 0.0), (24, -0.01)])
def test_the_period_is_found_in_the_positions(tmp_path, step, drift):
    positions = [round(7 + step * (1 + drift) * index) for index in (0, 1, 2, 5, 6, 9)]
    samples = [
        make_sample("a", "a", "street", index, position=position)
        for index, position in zip((0, 1, 2, 5, 6, 9), positions, strict=True)
    ]
    samples.append(make_sample("b", "b", "street", 3, position=10**9))
    assert position_period(write_set(tmp_path, {"train": samples}).table) == step


def test_without_two_samples_of_a_take_there_is_no_period(tmp_path):
    samples = [make_sample(name, "a", "street", 0) for name in "ab"]
    reader = write_set(tmp_path, {"train": samples})
    assert position_period(reader.table) is None
    assert summarize(reader).phases is None


def test_bins_hold_every_finite_value_once():
    rng = np.random.default_rng(0)
    for values in (
        rng.normal(40, 3, 500),
        rng.exponential(2, 300),
        [0.0],
        [-5.0, -5.0],
        [1e-9, 3e38],
        [40, 40 + 1e-12],
    ):
        histogram = bin_values([*values, np.inf, np.nan])
        edges, counts = np.array(histogram.edges), histogram.counts
        assert histogram.n_not_finite == 2
        assert sum(counts) == len(values)
        assert 1 <= len(counts) <= 12
        assert np.all(np.diff(edges) > 0)
        assert edges[0] <= min(values)
        assert max(values) <= edges[-1]
    assert bin_values([]).counts == ()


def test_the_mean_is_taken_in_linear_light():
    frames = np.zeros((2, 2, 3, 3), np.uint8)
    frames[1] = 255
    assert np.all(mean_of_sharp(frames, "srgb") == 188)
    assert np.all(mean_of_sharp(frames, 2.0) == np.rint(255 * np.sqrt(0.5)))
    still = np.arange(36, dtype=np.uint8).reshape(1, 3, 4, 3).repeat(7, axis=0)
    np.testing.assert_array_equal(mean_of_sharp(still, "srgb"), still[0])


def test_a_difference_is_gray_where_frames_are_equal():
    mean = np.full((2, 2, 3), 100, np.uint8)
    blurry = mean + np.array([[[0], [3]], [[255 - 100], [5]]], np.uint8)
    assert difference_picture(blurry, mean, 4)[..., 0].tolist() == [[128, 140], [255, 148]]
    assert difference_picture(mean, blurry, 4)[..., 0].tolist() == [[128, 116], [0, 108]]


def test_a_draw_shows_every_take_before_one_twice(reader):
    takes = reader.table["take"]
    for seed in range(5):
        assert sorted(takes[draw_samples(reader.table, 3, seed)]) == ["<b>nod</b>", "walk", "wave"]
    assert draw_samples(reader.table, 5, 1) == draw_samples(reader.table, 5, 1)
    assert len({tuple(draw_samples(reader.table, 3, seed)) for seed in range(10)}) > 1
    assert sorted(draw_samples(reader.table, 100)) == list(range(9))


def test_sheets_hold_the_frames_themselves(reader):
    sample = reader.read(4)
    picture = strip(4, sample)
    for frame in (sample.blurry, *sample.sharp):
        assert holds(picture, frame)
    sheet = contact_sheet(reader, [4, 8])
    other = reader.read(8)
    for frame in (sample.blurry, sample.sharp[3], other.sharp[0], mean_of_sharp(other.sharp, "srgb")):
        assert holds(sheet, frame)
    assert not holds(sheet, sample.sharp[1])


def holds(picture, frame):
    height, width = frame.shape[:2]
    starts = np.argwhere((picture[: -height + 1, : -width + 1] == frame[0, 0]).all(axis=2))
    return any(np.array_equal(picture[y : y + height, x : x + width], frame) for y, x in starts)
