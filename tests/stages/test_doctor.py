import json
import shutil

import numpy as np
import pytest
import yaml
from cards import make_telemetry, write_recording
from odd_files import cut_out_by_edit_list, moving, write_odd
from sessions import write_rig

from rb2v.errors import InputError
from rb2v.io.encoder import write_video
from rb2v.io.video import write_image
from rb2v.stages import doctor


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """One good recording of each camera."""
    root = tmp_path_factory.mktemp("good")
    return {camera: write_recording(root / f"{camera}.mp4", camera) for camera in ("blurry", "sharp")}


def make_raw(root, takes, rig="gopro_hero8"):
    """A raw directory of takes as {name: {camera: file}}."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "capture.yaml").write_text(yaml.safe_dump({"schema": 1, "rig": str(rig)}))
    for name, files in takes.items():
        folder = root / "takes" / name
        folder.mkdir(parents=True)
        description = {"category": "street", "subject": name, "green_screen": False}
        for camera, path in files.items():
            file_name = f"{camera}{path.suffix}"
            shutil.copyfile(path, folder / file_name)
            description[camera] = [file_name]
        (folder / "take.yaml").write_text(yaml.safe_dump(description))
    return root


def findings_of(root):
    (diagnosis,) = doctor.run(root)
    return {finding.check: finding for finding in diagnosis.findings if finding.level != "ok"}


def found_with(tmp_path, good, camera, **changes):
    """What is found when one camera's recording is made otherwise."""
    other = write_recording(tmp_path / "other.mp4", camera, **changes)
    return findings_of(make_raw(tmp_path / "raw", {"a": good | {camera: other}}))


def test_a_good_take_has_nothing_to_say(tmp_path, good):
    (diagnosis,) = doctor.run(make_raw(tmp_path / "raw", {"a": good}))
    assert diagnosis.level == "ok"
    assert [finding.check for finding in diagnosis.findings] == list(doctor.CHECKS)
    assert diagnosis.facts["blurry"]["frame_rate"] == 25
    assert diagnosis.facts["sharp"]["telemetry"]["model"] == "HERO8 Black"


def settings(**changes):
    return {"telemetry": {"settings": changes}}


def shutter(*seconds):
    values = np.resize(seconds, 25)
    return {"telemetry": {"shutter_seconds": np.sort(values)}}


FAULTS = [
    ("blurry", settings(EISE="Y"), "stabilization", "refuse"),
    ("sharp", settings(EISE=None, EISA="HS High"), "stabilization", "refuse"),
    ("blurry", settings(VFOV="W"), "field-of-view", "refuse"),
    ("sharp", settings(ZFOV=80.0), "field-of-view", "warn"),
    ("blurry", settings(EXPT="AUTO"), "exposure", "warn"),
    ("blurry", shutter(1 / 30, 1 / 33), "exposure", "refuse"),
    ("sharp", shutter(1 / 800, 1 / 700), "exposure", "warn"),
    ("blurry", shutter(1 / 36), "shutter", "warn"),
    ("blurry", shutter(1 / 25), "shutter", "refuse"),
    ("blurry", shutter(1 / 50), "shutter", "refuse"),
    ("sharp", shutter(1 / 390), "shutter", "warn"),
    ("sharp", shutter(1 / 200), "shutter", "warn"),
    ("sharp", shutter(1 / 100), "shutter", "refuse"),
    ("sharp", {"telemetry": {"iso": np.linspace(100, 200, 25)}}, "iso", "warn"),
    ("sharp", settings(PTWB="AUTO"), "white-balance", "warn"),
    ("sharp", {"telemetry": {"gains": np.linspace([1.5, 1, 1.7], [1.8, 1, 1.7], 25)}}, "white-balance", "warn"),
    ("sharp", settings(PTCL="GOPRO"), "picture-profile", "warn"),
    ("blurry", settings(PTSH="HIGH"), "picture-profile", "warn"),
    ("blurry", settings(PTEV="-0.5"), "picture-profile", "warn"),
    ("sharp", {"telemetry": {"model": "HERO7 Black"}}, "model", "warn"),
    ("sharp", settings(SROT=0.002), "read-out", "info"),
    ("sharp", {"telemetry": False}, "telemetry", "warn"),
    ("sharp", {"fps": 120.0}, "frame-rate", "refuse"),
    ("sharp", {"fps": 99.0}, "frame-rate", "warn"),
    ("sharp", {"lost": (40, 41)}, "dropped-frames", "warn"),
    ("sharp", {"lost": range(20, 40)}, "dropped-frames", "refuse"),
    ("sharp", {"size": (80, 60)}, "size", "warn"),
]


@pytest.mark.parametrize(("camera", "changes", "check", "level"), FAULTS)
def test_faults_of_a_capture(tmp_path, good, camera, changes, check, level):
    found = found_with(tmp_path, good, camera, **changes)
    assert list(found) == [check]
    assert found[check].level == level
    assert found[check].message


def test_what_a_finding_says(tmp_path, good):
    found = found_with(tmp_path, good, "blurry", **shutter(1 / 25))
    assert str(found["shutter"]) == (
        "blurry camera: shutter 1/25 s; expected 1/32 s, give or take 2.5 ms, as in the rig. "
        "Set the shutter, or name a rig with frames_per_sequence: 9 and blur_samples: 25."
    )


@pytest.mark.parametrize(
    ("seconds", "level", "message"),
    [
        (
            -1.0,
            "warn",
            "the telemetry states a shutter of -1 s; expected more than 0. Copy the file from the card again.",
        ),
        (3e38, "refuse", "shutter 3e+38 s; expected 1/32 s, give or take 2.5 ms, as in the rig. Set the shutter."),
    ],
)
def test_a_shutter_that_cannot_be_names_no_rig(tmp_path, good, seconds, level, message):
    found = found_with(tmp_path, good, "blurry", **shutter(seconds))
    assert found["shutter"].level == level
    assert str(found["shutter"]) == f"blurry camera: {message}"


def test_a_shutter_that_is_stated_a_little_longer_is_the_one_that_was_asked_for(tmp_path, good):
    assert not found_with(tmp_path, good, "sharp", **shutter(0.002502))


def test_a_sharp_recording_that_is_too_short(tmp_path, good):
    long = write_recording(tmp_path / "long.mp4", "blurry", 4.0)
    found = findings_of(make_raw(tmp_path / "raw", {"a": good | {"blurry": long}}))
    assert found["duration"].level == "refuse"
    assert "1.0 s, the blurry one 4.0 s" in found["duration"].message


def test_swapped_recordings_are_named_once(tmp_path, good):
    found = findings_of(make_raw(tmp_path / "raw", {"a": {"blurry": good["sharp"], "sharp": good["blurry"]}}))
    assert found["frame-rate"].level == "refuse"
    assert "the cameras are swapped" in found["frame-rate"].message


def test_takes_of_different_sizes(tmp_path, good):
    other = write_recording(tmp_path / "other.mp4", "sharp", size=(80, 60))
    raw = make_raw(tmp_path / "raw", {"a": good, "b": good, "c": good | {"sharp": other}})
    a, b, c = doctor.run(raw)
    assert (a.level, b.level, c.level) == ("ok", "ok", "refuse")
    assert c.level_of("size") == "refuse"


def cut_telemetry(path, target, n_kept):
    """A copy whose telemetry is overwritten with zeros from the n-th payload on."""
    data = bytearray(path.read_bytes())
    position, places = 0, []
    while (position := data.find(b"DEVC", position)) >= 0:
        places.append(position)
        position += 4
    for place in places[n_kept:-1]:
        data[place + 40 : place + 400] = bytes(360)
    target.write_bytes(data)
    return target


def test_damaged_telemetry_is_named_and_the_rest_read(tmp_path, good):
    long = write_recording(tmp_path / "long.mp4", "sharp", 4.0)
    damaged = cut_telemetry(long, tmp_path / "damaged.mp4", 2)
    found = findings_of(make_raw(tmp_path / "raw", {"a": good | {"sharp": damaged}}))
    assert found["telemetry"].level == "warn"
    assert "the telemetry is damaged: sharp.mp4: at" in found["telemetry"].message


def test_telemetry_that_ends_before_the_pictures(tmp_path, good):
    short = make_telemetry("sharp", 1.0)
    names = [name for name in vars(short) if name not in ("settings", "has_stamps", "problems")]
    long = write_recording(
        tmp_path / "long.mp4", "sharp", 4.0, telemetry={name: getattr(short, name) for name in names}
    )
    found = findings_of(make_raw(tmp_path / "raw", {"a": good | {"sharp": long}}))
    assert "the telemetry ends at 1.0 s of 4.0 s" in found["telemetry"].message


def test_files_that_cannot_be_read(tmp_path, good):
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(good["sharp"].read_bytes()[:3000])
    raw = make_raw(tmp_path / "raw", {"a": good | {"sharp": cut}, "b": good, "c": good})
    (raw / "takes" / "c" / "take.yaml").write_text("category: steet\n")
    a, b, c = doctor.run(raw)
    assert (a.level, b.level, c.level) == ("refuse", "ok", "refuse")
    assert "sharp.mp4: lacks its index: it is cut short" in str(a.findings[0])
    assert "take.yaml: category: 'steet'" in str(c.findings[0])


def test_captures_of_another_size_than_the_videos(tmp_path, good):
    raw = make_raw(tmp_path / "raw", {"a": good, "b": good})
    for camera, size in (("blurry", (48, 64)), ("sharp", (480, 640))):
        # One odd capture, even the first one, is a matting method of the calibration.
        for name, one in (("a", (90, 90)), ("b", size), ("c", size)):
            write_image(raw / "calibration" / "geometry" / camera / f"{name}.png", np.zeros(one, np.uint8))
    (finding,) = (one for one in doctor.run(raw)[0].findings if one.level != "ok")
    assert (finding.check, finding.level, finding.camera) == ("size", "refuse", "sharp")
    assert "frames are 64x48, the geometry captures 640x480" in finding.message


def test_folders_that_are_none(tmp_path):
    with pytest.raises(InputError, match="there is no such folder"):
        doctor.run(tmp_path / "none")
    make_raw(tmp_path / "raw", {})
    with pytest.raises(InputError, match="holds no take"):
        doctor.run(tmp_path / "raw")


def test_the_command(tmp_path, good, rb2v):
    auto = write_recording(tmp_path / "auto.mp4", "sharp", **settings(PTWB="AUTO"))
    raw = make_raw(tmp_path / "raw", {"a": good, "b": good | {"sharp": auto}})
    arguments = ["doctor", raw, "--workers", 1]
    plain = rb2v(*arguments, "--json", tmp_path / "found.json")
    assert plain.status == 0
    assert "b: white-balance: warn: sharp camera: white balance is automatic" in plain.output
    document = json.loads((tmp_path / "found.json").read_text())
    assert (document["rig"], document["level"]) == ("gopro_hero8", "warn")
    assert [take["level"] for take in document["takes"]] == ["ok", "warn"]
    strict = rb2v(*arguments, "--strict")
    assert strict.status == 2
    assert "1 have warnings" in strict.err


def test_a_real_recording(tmp_path, shared_data):
    path = shared_data / "gopro" / "max-heromode.mp4"
    rig = write_rig(
        tmp_path / "rig.yaml",
        blurry={"model": "GoPro Max", "frame_rate": 29.97},
        sharp={"model": "GoPro Max", "frame_rate": 29.97},
    )
    raw = make_raw(tmp_path / "raw", {"a": {"blurry": path, "sharp": path}}, rig)
    (diagnosis,) = doctor.run(raw)
    levels = {check: diagnosis.level_of(check) for check in doctor.CHECKS}
    assert {check for check, level in levels.items() if level == "refuse"} == {"stabilization", "shutter"}
    assert {check for check, level in levels.items() if level == "warn"} == {"exposure", "white-balance"}
    assert diagnosis.facts["blurry"]["pixel_format"] == "yuvj420p"
    assert diagnosis.facts["blurry"]["full_range"] is True


@pytest.mark.parametrize(
    "name", ["video/vtest.avi", "hands/asl_yes.mkv", "faces/head-pose-female.gif", "video/cup.mp4"]
)
def test_odd_files_are_spoken_of_sensibly(tmp_path, good, shared_data, name):
    found = findings_of(make_raw(tmp_path / "raw", {"a": good | {"blurry": shared_data / name}}))
    assert found["frame-rate"].level == "refuse"
    assert found["telemetry"].level == "warn"
    assert "there is no telemetry" in found["telemetry"].message
    assert "file" not in found


@pytest.mark.parametrize(
    ("color", "stated", "is_named"),
    [
        ((30, 170, 60), "auto", False),
        ((30, 50, 200), "auto", False),
        ((30, 50, 200), "green", True),
        ((200, 40, 40), "auto", True),
        ((90, 90, 90), "auto", True),
    ],
)
def test_a_screen_that_cannot_be_keyed_is_named(tmp_path, good, color, stated, is_named):
    image = np.full((48, 64, 3), color, np.uint8)
    path = write_video(tmp_path / "screen.mp4", [image] * 25, 25.0)
    raw = make_raw(tmp_path / "raw", {"a": good | {"blurry": path}})
    take = raw / "takes" / "a" / "take.yaml"
    take.write_text(take.read_text().replace("green_screen: false", f"green_screen: true\nscreen: {stated}"))
    (diagnosis,) = doctor.run(raw)
    found = {finding.camera: finding for finding in diagnosis.findings if finding.check == "screen"}
    assert ("blurry" in found) == is_named
    assert found["sharp"].level == "warn"  # its frames are gray
    assert "--matter background" in found["sharp"].advice


@pytest.mark.parametrize(("lamps_hz", "is_named"), [(120, True), (100, False), (0, False)])
def test_lamps_that_beat_with_the_frames_are_named(tmp_path, good, lamps_hz, is_named):
    light = 1 + 0.2 * np.sin(2 * np.pi * lamps_hz * np.arange(80) / 100)
    # At 100 frames per second lamps of 100 Hz light every frame alike.
    frames = [np.full((48, 64, 3), round(120 * gain ** (1 / 2.2)), np.uint8) for gain in light]
    path = write_video(tmp_path / "lamps.mp4", frames, 100.0)
    found = findings_of(make_raw(tmp_path / "raw", {"a": good | {"sharp": path}}))
    assert ("lamps" in found) == is_named
    if is_named:
        assert (found["lamps"].level, found["lamps"].camera) == ("warn", "sharp")
        assert "60 Hz" in found["lamps"].message
        assert "1/120 s" in found["lamps"].advice


X264 = {"preset": "veryfast", "crf": "16", "bf": "0"}
ODD = {
    "repeated": ("repeated-frames", "warn", {}),
    "interlaced": ("interlaced", "warn", {"options": {**X264, "flags": "+ilme+ildct", "x264-params": "tff=1"}}),
    "cut-out": ("cuts", "refuse", {}),
    "silent": ("sound", "warn", {"sound": np.zeros((1, 24_000))}),
    "hdr": ("color", "warn", {"options": {**X264, "x264-params": "transfer=arib-std-b67"}}),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_of_a_file_is_named_with_a_remedy(tmp_path, good, name):
    check, level, settings = ODD[name]
    frames = moving(30)
    shown = [frames[11 if name == "repeated" and index == 12 else index] for index in range(30)]
    path = write_odd(tmp_path / "odd.mp4", shown, **{"options": X264} | settings)
    if name == "cut-out":
        cut_out_by_edit_list(path, 10, 20, 25)
    finding = findings_of(make_raw(tmp_path / "raw", {"a": good | {"blurry": path}}))[check]
    assert (finding.level, finding.camera) == (level, "blurry")
    assert finding.advice
    if name == "repeated":
        assert "1 frames (3.33 %)" in finding.message
    others = findings_of(make_raw(tmp_path / "plain", {"a": good | {"blurry": write_plain(tmp_path, frames)}}))
    assert check not in others or others[check].level == "info"


def write_plain(tmp_path, frames):
    return write_odd(tmp_path / "plain.mp4", frames, options=X264)


def test_slow_motion_that_is_not_stated_has_a_remedy(tmp_path, good):
    path = write_odd(tmp_path / "slow.mp4", moving(20), rate=30, options=X264)
    finding = findings_of(make_raw(tmp_path / "raw", {"a": good | {"sharp": path}}))["frame-rate"]
    assert finding.level == "refuse"
    assert "capture_fps: {sharp: 100}" in finding.advice


@pytest.mark.parametrize(("camera", "n"), [("sharp", 1), ("sharp", 3), ("blurry", 2)])
def test_a_recording_without_a_window_is_refused(tmp_path, good, camera, n):
    rate = 100 if camera == "sharp" else 25
    path = write_odd(tmp_path / "brief.mp4", moving(n), rate=rate, options=X264)
    finding = findings_of(make_raw(tmp_path / "raw", {"a": good | {camera: path}}))["duration"]
    assert (finding.level, finding.camera) == ("refuse", camera)
    assert finding.advice


def test_a_camera_that_was_turned_over_between_takes_is_named(tmp_path, good):
    half_turn = [-1 << 16, 0, 0, 0, -1 << 16, 0, 0, 0, 1 << 30]
    turned = write_odd(tmp_path / "turned.mp4", moving(25), options=X264, matrix=half_turn)
    raw = make_raw(tmp_path / "raw", {"a": good, "b": good | {"blurry": turned}, "c": good})
    named = {
        (found.take, finding.camera) for found in doctor.run(raw) for finding in found.findings if is_turn(finding)
    }
    assert named == {("b", "blurry")}


def is_turn(finding):
    return finding.check == "turn" and finding.level == "warn" and "180 degrees" in finding.message
