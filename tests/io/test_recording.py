from datetime import UTC, datetime

import numpy as np
import pytest
from cards import NOON, write_recording

from rb2v.errors import InputError
from rb2v.io.recording import count_missing, read_recording
from rb2v.io.video import iter_frames


def times_of(path):
    return np.array([frame.time_seconds for frame in iter_frames([path])])


def test_what_a_camera_writes(tmp_path):
    path = write_recording(tmp_path / "a.mp4", "sharp", 1.2, timecode="12:00:00:50")
    recording = read_recording([path])
    assert (recording.width, recording.height, recording.format.pixel_format) == (64, 48, "yuvj420p")
    assert recording.full_range is True
    assert recording.created == NOON.replace(tzinfo=UTC)
    assert recording.timecode_seconds == 43_200.5
    assert recording.frame_rate == pytest.approx(100)
    assert recording.duration_seconds == pytest.approx(1.2)
    np.testing.assert_allclose(recording.frame_times, times_of(path), atol=1e-9)
    assert recording.telemetry.model == "HERO8 Black"
    assert recording.telemetry.problems == recording.problems == ()
    assert count_missing(recording) == 0


def test_chapters_are_one_recording(tmp_path):
    paths = [write_recording(tmp_path / f"{index}.mp4", "blurry", 0.6) for index in range(3)]
    recording = read_recording(paths)
    assert recording.n_frames == 45
    np.testing.assert_allclose(np.diff(recording.frame_times), 0.04, atol=1e-9)
    assert recording.telemetry.shutter_times[-1] == pytest.approx(44 * 0.04, abs=1e-3)
    other = write_recording(tmp_path / "other.mp4", "blurry", 0.6, size=(80, 60))
    assert "other.mp4: its frames are of 80x60" in read_recording([*paths, other]).problems[0]


def test_lost_frames_are_counted(tmp_path):
    recording = read_recording([write_recording(tmp_path / "a.mp4", "sharp", 1.0, lost=(10, 11, 50))])
    assert recording.n_frames == 97
    assert count_missing(recording) == 3
    assert recording.frame_rate == pytest.approx(100)
    assert recording.duration_seconds == pytest.approx(1.0)


def test_files_that_are_none(tmp_path):
    whole = write_recording(tmp_path / "a.mp4", "blurry", telemetry=False).read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[:-200])  # the index is at the beginning here
    assert "is cut short" in read_recording([tmp_path / "b.mp4"]).problems[0]
    (tmp_path / "c.mp4").write_bytes(b"no video at all" * 10)
    with pytest.raises(InputError, match=r"c\.mp4: is not a video"):
        read_recording([tmp_path / "c.mp4"])
    with pytest.raises(InputError, match="no such file"):
        read_recording([tmp_path / "d.mp4"])


@pytest.mark.parametrize(
    ("name", "n_frames", "frame_rate"),
    [
        ("gopro/max-heromode.mp4", 315, 30_000 / 1001),
        ("video/vtest.avi", 795, 10.0),
        ("video/cup.mp4", 217, 26.777),
        ("faces/head-pose-female.gif", 23, 12.0),
        ("hands/asl_yes.mkv", 65, 30.0),
        ("greenscreen/mdn_chroma_60fps.mp4", 1465, 60_000 / 1001),
    ],
)
def test_real_files(shared_data, name, n_frames, frame_rate):
    recording = read_recording([shared_data / name])
    assert recording.n_frames == n_frames
    assert recording.frame_rate == pytest.approx(frame_rate, rel=2e-4)
    assert recording.problems == ()
    assert count_missing(recording) == 0


@pytest.mark.parametrize("name", ["gopro/max-heromode.mp4", "hands/asl_yes.mkv", "faces/head-pose-female.gif"])
def test_times_are_those_of_the_decoded_frames(shared_data, name):
    recording = read_recording([shared_data / name])
    # Where containers round times coarsely the frames are evened out within the rounding.
    np.testing.assert_allclose(
        recording.frame_times, times_of(shared_data / name), atol=max(recording.format.tick_seconds / 2, 1e-9)
    )


def test_a_gopro_recording(shared_data):
    recording = read_recording([shared_data / "gopro" / "max-heromode.mp4"])
    assert (recording.width, recording.height, recording.format.codec) == (848, 480, "h264")
    assert (recording.format.pixel_format, recording.full_range) == ("yuvj420p", True)
    assert recording.created == datetime(2019, 11, 18, 15, 45, 32, tzinfo=UTC)
    assert recording.timecode_seconds == pytest.approx(15 * 3600 + 45 * 60 + 32, abs=0.01)  # as created
    assert recording.duration_seconds == pytest.approx(10.5105)
