import dataclasses
import functools
import logging
from unittest import mock

import cv2
import numpy as np
import pytest
from checkers import LIGHT, SIZE, CheckerRig

from rb2v.artifacts import Lens
from rb2v.core.color import apply_color_map, delta_e_2000, fit_color_map_by_consensus, from_linear
from rb2v.core.homography import warp_points
from rb2v.core.lens import undistort_points
from rb2v.errors import InputError
from rb2v.io.video import read_image, write_image
from rb2v.stages.calibrate import checker
from rb2v.stages.calibrate.chart import find_chart, fit_grid, place_chart
from rb2v.stages.calibrate.checker import fit_checker
from rb2v.stages.calibrate.swatches import draw_swatches

PHOTOS = {
    "classic.png": (45, 55),
    "calibrite-passport.png": (43, 49),
    "colorchecker-classic-mini.jpg": (53, 60),
    "pair_source.jpg": (6.5, 8),
    "pair_target.jpg": (6.5, 8),
}


def fit(rig, choice=None):
    return fit_checker(rig.write(), rig.calibration, rig.response, choice)


def fit_in_place(rig, choice=None):
    """Fit to the chart where it lies: to look for it takes most of the time."""
    rig.write()
    charts = []
    for which, path in zip(("blurry", "sharp"), rig.pair, strict=True):
        centers = np.array([rig.patch_quad(which, index).mean(axis=0) for index in range(24)])
        charts.append(place_chart(read_image(path), fit_grid(centers)))
    with mock.patch.object(checker, "find_chart", side_effect=charts):
        return fit_checker(rig.pair, rig.calibration, rig.response, choice)


def true_delta_e(rig, made):
    """The difference that the map leaves at the noise-free patches."""
    sharp, blurry = (LIGHT @ rig.rig.camera(which).mixing.T * rig.exposure[which] for which in ("sharp", "blurry"))
    coded = (from_linear(light, "srgb") for light in (apply_color_map(made.color, sharp), blurry))
    return delta_e_2000(*coded).mean()


@functools.cache
def photo_and_chart(path):
    image = read_image(path)
    return image, find_chart(image)


@pytest.mark.parametrize(("seed", "response"), [(0, "srgb"), (7, "linear"), (8, 2.2)])
def test_the_map_takes_the_patches_of_one_camera_to_the_other(tmp_path, seed, response):
    rig = CheckerRig(tmp_path, seed, response, mirrored=seed % 2 == 0, exposure=(1.0, 0.6))
    made = fit(rig)
    calibration = made.complete(rig.calibration)
    assert made.used.all()
    np.testing.assert_allclose(calibration.color, rig.true_map, atol=0.02)
    assert true_delta_e(rig, made) < 0.15
    quality = calibration.quality
    assert quality.delta_e < 0.4 < 5 < quality.delta_e_before
    assert quality.delta_e <= quality.delta_e_coded + 0.05 < 1.5
    assert calibration.color_response == response
    assert calibration.response == (response if isinstance(response, str) else pytest.approx(response, abs=0.05))


@pytest.mark.parametrize("response", ["srgb", 1.8, 2.6])
def test_the_patches_tell_the_response(tmp_path, response):
    made = fit_in_place(CheckerRig(tmp_path, 3, response, exposure=(1.0, 0.7)), "auto")
    assert made.response == made.undone
    assert made.response == (response if isinstance(response, str) else pytest.approx(response, abs=0.05))


def test_a_rig_whose_response_is_another_one_is_told(tmp_path, caplog, monkeypatch):
    rig = CheckerRig(tmp_path, 2)
    found = [find_chart(read_image(path)) for path in rig.write()] * 3
    monkeypatch.setattr(checker, "find_chart", lambda image: found.pop(0))
    with caplog.at_level(logging.WARNING):
        made = fit_checker(rig.pair, rig.calibration, "linear")
    assert (made.undone, made.response) == ("linear", "srgb")
    assert "response looks like srgb" in caplog.text
    assert "the rig says linear" in caplog.text
    caplog.clear()
    assert fit_checker(rig.pair, rig.calibration, "linear", "auto").undone == "srgb"
    assert not caplog.text
    made = fit_checker(rig.pair, rig.calibration, "srgb", 1.2)
    assert (made.undone, made.response) == (1.2, 1.2)
    assert "1.2 was chosen" in caplog.text


def test_a_map_that_leaves_what_can_be_seen_is_said(tmp_path, caplog):
    rig = CheckerRig(tmp_path, 2, exposure=(1.0, 0.3))
    with caplog.at_level(logging.WARNING):
        good = fit_in_place(rig)
    assert good.differences(good.mapped)[good.used].mean() < 1
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        poor = fit_in_place(rig, 4.0)
    assert poor.differences(poor.mapped)[poor.used].mean() > 1
    assert "leaves a difference" in caplog.text


@pytest.mark.parametrize(
    ("spoiled", "amount", "which"),
    [
        ((18,), 0.05, "blurry"),
        ((18,), 0.05, "sharp"),
        ((0, 23), 0.1, "sharp"),
        ((5, 8, 18, 21), 0.06, "blurry"),
    ],
)
def test_glare_on_some_patches_is_survived(tmp_path, caplog, which, spoiled, amount):
    rig = CheckerRig(tmp_path, 4, exposure=(0.9, 0.8))
    for index in spoiled:
        rig.add_light(which, index, amount)
    made = fit_in_place(rig)
    assert set(np.flatnonzero(~made.used)) == set(spoiled)
    assert ", ".join(str(index + 1) for index in spoiled) in caplog.text
    assert true_delta_e(rig, made) < 0.3
    assert made.complete(rig.calibration).quality.delta_e < 0.5


def test_a_checker_in_the_corner_of_a_lens_lies_where_the_captures_put_it(tmp_path):
    rig = CheckerRig(tmp_path, 1)
    # In the corner of a larger image, through a lens that one camera alone has.
    width, height = size = (720, 600)
    to_corner = np.array([[1.0, 0, 8], [0, 1, 8], [0, 0, 1]])
    lens = Lens(np.array([[720.0, 0, 359.5], [0, 720, 299.5], [0, 0, 1]]), np.array([-0.3, 0, 0, 0, 0]))
    x, y = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
    pixels = np.column_stack([x.ravel(), y.ravel()])
    for path, bends in zip(rig.write(), (True, False), strict=True):
        shown = undistort_points(pixels, lens.matrix, lens.distortion) if bends else pixels
        source = warp_points(np.linalg.inv(to_corner), shown).astype(np.float32).reshape(height, width, 2)
        view = cv2.remap(read_image(path), source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderValue=(90, 90, 90))
        write_image(path, view)
    between = to_corner @ rig.calibration.homography @ np.linalg.inv(to_corner)
    calibration = dataclasses.replace(
        rig.calibration, homography=between / between[2, 2], size_blurry=size, size_sharp=size, lens_blurry=lens
    )
    made = fit_checker(rig.pair, calibration, rig.response)
    assert made.used.sum() >= 20
    assert true_delta_e(rig, made) < 0.5


@pytest.mark.parametrize("which", ["blurry", "sharp"])
def test_clipped_patches_do_not_count(tmp_path, which):
    rig = CheckerRig(tmp_path, 5)
    rig.light[which] *= np.float32(1.7)
    rig.exposure[which] = 1.7
    made = fit_in_place(rig)
    assert not made.used[18]
    assert made.used.sum() >= 12
    assert true_delta_e(rig, made) < 0.5


def test_too_many_clipped_patches_are_named(tmp_path):
    rig = CheckerRig(tmp_path, 5)
    rig.light["sharp"] *= np.float32(40)
    with pytest.raises(InputError, match=r"patches are clipped") as caught:
        fit(rig)
    assert caught.value.source == str(rig.pair[1])


def cover(rig, which, indices, level):
    image = read_image(rig.pair[which == "sharp"])
    for index in indices:
        cv2.fillConvexPoly(image, np.rint(rig.patch_quad(which, index, 0.55)).astype(np.int32), level)
    write_image(rig.pair[which == "sharp"], image)


@pytest.mark.parametrize("which", ["blurry", "sharp"])
def test_a_half_covered_checker_is_named(tmp_path, which):
    rig = CheckerRig(tmp_path)
    rig.write()
    cover(rig, which, [index for index in range(24) if index % 6 > 2], (150, 140, 130))
    with pytest.raises(InputError, match="no 24-patch color checker was found") as caught:
        fit_checker(rig.pair, rig.calibration, "srgb")
    assert caught.value.source == str(rig.pair[which == "sharp"])


def test_a_checker_that_lies_out_of_one_view_is_named(tmp_path):
    rig = CheckerRig(tmp_path)
    rig.write()
    image = read_image(rig.pair[1])
    moved = cv2.warpAffine(image, np.array([[1.0, 0, 90], [0, 1, 0]]), SIZE, borderValue=(60, 60, 60))
    write_image(rig.pair[1], moved)
    with pytest.raises(InputError, match=r"color checker") as caught:
        fit_checker(rig.pair, rig.calibration, "srgb")
    assert caught.value.source == str(rig.pair[1])


def test_a_checker_that_was_moved_between_the_pictures_is_named(tmp_path):
    rig = CheckerRig(tmp_path)
    rig.write()
    write_image(rig.pair[1], np.roll(read_image(rig.pair[1]), 20, axis=0))
    with pytest.raises(InputError, match=r"lies \d+ px from where the geometry captures put it"):
        fit_checker(rig.pair, rig.calibration, "srgb")


@pytest.mark.parametrize("mirrored", [False, True])
def test_swapped_pictures_are_named(tmp_path, mirrored):
    rig = CheckerRig(tmp_path, 1, mirrored=mirrored)
    blurry, sharp = (read_image(path) for path in rig.write())
    write_image(rig.pair[0], sharp)
    write_image(rig.pair[1], blurry)
    with pytest.raises(InputError, match="seem swapped") as caught:
        fit_checker(rig.pair, rig.calibration, "srgb")
    assert caught.value.source == str(rig.pair[0])


def test_a_mirrored_picture_is_named(tmp_path):
    rig = CheckerRig(tmp_path)
    rig.write()
    write_image(rig.pair[1], read_image(rig.pair[1])[:, ::-1])
    with pytest.raises(InputError, match=r"the other way round than blurry\.png"):
        fit_checker(rig.pair, rig.calibration, "srgb")


def test_a_small_checker_is_named(tmp_path):
    rig = CheckerRig(tmp_path)
    rig.write()
    for path in rig.pair:
        image = read_image(path)
        small = cv2.resize(image, None, fx=0.19, fy=0.19, interpolation=cv2.INTER_AREA)
        ground = np.full_like(image, 120)
        ground[80 : 80 + small.shape[0], 90 : 90 + small.shape[1]] = small
        write_image(path, ground)
    with pytest.raises(InputError, match=r"too small|no 24-patch color checker"):
        fit_checker(rig.pair, rig.calibration, "srgb")


def test_a_picture_of_another_size_is_named(tmp_path):
    rig = CheckerRig(tmp_path)
    rig.write()
    write_image(rig.pair[1], read_image(rig.pair[1])[:-4])
    with pytest.raises(InputError, match="is 240x196; expected 240x200 as the geometry captures"):
        fit_checker(rig.pair, rig.calibration, "srgb")


def test_the_picture_shows_every_patch_before_and_after(tmp_path):
    rig = CheckerRig(tmp_path, 6)
    rig.add_light("sharp", 10, 0.1)
    made = fit_in_place(rig)
    picture = draw_swatches(made)
    assert picture.shape == (426, 1168, 3)
    before, after = np.split(picture, 2, axis=1)
    # The middle of the first patch: the sharp camera's color, which the map takes to the blurry camera's around it.
    rim, middle = after[34 + 8, 8 + 8].astype(int), after[34 + 40, 8 + 40].astype(int)
    assert np.abs(rim - middle).max() <= 1
    np.testing.assert_array_equal(before[34 + 40, 8 + 40], np.rint(255 * made.sharp[0]))
    assert (before != after).any()


@pytest.mark.parametrize(
    ("name", "mirrored"), [*((name, False) for name in PHOTOS), ("calibrite-passport.png", True), ("classic.png", True)]
)
def test_real_photographs_of_checkers_are_found(shared_data, name, mirrored):
    pitch = PHOTOS[name]
    image, chart = photo_and_chart(shared_data / "colour" / name)
    if mirrored:
        chart = find_chart(np.ascontiguousarray(image[:, ::-1]))
    assert chart is not None
    assert chart.mirrored == mirrored
    assert pitch[0] < chart.pitch_px < pitch[1]
    assert chart.agreeing.sum() >= 20
    # Patches are plain, and the white one is the brightest.
    assert np.median(chart.patches.spread) < 0.03
    assert chart.patches.coded.sum(axis=1).argmax() == 18


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("classic.png", (2.5, -1, 7, 5)),
        ("classic.png", (-1, -1, 7, 1.5)),
        ("pair_target.jpg", (2.5, -1, 7, 5)),
    ],
    ids=["right", "top", "small"],
)
def test_half_covered_photographs_are_refused(shared_data, name, covered):
    image, chart = photo_and_chart(shared_data / "colour" / name)
    left, top, right, bottom = covered
    quad = warp_points(chart.grid_to_image, np.array([(left, top), (right, top), (right, bottom), (left, bottom)]))
    hidden = image.copy()
    cv2.fillConvexPoly(hidden, np.rint(quad).astype(np.int32), (200, 150, 120))
    assert find_chart(hidden) is None


def test_two_real_photographs_of_one_checker_are_brought_together(shared_data):
    # The same cabinet at two exposures: one image is nearly the other's light times a gain.
    source, target = (photo_and_chart(shared_data / "colour" / f"pair_{name}.jpg")[1] for name in ("source", "target"))
    usable = ~(source.patches.clipped | target.patches.clipped)
    pair = [chart.patches.coded[usable] for chart in (source, target)]
    color, kept = fit_color_map_by_consensus(*pair)
    before = delta_e_2000(*pair).mean()
    after = delta_e_2000(np.clip(apply_color_map(color, pair[0]), 0, 1), pair[1]).mean()
    assert kept.sum() >= 18
    assert after < 0.4 * before
