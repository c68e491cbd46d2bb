import numpy as np
import pytest
import torch
from examples import draws
from hypothesis import given
from hypothesis import strategies as st
from textures import write_data_set

from rb2v.core.motion_classes import classes_of_flow
from rb2v.errors import InputError
from rb2v.shards import ShardReader
from rb2v.shards.guidance_table import GuidanceSource, write_guidance
from rb2v.training.data import ShardDataset
from rb2v.training.transforms import Transform, draw_transform, to_classes, to_vectors

transforms = st.builds(Transform, st.booleans(), st.integers(0, 3), st.booleans())


def moving_dot(x, y):
    """A dot that moves by one pixel a frame, and its guidance."""
    frames = np.zeros((7, 1, 21, 21), dtype=np.uint8)
    guidance = np.zeros((21, 21), dtype=np.uint8)
    for k in range(7):
        place = (10 + y * (k - 3), 10 + x * (k - 3))
        frames[k, 0][place] = 255
        guidance[place] = classes_of_flow(np.array([[[x, y]]], dtype=float), 0.5)[0, 0]
    return frames, guidance


@draws(60)
@given(transforms, st.sampled_from([(1, 1), (1, -1), (-1, 1), (-1, -1)]))
def test_guidance_still_tells_how_the_changed_frames_move(transform, step):
    frames, guidance = moving_dot(*step)
    changed, classes = transform.sequence(frames), transform.guidance(guidance)
    places = [np.argwhere(frame[0])[0] for frame in changed]
    (row_step, column_step), *others = np.diff(places, axis=0)
    assert all((other == (row_step, column_step)).all() for other in others)
    wanted = classes_of_flow(np.array([[[column_step, row_step]]], dtype=float), 0.5)[0, 0]
    assert {int(classes[tuple(place)]) for place in places} == {int(wanted)}
    np.testing.assert_array_equal(transform.images(frames.max(axis=0))[0] > 0, classes > 0)


@draws(30)
@given(transforms, st.sampled_from([-1, 0, 1]))
def test_an_order_holds_where_the_image_stays(transform, order):
    if transform.is_mirrored_or_turned:
        assert transform.order(order) == 0
    else:
        assert transform.order(order) == (-order if transform.reversed else order)


def test_all_sixteen_are_drawn_and_none_depends_on_the_process():
    drawn = {draw_transform(0, 1, index, is_square=True) for index in range(400)}
    assert len(drawn) == 16
    assert {draw_transform(0, 1, index, is_square=False).quarters for index in range(100)} == {0, 2}
    assert draw_transform(3, 2, 5, is_square=True) == draw_transform(3, 2, 5, is_square=True)


def test_vectors_and_classes_are_two_ways_to_say_the_same():
    classes = torch.arange(5, dtype=torch.uint8).reshape(1, 1, 5)
    vectors = to_vectors(classes)
    assert vectors[0, :, 0].T.tolist() == [[0, 0], [1, -1], [-1, -1], [-1, 1], [1, 1]]
    assert to_classes(vectors).tolist() == classes.tolist()


@pytest.fixture(scope="module")
def guided(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transforms")
    write_data_set(folder / "shards", 4, 1, 24)
    reader = ShardReader(folder / "shards")
    rng = np.random.default_rng(0)
    rows = [(key, rng.integers(0, 5, (12, 12), dtype=np.uint8)) for key in reader.keys]
    write_guidance(folder / "guidance.h5", folder / "shards", GuidanceSource("dis", 1.0), rows)
    return folder, dict(rows)


class TestDataset:
    def test_guidance_is_cropped_and_shrunk_like_the_frames(self, guided):
        folder, maps = guided
        options = {"guidance": folder / "guidance.h5", "dtype": "uint8"}
        whole = ShardDataset(folder / "shards", "train", **options)
        key = whole.reader.keys[2]
        full = maps[key].repeat(2, axis=0).repeat(2, axis=1)
        np.testing.assert_array_equal(whole[2]["guidance"], full)
        crop = ShardDataset(folder / "shards", "train", crop=10, seed=4, **options)[2]
        places = [
            (top, left)
            for top in range(15)
            for left in range(15)
            if np.array_equal(whole[2]["blurry"][:, top : top + 10, left : left + 10], crop["blurry"])
        ]
        assert len(places) == 1
        ((top, left),) = places
        np.testing.assert_array_equal(crop["guidance"], full[top : top + 10, left : left + 10])
        small = ShardDataset(folder / "shards", "train", size=12, **options)[2]
        np.testing.assert_array_equal(small["guidance"], maps[key])

    def test_a_changed_sample_is_the_drawn_change_of_its_own(self, guided):
        folder, _ = guided
        options = {"guidance": folder / "guidance.h5", "dtype": "uint8", "seed": 1}
        plain = ShardDataset(folder / "shards", "train", **options)
        changed = ShardDataset(folder / "shards", "train", augment=True, **options)
        changed.set_epoch(3)
        for index in range(4):
            transform = draw_transform(1, 3, index, is_square=True)
            before, after = plain[index], changed[index]
            np.testing.assert_array_equal(after["blurry"], transform.images(before["blurry"].numpy()))
            np.testing.assert_array_equal(after["sharp"], transform.sequence(before["sharp"].numpy()))
            np.testing.assert_array_equal(after["guidance"], transform.guidance(before["guidance"].numpy()))

    def test_single_frames_cannot_be_reversed(self, guided):
        folder, _ = guided
        with pytest.raises(InputError) as caught:
            ShardDataset(folder / "shards", "train", augment=True, frames=(0, 6))
        assert caught.value.key == "frames"
