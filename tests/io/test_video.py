import gc
import struct
from fractions import Fraction

import av
import cv2
import numpy as np
import PIL.ExifTags
import PIL.Image
import pytest
from av.video.reformatter import Interpolation
from skimage import data as skimage_data

from rb2v.errors import InputError
from rb2v.io.encoder import CameraNotes, write_video
from rb2v.io.gopro import Telemetry, read_telemetry, read_timecode
from rb2v.io.sound import Sound, read_sound
from rb2v.io.video import iter_frames, probe_video, read_image, read_image_size, write_image

BT709, BT601, UNSPECIFIED = 1, 6, 2
LIMITED, FULL = 1, 2

# Codes of 100 % and 75 % colors as the standards' tables give them (BT.709, BT.601, and JFIF for full range).
GOLDEN = {
    (BT709, LIMITED): {
        (255, 255, 255): (235, 128, 128),
        (0, 0, 0): (16, 128, 128),
        (255, 0, 0): (63, 102, 240),
        (0, 255, 0): (173, 42, 26),
        (0, 0, 255): (32, 240, 118),
        (255, 255, 0): (219, 16, 138),
        (191, 0, 0): (51, 109, 212),
        (0, 191, 0): (133, 63, 52),
        (0, 0, 191): (28, 212, 120),
        (191, 191, 191): (180, 128, 128),
    },
    (BT601, LIMITED): {
        (255, 255, 255): (235, 128, 128),
        (0, 0, 0): (16, 128, 128),
        (255, 0, 0): (81, 90, 240),
        (0, 255, 0): (145, 54, 34),
        (0, 0, 255): (41, 240, 110),
        (255, 255, 0): (210, 16, 146),
        (191, 0, 0): (65, 100, 212),
        (0, 191, 0): (112, 72, 58),
        (0, 0, 191): (35, 212, 114),
        (191, 191, 191): (180, 128, 128),
    },
    (BT601, FULL): {
        (255, 255, 255): (255, 128, 128),
        (0, 0, 0): (0, 128, 128),
        (254, 0, 0): (76, 85, 255),
        (0, 255, 1): (150, 44, 21),
        (0, 0, 254): (29, 255, 107),
        (191, 0, 0): (57, 96, 224),
        (0, 0, 191): (22, 224, 112),
        (128, 128, 128): (128, 128, 128),
    },
    (BT709, FULL): {
        (255, 255, 255): (255, 128, 128),
        (0, 0, 0): (0, 128, 128),
        (254, 0, 0): (54, 99, 255),
        (0, 255, 0): (182, 30, 12),
        (0, 0, 254): (18, 255, 116),
        (191, 0, 0): (41, 106, 224),
        (0, 0, 191): (14, 224, 119),
        (128, 128, 128): (128, 128, 128),
    },
}


def encode(
    path, pictures, *, pts=None, time_base=Fraction(1, 25), options=None, colors=(BT709, LIMITED), codec="libx264"
):
    """Write I420 planes, (H * 3 / 2, W) each, as they are and when they are to be shown."""
    space, color_range = colors
    height, width = pictures[0].shape[0] * 2 // 3, pictures[0].shape[1]
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25, options={"qp": "0"} if options is None else options)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if color_range == FULL else "yuv420p"
        stream.codec_context.time_base = time_base
        stream.codec_context.color_range, stream.codec_context.colorspace = color_range, space
        for index, planes in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(planes, format=stream.pix_fmt)
            frame.color_range, frame.colorspace = color_range, space
            frame.pts, frame.time_base = index if pts is None else pts[index], time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def flat_planes(codes, size=(32, 32)):
    planes = np.empty((size[1] * 3 // 2, size[0]), np.uint8)
    planes[: size[1]] = codes[0]
    planes[size[1] : size[1] * 5 // 4] = codes[1]
    planes[size[1] * 5 // 4 :] = codes[2]
    return planes


def numbered(numbers, size=(64, 48)):
    """Grey images that tell which they are by their brightness."""
    return [np.full((size[1], size[0], 3), 5 * number + 20, np.uint8) for number in numbers]


def number_of(frame):
    return round((float(frame.image.mean()) - 20) / 5)


@pytest.fixture(scope="module")
def photo():
    return np.asarray(cv2.GaussianBlur(skimage_data.astronaut()[:256, 100:356], (0, 0), 2.0))


@pytest.mark.parametrize("colors", GOLDEN)
def test_flat_colors_by_the_published_codes(tmp_path, colors):
    golden = GOLDEN[colors]
    path = encode(tmp_path / "flat.mp4", [flat_planes(codes) for codes in golden.values()], colors=colors)
    frames = list(iter_frames([path]))
    assert len(frames) == len(golden)
    for frame, color in zip(frames, golden, strict=True):
        assert frame.image.dtype == np.uint8
        assert frame.image.shape == (32, 32, 3)
        assert np.abs(frame.image.astype(int) - color).max() <= 2, color


@pytest.mark.parametrize("colors", GOLDEN)
def test_pictures_as_swscale_converts_them(tmp_path, photo, colors):
    space, color_range = colors
    planes = av.VideoFrame.from_ndarray(photo, format="rgb24").reformat(
        format="yuvj420p" if color_range == FULL else "yuv420p",
        src_colorspace=space,
        dst_colorspace=space,
        src_color_range=FULL,
        dst_color_range=color_range,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
    )
    (frame,) = iter_frames([encode(tmp_path / "photo.mp4", [planes.to_ndarray()], colors=colors)])
    difference = frame.image.astype(int) - photo
    assert np.abs(difference).mean() < 1.5
    # swscale makes full range from codes of limited range that it rounded down before.
    assert np.abs(difference.mean(axis=(0, 1))).max() < (1 if color_range == FULL else 0.15)


def test_chroma_lies_on_even_columns_and_between_rows(tmp_path):
    # A chroma ramp of one code per chroma sample: at luma column x it is x / 2, at luma row y it is y / 2 - 1 / 4.
    for axis in (0, 1):
        ramp = np.indices((40, 40))[axis] + 100
        planes = np.concatenate([np.full((80, 80), 128), ramp.reshape(20, 80), np.full((20, 80), 128)]).astype(np.uint8)
        (frame,) = iter_frames([encode(tmp_path / f"{axis}.mp4", [planes], colors=(BT601, FULL))])
        along = np.arange(80) / 2 - (0.25 if axis == 0 else 0)
        blue = 128 + 1.772 * (100 + along - 128)
        found = frame.image[:, 40, 2] if axis == 0 else frame.image[40, :, 2]
        assert np.abs(found[2:-2] - blue[2:-2]).max() <= 1.6
        assert abs(np.mean(found[2:-2] - blue[2:-2])) < 0.5


def test_what_is_written_is_read_back(tmp_path, photo):
    frames = [np.roll(photo, 3 * index, axis=1) for index in range(4)]
    path = write_video(tmp_path / "a.mp4", iter(frames), 100.0, crf=4)
    info = probe_video(path)
    assert (info.width, info.height, info.nominal_fps, info.n_stated) == (256, 256, 100.0, 4)
    assert info.duration_seconds == pytest.approx(0.04)
    assert not info.has_audio
    read = list(iter_frames([path]))
    assert [frame.time_seconds for frame in read] == pytest.approx([0, 0.01, 0.02, 0.03])
    for frame, image in zip(read, frames, strict=True):
        difference = frame.image.astype(int)[:, 16:-16] - image[:, 16:-16]
        assert np.abs(difference).mean() < 1.2
        assert np.abs(difference.mean(axis=(0, 1))).max() < 0.5
    with av.open(path) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_range, context.colorspace) == (FULL, BT709)


@pytest.mark.parametrize("size", [(66, 50), (64, 50), (66, 48)])
def test_any_even_size_can_be_written(tmp_path, photo, size):
    image = np.ascontiguousarray(photo[: size[1], : size[0]])
    (frame,) = iter_frames([write_video(tmp_path / "a.mp4", [image], 25.0, crf=1)])
    assert np.abs(frame.image.astype(int) - image).mean() < 1.2


def test_the_same_frames_give_the_same_bytes(tmp_path, photo):
    sound = Sound(np.random.default_rng(0).uniform(-0.1, 0.1, 4800).astype(np.float32), 48_000, 0.0)
    paths = [write_video(tmp_path / name, [photo] * 3, 25.0, sound=sound) for name in ("a.mp4", "another.mp4")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_moving_frames_give_the_same_bytes_wherever_they_lie_in_memory(tmp_path, photo):
    rng = np.random.default_rng(0)
    shown = cv2.resize(photo, (256, 224), interpolation=cv2.INTER_AREA)
    noise = rng.normal(0, 3, (12, 160, 192, 3))
    moved = [shown[2 * step : 2 * step + 160, 3 * step : 3 * step + 192] for step in range(12)]
    frames = np.clip(np.stack(moved) + noise, 0, 255).astype(np.uint8)
    written, between = set(), []
    for index in range(30):
        between = [*between[-2:], rng.bytes(int(rng.integers(1, 3_000_000)))]
        written.add(write_video(tmp_path / f"{index}.mp4", frames, 25.0).read_bytes())
    assert len(written) == 1


def full_video(path, seconds=1.2, timecode="12:34:56:05", rate=25.0):
    """Write a video with all that a camera writes."""
    n = round(seconds * 200)
    rng = np.random.default_rng(0)
    telemetry = Telemetry(
        model="HERO8 Black",
        gyro=rng.normal(0, 1, (n, 3)),
        gyro_times=np.arange(n) / 200,
        shutter_seconds=np.full(n // 8, 1 / 25),
        shutter_times=np.arange(n // 8) / 25,
        settings={"EXPT": "1/25", "SROT": 0.0153},
    )
    sound = Sound(rng.uniform(-0.1, 0.1, round(48_000 * seconds)).astype(np.float32), 48_000, 0.0)
    frames = numbered(index % 40 for index in range(round(seconds * rate)))
    return write_video(path, frames, rate, sound=sound, notes=CameraNotes(telemetry, timecode), crf=4)


@pytest.mark.parametrize(
    ("rate", "timecode", "seconds"), [(25.0, "12:34:56:05", 45_296.2), (100.0, "00:00:01:99", 1.99)]
)
def test_a_video_with_all_that_a_camera_writes(tmp_path, rate, timecode, seconds):
    path = full_video(tmp_path / "a.mp4", timecode=timecode, rate=rate)
    info = probe_video(path)
    assert (info.width, info.height, info.nominal_fps, info.n_stated) == (64, 48, rate, round(1.2 * rate))
    assert info.has_audio
    frames = list(iter_frames([path]))
    assert [number_of(frame) for frame in frames] == [index % 40 for index in range(len(frames))]
    assert [frame.time_seconds for frame in frames] == pytest.approx(np.arange(len(frames)) / rate)
    assert abs(len(read_sound([path]).samples) - 57_600) <= 2048
    assert read_timecode(path) == pytest.approx(seconds)
    assert len(read_telemetry([path]).gyro) == 240
    kinds = [path.read_bytes().count(kind) for kind in (b"gpmd", b"tmcd", b"GPMFDEVC", b"udta")]
    assert kinds[0] >= 1
    assert kinds[1] >= 2
    assert kinds[2:] == [1, 1]


def test_the_same_telemetry_gives_the_same_bytes(tmp_path):
    paths = [full_video(tmp_path / name) for name in ("a.mp4", "another.mp4")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("timecode", ["", "12:34", "00:00:00:25", "25:00:00:00"])
def test_malformed_timecodes_cannot_be_written(tmp_path, timecode):
    with pytest.raises(ValueError, match="timecode must be HH:MM:SS:FF"):
        write_video(tmp_path / "a.mp4", numbered([1]), 25.0, notes=CameraNotes(timecode=timecode))
    assert not (tmp_path / "a.mp4").exists()


def test_odd_sizes_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="even sizes, got 33x32"):
        write_video(tmp_path / "a.mp4", [np.zeros((32, 33, 3), np.uint8)], 25.0)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_times_are_the_container_s(tmp_path, suffix):
    pts = [0, 40, 80, 130, 500, 505, 1000]
    pictures = [flat_planes((20 + 10 * index, 128, 128)) for index in range(len(pts))]
    path = encode(tmp_path / f"vfr{suffix}", pictures, pts=pts, time_base=Fraction(1, 1000))
    frames = list(iter_frames([path]))
    assert [frame.time_seconds for frame in frames] == pytest.approx([t / 1000 for t in pts], abs=1e-3)
    levels = [frame.image.mean() for frame in frames]
    assert levels == sorted(levels), "in the order of presentation, not of decoding"


def test_frames_come_in_the_order_of_presentation(tmp_path):
    options = {"qp": "0", "bf": "3", "b-adapt": "0"}
    path = encode(tmp_path / "b.mp4", [flat_planes((16 + 5 * i, 128, 128)) for i in range(20)], options=options)
    frames = list(iter_frames([path]))
    assert [frame.time_seconds for frame in frames] == pytest.approx(np.arange(20) / 25)
    assert (np.diff([frame.image.mean() for frame in frames]) > 3).all()


def test_chapters_go_on_in_time(tmp_path):
    paths = [
        write_video(tmp_path / "1.mp4", numbered(range(5)), 25.0, crf=4),
        write_video(tmp_path / "2.mp4", numbered([5]), 25.0, crf=4),
        write_video(tmp_path / "3.mp4", numbered(range(6, 10)), 25.0, crf=4),
    ]
    frames = list(iter_frames(paths))
    assert [number_of(frame) for frame in frames] == list(range(10))
    assert [frame.time_seconds for frame in frames] == pytest.approx(np.arange(10) / 25)
    alone = list(iter_frames(paths[1:]))
    assert [frame.time_seconds for frame in alone] == pytest.approx(np.arange(5) / 25)


def test_chapters_of_different_sizes_are_refused(tmp_path):
    paths = [
        write_video(tmp_path / "1.mp4", numbered(range(2)), 25.0),
        write_video(tmp_path / "2.mp4", numbered(range(2), (32, 48)), 25.0),
    ]
    with pytest.raises(InputError, match=r"2\.mp4: frames are 32x48; expected 64x48"):
        list(iter_frames(paths))


def trim(path, n_frames, frame_rate):
    """Turn a video into one of which the first frames are not to be shown, as editors trim without encoding anew."""
    content = bytearray(path.read_bytes())
    edit = content.index(b"elst")
    time_scale = struct.unpack_from(">I", content, content.index(b"mdhd") + 16)[0]
    (media_time,) = struct.unpack_from(">i", content, edit + 16)
    struct.pack_into(">i", content, edit + 16, media_time + n_frames * time_scale // frame_rate)
    path.write_bytes(content)
    return path


def test_a_trimmed_video_begins_where_it_was_trimmed(tmp_path):
    path = trim(write_video(tmp_path / "a.mp4", numbered(range(40)), 25.0, crf=4), 12, 25)
    frames = list(iter_frames([path]))
    assert [number_of(frame) for frame in frames] == list(range(12, 40))
    assert [frame.time_seconds for frame in frames] == pytest.approx(np.arange(28) / 25)


@pytest.fixture(scope="module")
def whole_video(tmp_path_factory):
    noise = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), dtype=np.uint8)
    sound = Sound(np.zeros(48_000, np.float32), 48_000, 0.0)
    return write_video(tmp_path_factory.mktemp("whole") / "a.mp4", noise, 25.0, sound=sound).read_bytes()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_videos_cut_short_are_told(tmp_path, whole_video, share):
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole_video[: int(share * len(whole_video))])
    with pytest.raises(InputError, match=r"cut\.mp4: .*cut short"):
        list(iter_frames([path]))


@pytest.mark.parametrize("n_missing", [500, 800, 1200])
def test_videos_cut_in_or_before_an_index_at_their_end_are_told(tmp_path, n_missing):
    path = encode(tmp_path / "a.mp4", [flat_planes((20 + i, 128, 128)) for i in range(20)])
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(path.read_bytes()[:-n_missing])
    for read in (probe_video, lambda path: list(iter_frames([path]))):
        with pytest.raises(InputError, match=r"cut\.mp4: .*(cut short|no image track)"):
            read(cut)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a video"),
        (b"not a video\n" * 50, "is not a video"),
        (b"\0" * 5000, "is not a video"),
        (None, "there is no such file; expected a video"),
    ],
)
def test_files_that_are_no_video_are_named(tmp_path, content, message):
    path = tmp_path / "bad.mp4"
    if content is not None:
        path.write_bytes(content)
    for read in (probe_video, lambda path: list(iter_frames([path])), lambda path: read_sound([path])):
        with pytest.raises(InputError, match=rf"bad\.mp4: {message}"):
            read(path)


def test_a_folder_is_no_video(tmp_path):
    with pytest.raises(InputError) as caught:
        list(iter_frames([tmp_path]))
    assert caught.value.source == str(tmp_path)


def write_sound_only(path, samples, rate=48_000, layout="mono"):
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=rate, layout=layout)
        block = av.AudioFrame.from_ndarray(samples.astype(np.float32), format="fltp", layout=layout)
        block.sample_rate, block.pts, block.time_base = rate, 0, Fraction(1, rate)
        container.mux(stream.encode(block))
        container.mux(stream.encode(None))
    return path


def test_a_recording_of_sound_alone_is_no_video(tmp_path):
    path = write_sound_only(tmp_path / "sound.mp4", np.zeros((1, 9600)))
    for read in (probe_video, lambda path: list(iter_frames([path]))):
        with pytest.raises(InputError, match=r"sound\.mp4: holds no image track"):
            read(path)


def make_click(at, n, rate=48_000):
    samples = np.zeros(n, np.float32)
    start = round(at * rate)
    samples[start : start + 480] = 0.5 * np.hanning(480) * np.sin(2 * np.pi * 1000 * np.arange(480) / rate)
    return samples


def test_sound_is_heard_when_it_was_made(tmp_path):
    sound = Sound(make_click(0.3, 48_000), 48_000, 0.0)
    path = write_video(tmp_path / "a.mp4", numbered(range(25)), 25.0, sound=sound)
    assert probe_video(path).has_audio
    read = read_sound([path])
    assert read.rate == 48_000
    assert read.samples.ndim == 1
    assert read.samples.dtype == np.float32
    assert abs(len(read.samples) - 48_000) <= 2048
    lag = np.argmax(np.correlate(read.samples[:40_000], sound.samples[14_400:14_880]))
    assert read.start_seconds + lag / read.rate == pytest.approx(0.3, abs=1e-4)
    assert np.abs(read.samples).max() == pytest.approx(0.5, abs=0.03)


def test_sound_of_several_chapters_and_channels(tmp_path):
    stereo = np.stack([make_click(0.3, 48_000), np.zeros(48_000, np.float32)])
    path = write_sound_only(tmp_path / "stereo.m4a", stereo, layout="stereo")
    read = read_sound([path])
    assert read.samples.ndim == 1
    assert np.abs(read.samples).max() == pytest.approx(0.25, abs=0.12)
    twice = read_sound([path, path])
    assert len(twice.samples) == 2 * len(read.samples)


def test_a_video_without_sound(tmp_path):
    assert read_sound([write_video(tmp_path / "a.mp4", numbered(range(3)), 25.0)]) is None


@pytest.mark.parametrize("shape", [(12, 17, 3), (12, 17)])
def test_pictures_round_trip(tmp_path, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = write_image(tmp_path / "new" / "a.png", image)
    read = read_image(path)
    np.testing.assert_array_equal(read, image if len(shape) == 3 else np.repeat(image[..., None], 3, axis=2))


def test_red_is_the_first_channel(tmp_path):
    path = write_image(tmp_path / "red.jpg", np.full((16, 16, 3), (250, 10, 20), np.uint8))
    assert np.abs(read_image(path).mean(axis=(0, 1)) - (250, 10, 20)).max() < 3


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", None])
def test_files_that_are_no_picture_are_named(tmp_path, content):
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.png: "):
        read_image(path)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_size_is_that_of_the_picture_that_is_read(tmp_path, orientation):
    exif = PIL.Image.Exif()
    exif[PIL.ExifTags.Base.Orientation] = orientation
    PIL.Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image_size(tmp_path / "a.jpg") == read_image(tmp_path / "a.jpg").shape[1::-1]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_pictures_that_are_cut_short_are_named(tmp_path, capfd, suffix):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    data = write_image(tmp_path / f"a{suffix}", image).read_bytes()
    cut = tmp_path / f"cut{suffix}"
    for share in (0.4, 0.7, 0.95):
        cut.write_bytes(data[: int(share * len(data))])
        with pytest.raises(InputError, match=r"cut\.\w+: is cut short or damaged"):
            read_image(cut)
    # What programs put behind the end is no part of the image.
    cut.write_bytes(data + b"\xff\xda trailer")
    np.testing.assert_array_equal(read_image(cut), read_image(tmp_path / f"a{suffix}"))
    assert not capfd.readouterr().err


def test_pictures_of_a_kind_that_cannot_be_written(tmp_path):
    with pytest.raises((ValueError, cv2.error)):
        write_image(tmp_path / "a.xyz", np.zeros((4, 4, 3), np.uint8))


def test_a_gopro_recording(shared_data):
    path = shared_data / "gopro" / "max-heromode.mp4"
    info = probe_video(path)
    assert (info.width, info.height, info.n_stated) == (848, 480, 315)
    assert info.has_audio
    times, means = [], []
    for frame in iter_frames([path]):
        times.append(frame.time_seconds)
        means.append(frame.image[::8, ::8].min())
    assert len(times) == 315
    np.testing.assert_allclose(np.diff(times), 1001 / 30000, atol=2e-4)
    assert min(means) < 10, "full range reaches down to black"
    sound = read_sound([path])
    assert len(sound.samples) / sound.rate == pytest.approx(times[-1], abs=0.2)


def test_a_container_that_counts_no_frames(shared_data):
    path = shared_data / "hands" / "asl_milk.mkv"
    assert probe_video(path).n_stated == 0
    frames = list(iter_frames([path]))
    assert len(frames) > 20
    assert {frame.image.shape for frame in frames} == {(480, 640, 3)}
    assert (np.diff([frame.time_seconds for frame in frames]) > 0).all()


def test_a_gif(shared_data):
    frames = list(iter_frames([shared_data / "faces" / "head-pose-female.gif"]))
    assert len(frames) == 23
    assert {frame.image.shape for frame in frames} == {(270, 480, 3)}
    assert np.diff([frame.time_seconds for frame in frames]) == pytest.approx(0.08, abs=0.011)


def test_a_playlist_is_no_recording(tmp_path):
    write_video(tmp_path / "other.mp4", [np.zeros((48, 64, 3), np.uint8)] * 3, 25.0)
    script = tmp_path / "blurry.mp4"
    script.write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(InputError, match=r"blurry\.mp4: is not a video"):
        list(iter_frames([script]))


def test_a_colon_in_a_path_is_no_protocol(tmp_path):
    (tmp_path / "a:b").mkdir()
    path = write_video(tmp_path / "a:b" / "clip.mp4", [np.zeros((48, 64, 3), np.uint8)] * 3, 25.0)
    assert len(list(iter_frames([path]))) == 3


def test_a_picture_that_fills_the_memory_is_refused(tmp_path):
    path = tmp_path / "large.png"
    PIL.Image.new("1", (13_000, 13_000)).save(path)
    with pytest.raises(InputError, match=r"large\.png: is too large; expected at most 89 megapixels"):
        read_image(path)


def test_decoded_frames_are_freed_without_the_collector(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    path = write_video(tmp_path / "clip.mp4", frames, 25.0)
    gc.collect()
    gc.disable()
    try:
        assert sum(1 for _ in iter_frames([path])) == len(frames)
        assert gc.collect() < len(frames)
    finally:
        gc.enable()
