import pickle

import numpy as np
import pytest

from rb2v.io.frame_file import FrameFile, JoinedFrames


@pytest.fixture
def stack():
    return np.random.default_rng(0).integers(0, 65535, (9, 4, 5, 3), dtype=np.uint16)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_frames_come_back_as_they_were(tmp_path, stack, is_compressed):
    file = FrameFile(tmp_path / "frames", np.uint16, is_compressed=is_compressed)
    for frame in stack:
        file.append(frame)
    assert file.shape == stack.shape
    assert len(file) == 9
    keys = (0, 3, -1, slice(2, 5), slice(0, 100), slice(7, 3), slice(0, 9, 4), np.array([8, 0, 0]), np.array([], int))
    for key in keys:
        np.testing.assert_array_equal(file[key], stack[key])
    np.testing.assert_array_equal(np.stack(list(file)), stack)
    file.append(stack[0])
    np.testing.assert_array_equal(file[9], stack[0])
    with pytest.raises(IndexError):
        file[10]


def test_what_is_read_belongs_to_the_reader(tmp_path, stack):
    file = FrameFile(tmp_path / "frames", np.uint16)
    file.append(stack[0])
    file[0][:] = 0
    np.testing.assert_array_equal(file[0], stack[0])


def test_frames_of_another_shape_are_refused(tmp_path, stack):
    file = FrameFile(tmp_path / "frames", np.uint16)
    file.append(stack[0])
    with pytest.raises(ValueError, match="among frames of"):
        file.append(stack[0, :2])
    assert len(file) == 1
    np.testing.assert_array_equal(file[0], stack[0])
    assert FrameFile(tmp_path / "empty", np.uint8).shape == (0,)


def test_compressed_frames_take_less_room(tmp_path):
    file = FrameFile(tmp_path / "frames", np.uint8, is_compressed=True)
    y, x = np.mgrid[:64, :64]
    smooth = (100 + 80 * np.sin(x / 9) * np.cos(y / 11)).astype(np.uint8)
    frame = smooth[..., None] + np.random.default_rng(0).integers(0, 4, (64, 64, 3), dtype=np.uint8)
    file.append(frame)
    np.testing.assert_array_equal(file[0], frame)
    assert (tmp_path / "frames").stat().st_size < 0.6 * frame.nbytes


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_part_is_read_where_it_was_pickled_to(tmp_path, stack, is_compressed):
    file = FrameFile(tmp_path / "frames", np.uint16, is_compressed=is_compressed)
    for frame in stack:
        file.append(frame)
    part = file.part(range(1, 3))
    again = pickle.loads(pickle.dumps(part))
    for some in (part, again):
        assert len(some) == 2
        np.testing.assert_array_equal(some[:], stack[1:3])
    np.testing.assert_array_equal(file[:], stack)


def test_joined_stacks_read_as_one(tmp_path, stack):
    files = []
    for place, some in enumerate((stack[:4], stack[4:5], stack[5:])):
        files.append(FrameFile(tmp_path / str(place), np.uint16))
        for frame in some:
            files[-1].append(frame)
    joined = JoinedFrames([files[0].part(range(1, 4)), files[1], files[2]])
    again = pickle.loads(pickle.dumps(joined))
    for frames in (joined, again):
        assert frames.shape == (8, *stack.shape[1:])
        for key in (0, 3, -1, slice(1, 7), slice(0, 100), np.array([7, 0, 3, 3])):
            np.testing.assert_array_equal(frames[key], stack[1:][key])
        np.testing.assert_array_equal(frames.part(range(2, 6))[:], stack[3:7])
