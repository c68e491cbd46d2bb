"""What is right for each odd file: frames shown, times, rate, colors, and which way is up."""

from fractions import Fraction

import av
import numpy as np
import pytest
from odd_files import (
    BT601,
    BT709,
    FULL,
    LIMITED,
    NTSC,
    SIZE,
    UNSTATED,
    count_timecode,
    cut_by_edit_list,
    moving,
    to_frame,
    write_odd,
)

from rb2v.artifacts import FormatOverride
from rb2v.core.planes import LEFT_SITING, Planes
from rb2v.errors import InputError
from rb2v.io.chroma import read_stated_siting
from rb2v.io.gopro import read_timecode
from rb2v.io.picture_track import ColorCoding, to_image
from rb2v.io.recording import count_missing, read_recording
from rb2v.io.sound import read_sound
from rb2v.io.video import iter_frames, probe_video

X264 = {"preset": "ultrafast", "qp": "4", "bf": "0"}
B_FRAMES = {"preset": "veryfast", "qp": "4", "bf": "2"}
X265 = {"x265-params": "qp=8:log-level=none"}
FINEST = {"qmin": "1", "qmax": "2"}
FILES = {
    "mp4": ("a.mp4", {"options": X264}),
    "mov-b-frames": ("a.mov", {"options": B_FRAMES}),
    "mkv": ("a.mkv", {"options": B_FRAMES}),
    "mkv-ntsc": ("a.mkv", {"options": X264, "rate": 4 * NTSC}),
    "mpeg-ts": ("a.ts", {"options": B_FRAMES, "rate": 50}),
    "avi-mjpeg": ("a.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p", "color": (BT601, FULL), "options": FINEST}),
    "avi-mpeg4": ("a.avi", {"codec": "mpeg4", "color": (UNSTATED, LIMITED), "options": FINEST}),
    "mjpeg-422": ("a.mov", {"codec": "mjpeg", "pix_fmt": "yuvj422p", "color": (BT601, FULL), "options": FINEST}),
    "hevc-10": ("a.mp4", {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": X265}),
    "h264-422-10": ("a.mp4", {"pix_fmt": "yuv422p10le", "options": X264}),
    "h264-444": ("a.mp4", {"pix_fmt": "yuv444p", "options": X264}),
    "vp9": ("a.webm", {"codec": "libvpx-vp9", "options": {"lossless": "1", "cpu-used": "8"}}),
    "av1": ("a.mp4", {"codec": "libsvtav1", "options": {"preset": "10", "qp": "8", "svtav1-params": "lp=1"}}),
    "prores": ("a.mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le", "options": {"profile": "3"}}),
    "uncompressed-422": ("a.mov", {"codec": "rawvideo", "pix_fmt": "uyvy422", "color": (UNSTATED, LIMITED)}),
    "uncompressed-10": ("a.mov", {"codec": "v210", "pix_fmt": "yuv422p10le", "color": (UNSTATED, LIMITED)}),
    "nv12": ("a.avi", {"codec": "rawvideo", "pix_fmt": "nv12", "color": (UNSTATED, LIMITED)}),
    "411": ("a.mkv", {"codec": "ffv1", "pix_fmt": "yuv411p"}),
    "410": ("a.mkv", {"codec": "ffv1", "pix_fmt": "yuv410p"}),
    "ffv1-rgb": ("a.mkv", {"codec": "ffv1", "pix_fmt": "bgr0"}),
    "24-fps": ("a.mp4", {"options": X264, "rate": 24}),
    "240-fps": ("a.mp4", {"options": X264, "rate": 240}),
}  # fmt: skip


@pytest.fixture(scope="module")
def frames():
    return moving(14)


@pytest.mark.parametrize("name", FILES)
def test_every_container_and_codec_shows_what_was_recorded(tmp_path, frames, name):
    file, settings = FILES[name]
    path = write_odd(tmp_path / file, frames, **settings)
    rate = float(settings.get("rate", 25))
    recording, shown = read_recording([path]), list(iter_frames([path]))
    assert recording.problems == ()
    assert recording.n_frames == len(shown) == len(frames)
    assert count_missing(recording) == recording.repeated.sum() == 0
    assert recording.frame_rate == pytest.approx(rate, rel=2e-3)  # 14 times of whole milliseconds tell no more
    start = recording.frame_times[0]
    np.testing.assert_allclose(recording.frame_times - start, np.arange(len(frames)) / rate, atol=0.3e-3)
    decoded = np.array([frame.time_seconds for frame in shown])
    np.testing.assert_allclose(decoded, recording.frame_times, atol=recording.format.tick_seconds)
    assert (recording.width, recording.height) == SIZE
    for index in (0, 5, 13):
        difference = shown[index].image.astype(float) - frames[index]
        # In levels; chroma is subsampled by 2, or by 4, and codecs round.
        assert np.abs(difference[12:, 12:]).mean() < (11 if name in ("411", "410") else 5)
        assert np.abs(difference[12:, 12:].mean(axis=(0, 1))).max() < 1.5  # swscale's, for full range


MATRICES = {  # FFmpeg's: what x and y of the shown image are, by columns and rows of the stored one
    "upright": ([1, 0, 0, 1], lambda image: image),
    "half-turn": ([-1, 0, 0, -1], lambda image: image[::-1, ::-1]),
    "clockwise": ([0, 1, -1, 0], lambda image: np.rot90(image, -1)),
    "counterclockwise": ([0, -1, 1, 0], lambda image: np.rot90(image)),
    "mirrored": ([-1, 0, 0, 1], lambda image: image[:, ::-1]),
    "mirrored-and-turned": ([0, 1, 1, 0], lambda image: image.swapaxes(0, 1)),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
def test_frames_are_upright(tmp_path, frames, name, pix_fmt):
    (a, b, c, d), turn = MATRICES[name]
    matrix = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
    stored = write_odd(tmp_path / "stored.mp4", frames[:2], pix_fmt=pix_fmt, options=X264)
    path = write_odd(tmp_path / "a.mp4", frames[:2], pix_fmt=pix_fmt, options=X264, matrix=matrix)
    expected, shown = next(iter_frames([stored])).image, next(iter_frames([path])).image
    difference = np.abs(shown.astype(int) - turn(expected))
    assert difference.max() <= (1 if pix_fmt == "yuv420p" else 0)  # half levels are rounded either way
    described = probe_video(path)
    assert (described.height, described.width) == shown.shape[:2]
    assert described.orientation.is_mirrored == name.startswith("mirrored")
    assert read_recording([path]).width == described.width


def test_a_file_that_is_turned_otherwise_than_the_one_before_it_is_named(tmp_path, frames):
    half_turn = [-1 << 16, 0, 0, 0, -1 << 16, 0, 0, 0, 1 << 30]
    paths = [
        write_odd(tmp_path / f"{index}.mp4", frames[:3], options=X264, matrix=matrix)
        for index, matrix in enumerate((None, half_turn))
    ]
    with pytest.raises(InputError) as caught:
        list(iter_frames(paths))
    assert caught.value.source == str(paths[1])
    assert "turned" in read_recording(paths).problems[0]


def test_a_matrix_that_turns_askew_is_named(tmp_path, frames):
    tilted = [56_756, 32_768, 0, -32_768, 56_756, 0, 0, 0, 1 << 30]
    path = write_odd(tmp_path / "a.mp4", frames[:2], options=X264, matrix=tilted)
    for read in (probe_video, lambda path: list(iter_frames([path])), lambda path: read_recording([path])):
        with pytest.raises(InputError) as caught:
            read(path)
        assert caught.value.source == str(path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_previews_and_second_tracks_are_passed_over(tmp_path, frames, suffix):
    cover = np.zeros((32, 32, 3), np.uint8)
    large = moving(14, (128, 96))
    path = write_odd(tmp_path / f"a.{suffix}", frames, options=X264, cover=cover, second=large)
    recording = read_recording([path])
    assert (recording.width, recording.height, recording.n_frames) == (*SIZE, 14)
    assert next(iter_frames([path])).image.shape[:2] == SIZE[::-1]


@pytest.mark.parametrize("rate", [25, NTSC])
@pytest.mark.parametrize("group", ["50", "2", "1"])  # only what is shown frames are predicted from stays in the index
def test_a_trimmed_file_holds_what_it_shows(tmp_path, frames, rate, group):
    path = write_odd(tmp_path / "a.mp4", frames, rate=rate, options={**X264, "g": group})
    recording = read_recording([cut_by_edit_list(path, 5, rate)])
    assert (recording.problems, recording.n_frames) == ((), 9)
    shown = list(iter_frames([path]))
    assert len(shown) == 9
    assert np.abs(shown[0].image.astype(int) - frames[5]).mean() < 4
    assert recording.frame_times[0] == pytest.approx(0, abs=1e-3)


def repeat(frames, pattern):
    return [frames[index] for index in pattern]


@pytest.mark.parametrize(
    ("suffix", "settings"),
    [
        ("mp4", {"options": {"preset": "veryfast", "crf": "16"}}),
        (
            "avi",
            {"codec": "mjpeg", "pix_fmt": "yuvj420p", "color": (BT601, FULL), "options": FINEST},
        ),
    ],
)
@pytest.mark.parametrize(
    "pattern",
    [
        [*range(12), 11, *range(13, 30)],  # a lost frame filled by the one before it
        [*range(8), 7, 7, *range(10, 30)],
        [index * 4 // 5 for index in range(30)],  # 24 to 30, 2:3 pulldown without interlacing
        [index // 2 for index in range(30)],
    ],
    ids=["lost", "two-lost", "pulldown", "doubled"],
)
def test_repeated_frames_are_found(tmp_path, suffix, settings, pattern):
    path = write_odd(tmp_path / f"a.{suffix}", repeat(moving(31), pattern), **settings)
    expected = np.diff(pattern, prepend=-1) == 0
    found = read_recording([path]).repeated
    np.testing.assert_array_equal(found, expected)


def test_a_motion_that_turns_round_repeats_nothing(tmp_path):
    steps = np.rint(20 * (1 + np.sin(np.arange(40) / 3.0))).astype(int)
    path = write_odd(tmp_path / "a.mp4", repeat(moving(45), steps), options={"preset": "veryfast", "crf": "23"})
    still = np.diff(steps, prepend=-1) == 0
    assert not (read_recording([path]).repeated & ~still).any()


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv422p", "yuv422p10le", "yuv444p", "yuv444p10le"])
@pytest.mark.parametrize("color_range", [LIMITED, FULL])
@pytest.mark.parametrize(("space", "matrix"), [(BT709, "bt709"), (BT601, "bt601"), (UNSTATED, "bt601")])
def test_flat_colors_keep_their_values(tmp_path, pix_fmt, color_range, space, matrix):
    weights = {"bt709": (0.2126, 0.0722), "bt601": (0.299, 0.114)}[matrix]
    colors = np.array([[200, 60, 90], [20, 130, 60], [128, 128, 128]])
    bits = 10 if pix_fmt.endswith("10le") else 8
    for color in colors:
        codes = encode_color(color, weights, bits, full=color_range == FULL)
        path = write_planes(tmp_path / "a.mp4", codes, pix_fmt, (space, color_range))
        image = next(iter_frames([path])).image
        assert np.ptp(image.reshape(-1, 3), axis=0).max() == 0
        # Rounded once, in single precision. Codes of 8 bits cannot tell all colors apart, those of 10 can.
        exact = decode_color(codes, weights, bits, full=color_range == FULL)
        assert np.abs(image[0, 0] - exact).max() <= 0.504
        if bits == 10:
            np.testing.assert_array_equal(image[0, 0], color)
        assert probe_video(path).color.matrix == matrix
        assert probe_video(path).color.matrix_stated == (space != UNSTATED)


@pytest.mark.parametrize("name", ["nv12", "nv16", "nv24", "p010le", "p210le", "p410le", "yuyv422", "uyvy422"])
def test_formats_of_hardware_decoders_are_read_as_planar_ones(frames, name):
    bits = 10 if name.startswith("p") else 8
    chroma = {"nv12": "420", "p010le": "420", "nv24": "444", "p410le": "444"}.get(name, "422")
    planar = to_frame(frames[3], f"yuv{chroma}p{'10le' if bits == 10 else ''}", (BT709, LIMITED))
    coding = ColorCoding("bt709", full_range=False, matrix_stated=True, range_stated=True)
    siting = {"420": LEFT_SITING, "422": (0.0, 0.0), "444": (0.0, 0.0)}[chroma]
    expected, found = (to_image(picture, coding, siting) for picture in (planar, planar.reformat(format=name)))
    expected = expected.rgb() if isinstance(expected, Planes) else expected
    assert np.abs(found.astype(int) - expected).max() <= (1 if name == "nv12" else 0)  # half levels, either way


def encode_color(color, weights, bits, *, full):
    """Y'CbCr codes by ITU-T H.273, equations of section 8.3, written apart from the reader's matrix."""
    red, green, blue = np.asarray(color) / 255
    kr, kb = weights
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = (blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)
    top, one = (1 << bits) - 1, 1 << (bits - 8)
    if full:
        return [round(top * luma), *(round(top * value) + (1 << (bits - 1)) for value in chroma)]
    return [round(one * (219 * luma + 16)), *(round(one * (224 * value + 128)) for value in chroma)]


def decode_color(codes, weights, bits, *, full):
    """R'G'B' in levels of 255, before they are rounded: the inverse of `encode_color`."""
    kr, kb = weights
    one = 1 << (bits - 8)
    if full:
        luma, *chroma = (code / ((1 << bits) - 1) for code in (codes[0], *(c - (1 << (bits - 1)) for c in codes[1:])))
    else:
        luma, *chroma = (codes[0] / one - 16) / 219, *((code / one - 128) / 224 for code in codes[1:])
    blue, red = luma + (2 - 2 * kb) * chroma[0], luma + (2 - 2 * kr) * chroma[1]
    return 255 * np.array([red, (luma - kr * red - kb * blue) / (1 - kr - kb), blue])


def write_planes(path, codes, pix_fmt, color):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, pix_fmt
        stream.codec_context.colorspace, stream.codec_context.color_range = color
        frame = av.VideoFrame(32, 32, pix_fmt)
        for plane, code in zip(frame.planes, codes, strict=True):
            kind = "<u2" if pix_fmt.endswith("10le") else "u1"
            plane.update(np.full(plane.buffer_size // np.dtype(kind).itemsize, code, kind).tobytes())
        frame.colorspace, frame.color_range, frame.pts, frame.time_base = *color, 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_an_unstated_matrix_is_bt709_from_720_lines_on(tmp_path):
    for height, matrix in ((718, "bt601"), (720, "bt709")):
        image = np.zeros((height, 16, 3), np.uint8)
        path = write_odd(tmp_path / f"{height}.mp4", [image], color=(UNSTATED, LIMITED), options=X264)
        assert probe_video(path).color.matrix == matrix
    assert probe_video(path, FormatOverride(color_matrix="bt601")).color.matrix == "bt601"
    assert probe_video(path, FormatOverride(color_range="full")).color.full_range


def test_slow_motion_has_the_times_at_which_it_was_recorded(tmp_path, frames):
    tags = {"com.android.capture.fps": "240.000000"}
    path = write_odd(tmp_path / "a.mp4", frames, rate=30, options=X264, tags=tags, sound=np.ones((1, 4800)) / 4)
    recording = read_recording([path])
    assert recording.frame_rate == pytest.approx(240)
    assert [frame.time_seconds for frame in iter_frames([path])] == pytest.approx(np.arange(14) / 240, abs=1e-5)
    assert read_sound([path]) is None
    untagged = write_odd(tmp_path / "b.mp4", frames, rate=30, options=X264)
    assert read_recording([untagged]).frame_rate == pytest.approx(30)
    assert read_recording([untagged], FormatOverride(capture_fps=120.0)).frame_rate == pytest.approx(120)


def test_a_phone_states_a_capture_rate_of_its_own_rate(tmp_path, frames):
    tags = {"com.android.capture.fps": "30.000000"}
    path = write_odd(tmp_path / "a.mp4", frames, rate=Fraction(292, 10), options=X264, tags=tags)
    assert read_recording([path]).frame_rate == pytest.approx(29.2, rel=1e-3)


def test_channels_that_cancel_out_are_heard(tmp_path, frames):
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 48_000)
    heard = write_odd(tmp_path / "a.mp4", frames, options=X264, sound=np.stack([tone, -tone]))
    silent = write_odd(tmp_path / "b.mp4", frames, options=X264, sound=np.zeros((2, 24_000)))
    assert read_sound([heard]).samples.std() == pytest.approx(tone.std(), rel=0.1)
    assert not read_recording([heard]).is_silent
    assert read_sound([silent]).is_silent
    assert read_recording([silent]).is_silent


def test_of_several_tracks_the_one_with_sound_is_heard(tmp_path, frames):
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 48_000)[None]
    path = write_odd(tmp_path / "a.mp4", frames, options=X264, sound=[np.zeros((1, 24_000)), tone])
    assert read_sound([path]).samples.std() == pytest.approx(tone.std(), rel=0.1)
    assert not read_recording([path]).is_silent


LOST = [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15]


@pytest.mark.parametrize(
    ("suffix", "settings", "seconds"),
    [
        ("mp4", {"rate": 25}, 56_700 + 20 / 25),
        ("mp4", {"rate": NTSC, "pts": LOST}, (56_700 * 30 + 20) / NTSC),  # the mean rate is 26
        ("mkv", {"rate": NTSC, "pts": LOST}, (56_700 * 30 + 20) / NTSC),  # a tag in capital letters
        ("mp4", {"rate": 30, "tags": {"com.android.capture.fps": "240"}}, 56_700 + 20 / 30),
    ],
    ids=["mp4", "lost-frames", "mkv", "slow-motion"],
)
def test_a_timecode_counts_frames_as_they_are_played(tmp_path, frames, suffix, settings, seconds):
    path = write_odd(tmp_path / f"a.{suffix}", frames, options=X264, timecode="15:45:00:20", **settings)
    assert read_timecode(path) == pytest.approx(float(seconds), abs=1e-6)
    assert read_recording([path]).timecode_seconds == read_timecode(path)


def test_a_timecode_has_a_rate_of_its_own(tmp_path, frames):
    path = write_odd(tmp_path / "a.mp4", frames, rate=100, options=X264, timecode="00:10:00:50")
    assert read_timecode(path) == pytest.approx(600.5)
    assert read_timecode(count_timecode(path, 25)) == pytest.approx(60_050 / 25)  # its number of frames stays


def test_the_siting_is_that_of_the_track_that_is_read(tmp_path, frames):
    options = X264 | {"x264-params": "chromaloc=2"}
    for name, cover in (("a.mp4", None), ("b.mp4", np.zeros((32, 32, 3), np.uint8))):
        path = write_odd(tmp_path / name, frames[:2], options=options, cover=cover)
        assert read_stated_siting(path) == probe_video(path).siting == (0.0, 0.0)


def test_chapters_go_on_where_the_last_one_ended(tmp_path, frames):
    paths = [write_odd(tmp_path / f"{n}.mkv", frames, rate=NTSC, options=X264, pts=LOST) for n in (0, 1)]
    times = np.array([frame.time_seconds for frame in iter_frames(paths)])
    np.testing.assert_allclose(times, read_recording(paths).frame_times, atol=1.1e-3)
    np.testing.assert_allclose(times, np.array([*LOST, *(16 + np.array(LOST))]) / float(NTSC), atol=1.1e-3)
