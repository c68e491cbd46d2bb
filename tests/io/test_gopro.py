import contextlib
import struct
from fractions import Fraction

import numpy as np
import pytest
from examples import draws
from hypothesis import given
from hypothesis import strategies as st

from rb2v.artifacts import FormatOverride
from rb2v.errors import InputError
from rb2v.io import encoder
from rb2v.io.encoder import CameraNotes, write_video
from rb2v.io.gopro import (
    Telemetry,
    add_settings,
    encode_telemetry,
    parse_payload,
    parse_timecode,
    read_telemetry,
    read_timecode,
    writing,
)
from rb2v.io.video import iter_frames

STEP = 1 / 939


def make_telemetry(seconds=2.4, gyro_hz=200, shutter_hz=25, seed=0, **changes):
    rng = np.random.default_rng(seed)
    n, m = round(seconds * gyro_hz), round(seconds * shutter_hz)
    fields = {
        "model": "HERO8 Black",
        "gyro": rng.normal(0, 1, (n, 3)),
        "gyro_times": np.arange(n) / gyro_hz,
        "shutter_seconds": rng.uniform(1e-4, 4e-2, m),
        "shutter_times": np.arange(m) / shutter_hz,
        "settings": {"EXPT": "1/200", "EISE": "N", "PTWB": "5500K", "VFOV": "L", "SROT": 0.0153, "PIMX": 400.0},
    }
    return Telemetry(**fields | changes)


def element(key, kind, size, repeat, content):
    return struct.pack(">4scBH", key, kind, size, repeat) + content + b"\0" * (-len(content) % 4)


def nested(key, *elements):
    content = b"".join(elements)
    return element(key, b"\0", 4, len(content) // 4, content)


def make_video(path, seconds, telemetry, timecode=None):
    frames = [np.full((48, 64, 3), 5 * index % 250, np.uint8) for index in range(round(seconds * 25))]
    return write_video(path, frames, 25.0, notes=CameraNotes(telemetry, timecode))


def test_payloads_hold_one_second_each():
    telemetry = make_telemetry(2.4)
    payloads = [parse_payload(data) for data in encode_telemetry(telemetry)]
    assert [len(payload.gyro) for payload in payloads] == [200, 200, 80]
    assert [len(payload.shutter_seconds) for payload in payloads] == [25, 25, 10]
    assert {payload.model for payload in payloads} == {"HERO8 Black"}
    np.testing.assert_allclose(np.concatenate([p.gyro for p in payloads]), telemetry.gyro, atol=STEP / 2 + 1e-12)
    shutter = np.concatenate([p.shutter_seconds for p in payloads])
    np.testing.assert_allclose(shutter, telemetry.shutter_seconds, rtol=1e-7)


def test_rotation_beyond_what_the_sensor_can_state_is_clipped():
    telemetry = make_telemetry(0.1, gyro=np.full((20, 3), 50.0), gyro_times=np.arange(20) / 200)
    (data,) = encode_telemetry(telemetry)
    np.testing.assert_allclose(parse_payload(data).gyro, 0x7FFF / 939)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gyro_times": np.arange(3.0)}, "Gyroscope has 480 values and 3 times"),
        ({"shutter_times": np.arange(60.0) - 1}, "at least 0"),
        ({"shutter_times": np.full(60, np.nan)}, "at least 0"),
    ],
)
def test_telemetry_that_cannot_be_written(changes, message):
    with pytest.raises(ValueError, match=message):
        encode_telemetry(make_telemetry(**changes))


@pytest.mark.parametrize(
    ("kind", "content", "value"),
    [
        (b"b", b"\xfe", -2),
        (b"B", b"\xfe", 254),
        (b"s", b"\xff\xfe", -2),
        (b"S", b"\xff\xfe", 65534),
        (b"l", struct.pack(">i", -70_000), -70_000),
        (b"L", struct.pack(">I", 1 << 31), 1 << 31),
        (b"j", struct.pack(">q", -(1 << 40)), -(1 << 40)),
        (b"J", struct.pack(">Q", 1 << 40), 1 << 40),
        (b"f", struct.pack(">f", 0.25), 0.25),
        (b"d", struct.pack(">d", 0.1), 0.1),
        (b"q", struct.pack(">i", -98_304), -1.5),
        (b"Q", struct.pack(">q", 3 << 31), 1.5),
        (b"c", b"0.5\0", "0.5"),
        (b"F", b"WIDE", "WIDE"),
        (b"U", b"191118234514.000", "191118234514.000"),
    ],
)
def test_types_of_values(kind, content, value):
    size = len(content) if kind not in b"cF" else 1
    data = nested(b"DEVC", element(b"PTEV", kind, size, len(content) // size, content))
    assert parse_payload(data).settings == {"PTEV": value}


def gyro_stream(*scale, values=(939, 0, -939), scale_kind=b"s"):
    sizes = {b"s": 2, b"f": 4}
    scales = b"".join(struct.pack(">" + scale_kind.decode().replace("s", "h"), value) for value in scale)
    return nested(
        b"STRM",
        element(b"SCAL", scale_kind, sizes[scale_kind], len(scale), scales),
        element(b"GYRO", b"s", 6, 1, struct.pack(">3h", *values)),
    )


def test_scales():
    one, three = gyro_stream(939), gyro_stream(939, 1, 313)
    np.testing.assert_allclose(parse_payload(nested(b"DEVC", one)).gyro, [[1, 0, -1]])
    np.testing.assert_allclose(parse_payload(nested(b"DEVC", three)).gyro, [[1, 0, -3]])
    # A stream's scale ends with it.
    unscaled = nested(b"STRM", element(b"SHUT", b"f", 4, 1, struct.pack(">f", 0.5)))
    assert parse_payload(nested(b"DEVC", one, unscaled)).shutter_seconds == [0.5]
    for senseless in (gyro_stream(0), gyro_stream(1, 2), gyro_stream(np.nan, scale_kind=b"f")):
        assert parse_payload(nested(b"DEVC", senseless)).gyro.shape == (0, 3)


def test_what_is_not_known_is_passed_over():
    stream = nested(
        b"STRM",
        element(b"TYPE", b"c", 1, 2, b"Ff"),
        element(b"SCEN", b"?", 8, 1, b"SNOW" + struct.pack(">f", 0.5)),
        element(b"GYRO", b"?", 6, 1, b"\0" * 6),
        element(b"GYRO", b"s", 4, 1, b"\0" * 4),
        element(b"SHUT", b"f", 3, 1, b"\0" * 3),
        element(b"SHUT", b"f", 0, 5, b""),
        element(b"SHUT", b"f", 4, 0, b""),
        element(b"SHUT", b"f", 4, 1, struct.pack(">f", 0.125)),
    )
    payload = parse_payload(nested(b"DEVC", element(b"CASN", b"c", 1, 3, b"123"), stream))
    assert payload.gyro.shape == (0, 3)
    assert payload.shutter_seconds == [0.125]
    assert payload.settings == {}


def test_damage_ends_the_element_that_holds_it():
    whole = nested(b"STRM", element(b"SHUT", b"f", 4, 1, struct.pack(">f", 0.25)))
    cut = nested(b"STRM", element(b"SHUT", b"f", 4, 1, struct.pack(">f", 0.5)), element(b"SHUT", b"f", 4, 9, b"\0" * 4))
    assert list(parse_payload(nested(b"DEVC", cut, whole)).shutter_seconds) == [0.5, 0.25]
    assert parse_payload(nested(b"DEVC", whole)[:-1]).shutter_seconds.shape == (0,)


def test_depth_is_bounded():
    data = element(b"SHUT", b"f", 4, 1, struct.pack(">f", 0.25))
    for _ in range(2000):
        data = nested(b"DEVC", data)
    assert len(parse_payload(data).shutter_seconds) == 0


def check_payload(payload):
    assert payload.gyro.ndim == 2
    assert payload.gyro.shape[1] == 3
    assert payload.shutter_seconds.ndim == 1
    assert payload.model is None or isinstance(payload.model, str)
    assert all(isinstance(value, str | float) for value in payload.settings.values())


@given(st.binary(max_size=600))
def test_any_bytes_can_be_parsed(data):
    check_payload(parse_payload(data))


KEYS = [b"DEVC", b"STRM", b"SCAL", b"GYRO", b"SHUT", b"DVNM", b"MINF", b"EXPT", b"SROT"]
ELEMENTS = st.recursive(
    st.builds(
        lambda key, kind, size, repeat, content: struct.pack(">4sBBH", key, kind, size, repeat) + content,
        st.sampled_from(KEYS),
        st.sampled_from(b"bBsSlLfdcFJjUqQG?\0x"),
        st.integers(0, 16),
        st.integers(0, 4),
        st.binary(max_size=16),
    ),
    lambda inner: st.builds(nested, st.sampled_from(KEYS), st.binary(max_size=0) | inner, inner),
    max_leaves=12,
)


@given(ELEMENTS)
def test_any_elements_can_be_parsed(data):
    check_payload(parse_payload(data))


@draws(100)
@given(st.data())
def test_mutations_of_a_payload_can_be_parsed(data):
    payload = bytearray(encode_telemetry(make_telemetry(0.1))[0])
    for _ in range(data.draw(st.integers(1, 6))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    del payload[data.draw(st.integers(0, len(payload))) :]
    check_payload(parse_payload(bytes(payload)))


@given(st.integers(0, 255), st.integers(0, 0xFFFF), st.sampled_from(KEYS))
def test_huge_counts_take_no_memory(size, repeat, key):
    data = nested(b"DEVC", struct.pack(">4scBH", key, b"s", size, repeat) + b"\0" * 64)
    assert sum(len(rows) for rows in parse_payload(data).samples.values()) <= len(data)


def test_a_large_payload_of_headers_takes_no_time():
    parse_payload(b"DEVC\0\0\0\0" * 50_000)
    parse_payload(nested(b"DEVC", element(b"GYRO", b"s", 6, 0, b"") * 30_000))


@pytest.mark.parametrize(("gyro_hz", "seconds"), [(200, 2.4), (200, 2.0), (100, 0.6), (400, 1.04)])
def test_a_recording_is_read_as_it_was_written(tmp_path, gyro_hz, seconds):
    telemetry = make_telemetry(seconds, gyro_hz)
    read = read_telemetry([make_video(tmp_path / "a.mp4", seconds, telemetry)])
    assert read.model == telemetry.model
    np.testing.assert_allclose(read.gyro, telemetry.gyro, atol=STEP / 2 + 1e-12)
    np.testing.assert_allclose(read.gyro_times, telemetry.gyro_times, atol=2e-5)
    np.testing.assert_allclose(read.shutter_seconds, telemetry.shutter_seconds, rtol=1e-7)
    np.testing.assert_allclose(read.shutter_times, telemetry.shutter_times, atol=2e-5)
    assert read.settings.pop("SROT") == pytest.approx(0.0153)
    assert read.settings == {"EXPT": "1/200", "EISE": "N", "PTWB": "5500K", "VFOV": "L", "PIMX": 400.0}


def test_rates_that_are_no_whole_number_are_off_by_less_than_a_period(tmp_path):
    telemetry = make_telemetry(3.0, gyro_times=np.arange(593) / 197.7, gyro=np.zeros((593, 3)))
    read = read_telemetry([make_video(tmp_path / "a.mp4", 3.0, telemetry)])
    assert np.abs(read.gyro_times - telemetry.gyro_times).max() < 1 / 197.7


def test_a_recording_of_settings_alone(tmp_path):
    nothing = make_telemetry(0.0, model=None)
    read = read_telemetry([make_video(tmp_path / "a.mp4", 0.2, nothing)])
    assert (read.model, read.gyro.shape, read.shutter_seconds.shape) == (None, (0, 3), (0,))
    assert read.settings["EXPT"] == "1/200"


def test_chapters_go_on_in_time(tmp_path):
    telemetry = make_telemetry(1.2)
    first = make_video(tmp_path / "1.mp4", 1.2, telemetry)
    without = make_video(tmp_path / "2.mp4", 0.48, None)
    read = read_telemetry([first, without, first])
    frame_times = [frame.time_seconds for frame in iter_frames([first, without, first])]
    assert frame_times[42] == pytest.approx(1.68)
    expected = np.concatenate([telemetry.gyro_times, 1.68 + telemetry.gyro_times])
    np.testing.assert_allclose(read.gyro_times, expected, atol=1e-4)
    assert read.shutter_times[30] == pytest.approx(1.68, abs=1e-4)


def test_telemetry_of_slow_motion_runs_with_the_frames(tmp_path):
    # 100 frames per second, stored as 25: every time of the container is four times as late.
    telemetry, override = make_telemetry(2.0), FormatOverride(capture_fps=100.0)
    path = make_video(tmp_path / "a.mp4", 2.0, telemetry)
    read = read_telemetry([path, path], override)
    np.testing.assert_allclose(read.gyro_times[:400], telemetry.gyro_times / 4, atol=2e-5)
    assert read.gyro_times[400] == pytest.approx(list(iter_frames([path, path], override))[50].time_seconds, abs=1e-4)
    np.testing.assert_allclose(read.shutter_seconds[:50], telemetry.shutter_seconds, rtol=1e-7)


def test_recordings_without_telemetry(tmp_path):
    path = make_video(tmp_path / "a.mp4", 0.2, None)
    assert read_telemetry([path]) is None
    assert read_timecode(path) is None


def test_files_that_are_no_video_are_named(tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"not a video\n" * 50)
    for read in (lambda path: read_telemetry([path]), read_timecode):
        with pytest.raises(InputError, match=r"bad\.mp4: is not a video"):
            read(bad)
        with pytest.raises(InputError, match=r"none\.mp4: there is no such file"):
            read(tmp_path / "none.mp4")


@draws(60)
@given(data=st.data())
def test_a_damaged_recording_is_read_or_named(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    whole = folder / "whole.mp4"
    if not whole.exists():
        make_video(whole, 0.4, make_telemetry(0.4), "01:02:03:04")
    content = bytearray(whole.read_bytes())
    index = content.index(b"moov") - 4
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(index, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = folder / "damaged.mp4"
    damaged.write_bytes(content)
    for read in (lambda path: read_telemetry([path]), read_timecode):
        with contextlib.suppress(InputError):
            read(damaged)


def test_settings_need_the_index_at_the_end(tmp_path):
    path = make_video(tmp_path / "a.mp4", 0.2, None)
    with pytest.raises(ValueError, match="does not end with its index"):
        add_settings(path, make_telemetry())


@pytest.mark.parametrize(
    ("text", "rate", "seconds"),
    [
        ("00:00:00:00", 25, 0),
        ("12:34:56:05", 25, 45_296.2),
        ("23:59:59:99", 100, 86_399.99),
        ("00:00:00:119", 120, 119 / 120),
        ("15:44:35:10", Fraction(30_000, 1001), (56_675 * 30 + 10) * 1001 / 30_000),
        ("00:01:00;02", Fraction(30_000, 1001), 1800 * 1001 / 30_000),
        ("00:10:00;00", Fraction(30_000, 1001), 17_982 * 1001 / 30_000),
        ("01:00:00;00", Fraction(60_000, 1001), 215_784 * 1001 / 60_000),
        ("01:00:00;00", 25, 3600),
    ],
)
def test_timecodes(text, rate, seconds):
    assert parse_timecode(text, Fraction(rate)) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    "text",
    ["", "noon", "24:00:00:00", "00:60:00:00", "00:00:60:00", "00:00:00:25", "1:2:3:4", "00:00:00:00\n", "²²:00:00:00"],
)
def test_malformed_timecodes(text):
    assert parse_timecode(text, Fraction(25)) is None


def test_a_timecode_without_a_rate():
    assert parse_timecode("00:00:00:00", Fraction(0)) is None


def test_streams_of_a_camera_are_written_and_read(tmp_path):
    telemetry = make_telemetry(
        2.4,
        iso=np.linspace(100, 400, 60).round(),
        iso_times=np.arange(60) / 25,
        white_balance=np.linspace(5000, 5600, 24).round(),
        white_balance_times=np.arange(24) / 10,
        gains=np.linspace([1.5, 1.0, 1.75], [1.75, 1.0, 1.5], 24),
        gains_times=np.arange(24) / 10,
    )
    read = read_telemetry([make_video(tmp_path / "a.mp4", 2.4, telemetry)])
    for name in ("iso", "white_balance", "gains"):
        np.testing.assert_allclose(getattr(read, name), getattr(telemetry, name), rtol=1e-6)
        np.testing.assert_allclose(getattr(read, f"{name}_times"), getattr(telemetry, f"{name}_times"), atol=2e-5)
    assert read.problems == ()


def test_the_gain_of_a_hero5_is_its_sensitivity():
    gains = element(b"ISOG", b"f", 4, 2, struct.pack(">2f", 1.0, 2.5))
    np.testing.assert_allclose(parse_payload(nested(b"DEVC", nested(b"STRM", gains))).iso, [100, 250])


def test_a_second_device_has_sensors_of_its_own():
    shutter = nested(b"STRM", element(b"SHUT", b"f", 4, 1, struct.pack(">f", 0.25)))
    devices = [nested(b"DEVC", element(b"DVID", b"L", 4, 1, struct.pack(">L", n)), shutter) for n in (1, 2, 1)]
    assert list(parse_payload(b"".join(devices)).shutter_seconds) == [0.25, 0.25]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (nested(b"DEVC", element(b"SHUT", b"f", 4, 9, b"\0" * 8)), "SHUT is cut short: 8 of 36 bytes are there"),
        (nested(b"DEVC", element(b"SHUT", b"f", 4, 1, b"\0" * 4))[:-6], "DEVC is cut short: 6 of 12 bytes"),
        (nested(b"DEVC", b"\1\2\3\4" * 3), "DEVC holds bytes that are no element"),
        (nested(b"DEVC", element(b"GYRO", b"c", 1, 4, b"abcd")), "GYRO holds no numbers that make sense"),
    ],
)
def test_damage_is_named(data, problem):
    assert problem in "; ".join(parse_payload(data).problems)


def test_what_is_whole_has_no_problems():
    for data in (*encode_telemetry(make_telemetry()), b"", nested(b"DEVC") + b"\0" * 64):
        assert parse_payload(data).problems == ()


def test_stamps_of_the_camera_are_the_times(tmp_path, monkeypatch):
    """Gyro samples that began 5 ms before the first image, at a rate that is no whole number per packet."""
    original = writing.encode_telemetry(make_telemetry(3.0))
    stamped = [with_stamps(data, second) for second, data in enumerate(original)]
    monkeypatch.setattr(encoder, "encode_telemetry", lambda telemetry: stamped)
    read = read_telemetry([make_video(tmp_path / "a.mp4", 3.0, make_telemetry(3.0))])
    assert read.has_stamps
    assert read.gyro_times[0] == pytest.approx(-0.005, abs=1e-9)
    assert np.diff(read.gyro_times) == pytest.approx(1.002 / 200)
    assert read.shutter_times[0] == 0


def with_stamps(data, second):
    microseconds = {b"GYRO": 80_000 + 1_002_000 * second, b"SHUT": 85_000 + 1_000_000 * second}
    streams = []
    for key, stamp in microseconds.items():
        place = data.index(key)
        size = len(data[place:]) if key == b"SHUT" else data.index(b"STRM", place) - place
        scale = element(b"SCAL", b"s", 2, 1, struct.pack(">h", 939)) if key == b"GYRO" else b""
        streams.append(
            nested(b"STRM", element(b"STMP", b"J", 8, 1, struct.pack(">Q", stamp)), scale, data[place : place + size])
        )
    return nested(b"DEVC", *streams)


def test_stamps_that_contradict_the_packets_are_not_believed(tmp_path, monkeypatch):
    original = writing.encode_telemetry(make_telemetry(3.0))
    stamped = [with_stamps(data, 5 * second) for second, data in enumerate(original)]
    monkeypatch.setattr(encoder, "encode_telemetry", lambda telemetry: stamped)
    read = read_telemetry([make_video(tmp_path / "a.mp4", 3.0, make_telemetry(3.0))])
    assert not read.has_stamps
    np.testing.assert_allclose(read.gyro_times, np.arange(600) / 200, atol=2e-5)


def test_a_gopro_recording(shared_data):
    path = shared_data / "gopro" / "max-heromode.mp4"
    telemetry = read_telemetry([path])
    assert telemetry.model == "GoPro Max"
    assert telemetry.gyro.shape == (2082, 3)
    assert np.median(np.diff(telemetry.gyro_times)) == pytest.approx(1 / 197.8, rel=0.01)
    assert (np.diff(telemetry.gyro_times) > 0).all()
    np.testing.assert_allclose(telemetry.gyro[0], np.array([0x44, 0xD1, -0x92]) / 939)
    assert telemetry.shutter_seconds[0] == pytest.approx(0.00100781, rel=1e-4)
    assert len(telemetry.shutter_seconds) == 316
    assert np.median(np.diff(telemetry.shutter_times)) == pytest.approx(1001 / 30_000, rel=1e-3)
    expected = {"EXPT": "AUTO", "EISE": "Y", "PTWB": "AUTO", "PRTN": "Y", "VFOV": "W"}
    assert {key: telemetry.settings[key] for key in expected} == expected
    assert telemetry.settings["SROT"] == pytest.approx(0.0206, abs=1e-5)
    assert read_timecode(path) == pytest.approx(15 * 3600 + 45 * 60 + 32 + 0.00866667)


# What py-gpmf-parser 0.1.1, bindings of GoPro's own parser, and telemetry-parser 0.3.0 read from this file.
INDEPENDENT_SAMPLES = {
    "shutter_seconds": (316, 0.00059924, 0.00100781, 0.00077456),
    "iso": (316, 100.0, 101.0, 100.41139241),
    "white_balance": (105, 5004.0, 5742.0, 5381.71428571),
}
INDEPENDENT_SETTINGS = {
    **{"EXPT": "AUTO", "EISE": "Y", "EISA": "HS HLevel", "PTWB": "AUTO", "VFOV": "W", "PTCL": "GOPRO", "PTEV": "0.0"},
    **{"PTSH": "HIGH", "PIMN": 100.0, "PIMX": 1600.0, "RATE": "2_1SEC", "PRTN": "Y", "ZFOV": 137.38848876953125},
}


def test_a_gopro_recording_is_read_as_independent_tools_read_it(shared_data):
    telemetry = read_telemetry([shared_data / "gopro" / "max-heromode.mp4"])
    for name, (n, low, high, mean) in INDEPENDENT_SAMPLES.items():
        values = getattr(telemetry, name)
        assert (len(values), values.min(), values.max(), values.mean()) == pytest.approx((n, low, high, mean), rel=1e-5)
    np.testing.assert_allclose(telemetry.gains.min(axis=0), [1.76171875, 1.0, 1.84375])
    np.testing.assert_allclose(telemetry.gains.max(axis=0), [1.8125, 1.0, 1.90234375])
    assert {key: telemetry.settings[key] for key in INDEPENDENT_SETTINGS} == INDEPENDENT_SETTINGS
    assert telemetry.settings["SROT"] == pytest.approx(20.600767135620117e-3)
    # The first gyro sample arrived before the first image, by the camera's stamps.
    assert telemetry.has_stamps
    assert telemetry.gyro_times[0] == pytest.approx(-0.005031, abs=1e-6)
    assert telemetry.gyro_times[-1] == pytest.approx(10.5329, abs=2e-3)
    assert telemetry.problems == ()


def payload_of_a_hero7(shared_data):
    return (shared_data / "gopro" / "gpmf" / "hero7.raw").read_bytes()[:4500]


@draws(150)
@given(data=st.data())
def test_mutations_of_real_payloads_can_be_parsed(shared_data, data):
    payload = bytearray(payload_of_a_hero7(shared_data))
    for _ in range(data.draw(st.integers(1, 8))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del payload[data.draw(st.integers(0, len(payload))) :]
    parsed = parse_payload(bytes(payload))
    check_payload(parsed)
    assert sum(len(rows) for rows in parsed.samples.values()) <= len(payload)


def test_a_payload_that_is_cut_short_is_read_as_far_as_it_goes(shared_data):
    data = payload_of_a_hero7(shared_data)
    whole, cut = parse_payload(data), parse_payload(data[:2600])
    assert len(cut.gyro) == 189
    np.testing.assert_array_equal(cut.gyro, whole.gyro[:189])
    assert any("is cut short" in problem for problem in cut.problems)


def test_damage_to_a_gopro_recording_is_named_with_its_place(shared_data, tmp_path):
    content = bytearray((shared_data / "gopro" / "max-heromode.mp4").read_bytes())
    first = content.index(b"DEVC")
    third = content.index(b"DEVC", content.index(b"DEVC", first + 4) + 4)
    gyro = content.index(b"GYRO", third)
    content[gyro + 6 : gyro + 8] = b"\xff\xff"  # as many samples as a count can state
    (tmp_path / "damaged.mp4").write_bytes(content)
    read = read_telemetry([tmp_path / "damaged.mp4"])
    assert read.problems == ("damaged.mp4: at 2.0 s: GYRO is cut short: 1184 of 393210 bytes are there",)
    assert len(read.gyro) == 2082 - 197
    assert len(read.shutter_seconds) == 316
    assert (np.diff(read.gyro_times) > 0).all()
    assert np.diff(read.gyro_times).max() == pytest.approx(1.0, abs=0.02)


def test_settings_of_older_models(shared_data):
    hero7 = parse_payload((shared_data / "gopro" / "gpmf" / "hero7.raw").read_bytes())
    assert hero7.settings["SROT"] == pytest.approx(0.008015, abs=1e-6)
    assert hero7.iso[0] == 219
    assert hero7.white_balance[:3].tolist() == [7857, 7991, 8080]
    assert hero7.gains.shape == (169, 3)
    hero5 = parse_payload((shared_data / "gopro" / "gpmf" / "hero5.raw").read_bytes())
    assert hero5.iso[0] == pytest.approx(141.43647)
    assert hero5.problems == hero7.problems == ()


@pytest.mark.parametrize(
    ("name", "model", "n_gyro", "n_shutter"), [("hero5", "Camera", 399, 24), ("hero7", "Hero7 Black", 3369, 509)]
)
def test_gopro_payloads(shared_data, name, model, n_gyro, n_shutter):
    payload = parse_payload((shared_data / "gopro" / "gpmf" / f"{name}.raw").read_bytes())
    assert payload.model == model
    assert payload.gyro.shape == (n_gyro, 3)
    assert np.abs(payload.gyro).max() < 10
    assert payload.shutter_seconds.shape == (n_shutter,)
    assert ((payload.shutter_seconds > 1e-5) & (payload.shutter_seconds < 0.1)).all()
