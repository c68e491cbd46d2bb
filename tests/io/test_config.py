from pathlib import Path

import pytest
import yaml

from rb2v.artifacts import CATEGORIES
from rb2v.errors import InputError
from rb2v.io.config import find_rig, read_raw_directory, read_rig, read_take, read_takes, rig_folder

RIG = {
    "schema": 1,
    "name": "mine",
    "blurry": {"model": "GoPro HERO8 Black", "frame_rate": 25},
    "sharp": {"model": "GoPro HERO8 Black", "frame_rate": 100},
    "mirrored": "auto",
    "response": "srgb",
    "upsampling": 2,
    "frames_per_sequence": 7,
    "blur_samples": 19,
    "output_size": [448, 440],
    "search_range_seconds": 0.25,
}
TAKE = {"category": "street", "subject": "anna", "green_screen": False}


def write_yaml(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False))
    return path


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.fixture
def raw(tmp_path):
    root = tmp_path / "raw"
    write_yaml(root / "capture.yaml", {"schema": 1, "rig": "rigs/mine.yaml"})
    write_yaml(root / "rigs" / "mine.yaml", RIG)
    for camera in ("blurry", "sharp"):
        for name in ("b.png", "a.JPG"):
            touch(root / "calibration" / "geometry" / camera / name)
        touch(root / "calibration" / "geometry" / camera / "notes.txt")
        touch(root / "takes" / "walk" / f"{camera}.mp4")
    write_yaml(root / "takes" / "walk" / "take.yaml", TAKE)
    return root


def test_the_paper_s_rig():
    rig = read_rig(find_rig("gopro_hero8"))
    assert (rig.blurry_fps, rig.sharp_fps, rig.fine_fps) == (25, 100, 200)
    assert (rig.upsampling, rig.frames_per_sequence, rig.blur_samples) == (2, 7, 19)
    assert rig.output_size == (448, 448)


def test_every_rig_that_is_shipped_is_named_as_its_file():
    paths = list(rig_folder().glob("*.yaml"))
    assert paths
    for path in paths:
        assert read_rig(path).name == path.stem


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        ("mirrored", "auto", "mirrored", None),
        ("mirrored", True, "mirrored", True),
        ("mirrored", False, "mirrored", False),
        ("response", "linear", "response", "linear"),
        ("response", "srgb", "response", "srgb"),
        ("response", {"gamma": 2.2}, "response", 2.2),
    ],
)
def test_values_of_a_rig(tmp_path, key, value, field, expected):
    rig = read_rig(write_yaml(tmp_path / "rig.yaml", RIG | {key: value}))
    assert getattr(rig, field) == expected
    assert rig.output_size == (448, 440)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("fps", 25, "fps: is not a known key; expected one of name, description, blurry, sharp"),
        ("mirored", True, "mirored: is not a known key; expected mirrored"),
        ("blurry", {"model": "x", "framerate": 25}, "blurry.framerate: is not a known key; expected frame_rate"),
        ("blurry", {"model": "x", "frame_rate": 25, "iso": 1}, "blurry.iso: is not a known key"),
        ("sharp", {"model": "x", "frame_rate": 0}, "sharp.frame_rate: 0: .*greater than 0"),
        ("sharp", {"model": "x", "frame_rate": float("nan")}, "sharp.frame_rate: nan: .*finite"),
        ("mirrored", "perhaps", "mirrored"),
        ("response", "rec709", "response"),
        ("response", {"gamma": -1}, "response"),
        ("upsampling", 0, "upsampling: 0: "),
        ("upsampling", 1.5, "upsampling: 1.5: "),
        ("upsampling", "2", "upsampling: '2': .*integer"),
        ("upsampling", True, "upsampling: True: .*integer"),
        ("sharp", {"model": "x", "frame_rate": "100"}, "sharp.frame_rate: '100': .*number"),
        ("sharp", {"model": "x", 7: 1}, "sharp.7: is not a known key"),
        ("frames_per_sequence", 6, "frames_per_sequence must be an odd number"),
        ("blur_samples", 20, "blur_samples - 1 must be a multiple"),
        ("output_size", [448], "output_size"),
        ("output_size", [448, -1], r"output_size\.1: -1: "),
        ("search_range_seconds", -0.1, "search_range_seconds: -0.1: "),
        ("name", "../mine", "name: '../mine'"),
        ("schema", 3, "schema: is 3; expected 1"),
        ("schema", True, "schema: is True; expected 1"),
    ],
)
def test_faults_of_a_rig_are_named_by_file_and_key(tmp_path, key, value, message):
    path = write_yaml(tmp_path / "rig.yaml", RIG | {key: value})
    with pytest.raises(InputError, match=rf"rig\.yaml: {message}"):
        read_rig(path)


@pytest.mark.parametrize("key", RIG)
def test_every_key_of_a_rig_is_needed(tmp_path, key):
    path = write_yaml(tmp_path / "rig.yaml", {name: value for name, value in RIG.items() if name != key})
    with pytest.raises(InputError, match=rf"rig\.yaml: {key}: is missing"):
        read_rig(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema: [1\nname: x", r"is not YAML \(.*line 2"),
        ("schema: 1\nname: 2024-13-45", "is not YAML"),
        ("- schema\n- 1", "holds no mapping"),
        ("", "holds no mapping"),
        ("1: 2", "holds no mapping"),
        ("schema: 1\nname: \x07", "is not YAML"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_files_that_are_no_yaml_mapping(tmp_path, text, message):
    path = write_yaml(tmp_path / "rig.yaml", text)
    with pytest.raises(InputError, match=rf"rig\.yaml: {message}"):
        read_rig(path)


def test_a_rig_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"no such rig; expected one of .*gopro_hero8.*path of a YAML file"):
        find_rig("gopro_hero9")
    with pytest.raises(InputError, match=r"nowhere\.yaml: there is no such file"):
        read_rig(find_rig(str(tmp_path / "nowhere.yaml")))


def test_a_raw_directory(raw):
    read = read_raw_directory(raw)
    assert read.rig.name == "mine"
    geometry = raw / "calibration" / "geometry"
    assert read.geometry_pairs == tuple((geometry / "blurry" / n, geometry / "sharp" / n) for n in ("a.JPG", "b.png"))
    assert read.color_pair is None
    color = raw / "calibration" / "color"
    touch(color / "blurry.png")
    touch(color / "sharp.png")
    assert read_raw_directory(raw).color_pair == (color / "blurry.png", color / "sharp.png")


def test_a_rig_by_its_name(raw):
    write_yaml(raw / "capture.yaml", {"schema": 1, "rig": "gopro_hero8"})
    assert read_raw_directory(raw).rig.name == "gopro_hero8"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"rig": "gopro_hero8"}, "schema: is missing; expected 1"),
        ({"schema": 1}, "rig: is missing"),
        ({"schema": 1, "rig": 8}, "rig: 8: "),
        ({"schema": 1, "rig": "gopro_hero8", "date": "x"}, "date: is not a known key; expected one of rig"),
        ({"schema": 1, "rig": "gopro9"}, "rig: 'gopro9': there is no such rig; expected one of .*gopro_hero8"),
        ({"schema": 1, "rig": "rigs/none.yaml"}, "rig: 'rigs/none.yaml': there is no such rig"),
    ],
)
def test_faults_of_a_capture_are_named_by_file_and_key(raw, document, message):
    write_yaml(raw / "capture.yaml", document)
    with pytest.raises(InputError, match=rf"capture\.yaml: {message}"):
        read_raw_directory(raw)


def test_folders_that_are_no_raw_directory(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: there is no such folder"):
        read_raw_directory(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"capture\.yaml: there is no such file"):
        read_raw_directory(tmp_path)


@pytest.mark.parametrize(("camera", "other"), [("blurry", "sharp"), ("sharp", "blurry")])
def test_captures_without_a_partner_are_named(raw, camera, other):
    lonely = touch(raw / "calibration" / "geometry" / camera / "c.png")
    with pytest.raises(InputError, match="has no partner") as caught:
        read_raw_directory(raw)
    assert caught.value.source == str(lonely)
    assert str(raw / "calibration" / "geometry" / other) in caught.value.problem
    lonely.unlink()
    touch(raw / "calibration" / "color" / f"{camera}.png")
    with pytest.raises(InputError, match="no such file") as caught:
        read_raw_directory(raw)
    assert Path(caught.value.source).name == f"{other}.png"


def test_takes_come_in_the_order_of_their_names(raw):
    for name in ("run", "Zoo"):
        for camera in ("blurry", "sharp"):
            touch(raw / "takes" / name / f"{camera}.mp4")
        write_yaml(raw / "takes" / name / "take.yaml", TAKE | {"split": "test", "category": "face"})
    touch(raw / "takes" / "notes.txt")
    takes = read_takes(raw)
    assert [take.name for take in takes] == ["Zoo", "run", "walk"]
    assert [take.split for take in takes] == ["test", "test", None]
    assert takes[2].blurry == (raw / "takes" / "walk" / "blurry.mp4",)
    assert (takes[2].category, takes[2].subject, takes[2].green_screen) == ("street", "anna", False)
    assert takes[2].screen == "auto"


def test_chapters_keep_their_order_and_plates_are_found(raw):
    folder = raw / "takes" / "walk"
    for name in ("GX020001.MP4", "GX010001.MP4", "plate_sharp.png"):
        touch(folder / name)
    write_yaml(folder / "take.yaml", TAKE | {"sharp": ["GX010001.MP4", "GX020001.MP4"]})
    take = read_take(folder)
    assert [path.name for path in take.sharp] == ["GX010001.MP4", "GX020001.MP4"]
    assert [path.name for path in take.blurry] == ["blurry.mp4"]
    assert take.plate_sharp == folder / "plate_sharp.png"
    assert take.plate_blurry is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"category": "steet"}, "category: 'steet': .*'street', 'face' or 'hand'"),
        ({"categroy": "street"}, "categroy: is not a known key; expected category \\(of category, subject"),
        ({"subject": ""}, "subject: '': "),
        ({"subject": "a\0b"}, "subject: "),
        ({"subject": 7}, "subject: 7: .*string"),
        ({"green_screen": "no"}, "green_screen: 'no': .*boolean"),
        ({"green_screen": 1}, "green_screen: 1: .*boolean"),
        ({"subject": None}, "subject: "),
        ({"split": "val"}, "split: 'val': .*'train' or 'test'"),
        ({"green_screen": "green"}, "green_screen: 'green': "),
        ({"screen": "red"}, "screen: 'red': .*'auto', 'green' or 'blue'"),
        ({"sharp": []}, "sharp: "),
        ({"sharp": "sharp.mp4"}, "sharp: "),
        ({"sharp": ["../other/sharp.mp4"]}, "sharp: '../other/sharp.mp4' is not a plain file name"),
        ({"blurry": ["/etc/passwd"]}, "blurry: '/etc/passwd' is not a plain file name"),
        ({"blurry": ["sub/blurry.mp4"]}, "blurry: 'sub/blurry.mp4' is not a plain file name"),
    ],
)
def test_faults_of_a_take_are_named_by_file_and_key(raw, changes, message):
    write_yaml(raw / "takes" / "walk" / "take.yaml", TAKE | changes)
    with pytest.raises(InputError, match=rf"take\.yaml: {message}"):
        read_takes(raw)


@pytest.mark.parametrize("key", TAKE)
def test_what_a_take_must_say(raw, key):
    write_yaml(raw / "takes" / "walk" / "take.yaml", {name: value for name, value in TAKE.items() if name != key})
    with pytest.raises(InputError, match=rf"take\.yaml: {key}: is missing"):
        read_takes(raw)


def test_missing_files_of_a_take_are_named(raw):
    folder = raw / "takes" / "walk"
    write_yaml(folder / "take.yaml", TAKE | {"sharp": ["sharp.mp4", "GX02.MP4"]})
    with pytest.raises(InputError, match=r"GX02\.MP4: there is no such file; expected the sharp camera's video"):
        read_takes(raw)
    (folder / "blurry.mp4").unlink()
    with pytest.raises(InputError, match=r"blurry\.mp4: there is no such file; expected the blurry camera's video"):
        read_takes(raw)
    (folder / "take.yaml").unlink()
    with pytest.raises(InputError, match=r"take\.yaml: there is no such file"):
        read_takes(raw)


def test_hidden_files_and_folders_are_no_takes_and_no_captures(raw):
    expected = read_raw_directory(raw)
    touch(raw / "takes" / ".ipynb_checkpoints" / "take-checkpoint.yaml")
    touch(raw / "calibration" / "geometry" / "blurry" / "._a.JPG")
    touch(raw / "calibration" / "geometry" / "sharp" / ".b.png")
    assert [take.name for take in read_takes(raw)] == ["walk"]
    assert read_raw_directory(raw) == expected


def test_a_take_is_read_as_it_is_written_by_hand(raw):
    text = "category: face  # or street, hand\nsubject: anna\ngreen_screen: yes\nsplit: null\nsharp: [sharp.mp4]\n"
    take = read_take(write_yaml(raw / "takes" / "walk" / "take.yaml", text).parent)
    assert (take.category, take.green_screen, take.split) == ("face", True, None)
    assert [path.name for path in take.sharp] == ["sharp.mp4"]


@pytest.mark.parametrize("name", ["..", "."])
def test_a_chapter_that_is_a_folder(raw, name):
    write_yaml(raw / "takes" / "walk" / "take.yaml", TAKE | {"sharp": [name]})
    with pytest.raises(InputError, match=r"(no such file|not a plain file name|is a folder)"):
        read_takes(raw)


def test_a_raw_directory_without_takes(raw):
    for path in sorted((raw / "takes").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    with pytest.raises(InputError, match=r"takes: holds no take"):
        read_takes(raw)


def test_the_categories_are_the_contract_s():
    assert CATEGORIES == ("street", "face", "hand")


def test_aliases_are_refused_before_they_are_unfolded(raw):
    levels = "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    (raw / "capture.yaml").write_text(f"schema: 1\na: &a [1]\n{levels}rig: gopro_hero8\n")
    with pytest.raises(InputError, match=r"capture\.yaml: holds an alias"):
        read_raw_directory(raw)


@pytest.mark.parametrize("text", ["rig: !!bool zz", "rig: !!int ''", "rig: !!timestamp zz", "rig: " + "[" * 1000])
def test_values_that_yaml_itself_trips_over(raw, text):
    (raw / "capture.yaml").write_text(f"schema: 1\n{text}\n")
    with pytest.raises(InputError, match=r"capture\.yaml: is not YAML"):
        read_raw_directory(raw)


def test_a_key_that_is_given_twice(raw):
    path = raw / "takes" / "walk" / "take.yaml"
    path.write_text("category: hand\nsubject: anna\ngreen_screen: yes\ngreen_screen: no\n")
    with pytest.raises(InputError, match=r"take.yaml: green_screen: is given twice, the second time in line 4"):
        read_takes(raw)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("nowhere.png")])
def test_a_plate_that_is_no_file(raw, make):
    make(raw / "takes" / "walk" / "plate_blurry.png")
    with pytest.raises(InputError, match=r"plate_blurry.png: is not a file; expected an image"):
        read_takes(raw)
