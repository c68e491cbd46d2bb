"""Telemetry of cameras that stamp nothing, or of several devices in one file."""

import dataclasses

import numpy as np
from cards import make_telemetry, write_recording

from rb2v.io.gopro import encode_telemetry, parse_payload, read_telemetry


def test_the_last_payload_is_not_stretched(tmp_path):
    path = write_recording(tmp_path / "a.mp4", "blurry", 2.14)
    content = path.read_bytes()
    assert b"STMP" not in content
    telemetry = read_telemetry([path])
    steps = np.diff(telemetry.gyro_times)
    np.testing.assert_allclose(steps, 1 / 200, rtol=0.02)  # the last payload holds 0.14 s


def test_the_model_is_that_of_the_first_device():
    own = make_telemetry("blurry", 0.4)
    other = dataclasses.replace(own, model="GoPro Karma v1.0")
    (first,), (second,) = encode_telemetry(own), encode_telemetry(other)
    assert parse_payload(first + second).model == "HERO8 Black"
