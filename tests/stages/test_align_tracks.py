"""Recordings in the output's geometry: decoded once however often they are warped."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from skimage import data as skimage_data

from rb2v.artifacts import Rig
from rb2v.core.color import to_linear
from rb2v.core.resampling import FrameWarp
from rb2v.errors import InputError
from rb2v.interpolation import make_interpolator
from rb2v.io.encoder import write_video
from rb2v.io.frame_file import JoinedFrames
from rb2v.stages.align.track import InterpolationCheck, Recording, SharpSource, Track

SIZE, OUTPUT = (64, 48), (32, 24)
CROP = (4, 4, 48, 36)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    frames = np.random.default_rng(0).integers(0, 256, (3, SIZE[1] // 8, SIZE[0] // 8, 3), dtype=np.uint8)
    return write_video(
        tmp_path_factory.mktemp("video") / "sharp.mp4", frames.repeat(8, axis=1).repeat(8, axis=2), 100.0
    )


def warp(shift_px):
    return FrameWarp(np.array([[1, 0, shift_px], [0, 1, 0], [0, 0, 1]], dtype=np.float64), CROP, OUTPUT, "srgb")


def test_every_warp_decodes_afresh_and_shows_its_frames(video, tmp_path):
    recording, visited = Recording([video], SIZE, 100.0), []
    recording.warp(warp(0.0), tmp_path / "first")
    again = recording.warp(warp(1.5), tmp_path / "again", visit=visited.append)
    afresh = Recording([video], SIZE, 100.0).warp(warp(1.5), tmp_path / "afresh")
    np.testing.assert_array_equal(again.frames[:], afresh.frames[:])
    np.testing.assert_array_equal(again.frames[:], visited)
    np.testing.assert_array_equal(again.times, afresh.times)


def test_frames_of_another_size_or_rate_are_named(video, tmp_path):
    for size, fps in (((32, 48), 100.0), (SIZE, 50.0)):
        recording = Recording([video], size, fps)
        with pytest.raises(InputError) as caught:
            recording.finish(recording.warp(warp(0.0), tmp_path / "frames"))
        assert caught.value.source == str(video)


CODINGS = {
    "closed.mp4": ("libx264", {"x264-params": "keyint=12:bframes=3"}),
    "open.mp4": ("libx264", {"x264-params": "keyint=12:min-keyint=12:bframes=3:open-gop=1"}),
    "open.mkv": ("libx264", {"x264-params": "keyint=12:bframes=3:open-gop=1"}),
    "stream.ts": ("libx264", {"x264-params": "keyint=12:bframes=3:open-gop=1"}),
    "hevc.mp4": ("libx265", {"x265-params": "keyint=12:min-keyint=12:bframes=3:open-gop=1:log-level=none"}),
    "intra.mkv": ("mjpeg", {}),
}


def write_coded(path, first, stop):
    """Write frames that move, of which two are missing, in one of the ways of `CODINGS`."""
    codec, options = CODINGS[path.name.partition("_")[2]]
    scene = np.random.default_rng(0).integers(0, 256, (SIZE[1], 400, 3), dtype=np.uint8)
    scene = cv2.GaussianBlur(scene, (0, 0), 3.0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=100, options=options)
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.codec_context.time_base = "yuvj420p" if codec == "mjpeg" else "yuv420p", Fraction(1, 100)
        for index in range(first, stop):
            if index not in (71, 72):
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(scene[:, 2 * index : 2 * index + SIZE[0]]))
                picture.pts, picture.time_base = index - first, Fraction(1, 100)
                container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("coding", CODINGS)
def test_pieces_hold_the_frames_of_the_whole(tmp_path, coding):
    chapters = [write_coded(tmp_path / f"{n}_{coding}", *some) for n, some in enumerate(((0, 90), (90, 160)))]
    recording = Recording(chapters, SIZE, 100.0)
    whole, pieces = recording.warp(warp(0.0), tmp_path / "whole"), recording.cut(30)
    made = [recording.warp(warp(0.0), tmp_path / f"{n}", piece=piece) for n, piece in enumerate(pieces)]
    assert [index for piece in pieces for index in piece.frames] == list(range(158))
    assert len(pieces) >= 4
    pairs = list(zip(pieces, made, strict=True))
    joined = JoinedFrames([one.frames.part(piece.own) for piece, one in pairs])
    np.testing.assert_array_equal(joined[:], whole.frames[:])
    np.testing.assert_array_equal(np.concatenate([one.times[list(piece.own)] for piece, one in pairs]), whole.times)
    steps = np.concatenate([one.differences[piece.steps] for piece, one in pairs])
    np.testing.assert_array_equal(steps, whole.differences)


def test_the_stored_blur_track_holds_the_windows(tmp_path):
    frames = (
        np.random.default_rng(0).integers(0, 256, (6, 6, 8, 3), dtype=np.uint8).repeat(16, axis=1).repeat(16, axis=2)
    )
    rig = Rig("small", "a", "b", 25.0, 100.0, None, "srgb", 2, 7, 19, (128, 96), 0.25)
    source = SharpSource(Track(frames, np.arange(6) / 100, np.zeros(6, dtype=bool)), rig, make_interpolator("linear"))
    stored = source.make_blur_track(tmp_path / "blur")
    assert len(stored.windows()) == source.n_positions
    for position in range(source.n_positions):
        blur, sequence = source.window(position)
        stored_blur, stored_sequence = stored.window(position)
        np.testing.assert_allclose(stored_blur, blur, atol=1e-5)
        np.testing.assert_allclose(stored_sequence, sequence, atol=1e-5)
        np.testing.assert_allclose(stored.windows()[position : position + 1][0], blur.reshape(-1, 3), atol=1e-5)


def test_frames_are_interpolated_to_be_judged_only_where_the_mean_of_their_neighbors_is_poor():
    smooth = cv2.GaussianBlur(skimage_data.astronaut()[:192, 128:320], (0, 0), 4.0)
    photo = to_linear(cv2.resize(smooth, (96, 96), interpolation=cv2.INTER_AREA), "srgb")
    frames = [np.roll(photo, shift, axis=1) for shift in (0, 1, 2, 12, 4, 5)]
    told = {}
    for sure_db in (10.0, 25.0, 100.0):
        check = InterpolationCheck(make_interpolator("flow"), "srgb", sure_db)
        told[sure_db] = [check.add(frame.copy())[1] for frame in frames]
    assert np.isnan(told[25.0][:2]).all()
    # Only the first of these lies between two that are like it; of the others one is not, or they are not themselves.
    assert told[25.0][2] == told[10.0][2] > 25
    assert told[25.0][3:] == told[100.0][3:]
    assert told[100.0][2] > told[10.0][2]  # along the motion it is found better
