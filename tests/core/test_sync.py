import numpy as np
import pytest
from scipy.ndimage import shift as shift_samples

from rb2v.core.sync import offset_from_motion, offset_from_sound

RATE = 48_000


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).standard_normal(6 * RATE) * 0.1


@pytest.mark.parametrize("delay", [0, 1, 4801, 31_000, -777, -48_000])
def test_delay_of_noise(noise, delay):
    # The sharp camera starts `delay` samples earlier, so that it meets every sound that much later in its file.
    start = 60_000
    blurry, sharp = noise[start : start + 2 * RATE], noise[start - delay : start - delay + 3 * RATE]
    hiss = np.random.default_rng(1).standard_normal(len(sharp)) * 0.05
    found = offset_from_sound(blurry, sharp + hiss, RATE)
    assert found.seconds == pytest.approx(delay / RATE, abs=1e-4)
    assert found.confidence > 0.8


def test_delay_to_a_fraction_of_a_sample(noise):
    band = np.convolve(noise[:RATE], np.hanning(40), "same")
    found = offset_from_sound(band, shift_samples(band, 100.4), RATE)
    assert found.seconds * RATE == pytest.approx(100.4, abs=0.05)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_other_sample_rates(noise, rate):
    found = offset_from_sound(noise[1000 : 1000 + rate], noise[: 2 * rate], rate)
    assert found.seconds == pytest.approx(1000 / rate, abs=1e-4)


def test_gain_and_mains_hum_do_not_matter(noise):
    hum = np.sin(2 * np.pi * 50 * np.arange(2 * RATE) / RATE)
    found = offset_from_sound(0.2 * noise[5000 : 5000 + 2 * RATE] + hum, noise[: 2 * RATE] + 2 * hum, RATE)
    assert found.seconds == pytest.approx(5000 / RATE, abs=1e-4)
    assert found.confidence > 2 / 3


def test_unrelated_sounds_have_no_confidence(noise):
    found = offset_from_sound(noise[: 2 * RATE], noise[3 * RATE : 5 * RATE], RATE)
    assert found.confidence < 1 / 3


def test_offsets_beyond_the_limit_are_not_looked_at(noise):
    blurry, sharp = noise[RATE : 2 * RATE], noise[: 3 * RATE]
    assert offset_from_sound(blurry, sharp, RATE).seconds == pytest.approx(1)
    assert abs(offset_from_sound(blurry, sharp, RATE, max_offset_seconds=0.5).seconds) <= 0.51


def test_silent_and_short_tracks_are_refused(noise):
    for blurry, sharp in ((np.zeros(RATE), noise), (noise, np.zeros(RATE)), (noise, np.full(RATE, 0.3))):
        with pytest.raises(ValueError, match="silent"):
            offset_from_sound(blurry, sharp, RATE)
    for blurry, sharp in ((noise[:4000], noise), (noise, noise[:4000]), (noise, noise[:0])):
        with pytest.raises(ValueError, match=r"shorter than 0\.1 s"):
            offset_from_sound(blurry, sharp, RATE)


def blob(times):
    """16 x 16 grey pictures of a blob on a path that does not repeat itself."""
    y, x = np.mgrid[:16, :16]
    center_x = 8 + 4 * np.sin(7 * times) + 2 * np.sin(17 * times + 1)
    center_y = 8 + 4 * np.cos(5 * times + 0.5)
    squared = (x - center_x[:, None, None]) ** 2 + (y - center_y[:, None, None]) ** 2
    return (0.2 + np.exp(-squared / 8)).reshape(len(times), -1)


@pytest.mark.parametrize("first", [0, 13, 60, -19])
def test_position_of_a_moving_blob(first):
    windows = blob(np.arange(260) / 200)
    blurry = 0.7 * blob((first + 8 * np.arange(25)) / 200) + 0.1
    position, confidence = offset_from_motion(blurry, windows, 8)
    assert position == first
    assert confidence > 0.09


def test_recordings_without_motion_or_length_are_refused():
    windows, blurry = blob(np.arange(200) / 200), blob(np.arange(20) / 25)
    for still, moving in ((np.ones((20, 256)), windows), (blurry, np.ones((200, 256)))):
        with pytest.raises(ValueError, match="nothing changes"):
            offset_from_motion(still, moving, 8)
    for few, windows_given in ((blurry[:2], windows), (blurry, windows[:9])):
        with pytest.raises(ValueError, match="too short"):
            offset_from_motion(few, windows_given, 8)
