import dataclasses
import datetime
import errno
import fcntl
import math
import os
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb2v.artifacts import AlignedFrame, Calibration, CalibrationQuality, Crop, Rig
from rb2v.errors import ConfigMismatchError, InputError, Rb2vError
from rb2v.hypercut.config import TrainHyperCutConfig
from rb2v.io.aligned import AlignedManifest
from rb2v.io.calibration import read_calibration, write_calibration
from rb2v.io.partial import scratch_folder
from rb2v.io.store import (
    ALIGNMENT_COLUMNS,
    adopt_folder,
    check_schema,
    output_folder,
    read_alignment,
    read_json,
    read_text,
    validate,
    whole_file,
    write_alignment,
    write_json,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with whole_file(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
        assert temporary.suffix == ".txt"
    assert path.read_text() == "one"
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_nothing_and_keeps_what_was_there(tmp_path, error):
    path = write_text(tmp_path / "a.txt", "old")

    def write_half(target):
        with whole_file(target) as temporary:
            temporary.write_text("half")
            raise error

    for target in (path, tmp_path / "b.txt"):
        with pytest.raises(error):
            write_half(target)
    assert names(tmp_path) == ["a.txt"]
    assert path.read_text() == "old"


def test_a_full_disk_s_error_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught, whole_file(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_taken_for_a_file_to_write(tmp_path):
    (tmp_path / "found.json").mkdir()
    with pytest.raises(InputError, match=r"found\.json: is a folder; expected the name of a file to write"):
        write_json(tmp_path / "found.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


def test_what_a_killed_run_left_is_overwritten(tmp_path):
    path = tmp_path / "a.txt"
    with whole_file(path) as temporary:
        leftover = temporary
        temporary.write_text("")
    path.unlink()
    leftover.write_text("left by a run that was killed")
    write_text(path, "new")
    assert names(tmp_path) == ["a.txt"]
    assert path.read_text() == "new"


def test_json_is_plain(tmp_path):
    path = write_json(tmp_path / "a.json", {"b": 1, "a": "ä"})
    assert path.read_bytes() == '{\n  "b": 1,\n  "a": "ä"\n}\n'.encode()
    assert read_json(path) == {"b": 1, "a": "ä"}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", {"x": math.nan})
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 2]", r"holds a list; expected a JSON object"),
        (b'{"a": 1,\n}', r"is not JSON \(.*line 2 .*\)"),
        (b"", "is not JSON"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (None, "there is no such file"),
    ],
)
def test_files_that_are_no_json_object(tmp_path, content, message):
    path = tmp_path / "bad.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"bad\.json: {message}"):
        read_json(path)


def test_a_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(InputError, match="is a folder; expected a text file"):
        read_text(tmp_path)


CONFIG = {"rig": "r", "size": (3, 4), "nested": {"a": 1, "b": None}}


def test_a_folder_made_with_the_same_configuration_is_gone_on_with(tmp_path):
    folder = tmp_path / "new" / "out"
    adopt_folder(folder, CONFIG)
    (folder / "work").touch()
    before = (folder / "config.json").read_bytes()
    adopt_folder(folder, dict(reversed(CONFIG.items())))
    assert (folder / "config.json").read_bytes() == before
    assert (folder / "work").exists()


@pytest.mark.parametrize(
    ("changes", "key", "old", "new"),
    [
        ({"rig": "other"}, "rig", '"r"', '"other"'),
        ({"size": (3, 5)}, "size", r"\[3, 4\]", r"\[3, 5\]"),
        ({"nested": {"a": 2, "b": None}}, r"nested.a", "1", "2"),
        ({"seed": 1}, "seed", "null", "1"),
        ({"alpha": 1, "stage": "s"}, "stage", "null", '"s"'),
    ],
)
def test_another_configuration_is_refused_by_its_key(tmp_path, changes, key, old, new):
    adopt_folder(tmp_path, CONFIG)
    (tmp_path / "made").touch()
    with pytest.raises(ConfigMismatchError, match=f"made with {old}, this run has {new}") as caught:
        adopt_folder(tmp_path, CONFIG | changes)
    assert caught.value.key == key
    assert caught.value.source == str(tmp_path / "config.json")
    adopt_folder(tmp_path, CONFIG)


def test_folders_of_something_else_are_not_written_to(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is not empty and was not made by this command"):
        adopt_folder(tmp_path, CONFIG)
    with pytest.raises(InputError, match="is a file"):
        adopt_folder(tmp_path / "file", CONFIG)
    assert names(tmp_path) == ["file"]


def test_a_folder_in_which_a_killed_run_left_a_partial_file_is_taken(tmp_path):
    (tmp_path / ".partial-config.json").write_text("{")
    adopt_folder(tmp_path, CONFIG)
    assert names(tmp_path) == ["config.json"]


def test_what_a_failed_first_run_left_is_replaced(tmp_path):
    folder, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    adopt_folder(folder, CONFIG)
    write_text(folder / "takes" / ".partial-a" / "frames", "half")
    write_text(folder / ".partial-table.csv", "half")
    write_text(elsewhere / "takes" / ".partial-b.mp4", "half")
    corrected = CONFIG | {"rig": "other"}
    adopt_folder(folder, corrected, contents=[elsewhere, tmp_path / "not-there"])
    assert read_json(folder / "config.json")["rig"] == "other"
    adopt_folder(folder, corrected)


@pytest.mark.parametrize("made", ["out/made", "out/takes/made.h5", "elsewhere/takes/made.mp4", "out/takes/config.json"])
def test_what_was_made_is_not_taken_by_another_configuration(tmp_path, made):
    folder = tmp_path / "out"
    adopt_folder(folder, CONFIG)
    before = (folder / "config.json").read_bytes()
    write_text(tmp_path / made, "made")
    with pytest.raises(ConfigMismatchError, match="rig: the folder was made with"):
        adopt_folder(folder, CONFIG | {"rig": "other"}, contents=[tmp_path / "elsewhere"])
    assert (folder / "config.json").read_bytes() == before


def test_a_link_is_something_that_was_made(tmp_path):
    (tmp_path / "data").mkdir()
    adopt_folder(tmp_path / "out", CONFIG)
    (tmp_path / "out" / "takes").symlink_to(tmp_path / "data")
    with pytest.raises(ConfigMismatchError):
        adopt_folder(tmp_path / "out", CONFIG | {"rig": "other"})


SOURCE = Path("document.json")
RIG = Rig("mine", "a", "b", 25.0, 100.0, None, "srgb", 2, 7, 19, (448, 448), 0.25)
MANIFEST = AlignedManifest("mine", 2.2, (448, 448), Crop(0, 0, 4, 4), "", {"nested": {"a": None}}, ("walk",))


@pytest.mark.parametrize("record", [RIG, MANIFEST, TrainHyperCutConfig(), Crop(1, 2, 3, 4)])
def test_a_record_is_read_as_it_was_written(tmp_path, record):
    document = read_json(write_json(tmp_path / "a.json", dataclasses.asdict(record)))
    assert validate(type(record), document, SOURCE) == record
    with pytest.raises(InputError, match=r"document\.json: stepz: is not a known key; expected ") as caught:
        validate(type(record), document | {"stepz": 5}, SOURCE)
    assert f"of {dataclasses.fields(record)[0].name}, " in caught.value.expected


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (TrainHyperCutConfig, {"steps": "10"}, "steps: '10': .*integer"),
        (TrainHyperCutConfig, {"steps": True}, "steps: True: .*integer"),
        (TrainHyperCutConfig, {"steps": 10.0}, "steps: 10.0: .*integer"),
        (TrainHyperCutConfig, {"lr": True}, "lr: True: .*number"),
        (TrainHyperCutConfig, {"lr": "0.1"}, "lr: '0.1': .*number"),
        (TrainHyperCutConfig, {"steps": 0}, "steps: 0: .*greater than or equal to 1"),
        (TrainHyperCutConfig, {"arch": "a\ud800"}, "Invalid JSON"),
        (AlignedManifest, {"crop": {"x": 0, "y": 0, "width": 4, "height": 4, "w": 4}}, "crop.w: .* one of x, y, width"),
        (AlignedManifest, {"takes": ["a", 7]}, "takes.1: 7: .*string"),
        (AlignedManifest, {"output_size": [448, "448"]}, "output_size.1: '448': .*integer"),
        (Rig, {"mirrored": 1}, "mirrored: 1: .*boolean"),
        (Rig, {"frames_per_sequence": 6}, "frames_per_sequence must be an odd number"),
    ],
)
def test_values_of_another_kind_are_refused_and_shown(kind, changes, message):
    record = {Rig: RIG, AlignedManifest: MANIFEST, TrainHyperCutConfig: TrainHyperCutConfig()}[kind]
    with pytest.raises(InputError, match=rf"^document\.json: {message}") as caught:
        validate(kind, dataclasses.asdict(record) | changes, SOURCE)
    assert len(str(caught.value)) < 200


def test_whole_numbers_are_numbers():
    assert validate(TrainHyperCutConfig, {"lr": 1}, SOURCE).lr == 1.0


def test_what_no_document_holds_is_named():
    holds_itself = {}
    holds_itself["a"] = holds_itself
    for document in (holds_itself, {"config": {datetime.date(2024, 1, 1): 1}}):
        with pytest.raises(InputError, match=r"document\.json: holds what JSON cannot"):
            validate(AlignedManifest, document, SOURCE)
    for document in (None, [1], "text"):
        with pytest.raises(InputError, match=r"document\.json: .*object"):
            validate(AlignedManifest, document, SOURCE)


@pytest.mark.parametrize("value", [True, 2, "1", None, 0])
def test_another_schema_is_shown(value):
    with pytest.raises(InputError, match=rf"schema: is {value!r}; expected 1"):
        check_schema(SOURCE, {"schema": value})


finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6)


@st.composite
def calibrations(draw):
    mirrored = draw(st.booleans())
    shear, tilt = draw(st.floats(-0.3, 0.3)), draw(st.floats(-1e-4, 1e-4))
    homography = np.array([[-1.0 if mirrored else 1.0, shear, draw(finite)], [0, 1.1, draw(finite)], [0, tilt, 1.0]])
    if (np.linalg.det(homography) < 0) != mirrored or abs(np.linalg.det(homography)) < 1e-9:
        homography[2, 1] = 0.0
    width, height = draw(st.integers(1, 5000)), draw(st.integers(1, 5000))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    crop = Crop(x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))
    color = draw(st.none() | st.lists(finite, min_size=12, max_size=12))
    quality = CalibrationQuality(draw(finite), draw(st.integers(0, 99)), 5, draw(st.none() | finite))
    return Calibration(
        homography=homography,
        mirrored=mirrored,
        size_blurry=(width, height),
        size_sharp=(draw(st.integers(1, 5000)), 7),
        crop=crop,
        color=None if color is None else np.array(color).reshape(3, 4),
        quality=quality,
    )


@given(calibrations())
def test_calibration_round_trip_is_exact(tmp_path_factory, calibration):
    path = tmp_path_factory.getbasetemp() / "calibration.json"
    assert write_calibration(path, calibration) == path
    read = read_calibration(path)
    np.testing.assert_array_equal(read.homography, calibration.homography)
    assert (read.color is None) == (calibration.color is None)
    if read.color is not None:
        np.testing.assert_array_equal(read.color, calibration.color)
    for name in ("mirrored", "size_blurry", "size_sharp", "crop", "quality"):
        assert getattr(read, name) == getattr(calibration, name)


@pytest.fixture
def calibration_document():
    return {
        "schema": 1,
        "homography": np.eye(3).tolist(),
        "mirrored": False,
        "size": {"blurry": [80, 60], "sharp": [80, 60]},
        "crop": {"x": 10, "y": 5, "width": 40, "height": 40},
        "color": None,
        "quality": {"rms_px": 0.1, "pairs": 2, "points": 108, "delta_e": None},
    }


def test_the_contract_s_document_is_read(tmp_path, calibration_document):
    path = write_json(tmp_path / "calibration.json", calibration_document)
    assert read_calibration(path).crop == Crop(10, 5, 40, 40)
    again = read_json(write_calibration(tmp_path / "again.json", read_calibration(path)))
    assert {key: again[key] for key in calibration_document if key != "quality"} == {
        key: value for key, value in calibration_document.items() if key != "quality"
    }
    assert again["quality"].items() >= calibration_document["quality"].items()


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("homography", [[1, 0, 0], [0, 1, 0], [0, 0]], "homography.2"),
        ("homography", [[1, 0, 0], [0, 1, 0]], "homography"),
        ("homography", [[1, 0, 0], [0, "x", 0], [0, 0, 1]], "homography.1.1"),
        ("homography", [[1, 0, 0], [0, -1, 0], [0, 0, 1]], "mirrored is False"),
        ("homography", [[1, 0, 0], [0, 1, 0], [0, 0, "1"]], "homography.2.2: '1': .*number"),
        ("homography", [[2, 0, 0], [0, 2, 0], [0, 0, 2]], "homography: its last entry is 2.0; expected 1"),
        ("homography", [[1, 0, 0], [0, 1, 0], [0, 0, 1 + 2e-9]], "homography: its last entry"),
        ("mirrored", "perhaps", "mirrored"),
        ("mirrored", 0, "mirrored: 0: .*boolean"),
        ("mirrored", True, "mirrored is True"),
        ("size", {"blurry": [80, 60]}, "size.sharp"),
        ("size", {"blurry": [80], "sharp": [80, 60]}, "size.blurry"),
        ("crop", {"x": 10, "y": 5, "width": 40}, "crop.height"),
        (
            "crop",
            {"x": 10, "y": 5, "width": 40, "height": 40, "w": 1},
            "crop.w: is not a known key; expected one of x, y",
        ),
        ("crop", {"x": 10, "y": 5, "width": 0, "height": 5}, "crop: .*positive size"),
        ("crop", {"x": 41, "y": 5, "width": 40, "height": 40}, "crop .* reaches out"),
        ("color", [[1, 0, 0]] * 3, r"color\.0\.3"),
        ("quality", {"rms_px": 0.1}, "quality.pairs"),
        ("schema", 2, "schema: is 2; expected 1"),
        ("schema", True, "schema: is True; expected 1"),
        ("colour", None, "colour: is not a known key; expected color"),
    ],
)
def test_malformed_calibrations_are_named_by_their_key(tmp_path, calibration_document, key, value, place):
    path = write_json(tmp_path / "calibration.json", calibration_document | {key: value})
    with pytest.raises(InputError, match=rf"calibration\.json: .*{place}"):
        read_calibration(path)


@pytest.mark.parametrize("key", ["schema", "homography", "mirrored", "size", "crop", "color", "quality"])
def test_every_key_of_a_calibration_is_needed(tmp_path, calibration_document, key):
    del calibration_document[key]
    path = write_json(tmp_path / "calibration.json", calibration_document)
    with pytest.raises(InputError, match=rf"calibration\.json: {key}: is missing"):
        read_calibration(path)


def make_frame(take, index, **changes):
    values = {
        "take": take,
        "blurry_index": index,
        "blurry_time": index / 25,
        "position": 8 * index + 3,
        "position_fine": 8 * index + 3.12345,
        "psnr": 31.2,
        "margin_db": 2.5,
        "accepted": True,
        "reason": "",
        "color": np.random.default_rng(index).random((3, 4)),
        "composite_psnr": (math.nan, 41.25)[index % 2],
        "explained_psnr": (math.nan, 36.5)[index % 2],
    }
    return AlignedFrame(**(values | changes))


def test_alignment_round_trip(tmp_path):
    frames = [
        make_frame("b", 1),
        make_frame("b", 0, accepted=False, reason="out-of-range", psnr=math.nan, position=-4, position_fine=-3.6),
        make_frame("a, with a comma", 10),
        make_frame("a, with a comma", 9),
    ]
    path = write_alignment(tmp_path / "alignment.csv", frames)
    read = read_alignment(path)
    assert [(row.take, row.blurry_index) for row in read] == [
        ("a, with a comma", 9),
        ("a, with a comma", 10),
        ("b", 0),
        ("b", 1),
    ]
    for row, frame in zip(read, sorted(frames, key=lambda f: (f.take, f.blurry_index)), strict=True):
        assert (row.position, row.accepted, row.reason) == (frame.position, frame.accepted, frame.reason)
        assert row.blurry_time == pytest.approx(frame.blurry_time, abs=1e-6)
        assert row.position_fine == pytest.approx(frame.position_fine, abs=1e-4)
        assert row.psnr == pytest.approx(frame.psnr, abs=1e-4, nan_ok=True)
        np.testing.assert_allclose(row.color, frame.color, rtol=1e-8)
        assert row.composite_psnr == pytest.approx(frame.composite_psnr, abs=1e-4, nan_ok=True)
        assert row.explained_psnr == pytest.approx(frame.explained_psnr, abs=1e-4, nan_ok=True)
    assert write_alignment(tmp_path / "again.csv", read).read_bytes() == path.read_bytes()
    header = path.read_text().splitlines()[0]
    columns = "take,blurry_index,blurry_time,position,position_fine,psnr,margin_db,accepted,reason,"
    colors = ",".join(f"m{row}{column}" for row in range(3) for column in range(4))
    assert header == f"{columns}{colors},composite_psnr,explained_psnr"
    ends = [line.rsplit(",", 2)[1:] for line in path.read_text().splitlines()[1:]]
    assert ends == [["41.2500", "36.5000"], ["", ""], ["", ""], ["41.2500", "36.5000"]]


def test_a_table_of_an_older_version_has_no_composites(tmp_path):
    path = write_alignment(tmp_path / "alignment.csv", [make_frame("a", 1), make_frame("a", 2)])
    path.write_text("".join(line.rsplit(",", 2)[0] + "\n" for line in path.read_text().splitlines()))
    rows = read_alignment(path)
    assert [row.blurry_index for row in rows] == [1, 2]
    assert all(math.isnan(row.composite_psnr) and math.isnan(row.explained_psnr) for row in rows)


def test_a_composite_that_is_no_number_is_named(tmp_path):
    path = write_alignment(tmp_path / "alignment.csv", [make_frame("a", 1)])
    path.write_text(path.read_text().replace("41.2500", "high"))
    with pytest.raises(InputError, match=r"alignment\.csv: composite_psnr: line 2: 'high' is not a number"):
        read_alignment(path)


def test_an_alignment_of_no_frame(tmp_path):
    assert read_alignment(write_alignment(tmp_path / "a.csv", [])) == []


@pytest.mark.parametrize("column", ["blurry_index", "blurry_time", "position", "psnr", "accepted", "m00", "m23"])
@pytest.mark.parametrize("text", ["x", ""])
def test_malformed_values_are_named_by_line_and_column(tmp_path, column, text):
    path = write_alignment(tmp_path / "alignment.csv", [make_frame("a", 0), make_frame("a", 1)])
    lines = path.read_text().splitlines()
    cells = lines[2].split(",")
    cells[ALIGNMENT_COLUMNS.index(column)] = text
    lines[2] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=rf"alignment\.csv: {column}: line 3: '{text}' is not a number"):
        read_alignment(path)


@pytest.mark.parametrize("column", ["take", "position_fine", "m11"])
def test_missing_columns_are_named(tmp_path, column):
    path = write_alignment(tmp_path / "alignment.csv", [make_frame("a", 0)])
    header, row = path.read_text().splitlines()
    path.write_text(header.replace(f"{column},", "other,", 1) + f"\n{row}\n")
    with pytest.raises(InputError, match=rf"alignment\.csv: {column}: column is missing"):
        read_alignment(path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\x00\xff", b"take\n" + b"x" * 200_000, None])
def test_files_that_are_no_table(tmp_path, content):
    path = tmp_path / "alignment.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"alignment\.csv: "):
        read_alignment(path)


def test_a_row_that_was_cut_short(tmp_path):
    path = write_alignment(tmp_path / "alignment.csv", [make_frame("a", 0)])
    path.write_text(path.read_text()[:-30])
    with pytest.raises(InputError, match=r"line 2: .* is not a number"):
        read_alignment(path)


def test_a_link_laid_in_the_way_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".partial-config.json").symlink_to(victim)
    adopt_folder(tmp_path / "out", CONFIG)
    assert victim.read_text() == "mine"
    assert not (tmp_path / "out" / "config.json").is_symlink()


def test_two_runs_cannot_write_to_one_folder(tmp_path):
    with output_folder(tmp_path, CONFIG):
        # Of another configuration as well, which would replace the one that is locked: nothing is finished yet.
        for config in (CONFIG, CONFIG | {"rig": "other"}):
            with pytest.raises(InputError, match="another run is writing here"), output_folder(tmp_path, config):
                pass
        assert (tmp_path / "config.json").is_file()
    with output_folder(tmp_path, CONFIG):
        pass


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "a.txt"
    with whole_file(path) as first:
        first.write_text("first")
        with whole_file(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
        with pytest.raises(RuntimeError), whole_file(path):
            raise RuntimeError
        assert first.read_text() == "first"
    assert path.read_text() == "first"
    assert names(tmp_path) == ["a.txt"]


def kill_in_the_middle(fork_server, block, folder):
    """Run a block of code in another process, which kills itself there."""
    script = """
    import os, signal, sys
    from pathlib import Path
    from rb2v.io.partial import scratch_folder
    from rb2v.io.store import output_folder, whole_file, write_text

    folder = Path(sys.argv[1])
    """
    script = textwrap.dedent(script) + block + "\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    assert fork_server.start(script, folder).wait() == -9


def test_what_killed_writers_left_does_not_pile_up(tmp_path, fork_server):
    kill_in_the_middle(
        fork_server,
        "with whole_file(folder / 'a.txt') as one, whole_file(folder / 'a.txt') as two,"
        " whole_file(folder / 'b-a.txt') as three, scratch_folder(folder / 'a.txt') as scratch:\n"
        "    write_text(scratch / 'deep' / 'frames', 'half')",
        tmp_path,
    )
    assert len(list(tmp_path.glob(".partial-*a.txt"))) == 4
    write_text(tmp_path / "a.txt", "whole")
    first, second = names(tmp_path)
    assert first.endswith("-b-a.txt")
    assert second == "a.txt"


def test_a_run_clears_its_folders_of_what_dead_writers_left_and_nothing_else(tmp_path, fork_server):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    adopt_folder(out, CONFIG)
    kill_in_the_middle(
        fork_server,
        "with whole_file(folder / 'elsewhere' / 'a.mp4'), scratch_folder(folder / 'out' / 'takes' / 'b') as scratch:\n"
        "    write_text(scratch / 'frames', 'half')",
        tmp_path,
    )
    # As a kill in the middle of its removal leaves it.
    (out / "takes" / ".partial-0123456789ab-c").mkdir()
    write_text(elsewhere / "a.partial-b", "mine")
    with whole_file(out / "alive.txt") as alive, output_folder(out, CONFIG, contents=[elsewhere]):
        assert names(tmp_path) == sorted(["a.partial-b", "config.json", "elsewhere", "out", "takes", alive.name])
        alive.write_text("")


def test_a_folder_is_not_taken_from_under_a_worker_of_another_configuration(tmp_path):
    adopt_folder(tmp_path, CONFIG)
    with whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("of the first configuration")
        with pytest.raises(InputError, match="a worker of another run is still writing here"):
            adopt_folder(tmp_path, CONFIG | {"rig": "other"})
        adopt_folder(tmp_path, CONFIG)


def test_a_writer_whose_file_was_removed_says_so(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")

    def write(path):
        with whole_file(path) as temporary:
            temporary.unlink()

    with pytest.raises(Rb2vError, match=r"a\.txt: its temporary file was removed .* run the command again"):
        write(path)
    assert names(tmp_path) == ["a.txt"]
    assert path.read_text() == "old"


def test_a_scratch_folder_is_one_writer_s_own(tmp_path):
    with scratch_folder(tmp_path / "a") as first:
        (first / "frames").write_text("first")
        with scratch_folder(tmp_path / "a") as second:
            assert first != second
        write_text(tmp_path / "a", "whole")
        assert (first / "frames").read_text() == "first"
    assert names(tmp_path) == ["a"]


def refuse_to_open(monkeypatch, path, error, mode=None):
    """Have a file not open any more, for anything or in one mode."""
    system_open = os.open

    def open_or_refuse(name, flags, *arguments, **options):
        if Path(name) == path and mode in (None, flags & os.O_ACCMODE):
            raise error
        return system_open(name, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", open_or_refuse)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.ESTALE, errno.EIO])
def test_a_writer_of_whom_nothing_can_be_known_is_taken_for_alive(tmp_path, monkeypatch, number):
    folder = tmp_path / "out"
    adopt_folder(folder, CONFIG)
    leftover = write_text(folder / ".partial-0123456789ab-a.txt", "of somebody")
    refuse_to_open(monkeypatch, leftover, OSError(number, "not now"))
    with pytest.raises(InputError, match="a worker of another run is still writing here"):
        adopt_folder(folder, CONFIG | {"rig": "other"})
    write_text(folder / "a.txt", "whole")
    assert names(folder) == [leftover.name, "a.txt", "config.json"]


def test_files_of_other_users_are_removed_when_their_writers_are_dead(tmp_path, monkeypatch):
    dead = write_text(tmp_path / ".partial-0123456789ab-a.txt", "half")
    refuse_to_open(monkeypatch, dead, PermissionError(errno.EACCES, "not yours"), os.O_RDWR)
    with whole_file(tmp_path / "a.txt") as alive:
        refuse_to_open(monkeypatch, alive, PermissionError(errno.EACCES, "not yours"), os.O_RDWR)
        write_text(tmp_path / "a.txt", "another's")
        assert names(tmp_path) == sorted([alive.name, "a.txt"])
        alive.write_text("whole")
    assert (tmp_path / "a.txt").read_text() == "whole"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_there_are_no_locks_writing_goes_on_and_nothing_is_removed(tmp_path, monkeypatch, caplog, number):
    def refuse(descriptor, operation):
        raise OSError(number, "no locks")

    leftover = write_text(tmp_path / ".partial-0123456789ab-a.txt", "of nobody knows whom")
    monkeypatch.setattr(fcntl, "flock", refuse)
    with output_folder(tmp_path, CONFIG):
        assert "its file system knows no locks" in caplog.text
        assert write_text(tmp_path / "a.txt", "whole").read_text() == "whole"
    assert names(tmp_path) == sorted([leftover.name, "a.txt", "config.json"])


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": -Infinity}', "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_what_json_does_not_know_is_refused(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bad\.json: is not JSON"):
        read_json(path)
