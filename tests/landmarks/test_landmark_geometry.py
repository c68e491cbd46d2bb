"""Anchors, crops, tables and drawings: known answers and round trips, without any network."""

import csv
import math

import numpy as np
import pytest

from rb2v.landmarks.anchors import decode_boxes, intersection_over_union, make_anchors, merge_boxes, sigmoid
from rb2v.landmarks.crops import Crop, bounding_crop, whole_image
from rb2v.landmarks.drawing import draw_points, draw_trajectories
from rb2v.landmarks.face import MESH_OF_68
from rb2v.landmarks.table import TABLE_COLUMNS, Found, smooth_points, write_table


# Published: the numbers of boxes of both detectors.
@pytest.mark.parametrize(("side", "n_boxes"), [(128, 896), (192, 2016)])
def test_anchor_grids_have_as_many_boxes_as_published(side, n_boxes):
    anchors = make_anchors(side)
    assert anchors.shape == (n_boxes, 2)
    np.testing.assert_allclose(anchors.mean(axis=0), 0.5)
    np.testing.assert_allclose(anchors[0], 4 / side)
    np.testing.assert_allclose(anchors[-1], 1 - 8 / side)


def test_a_box_is_decoded_about_its_anchor():
    raw = np.float32([[12.8, -12.8, 64, 32, 0, 6.4]])
    box = decode_boxes(raw, np.array([[0.5, 0.5]]), 128)
    np.testing.assert_allclose(box, [[[0.35, 0.275], [0.85, 0.525], [0.5, 0.55]]], atol=1e-6)


def test_no_box_is_decoded_to_none():
    assert decode_boxes(np.zeros((0, 18), dtype=np.float32), np.zeros((0, 2)), 192).shape == (0, 9, 2)


def test_boxes_that_overlap_become_their_weighted_mean():
    boxes = np.array([[[0, 0], [1, 1]], [[0.1, 0], [1.1, 1]], [[5, 5], [6, 6]]], dtype=float)
    merged = merge_boxes(boxes, np.array([0.6, 0.9, 0.7]), 0.3)
    assert [score for _, score in merged] == [0.9, 0.7]
    np.testing.assert_allclose(merged[0][0], [[0.06, 0], [1.06, 1]])
    np.testing.assert_array_equal(merged[1][0], boxes[2])
    assert merge_boxes(boxes[:0], np.zeros(0), 0.3) == []


def test_a_box_without_an_area_is_still_merged_once():
    box = np.zeros((2, 2, 2))
    assert len(merge_boxes(box, np.array([0.9, 0.8]), 0.3)) == 2
    np.testing.assert_array_equal(intersection_over_union(box[0], box), 0)


def test_the_sigmoid_stays_finite():
    np.testing.assert_allclose(sigmoid(np.float32([-1e6, 0, 1e6])), [0, 0.5, 1], atol=1e-12)


def test_an_upright_crop_of_its_own_size_is_the_image_itself():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(whole_image(image).cut(image, 8), image)


def test_a_crop_turned_by_a_right_angle_is_the_turned_image():
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    cut = Crop((4, 4), 8.0, math.pi / 2).cut(image, 8)
    # The crop's y axis points left in the image: its first rows are the image's last columns.
    np.testing.assert_array_equal(cut, image.transpose(1, 0, 2)[::-1][:8, :8])


@pytest.mark.parametrize("side", [100.0, 700.0])
@pytest.mark.parametrize("angle", [0.0, 0.7, -2.5])
def test_a_bright_spot_is_mapped_back_to_where_it_is(side, angle):
    """Side 700 px to 64 px is beyond where pixels are averaged first."""
    y, x = np.mgrid[:400, :500]
    spot = 255 * np.exp(-((x - 240) ** 2 + (y - 170) ** 2) / 2 / (side / 25) ** 2)
    image = np.repeat(spot[..., None], 3, axis=2).astype(np.uint8)
    crop = Crop((230.0, 190.0), side, angle)
    light = crop.cut(image, 64, border=0)[..., 0].astype(float)
    rows, columns = np.mgrid[:64, :64]
    center = np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()
    np.testing.assert_allclose(crop.to_image(center, 64), [240, 170], atol=side / 64 / 10)


def test_a_crop_outside_the_image_is_dark():
    image = np.full((30, 30, 3), 255, dtype=np.uint8)
    assert not Crop((5000.0, -5000.0), 3000.0).cut(image, 16, border=0).any()


@pytest.mark.parametrize("angle", [0.0, 0.5, 3.0])
def test_the_bounding_crop_turns_with_its_points(angle):
    points = np.array([[-2.0, 0], [2, 0], [0, -1], [0, 1]])
    turn = Crop((0, 0), 1, angle).axes
    crop = bounding_crop(points @ turn.T + [7, 9], angle, scale=1.5, shift=0.5)
    assert crop.side == pytest.approx(6)
    np.testing.assert_allclose(crop.center, np.array([7, 9]) + turn @ [0, 1])


def test_crops_without_a_place_are_not_usable():
    assert Crop((0, 0), 10.0).is_usable
    assert not Crop((0, 0), 0.0).is_usable
    assert not Crop((math.nan, 0), 10.0).is_usable
    assert not Crop((0, 0), math.inf).is_usable


def test_the_68_points_are_points_of_the_mesh_each_once():
    assert len(MESH_OF_68) == len(set(MESH_OF_68)) == 68
    assert max(MESH_OF_68) < 468


def make_found(frame, points, source="clip.mp4", instance=0):
    return Found(source, frame, frame / 25, "hand", instance, np.array(points, dtype=float), 0.9)


def test_the_table_has_a_row_for_each_point(tmp_path):
    path = write_table(tmp_path / "table.csv", [make_found(3, [[1.25, 2], [3, 4.5]], source='a,"b".png')])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == TABLE_COLUMNS
    assert [row["source"] for row in rows] == ['a,"b".png'] * 2
    assert [(row["frame"], row["time"], row["target"], row["instance"], row["score"]) for row in rows] == [
        ("3", "0.120000", "hand", "0", "0.9000")
    ] * 2
    assert [(row["point"], row["x"], row["y"]) for row in rows] == [("0", "1.250", "2.000"), ("1", "3.000", "4.500")]


def test_smoothing_keeps_what_is_straight_and_ends_at_gaps():
    still = [make_found(frame, [[5, 5]]) for frame in range(4)]
    for one in smooth_points(still, 2.0):
        np.testing.assert_allclose(one.points, 5)
    jump = [make_found(frame, [[0, 0]]) for frame in (0, 1)] + [make_found(frame, [[9, 9]]) for frame in (3, 4)]
    np.testing.assert_allclose([one.points[0, 0] for one in smooth_points(jump, 2.0)], [0, 0, 9, 9])
    shaken = [make_found(frame, [[(-1) ** frame, 0]]) for frame in range(20)]
    smoothed = smooth_points(shaken, 2.0)
    assert max(abs(one.points[0, 0]) for one in smoothed[8:-8]) < 0.01
    assert [one.frame for one in smoothed] == list(range(20))
    other = [make_found(frame, [[7, 7]], instance=1) for frame in range(4)]
    mixed = smooth_points([*still, *other], 2.0)
    np.testing.assert_allclose([one.points[0, 0] for one in mixed], [5] * 4 + [7] * 4)


def test_points_are_drawn_where_they_are():
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    drawn = draw_points(image, np.array([[20.0, 30.0], [1e9, -1e9]]))
    rows, columns = np.nonzero(drawn.any(axis=2))
    assert abs(columns.mean() - 20) < 0.5
    assert abs(rows.mean() - 30) < 0.5
    assert not image.any()


def test_trajectories_are_drawn_enlarged_without_missing_frames():
    path = np.full((7, 1, 2), 5.0)
    path[:, 0, 0] = np.arange(7)
    path[3] = np.nan
    drawn = draw_trajectories(np.zeros((10, 10, 3), dtype=np.uint8), [(path, (255, 0, 0))], 4)
    assert drawn.shape == (40, 40, 3)
    row = drawn[21, :, 0]
    assert (row[3:25] > 0).all()
    nothing = draw_trajectories(np.zeros((10, 10, 3), dtype=np.uint8), [(np.full((7, 1, 2), np.nan), (255, 0, 0))], 4)
    assert not nothing.any()
