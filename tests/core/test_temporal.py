import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb2v.core.temporal import StepSums, box_weights, errors_to_psnr, find_peak, search_errors, window_errors


def literal_errors(windows, frame):
    """Algorithm 1 as it is written: fit the map by least squares, apply it, compare."""
    errors = []
    for window in windows:
        design = np.column_stack([window, np.ones(len(window))])
        solution = np.linalg.lstsq(design, frame)[0]
        errors.append(np.mean((design @ solution - frame) ** 2))
    return np.array(errors)


@pytest.fixture
def scene():
    """Nine windows, and two frames that the fifth and the third explain best."""
    rng = np.random.default_rng(3)
    windows = rng.random((9, 500, 3))
    mapped = windows[[4, 2]] @ (np.eye(3) * 0.8 + 0.05) + 0.02
    return windows, mapped + rng.normal(0, 0.03, mapped.shape)


def test_closed_form_is_the_literal_computation(scene):
    windows, frames = scene
    literal = np.array([literal_errors(windows, frame) for frame in frames])
    errors = window_errors(windows, frames)
    np.testing.assert_allclose(errors, literal, rtol=1e-6)
    np.testing.assert_allclose(errors_to_psnr(errors), 10 * np.log10(1 / literal), atol=1e-3)
    assert errors.argmin(axis=1).tolist() == [4, 2]


@given(st.integers(0, 2**32 - 1), st.floats(1e-4, 0.3), st.floats(0, 0.9))
def test_scores_are_within_a_thousandth_of_a_decibel_of_the_literal_ones(seed, contrast, brightness):
    rng = np.random.default_rng(seed)
    still = rng.random((1, 300, 3))
    windows = (brightness + contrast * (still + 0.1 * rng.random((4, 300, 3)))).astype(np.float32)
    frames = windows[:2] * np.float32(0.9) + rng.normal(0, 0.002, (2, 300, 3)).astype(np.float32)
    literal = np.array([literal_errors(windows.astype(float), frame.astype(float)) for frame in frames])
    np.testing.assert_allclose(errors_to_psnr(window_errors(windows, frames)), errors_to_psnr(literal), atol=1e-3)


def test_pixels_that_do_not_count_do_not_count(scene):
    windows, frames = scene
    valid = np.random.default_rng(0).random((2, 500)) < [[0.6], [0.95]]
    spoilt = np.where(valid[..., None], frames, 1.0)
    errors = window_errors(windows, spoilt, valid)
    for row, frame, counts in zip(errors, frames, valid, strict=True):
        np.testing.assert_allclose(row, literal_errors(windows[:, counts], frame[counts]), rtol=1e-5)
    valid[0] = False
    errors = window_errors(windows, frames, valid)
    assert np.isnan(errors[0]).all()
    assert np.isfinite(errors[1]).all()


def test_single_precision_windows_lose_nothing(scene):
    windows, frames = scene
    errors = window_errors(windows.astype(np.float32), frames.astype(np.float32))
    np.testing.assert_allclose(errors, window_errors(windows, frames), rtol=1e-5)


def test_a_grey_window_explains_what_grey_can():
    rng = np.random.default_rng(5)
    grey = np.repeat(rng.random((1, 400, 1)), 3, axis=2)
    frame = grey[0] * [0.9, 0.5, 0.2] + 0.1 + rng.normal(0, 0.02, (400, 3))
    np.testing.assert_allclose(window_errors(grey, frame[None])[0], literal_errors(grey, frame), rtol=1e-4)
    flat = np.full((1, 400, 3), 0.5)
    np.testing.assert_allclose(window_errors(flat, frame[None])[0], frame.var(axis=0).mean(), rtol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_the_sharp_camera_s_colors_do_not_change_the_score(seed):
    rng = np.random.default_rng(seed)
    windows, frames = rng.random((3, 60, 3)), rng.random((1, 60, 3))
    recolored = windows @ (np.eye(3) + rng.uniform(-0.2, 0.2, (3, 3))) + rng.uniform(-0.1, 0.1, 3)
    np.testing.assert_allclose(window_errors(recolored, frames), window_errors(windows, frames), rtol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_a_search_is_the_same_scores_in_each_frame_s_range(masked):
    rng = np.random.default_rng(1)
    windows, frames = rng.random((300, 20, 3)), rng.random((4, 20, 3))
    valid = rng.random((4, 20)) < 0.8 if masked else None
    everywhere = window_errors(windows, frames, valid)
    first = np.array([-5, 120, 290, 400])
    found = search_errors(windows, frames, first, 30, valid)
    for row, scores, start in zip(found, everywhere, first, strict=True):
        padded = np.concatenate([np.full(5, np.nan), scores, np.full(200, np.nan)])
        np.testing.assert_allclose(row, padded[start + 5 : start + 35], rtol=1e-9)


def test_any_matrix_product_may_be_given(scene):
    calls = []

    def product(a, b):
        calls.append((a.shape, b.shape))
        return a @ b

    np.testing.assert_array_equal(window_errors(*scene, product=product), window_errors(*scene))
    assert calls == [((27, 500), (500, 6))], "one product for all frames and windows"


def test_step_sums_score_every_weighted_mean_as_the_literal_computation():
    rng = np.random.default_rng(2)
    steps, frame = rng.random((12, 200, 3)), rng.random((200, 3))
    valid = rng.random(200) < 0.7
    weights = box_weights(12, np.array([4.0, 5.3, 6.5]), np.array([5.0, 7.7, 10.0]))
    means = np.einsum("wk,knc->wnc", weights, steps)
    np.testing.assert_allclose(StepSums(steps, frame).errors(weights), literal_errors(means, frame), rtol=1e-6)
    np.testing.assert_allclose(
        StepSums(steps, frame, valid).errors(weights), literal_errors(means[:, valid], frame[valid]), rtol=1e-6
    )
    with pytest.raises(ValueError, match="no pixel counts"):
        StepSums(steps, frame, np.zeros(200, bool))


@given(st.floats(4, 15), st.floats(0.1, 9))
def test_weights_of_an_exposure(center, length):
    weights = box_weights(20, np.array([center]), np.array([length]))[0]
    assert weights.sum() == pytest.approx(1)
    assert weights @ np.arange(20) == pytest.approx(center, abs=0.51)
    inside = np.abs(np.arange(20) - center) < length / 2 - 0.5
    np.testing.assert_allclose(weights[inside], 1 / length)
    assert not weights[np.abs(np.arange(20) - center) > length / 2 + 0.5].any()


@pytest.mark.parametrize(("center", "length"), [(1.0, 4.0), (8.0, 4.0), (5.0, 0.0)])
def test_exposures_that_cannot_be(center, length):
    with pytest.raises(ValueError, match="an exposure must"):
        box_weights(10, np.array([center]), np.array([length]))


def test_psnr_of_known_errors():
    np.testing.assert_allclose(errors_to_psnr(np.array([1.0, 0.01, 1e-4])), [0, 20, 40])
    assert np.isfinite(errors_to_psnr(np.zeros(1))).all()
    assert np.isnan(errors_to_psnr(np.array([np.nan]))).all()


@given(st.floats(-0.5, 0.5), st.integers(2, 12), st.floats(1e-6, 10))
def test_peak_of_a_parabola(offset, index, scale):
    curve = scale * ((np.arange(15) - index - offset) ** 2 + 0.3)
    peak = find_peak(curve)
    assert peak.index + peak.offset == pytest.approx(index + offset, abs=1e-6)
    assert peak.sharpness == pytest.approx(2 / (offset**2 + 0.3), rel=1e-6)
    assert not peak.at_edge
    assert -0.5 <= peak.offset <= 0.5


def test_margin_is_above_the_best_window_that_is_no_neighbour():
    curve = np.array([1.0, 0.1, 0.011, 0.01, 0.012, 0.5, 1e-1 / 2])
    peak = find_peak(curve)
    assert peak.index == 3
    assert peak.margin_db == pytest.approx(10 * np.log10(0.05 / 0.01))
    assert find_peak(np.array([2.0, 1.0, 2.0])).margin_db == 0
    assert find_peak(np.full(9, 0.3)).margin_db == 0


@pytest.mark.parametrize(
    "curve", [[1, 2, 3, 4], [4, 3, 2, 1], [np.nan, 1, 2, 3], [4, 3, 2, np.nan], [np.nan, 1, np.nan]]
)
def test_a_peak_at_the_edge_of_what_was_tried_is_told(curve):
    peak = find_peak(np.array(curve, float))
    assert peak.at_edge
    assert peak.offset == 0


def test_a_curve_without_any_window():
    with pytest.raises(ValueError, match="no window is in range"):
        find_peak(np.full(5, np.nan))
