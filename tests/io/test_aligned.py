import dataclasses
import math

import h5py
import numpy as np
import pytest

from rb2v.artifacts import (
    AlignedFrame,
    ClockJump,
    ClockModel,
    ExposureEstimate,
    RollingShutter,
    SourceOffset,
    Take,
    Timing,
)
from rb2v.errors import InputError
from rb2v.io.aligned import (
    AlignedSample,
    AlignedTake,
    AlignedTakeReader,
    FrameChecks,
    ScoreCurves,
    aligned_take_path,
    create_aligned_take,
    write_aligned_take,
)

TAKE = Take("walk", "hand", "anna", True, "test", (), ())
TIMING = Timing(
    offsets=(SourceOffset("sound", 0.2501, 0.9), SourceOffset("timecode", -0.9, 0.1)),
    offset_source="sound",
    clock=ClockModel(0.25, 8e-5, 1e-4, 3, 2e-6, 0.08, 1e-5, (ClockJump(0.08, 0.16, -1.0, 0.5, 2e-5),)),
    exposure=ExposureEstimate(0.0315, 1e-4, 19 / 600, None),
    rolling_shutter=RollingShutter(3e-3, 2e-4, (2.0, 7.0), (-1e-3, 1e-3), False),
)


def make_frames(n=5):
    rng = np.random.default_rng(0)
    reasons = ["", "static", "", "out-of-range", ""]
    return [
        AlignedFrame(
            take="walk",
            blurry_index=index,
            blurry_time=index / 25,
            position=8 * index + 2,
            position_fine=8 * index + 2.25,
            psnr=math.nan if reasons[index] == "out-of-range" else 30.0 + index,
            margin_db=1.5,
            accepted=not reasons[index],
            reason=reasons[index],
            color=rng.random((3, 4)),
        )
        for index in range(n)
    ]


def make_samples(n=3, n_sharp=7):
    rng = np.random.default_rng(1)
    return [
        AlignedSample(
            rng.integers(0, 256, (10, 12, 3), dtype=np.uint8),
            rng.integers(0, 256, (n_sharp, 10, 12, 3), dtype=np.uint8),
        )
        for _ in range(n)
    ]


def make_curves(n=5):
    psnr = np.random.default_rng(2).random((n, 9), dtype=np.float32)
    psnr[0, :3] = np.nan
    return ScoreCurves(np.arange(n, dtype=np.int64) * 8, psnr, np.array([2.2, np.nan, 18.1, np.nan, 34.3]))


def make_checks(n=5):
    values = np.random.default_rng(4).random((5, n))
    values[3, 0] = np.nan
    return FrameChecks(*values)


def write(path, **changes):
    values = {
        "take": TAKE,
        "frames": make_frames(),
        "curves": make_curves(),
        "checks": make_checks(),
        "timing": TIMING,
        "plate": None,
    }
    samples = changes.pop("samples", make_samples())
    return write_aligned_take(path, AlignedTake(**(values | changes)), iter(samples))


def test_round_trip(tmp_path):
    plate = np.random.default_rng(3).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    path = aligned_take_path(tmp_path, "walk")
    assert write(path, plate=plate, take=dataclasses.replace(TAKE, screen="blue")) == path
    with AlignedTakeReader(path) as reader:
        assert (reader.name, reader.category, reader.subject) == ("walk", "hand", "anna")
        assert (reader.green_screen, reader.split, reader.timing) == (True, "test", TIMING)
        np.testing.assert_array_equal(reader.plate, plate)
        assert reader.screen == "blue"
        assert len(reader) == 3
        assert reader.blurry_index.tolist() == [0, 2, 4]
        assert reader.position.tolist() == [2, 18, 34]
        assert reader.psnr.tolist() == [30, 32, 34]
        for index, sample in enumerate(make_samples()):
            read = reader.read(index)
            np.testing.assert_array_equal(read.blurry, sample.blurry)
            np.testing.assert_array_equal(read.sharp, sample.sharp)
        for row, frame, color in zip(reader.read_frames(), make_frames(), [0, None, 1, None, 2], strict=True):
            for name in ("take", "blurry_index", "blurry_time", "position", "position_fine", "margin_db", "reason"):
                assert getattr(row, name) == getattr(frame, name)
            assert row.accepted == frame.accepted
            assert row.psnr == pytest.approx(frame.psnr, nan_ok=True)
            np.testing.assert_array_equal(row.color, frame.color)
            if color is not None:
                np.testing.assert_allclose(reader.color[color], frame.color, rtol=1e-6)
        curves, expected = reader.read_curves(), make_curves()
        for name in ("first_position", "psnr", "peak"):
            np.testing.assert_array_equal(getattr(curves, name), getattr(expected, name))
        checks, expected = reader.read_checks(), make_checks()
        for name in ("clipped_share", "flash", "gain_change", "interpolation_psnr", "clock_error_frames"):
            np.testing.assert_array_equal(getattr(checks, name), getattr(expected, name))


@pytest.mark.parametrize("kept", [[0, 2, 4], [1, 2, 4], []])
def test_samples_that_are_left_out_at_the_end_leave_the_others(tmp_path, kept):
    stored = make_samples(5)
    frames = [dataclasses.replace(frame, accepted=False, reason="static") for frame in make_frames()]
    for index in kept:
        frames[index] = dataclasses.replace(frames[index], accepted=True, reason="")
    aligned = AlignedTake(TAKE, frames, make_curves(), make_checks(), TIMING, None)
    with create_aligned_take(tmp_path / "walk.h5") as writer:
        for index, sample in enumerate(stored):
            writer.append(sample)
            np.testing.assert_array_equal(writer.read(index).sharp, sample.sharp)
        writer.finish(aligned, kept)
    with AlignedTakeReader(tmp_path / "walk.h5") as reader:
        assert len(reader) == len(kept)
        for place, index in enumerate(kept):
            np.testing.assert_array_equal(reader.read(place).blurry, stored[index].blurry)
            np.testing.assert_array_equal(reader.read(place).sharp, stored[index].sharp)


def test_a_take_without_clock_split_or_accepted_frame(tmp_path):
    frames = [frame for frame in make_frames() if not frame.accepted]
    take = Take("walk", "street", "bert", False, None, (), ())
    changes = {"curves": make_curves(2), "checks": make_checks(2), "timing": Timing()}
    with AlignedTakeReader(write(tmp_path / "t.h5", take=take, frames=frames, samples=iter(()), **changes)) as reader:
        assert len(reader) == 0
        assert reader.timing == Timing()
        assert reader.split is None
        assert reader.screen == "auto"
        assert reader.plate is None
        assert [row.reason for row in reader.read_frames()] == ["static", "out-of-range"]


def test_the_same_take_gives_the_same_bytes(tmp_path):
    first, second = (write(tmp_path / name).read_bytes() for name in ("a.h5", "b.h5"))
    assert first == second


def test_frames_are_read_by_plain_h5py(tmp_path):
    with h5py.File(write(tmp_path / "t.h5")) as file:
        assert file["blurry"].shape == (3, 10, 12, 3)
        assert file["sharp"].shape == (3, 7, 10, 12, 3)
        assert file["sharp"].dtype == np.uint8
        np.testing.assert_array_equal(file["sharp"][1, 2], make_samples()[1].sharp[2])


@pytest.mark.parametrize("n_samples", [0, 2, 4])
def test_one_sample_per_accepted_frame_or_no_file(tmp_path, n_samples):
    with pytest.raises((RuntimeError, ValueError, IndexError)):
        write(tmp_path / "t.h5", samples=iter(make_samples(n_samples)))
    assert list(tmp_path.iterdir()) == []


def test_a_failing_source_leaves_no_file(tmp_path):
    def samples():
        yield make_samples()[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "t.h5", samples=samples())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, b"", b"text", 0.3])
def test_files_that_are_no_aligned_take_are_named(tmp_path, content):
    path = tmp_path / "t.h5"
    if isinstance(content, float):
        whole = write(path).read_bytes()
        path.write_bytes(whole[: int(content * len(whole))])
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"t\.h5: .*expected"):
        AlignedTakeReader(path)


def break_file(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.attrs.__setitem__("schema", 2), "schema is .*2"),
        (lambda file: file.attrs.__delitem__("schema"), "schema is None"),
        (lambda file: file.attrs.__delitem__("subject"), "subject"),
        (lambda file: file.attrs.__setitem__("category", "street2"), "'street2' is not one of street, face, hand"),
        (lambda file: file.__delitem__("position"), "position"),
        (lambda file: file.__delitem__("sharp"), "sharp"),
    ],
)
def test_what_is_wrong_in_a_take_is_named(tmp_path, change, message):
    path = break_file(write(tmp_path / "t.h5"), change)
    with pytest.raises(InputError, match=rf"t\.h5: .*{message}"), AlignedTakeReader(path) as reader:
        reader.read(0)


@pytest.mark.parametrize("name", ["position", "sharp", "scores/psnr", "scores", "frames", "frames/reason"])
def test_data_outside_the_file_are_not_followed(tmp_path, name):
    write(tmp_path / "other.h5")

    def change(file):
        del file[name]
        file[name] = h5py.ExternalLink("other.h5", f"/{name}")

    path = break_file(write(tmp_path / "t.h5"), change)
    with pytest.raises(InputError, match="outside the file"):
        read_all(path)


@pytest.mark.parametrize("name", ["blurry", "sharp"])
@pytest.mark.parametrize("place", [0, 0.5])
def test_damaged_frames_are_named(tmp_path, name, place):
    path = write(tmp_path / "t.h5")
    with h5py.File(path) as file:
        chunk = file[name].id.get_chunk_info(0)
        assert file[name].fletcher32
    flip_bytes(path, chunk.byte_offset + int(place * chunk.size))
    with AlignedTakeReader(path) as reader:
        reader.read(1)
        with pytest.raises(InputError, match=rf"t\.h5: {name}: is damaged"):
            reader.read(0)


@pytest.mark.parametrize("name", ["blurry_index", "frames/reason", "scores/psnr"])
def test_damaged_arrays_are_named(tmp_path, name):
    path = write(tmp_path / "t.h5")
    with h5py.File(path) as file:
        header = h5py.h5o.get_info(file[name].id).addr
    flip_bytes(path, header)
    with pytest.raises(InputError, match=rf"t\.h5: {name}: is damaged"):
        read_all(path)


def flip_bytes(path, at, n=8):
    content = bytearray(path.read_bytes())
    content[at : at + n] = bytes(255 - byte for byte in content[at : at + n])
    path.write_bytes(content)


def read_all(path):
    with AlignedTakeReader(path) as reader:
        reader.read(0)
        reader.read_frames()
        reader.read_curves()


@pytest.mark.parametrize("name", ["frames/reason", "frames/psnr", "checks/flash", "scores/peak", "scores/psnr"])
def test_columns_of_another_length_are_named(tmp_path, name):
    path = write(tmp_path / "t.h5")
    with h5py.File(path, "r+") as file:
        short = file[name][:-1]
        del file[name]
        file[name] = short

    def read_all(reader):
        reader.read_frames()
        reader.read_checks()
        reader.read_curves()

    with AlignedTakeReader(path) as reader, pytest.raises(InputError, match=name):
        read_all(reader)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frames/accepted", np.array([b"yes"] * 5)),
        ("frames/accepted", np.ones(5)),
        ("frames/accepted", np.zeros(5, bool)),
        ("frames/psnr", np.array([b"30"] * 5)),
        ("frames/blurry_time", np.full(5, np.nan)),
        ("frames/blurry_time", np.full(5, 1e308)),
        ("frames/position", np.full(5, 2**62)),
        ("frames/position_fine", np.full(5, np.inf)),
        ("frames/reason", np.array([b"hello"] * 5)),
        ("frames/reason", np.array([b""] * 5)),
    ],
)
def test_values_that_cannot_be_are_named(tmp_path, name, value):
    path = write(tmp_path / "t.h5")
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = value
    with AlignedTakeReader(path) as reader, pytest.raises(InputError, match="frames/"):
        reader.read_frames()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "timing: is not JSON"),
        ("[]", "Input should be an object"),
        ('{"clock": 3}', "clock"),
        ('{"offsets": [{"source": "smell", "seconds": 1.0, "confidence": 0.5}]}', "source"),
        (
            '{"rolling_shutter": {"skew_seconds": 0.0, "error_seconds": 0.0, "band_rows": [1.0, 2.0], '
            '"band_shifts_seconds": [0.0], "compensated": false}}',
            "2 band_rows have 1 shifts",
        ),
        ('{"clock": {"offset_seconds": 1e999, "drift": 0.0, "residual_seconds": 0.0, "n_inliers": 3}}', "timing"),
        (" " * (1 << 21), "timing: is no short text"),
    ],
)
def test_timing_that_cannot_be_is_named(tmp_path, text, message):
    path = write(tmp_path / "t.h5")
    with h5py.File(path, "r+") as file:
        del file["timing"]
        file["timing"] = text
    with pytest.raises(InputError, match=message):
        AlignedTakeReader(path)
