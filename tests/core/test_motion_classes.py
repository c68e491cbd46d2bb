import numpy as np
import pytest
from examples import draws
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from rb2v.core import motion_classes as mc
from rb2v.errors import InputError

maps = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.integers(0, 4))
flows = arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(2)),
    elements=st.sampled_from([-2, -0.1, 0, 0.3, 3]),
)


def test_the_five_classes_are_those_of_the_authors():
    assert mc.VECTORS.tolist() == [[0, 0], [1, -1], [-1, -1], [-1, 1], [1, 1]]
    assert mc.paint(np.arange(5, dtype=np.uint8)).tolist() == [
        [0, 0, 0], [255, 0, 0], [0, 255, 0], [255, 255, 0], [0, 0, 255],
    ]  # fmt: skip


@draws(60)
@given(flows, st.sampled_from([0.0, 0.25, 1.0]))
def test_classes_of_changed_flow_are_changed_classes(flow, static_px):
    classes = mc.classes_of_flow(flow, static_px)
    np.testing.assert_array_equal(mc.classes_of_flow(-flow, static_px), mc.reverse(classes))
    turned = np.rot90(flow)[..., ::-1] * (1, -1)  # what points right points up after a turn counterclockwise
    np.testing.assert_array_equal(mc.classes_of_flow(turned, static_px), mc.turn(classes))
    moves = np.hypot(flow[..., 0], flow[..., 1]) >= static_px
    np.testing.assert_array_equal(classes != 0, moves & flow.any(axis=-1))


@draws(60)
@given(maps)
def test_changes_act_on_places_and_vectors(classes):
    vectors = mc.vectors_of(classes).astype(int)
    np.testing.assert_array_equal(mc.vectors_of(mc.reverse(classes)), -vectors)
    np.testing.assert_array_equal(mc.vectors_of(mc.flip_x(classes)), vectors[:, ::-1] * (-1, 1))
    np.testing.assert_array_equal(mc.vectors_of(mc.flip_y(classes)), vectors[::-1] * (1, -1))
    np.testing.assert_array_equal(mc.turn(classes, 4), classes)
    np.testing.assert_array_equal(mc.turn(classes, 2), mc.flip_x(mc.flip_y(classes)))
    np.testing.assert_array_equal(mc.classes_of_vectors(vectors), classes)
    np.testing.assert_array_equal(mc.read_paint(mc.paint(classes), "painted"), classes)
    doubled = mc.resample(classes, (2 * classes.shape[0], 2 * classes.shape[1]))
    np.testing.assert_array_equal(doubled, classes.repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_array_equal(mc.flip_x(doubled), mc.resample(mc.flip_x(classes), doubled.shape))


def test_a_part_is_sampled_at_its_own_pixels():
    classes = np.arange(12, dtype=np.uint8).reshape(3, 4) % 5
    full = classes.repeat(2, axis=0).repeat(2, axis=1)
    box = (1 / 6, 5 / 6, 2 / 8, 7 / 8)
    np.testing.assert_array_equal(mc.resample(classes, (4, 5), box), full[1:5, 2:7])


def test_other_colors_and_vectors_are_named():
    image = mc.paint(np.ones((4, 4), dtype=np.uint8))
    image[2, 1] = (200, 30, 200)
    with pytest.raises(InputError) as caught:
        mc.read_paint(image, "painted.png")
    assert (caught.value.source, caught.value.key) == ("painted.png", "row 2, column 1")
    with pytest.raises(InputError) as caught:
        mc.classes_of_vectors(np.array([[[1, 0]]]), "trend.npy")
    assert (caught.value.source, caught.value.key) == ("trend.npy", "row 0, column 0")
