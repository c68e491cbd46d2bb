import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb2v.core.temporal import errors_to_psnr, find_peak, window_errors


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
    rng = np.random.default_rng(3)
    windows = rng.random((9, 500, 3))
    mapped = windows[4] @ (np.eye(3) * 0.8 + 0.05) + 0.02
    return windows, mapped + rng.normal(0, 0.03, mapped.shape)


def test_closed_form_is_the_literal_computation(scene):
    windows, frame = scene
    literal = literal_errors(windows, frame)
    errors = window_errors(windows, frame)
    np.testing.assert_allclose(errors, literal, rtol=1e-6)
    np.testing.assert_allclose(errors_to_psnr(errors), 10 * np.log10(1 / literal), atol=1e-3)
    assert errors.argmin() == 4


def test_pixels_that_do_not_count_do_not_count(scene):
    windows, frame = scene
    valid = np.random.default_rng(0).random(500) < 0.6
    spoilt = frame.copy()
    spoilt[~valid] = 1.0
    errors = window_errors(windows, spoilt, valid)
    np.testing.assert_allclose(errors, literal_errors(windows[:, valid], frame[valid]), rtol=1e-6)
    with pytest.raises(ValueError, match="no pixel counts"):
        window_errors(windows, frame, np.zeros(500, bool))


def test_single_precision_windows_lose_nothing(scene):
    windows, frame = scene
    errors = window_errors(windows.astype(np.float32), frame.astype(np.float32))
    np.testing.assert_allclose(errors, literal_errors(windows, frame), rtol=1e-5)


def test_a_grey_window_explains_what_grey_can():
    rng = np.random.default_rng(5)
    grey = np.repeat(rng.random((1, 400, 1)), 3, axis=2)
    frame = grey[0] * [0.9, 0.5, 0.2] + 0.1 + rng.normal(0, 0.02, (400, 3))
    np.testing.assert_allclose(window_errors(grey, frame), literal_errors(grey, frame), rtol=1e-4)
    flat = np.full((1, 400, 3), 0.5)
    np.testing.assert_allclose(window_errors(flat, frame), frame.var(axis=0).mean(), rtol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_the_sharp_camera_s_colors_do_not_change_the_score(seed):
    rng = np.random.default_rng(seed)
    windows, frame = rng.random((3, 60, 3)), rng.random((60, 3))
    recolored = windows @ (np.eye(3) + rng.uniform(-0.2, 0.2, (3, 3))) + rng.uniform(-0.1, 0.1, 3)
    np.testing.assert_allclose(window_errors(recolored, frame), window_errors(windows, frame), rtol=1e-5)


def test_psnr_of_known_errors():
    np.testing.assert_allclose(errors_to_psnr(np.array([1.0, 0.01, 1e-4])), [0, 20, 40])
    assert np.isfinite(errors_to_psnr(np.zeros(1))).all()
    assert np.isnan(errors_to_psnr(np.array([np.nan]))).all()


@given(st.floats(-0.5, 0.5), st.integers(1, 13), st.floats(1e-6, 10))
def test_peak_of_a_parabola(offset, index, scale):
    curve = scale * ((np.arange(15) - index - offset) ** 2 + 0.3)
    peak = find_peak(curve)
    assert peak.index + peak.offset == pytest.approx(index + offset, abs=1e-6)
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
