import cv2
import numpy as np
import pytest
from skimage import data as skimage_data

from rb2v.artifacts import Lens
from rb2v.core.color import encode, to_linear
from rb2v.core.homography import crop_homography, mirror_homography, warp_points
from rb2v.core.lens import distort_points
from rb2v.core.metrics import psnr
from rb2v.core.planes import SITINGS, Planes, upsample_chroma
from rb2v.core.resampling import FrameWarp

BT709 = np.array([[1, 0, 1.5748, -201.5744], [1, -0.187324, -0.468124, 83.897344], [1, 1.8556, 0, -237.5168]])


def planes_of(image):
    """The image as a decoder gives it, its chroma made coarse the simple way."""
    inverse = np.linalg.inv(BT709[:, :3])
    yuv = cv2.transform(image, np.column_stack([inverse, -inverse @ BT709[:, 3]]))
    half = (image.shape[1] // 2, image.shape[0] // 2)
    chroma = [
        cv2.resize(cv2.GaussianBlur(yuv[..., i], (3, 1), 0.7), half, interpolation=cv2.INTER_AREA) for i in (1, 2)
    ]
    return Planes(np.ascontiguousarray(yuv[..., 0]), tuple(chroma), BT709)


def test_crops_keep_pixel_centres_at_integers():
    # A pixel's value is its own x: after the crop is halved, output pixel i covers pixels 2 i and 2 i + 1 of the crop.
    image = np.tile(np.arange(80, dtype=np.uint8)[None, :, None], (60, 1, 3))
    out = FrameWarp(np.eye(3), (10, 4, 40, 40), (20, 20), "linear")(image)
    assert out.shape == (20, 20, 3)
    np.testing.assert_allclose(out[10, :, 0], 10.5 + 2 * np.arange(20), atol=1)
    assert abs(np.mean(out[10, :, 0] - (10.5 + 2 * np.arange(20)))) <= 0.5
    enlarged = FrameWarp(np.eye(3), (10, 4, 10, 10), (40, 40), "linear")(image)
    np.testing.assert_allclose(enlarged[20, 4:-4, 0], (10 - 0.5 + (np.arange(40) + 0.5) / 4)[4:-4], atol=0.51)


@pytest.mark.parametrize("shrink", [3, 4, 8, 9])
def test_what_is_made_much_smaller_stays_in_its_place(shrink):
    x, y = np.meshgrid(np.arange(240), np.arange(200))
    colors = np.dstack([x, 255 - x, 40 + y]).clip(0, 255).astype(np.uint8)
    size = (160 // shrink, 120 // shrink)
    warp = FrameWarp(np.eye(3), (37, 43, size[0] * shrink, size[1] * shrink), size, "linear")
    column, row = (first - 0.5 + (np.arange(n) + 0.5) * shrink for first, n in zip((37, 43), size, strict=True))
    expected = np.dstack(np.broadcast_arrays(column[None], 255 - column[None], 40 + row[:, None]))
    # Planes hold whole levels, by which red is 1.5 too high.
    for image, offset in ((colors, 0.0), (planes_of(colors), np.array([1.5, 0, 0]))):
        off = warp(image) - offset - expected
        assert np.abs(off).max() <= 2
        assert np.abs(off.mean(axis=(0, 1))).max() <= 0.6


def test_a_crop_of_the_output_s_size_is_cut_out_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    np.testing.assert_array_equal(FrameWarp(np.eye(3), (13, 7, 32, 24), (32, 24), "srgb")(image), image[7:31, 13:45])
    mirrored = FrameWarp(mirror_homography(80), (13, 7, 32, 24), (32, 24), "srgb")(image)
    np.testing.assert_array_equal(mirrored, image[:, ::-1][7:31, 13:45])


def test_making_smaller_does_not_alias():
    stripes = np.zeros((120, 120, 3), np.uint8)
    stripes[:, ::2] = 200
    out = FrameWarp(np.eye(3), (0, 0, 120, 120), (40, 40), "linear")(stripes)
    assert np.abs(out[5:-5, 5:-5].astype(int) - 100).max() <= 10


def test_the_mean_of_resampled_frames_is_the_resampled_mean():
    rng = np.random.default_rng(0)
    steps = [np.kron(rng.integers(0, 2, (30, 30, 1)), np.ones((8, 8, 3))) * 200 + 20 for _ in range(7)]
    frames = [step.astype(np.uint8) for step in steps]
    mean = encode(np.mean([to_linear(frame, "srgb") for frame in frames], axis=0), "srgb")
    warp = FrameWarp(np.eye(3), (0, 0, 240, 240), (100, 100), "srgb")
    mean_of_warped = encode(np.mean([to_linear(warp(frame), "srgb") for frame in frames], axis=0), "srgb")
    assert psnr(mean_of_warped, warp(mean)) > 45


def test_linear_light_is_resampled_as_frames_are_and_stays_as_fine_as_it_is():
    rng = np.random.default_rng(0)
    frame = cv2.GaussianBlur(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8), (0, 0), 2)
    warp = FrameWarp(mirror_homography(80), (13, 7, 40, 40), (30, 30), "srgb")
    linear = to_linear(frame, "srgb")
    np.testing.assert_array_equal(encode(warp.warp_linear(linear), "srgb"), warp(frame))
    # Four channels as one, any scale, nothing rounded and nothing clipped.
    four = np.dstack([linear, 5 - 10 * linear[..., :1]])
    warped = warp.warp_linear(four)
    assert warped.dtype == np.float32
    np.testing.assert_allclose(warped[..., 3], 5 - 10 * warped[..., 0], atol=1e-5)
    np.testing.assert_allclose(warp.warp_linear(linear * np.float32(1e-4)), 1e-4 * warped[..., :3], atol=1e-9)


def test_planes_are_resampled_as_their_picture_is():
    image = cv2.GaussianBlur(skimage_data.astronaut(), (0, 0), 1.2)
    planes = planes_of(image)
    assert planes.shape == planes.rgb().shape == image.shape
    turn = np.array([[0.999, -0.03, 12], [0.03, 0.999, -9], [2e-6, 1e-6, 1]]) @ mirror_homography(512)
    for side, limit in ((200, 0.05), (420, 0.8)):
        # The larger crop is made smaller so much that luma and chroma are resampled apart.
        warp = FrameWarp(turn, (40, 50, side, side), (180, 180), "srgb")
        difference = warp(planes).astype(float) - warp(planes.rgb())
        assert np.sqrt(np.mean(difference**2)) < limit
        assert abs(difference.mean()) < 0.15


def test_a_grey_picture_in_planes_is_averaged_in_linear_light():
    grey = np.random.default_rng(0).integers(0, 256, (240, 320, 1), dtype=np.uint8).repeat(3, axis=2)
    planes = Planes(grey[..., 0].copy(), (np.full((120, 160), 128, np.uint8),) * 2, BT709)
    warp = FrameWarp(np.eye(3), (20, 10, 200, 200), (64, 64), "srgb")
    assert np.abs(warp(planes).astype(int) - warp(grey)).max() <= 1


def test_only_the_part_of_a_frame_that_is_shown_matters():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for size in ((100, 90), (40, 36), (200, 180)):
        warp = FrameWarp(np.eye(3), (131, 97, 100, 90), size, "srgb")
        changed = rng.integers(0, 256, image.shape, dtype=np.uint8)
        changed[80:205, 115:248] = image[80:205, 115:248]
        np.testing.assert_array_equal(warp(changed), warp(image))


def test_the_lens_is_part_of_the_same_map():
    lens = Lens(np.array([[300.0, 0, 205], [0, 300, 148], [0, 0, 1]]), np.array([-0.15, 0.01, 0.001, -0.001, 0]))
    homography = np.array([[0.99, -0.02, 8], [0.02, 0.99, -6], [1e-5, 2e-5, 1]]) @ mirror_homography(400)
    crop, size = (60, 40, 280, 210), (140, 105)
    warp = FrameWarp(homography, crop, size, "linear", lens)
    outputs = np.array([[10.0, 8], [70, 52], [130, 98], [128, 6], [11, 97]])
    undistorted = warp_points(np.linalg.inv(crop_homography(crop, size) @ homography), outputs)
    recorded = distort_points(undistorted, lens.matrix, lens.distortion)
    np.testing.assert_allclose(warp.source_points(outputs), recorded, atol=1e-9)
    rows, columns = np.indices((300, 400))
    spots = sum(np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 4.0**2)) for x, y in recorded)
    seen = warp(np.round(spots * 250).astype(np.uint8)[..., None].repeat(3, axis=2))[..., 0].astype(float)
    for x, y in outputs.astype(int):
        part = seen[y - 6 : y + 7, x - 6 : x + 7]
        offsets = np.arange(-6, 7)
        assert (part.sum(axis=0) @ offsets) / part.sum() == pytest.approx(0, abs=0.1)
        assert (part.sum(axis=1) @ offsets) / part.sum() == pytest.approx(0, abs=0.1)


def test_where_the_lens_shows_nothing_the_rim_goes_on():
    lens = Lens(np.array([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]]), np.array([-0.3, 0, 0, 0, 0]))
    warp = FrameWarp(np.eye(3), (-200, -200, 500, 500), (50, 50), "linear", lens)
    assert np.isnan(warp.source_points(np.array([[0.0, 0.0]]))).all()
    np.testing.assert_array_equal(warp(np.full((100, 100, 3), 77, np.uint8)), 77)


@pytest.mark.parametrize("siting", SITINGS.values(), ids=SITINGS)
def test_colors_of_planes_are_rounded_once(siting):
    rng = np.random.default_rng(0)
    luma, *chroma = (rng.integers(90, 160, (40 // step, 48 // step), np.uint8) for step in (1, 2, 2))
    wide = [upsample_chroma(plane.astype(np.float32), (48, 40), siting) for plane in chroma]
    exact = cv2.transform(cv2.merge([luma.astype(np.float32), *wide]).astype(np.float64), BT709).clip(0, 255)
    shown = Planes(luma, tuple(chroma), BT709, siting).rgb()
    assert np.abs(shown - exact).max() <= 0.504  # in single precision
