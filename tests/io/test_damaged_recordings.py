"""Files that are no recording, or not a whole one, and what is said of each."""

import itertools

import numpy as np
import pytest
from odd_files import LIMITED, UNSTATED, cut_out_by_edit_list, moving, write_odd

from rb2v.errors import InputError
from rb2v.io.recording import read_recording
from rb2v.io.video import iter_frames, write_image

B_FRAMES = {"preset": "veryfast", "qp": "8", "bf": "2", "g": "10"}
TS_PACKET_BYTES = 188


@pytest.fixture(scope="module")
def frames():
    return moving(30)


def photo(path, frames):
    write_image(path.with_suffix(".jpg"), frames[0]).rename(path)


def unfinished(path, frames):
    write_odd(path, frames[:9], options=B_FRAMES)
    path.write_bytes(path.read_bytes()[:-2000])  # the index is at the end


NO_VIDEOS = {
    "empty": (lambda path, frames: path.touch(), "empty"),
    "zeros": (lambda path, frames: path.write_bytes(bytes(9000)), "zeros"),
    "photo": (photo, "an image"),
    "unfinished": (unfinished, "index"),
    "page": (lambda path, frames: path.write_text("<html>404</html>"), "is not a video"),
    "folder": (lambda path, frames: path.mkdir(), "folder"),
}


@pytest.mark.parametrize("name", NO_VIDEOS)
def test_what_is_no_video_is_named(tmp_path, frames, name):
    make, named = NO_VIDEOS[name]
    path = tmp_path / "a.mp4"
    make(path, frames)
    for read in (read_recording, lambda paths: list(iter_frames(paths))):
        with pytest.raises(InputError, match=named) as caught:
            read([path])
        assert caught.value.source == str(path)
        assert caught.value.expected.startswith("a video")


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_suffix_decides_nothing(tmp_path, frames, suffix):
    path = write_odd(tmp_path / f"a.{suffix}", frames[:6], options=B_FRAMES).rename(tmp_path / "a.avi")
    assert read_recording([path]).n_frames == 6
    assert read_recording([path]).problems == ()


@pytest.mark.parametrize("options", [B_FRAMES, {"preset": "ultrafast", "bf": "0"}, {"preset": "ultrafast", "g": "1"}])
def test_parts_that_were_cut_out_are_named(tmp_path, frames, options):
    path = write_odd(tmp_path / "a.mp4", frames, options=options)
    assert read_recording([path]).cuts == ()
    recording = read_recording([cut_out_by_edit_list(path, 10, 20, 25)])
    assert recording.cuts == pytest.approx([0.4], abs=1e-3)
    assert recording.n_frames == len(list(iter_frames([path]))) == 20


def test_a_transport_stream_that_lacks_packets(tmp_path):
    path = write_odd(tmp_path / "a.ts", moving(8, (192, 144)), options={"preset": "ultrafast", "qp": "8", "g": "1"})
    content, packet = path.read_bytes(), TS_PACKET_BYTES
    assert read_recording([path]).problems == ()
    middle = len(content) // packet // 2 * packet
    path.write_bytes(content[:middle] + content[middle + packet :])
    assert "damaged" in read_recording([path]).problems[0]


def test_a_frame_that_the_decoder_patched_is_no_frame(tmp_path, frames):
    path = write_odd(tmp_path / "a.mkv", frames, options={**B_FRAMES, "slices": "4"})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = bytes(300)
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(iter_frames([path]))
    assert caught.value.source == str(path)


def test_a_copy_that_ended_early_is_named(tmp_path, frames):
    path = write_odd(tmp_path / "a.mkv", frames, options=B_FRAMES)
    assert read_recording([path]).problems == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    assert "cut short" in read_recording([path]).problems[0]


def test_gray_spans_all_levels_where_nothing_is_stated(tmp_path, frames):
    gray = [np.repeat(frame[..., :1], 3, axis=2) for frame in frames[:3]]
    settings = {"codec": "rawvideo", "pix_fmt": "gray", "color": (UNSTATED, LIMITED)}
    path = write_odd(tmp_path / "a.avi", gray, **settings)
    assert read_recording([path]).format.color.full_range
    for frame, image in zip(iter_frames([path]), gray, strict=True):
        assert np.abs(frame.image.astype(int) - image).max() <= 1


def test_chapters_may_state_their_colors_or_not(tmp_path, frames):
    paths = [
        write_odd(tmp_path / f"{index}.mp4", frames[:6], options=B_FRAMES, color=(matrix, LIMITED))
        for index, matrix in enumerate((UNSTATED, 6))
    ]
    assert read_recording(paths).problems == ()
    for before, after in itertools.pairwise(list(iter_frames(paths))):
        assert after.time_seconds - before.time_seconds == pytest.approx(1 / 25)
