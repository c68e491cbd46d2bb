import functools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.ndimage import shift as shift_samples
from scipy.signal import butter, resample_poly, sosfilt, sosfiltfilt
from scipy.spatial.transform import Rotation

from rb2v.core.sync import offset_from_gyro, offset_from_motion, offset_from_sound
from rb2v.simulator import instruments
from rb2v.simulator.scene import Motion, Wave, orbit

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
    assert found.seconds == pytest.approx(100.4 / RATE, abs=1e-5)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_other_sample_rates(noise, rate):
    found = offset_from_sound(noise[1000 : 1000 + rate], noise[: 2 * rate], rate)
    assert found.seconds == pytest.approx(1000 / rate, abs=1e-4)


def test_gain_and_mains_hum_do_not_matter(noise):
    hum = np.sin(2 * np.pi * 50 * np.arange(2 * RATE) / RATE)
    found = offset_from_sound(0.2 * noise[5000 : 5000 + 2 * RATE] + hum, noise[: 2 * RATE] + 2 * hum, RATE)
    assert found.seconds == pytest.approx(5000 / RATE, abs=1e-4)
    assert found.confidence > 2 / 3


@pytest.mark.parametrize(
    ("rate", "sharp_rate"), [(48_000, 44_100), (32_000, 48_000), (16_000, 48_000), (48_000, 8_000)]
)
def test_tracks_of_two_sample_rates(noise, rate, sharp_rate):
    blurry = resample_poly(noise[48_000 : 4 * RATE], rate, RATE)
    sharp = resample_poly(noise[: 4 * RATE], sharp_rate, RATE)
    found = offset_from_sound(blurry, sharp, rate, sharp_rate=sharp_rate)
    assert found.seconds == pytest.approx(1, abs=1e-4)
    assert found.confidence > 0.8


@functools.cache
def make_scene(kind, seconds, seed):
    """Sound at a place: hiss as of wind, voices that pause, or a tune of decaying tones."""
    rng = np.random.default_rng(seed)
    n = seconds * RATE
    times = np.arange(n) / RATE
    if kind == "wind":
        hz = np.fft.rfftfreq(n, 1 / RATE) + 20
        scene = np.fft.irfft((rng.standard_normal(len(hz)) + 1j * rng.standard_normal(len(hz))) / np.sqrt(hz), n)
    elif kind == "voices":
        phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * times) + np.cumsum(rng.normal(0, 10 / RATE**0.5, n))) / RATE
        knots = np.arange(0, seconds + 0.2, 0.12)
        loudness = np.clip(np.interp(times, knots, rng.standard_normal(len(knots))), 0, None)
        scene = loudness * sum(np.sin(k * phase) / k for k in range(1, 25))
    else:
        scene = np.zeros(n)
        for start in np.cumsum(rng.integers(RATE // 4, RATE, 4 * seconds)):
            tone = times[: max(n - start, 0)]
            scene[start:] += np.sin(2 * np.pi * 220 * 2 ** (rng.integers(24) / 12) * tone) * np.exp(-4 * tone)
    return scene / scene.std()


def hear(scene, start, seconds, rng, drift=0.0, muffled_hz=None, gain=False, snr_db=10.0):
    """Record a scene from a time on, as a camera does: with hiss, a clock, a housing and automatic gain."""
    times = np.arange(seconds * RATE) / RATE
    sound = np.interp((start + times * (1 + drift)) * RATE, np.arange(len(scene)), scene)
    if muffled_hz is not None:
        sound = sosfilt(butter(2, muffled_hz, fs=RATE, output="sos"), sound)
    if gain:
        knots = np.arange(0, seconds + 2, 1.5)
        sound = sound * np.exp(np.interp(times, knots, rng.normal(0, 0.8, len(knots))))
    return sound + rng.normal(0, sound.std() * 10 ** (-snr_db / 20), len(sound))


@pytest.mark.parametrize("kind", ["wind", "voices", "tune"])
@pytest.mark.parametrize(
    ("offset", "drift", "spoilt"),
    [
        (-9.7, 0.0, {}),
        (9.3, 1e-4, {}),
        (-3.1, -1e-4, {"gain": True}),
        (2.2, 1e-4, {"muffled_hz": 800, "gain": True, "snr_db": 3.0}),
        (-8.4, -1e-4, {"muffled_hz": 800, "gain": True, "snr_db": 3.0}),
    ],
)
def test_sound_as_cameras_record_it(kind, offset, drift, spoilt):
    rng = np.random.default_rng(3)
    scene = make_scene(kind, 42, 2)
    blurry = hear(scene, 11, 20, rng)
    sharp = hear(scene, 11 - offset, 20, rng, drift, **spoilt)
    found = offset_from_sound(blurry, sharp, RATE)
    # Of a muffled tune pure tones are left, of which the next period is nearly as good once the clocks drift.
    tolerance_seconds = 0.02 if kind == "tune" and "muffled_hz" in spoilt else 5e-3
    assert found.seconds == pytest.approx(offset, abs=tolerance_seconds)
    assert found.confidence > 1 / 3


@pytest.mark.parametrize("kind", ["wind", "voices", "tune"])
@pytest.mark.parametrize("seconds", [3, 20])
def test_unrelated_sounds_have_no_confidence(kind, seconds):
    rng = np.random.default_rng(4)
    blurry, sharp = (hear(make_scene(kind, seconds + 1, seed), 0, seconds, rng) for seed in range(2))
    assert offset_from_sound(blurry, sharp, RATE).confidence < 0.25


@pytest.mark.parametrize("rates", [(0, RATE), (RATE, 0), (RATE, 2_000_000_011), (-RATE, RATE)])
def test_rates_that_are_none_of_sound(noise, rates):
    with pytest.raises(ValueError, match="samples per second"):
        offset_from_sound(noise, noise, rates[0], sharp_rate=rates[1])


def test_offsets_beyond_the_limit_are_not_looked_at(noise):
    blurry, sharp = noise[RATE : 2 * RATE], noise[: 3 * RATE]
    assert offset_from_sound(blurry, sharp, RATE).seconds == pytest.approx(1, abs=1e-5)
    assert abs(offset_from_sound(blurry, sharp, RATE, max_offset_seconds=0.5).seconds) <= 0.51


def test_silent_and_short_tracks_are_refused(noise):
    for blurry, sharp in ((np.zeros(RATE), noise), (noise, np.zeros(RATE)), (noise, np.full(RATE, 0.3))):
        with pytest.raises(ValueError, match="silent"):
            offset_from_sound(blurry, sharp, RATE)
    for blurry, sharp in ((noise[:4000], noise), (noise, noise[:4000]), (noise, noise[:0])):
        with pytest.raises(ValueError, match=r"shorter than 0\.1 s"):
            offset_from_sound(blurry, sharp, RATE)


def blob(times):
    """16 x 16 grey images of a blob on a path that does not repeat itself."""
    y, x = np.mgrid[:16, :16]
    center_x = 8 + 4 * np.sin(7 * times) + 2 * np.sin(17 * times + 1)
    center_y = 8 + 4 * np.cos(5 * times + 0.5)
    squared = (x - center_x[:, None, None]) ** 2 + (y - center_y[:, None, None]) ** 2
    return (0.2 + np.exp(-squared / 8)).reshape(len(times), -1)


def film(first, times):
    """A blurry recording, 200 fine frames per second, whose frame 0 is at a position; and its steps."""
    steps = 200 * (times - times[0])
    return 0.7 * blob((first + steps) / 200) + 0.1, steps


@pytest.mark.parametrize("first", [0, 13, 60, -19])
@pytest.mark.parametrize("fps", [25, 24, 29.97])
def test_position_of_a_moving_blob(first, fps):
    blurry, steps = film(first, np.arange(25) / fps)
    position, confidence = offset_from_motion(blurry, blob(np.arange(260) / 200), steps)
    assert position == first
    assert confidence > 0.09


@pytest.mark.parametrize("first", [0, 60, -19])
@pytest.mark.parametrize("dropped", [[5], [7, 8, 15], [9, 10, 11, 12, 13]])
def test_dropped_blurry_frames(first, dropped):
    blurry, steps = film(first, np.delete(3 + np.arange(25) / 24, dropped))
    position, confidence = offset_from_motion(blurry, blob(np.arange(260) / 200), steps)
    assert position == first
    assert confidence > 0.09


def wander(n, rng):
    """16 x 16 grey images of a blob that goes anywhere."""
    path = gaussian_filter1d(rng.standard_normal((n, 2)), 20, axis=0)
    y, x = np.mgrid[:16, :16]
    center_x, center_y = (8 + 3 * path / path.std(axis=0)).T
    return np.exp(-((x - center_x[:, None, None]) ** 2 + (y - center_y[:, None, None]) ** 2) / 8).reshape(n, -1)


@pytest.mark.parametrize("seed", range(5))
def test_unrelated_motion_has_less_confidence(seed):
    rng = np.random.default_rng(seed)
    own, other = wander(2500, rng), wander(2500, rng)
    steps = np.arange(150) * 25 / 3
    blurry = own[700 + np.rint(steps).astype(int)]
    position, confidence = offset_from_motion(blurry, own, steps)
    assert position == 700
    assert confidence > 0.4
    assert offset_from_motion(blurry, other, steps)[1] < 0.3


def test_recordings_without_motion_or_length_are_refused():
    windows, blurry, steps = blob(np.arange(200) / 200), blob(np.arange(20) / 25), 8.0 * np.arange(20)
    for still, moving in ((np.ones((20, 256)), windows), (blurry, np.ones((200, 256)))):
        with pytest.raises(ValueError, match="nothing changes"):
            offset_from_motion(still, moving, steps)
    for few, few_windows in (
        (blurry[:0], windows),
        (blurry[:2], windows),
        (blurry, windows[:9]),
        (blurry, windows[:30]),
    ):
        with pytest.raises(ValueError, match="too short"):
            offset_from_motion(few, few_windows, steps[: len(few)])
    with pytest.raises(ValueError, match="20 blurry frames and 19 steps"):
        offset_from_motion(blurry, windows, steps[1:])


def turn(kind, seconds, rng, hz=1000):
    """Rotation of a rig in rad/s, 1000 times per second: held by a hand, carried, or panned about one axis."""
    n = seconds * hz
    shake = np.fft.rfftfreq(n, 1 / hz)
    spectrum = rng.standard_normal((len(shake), 3)) + 1j * rng.standard_normal((len(shake), 3))
    spectrum *= ((shake < 15) / (shake + 0.3) ** 1.2)[:, None]
    hand = np.fft.irfft(spectrum, n, axis=0)
    hand *= 0.2 / hand.std()
    if kind == "carried":
        phase = 2 * np.pi * 1.8 * np.arange(n) / hz + np.cumsum(rng.normal(0, 0.6 / hz**0.5, n))
        return 0.2 * hand + np.column_stack([0.3 * np.sin(phase), 0.2 * np.sin(phase / 2), 0.1 * np.sin(2 * phase)])
    if kind == "panned":
        band = butter(2, (0.1, 4), "band", fs=hz, output="sos")
        return 4 * sosfiltfilt(band, rng.standard_normal((n, 3)), axis=0) * [1, 0.02, 0.02]
    return hand


def sense(turning, start, seconds, rate, rng, *, mirrored=False, drift=0.0, noise=0.01):
    """Measure a rig's rotation by a sensor that is mounted anyhow."""
    times = np.arange(round(seconds * rate)) / rate
    at = (start + times * (1 + drift)) * 1000
    values = np.column_stack([np.interp(at, np.arange(len(turning)), axis) for axis in turning.T])
    mounting = Rotation.random(random_state=rng).as_matrix() * [1, 1, -1 if mirrored else 1]
    trend = 0.02 * times[:, None] / seconds
    return values @ mounting.T + rng.normal(0, 0.05, 3) + trend + rng.normal(0, noise, values.shape), times


@pytest.mark.parametrize("kind", ["held", "carried", "panned"])
@pytest.mark.parametrize(("offset", "drift"), [(-8.0, 0.0), (-0.37, 1e-4), (0.0, 0.0), (3.21, -1e-4), (8.0, 0.0)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_offset_of_a_turned_rig(kind, offset, drift, mirrored):
    rng = np.random.default_rng(5)
    turning = turn(kind, 40, rng)
    blurry = sense(turning, 10, 20, 200, rng)
    sharp = sense(turning, 10 - offset, 20, 197, rng, mirrored=mirrored, drift=drift)
    found = offset_from_gyro(*blurry, *sharp)
    assert found.seconds == pytest.approx(offset, abs=5e-3)
    assert found.confidence > 0.4


@pytest.mark.parametrize("kind", ["held", "carried", "panned"])
@pytest.mark.parametrize("seconds", [5, 20])
def test_unrelated_turns_have_no_confidence(kind, seconds):
    rng = np.random.default_rng(6)
    blurry, sharp = (sense(turn(kind, seconds + 4, rng), 2, seconds, 200, rng) for _ in range(2))
    assert offset_from_gyro(*blurry, *sharp).confidence < 1 / 3


def test_turns_whose_times_start_anywhere_and_overlap_at_chapters():
    rng = np.random.default_rng(7)
    turning = turn("held", 30, rng)
    blurry, blurry_times = sense(turning, 10, 10, 200, rng)
    sharp, sharp_times = sense(turning, 8, 12, 200, rng)
    order = np.r_[:1000, 900:2400]
    found = offset_from_gyro(blurry, blurry_times + 3, sharp[order], sharp_times[order] + 1.5)
    assert found.seconds == pytest.approx(2 - 3 + 1.5, abs=5e-3)


def test_turns_beyond_the_limit_are_not_looked_at():
    rng = np.random.default_rng(8)
    turning = turn("held", 40, rng)
    blurry, sharp = sense(turning, 10, 20, 200, rng), sense(turning, 5, 20, 200, rng)
    assert offset_from_gyro(*blurry, *sharp).seconds == pytest.approx(5, abs=5e-3)
    assert abs(offset_from_gyro(*blurry, *sharp, max_offset_seconds=2).seconds) <= 2.01
    with pytest.raises(ValueError, match="do not overlap within the limit"):
        offset_from_gyro(blurry[0], blurry[1] + 500, *sharp)


def test_cameras_that_are_not_turned_or_not_measured_are_refused():
    rng = np.random.default_rng(9)
    turned = sense(turn("held", 8, rng), 0, 6, 200, rng)
    times = turned[1]
    still = rng.normal(0, 1e-3, (len(times), 3)) + 0.5
    for values, value_times, message in (
        (still, times, "not turned"),
        (np.zeros((0, 3)), np.zeros(0), "shorter than 1 s"),
        (turned[0][:100], times[:100], "shorter than 1 s"),
        (turned[0], np.zeros(len(times)), "shorter than 1 s"),
        (turned[0][::8], times[::8], "gaps, or fewer than 50"),
        (turned[0], np.r_[times[:-1], 1e9], "gaps, or fewer than 50"),
    ):
        with pytest.raises(ValueError, match=message):
            offset_from_gyro(values, value_times, *turned)
        with pytest.raises(ValueError, match=message):
            offset_from_gyro(*turned, values, value_times)


@pytest.mark.parametrize("seed", range(4))
def test_gyros_that_turned_too_evenly_tell_nothing(seed):
    # Two sines: every lag that is a period of theirs explains them. The truth is an offset of 0.2 s.
    rng = np.random.default_rng(seed)
    x, y = orbit(rng, 70.0, 0.55)
    motion = Motion(x, y, Wave(0.0, 1.5, 0.4, rng.uniform()))
    times = [np.arange(600) / 200, np.arange(680) / 200]
    gyros = [
        instruments.read_gyro(
            instruments.rotation_speed(motion, own - shift, 720),
            np.random.default_rng([seed, index]),
            np.random.default_rng([seed, 2 + index]),
        )
        for index, (own, shift) in enumerate(zip(times, (0.0, 0.2), strict=True))
    ]
    found = offset_from_gyro(gyros[0], times[0], gyros[1], times[1])
    assert found.confidence < 0.3 or found.seconds == pytest.approx(0.2, abs=0.02)
