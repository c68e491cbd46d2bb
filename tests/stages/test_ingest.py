import csv
import hashlib
import json
import os
import shutil
from datetime import timedelta

import av
import numpy as np
import pytest
import yaml
from cards import NOON, write_cards, write_recording
from scipy.ndimage import gaussian_filter1d

from rb2v.errors import InputError
from rb2v.io.config import read_raw_directory, read_takes
from rb2v.io.video import iter_frames
from rb2v.stages import doctor, ingest
from rb2v.stages.ingest import stage

RECORDS = {"blurry.mp4", "sharp.mp4", "take.yaml", "ingest.json"}
TAKES = [(0, 1.0), (61, 1.4), (190, 0.8)]


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    """Two cards of three takes; the sharp camera's clock is a day and 37 s ahead."""
    return write_cards(tmp_path_factory.mktemp("cards"), TAKES, clock_offset=86_437.0)


def copy_cards(cards, root):
    return tuple(shutil.copytree(card, root / card.name) for card in cards)


def take_in(cards, out, **changes):
    config = ingest.IngestConfig(**changes)
    planned = ingest.plan(*cards, out, config)
    return planned, ingest.run(planned, config)


@pytest.fixture
def invoke_ingest(rb2v):
    return lambda cards, out, *more: rb2v("ingest", *cards, "--out", out, "--workers", 1, *more)


def rows_of(table):
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def folder_of(card):
    return card / "DCIM" / "100GOPRO"


def test_two_cards_become_a_raw_directory(cards, tmp_path):
    out = tmp_path / "raw"
    planned, table = take_in(cards, out)
    assert planned.offset_seconds == pytest.approx(86_437, abs=1.5)
    assert planned.leftovers == planned.doubts == ()
    assert read_raw_directory(out).rig.name == "gopro_hero8"
    takes = read_takes(out)
    assert [take.name for take in takes] == ["take_0001", "take_0002", "take_0003"]
    assert {(take.category, take.green_screen) for take in takes} == {("street", False)}
    assert [take.subject for take in takes] == [take.name for take in takes]
    for index, take in enumerate(takes, start=1):
        for camera, number in (("blurry", index), ("sharp", index + 40)):
            card = cards[0] if camera == "blurry" else cards[1]
            (path,) = getattr(take, camera)
            source = folder_of(card) / f"GX01{number:04d}.MP4"
            assert path.read_bytes() == source.read_bytes()
            row = next(row for row in rows_of(table) if (row["take"], row["camera"]) == (take.name, camera))
            assert row["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
            assert (row["source"], row["file"], row["state"]) == (source.name, f"{camera}.mp4", "taken")
            assert "creation times" in row["evidence"]
    assert not (out / ".ingest").exists()


def test_a_dry_run_writes_nothing(cards, tmp_path, invoke_ingest):
    out = tmp_path / "raw"
    result = invoke_ingest(cards, out, "--dry-run")
    assert result.status == 0
    assert "take_0003" in result.output
    assert not out.exists()


def test_running_again_adds_what_is_new_and_touches_nothing(cards, tmp_path):
    both = copy_cards(cards, tmp_path / "cards")
    later = [folder_of(card) / name for card, name in zip(both, ("GX010003.MP4", "GX010043.MP4"), strict=True)]
    aside = [path.rename(tmp_path / path.name) for path in later]
    out = tmp_path / "raw"
    take_in(both, out)
    (out / "takes" / "take_0001" / "take.yaml").write_text("category: hand\nsubject: ann\ngreen_screen: true\n")
    before = contents(out / "takes")
    for path, source in zip(later, aside, strict=True):
        source.rename(path)
    planned, _ = take_in(both, out)
    assert [take.state for take in planned.takes] == ["present", "present", "new"]
    after = contents(out / "takes")
    assert {name: after[name] for name in before} == before
    assert sorted({name.split("/")[0] for name in after}) == ["take_0001", "take_0002", "take_0003"]
    # Cards that are formatted and used again begin with the same numbers.
    for card in both:
        shutil.rmtree(card)
    write_cards(tmp_path / "cards", [(86_400, 1.0)], clock_offset=86_437.0)
    planned, table = take_in(both, out)
    assert [(take.name, take.state) for take in planned.takes] == [("take_0001_2", "new")]
    assert len({row["take"] for row in rows_of(table)}) == 4


def test_a_new_pair_has_to_agree_with_the_clocks_of_the_others(cards, tmp_path):
    both = copy_cards(cards, tmp_path / "cards")
    out = tmp_path / "raw"
    take_in(both, out)
    write_recording(folder_of(both[0]) / "GX010009.MP4", "blurry", 1.0, NOON + timedelta(seconds=900))
    write_recording(folder_of(both[1]) / "GX010049.MP4", "sharp", 2.0, NOON + timedelta(seconds=5000))
    planned, table = take_in(both, out)
    assert {take.state for take in planned.takes} == {"present"}
    assert [leftover.recording.name for leftover in planned.leftovers] == ["GX0009", "GX0049"]
    assert [row["source"] for row in rows_of(table) if row["state"] == "unpaired"] == ["GX010009.MP4", "GX010049.MP4"]


def test_links(cards, tmp_path):
    take_in(cards, tmp_path / "raw", link=True)
    (path,) = read_takes(tmp_path / "raw")[0].blurry
    assert path.is_symlink()
    assert path.samefile(folder_of(cards[0]) / "GX010001.MP4")


def test_chapters_and_old_names(tmp_path):
    blurry, sharp = tmp_path / "blurry", tmp_path / "sharp" / "DCIM"
    for chapter in (1, 2):
        write_recording(blurry / f"GH{chapter:02d}0007.MP4", "blurry", 0.6, NOON + timedelta(seconds=chapter))
    write_recording(sharp / "100GOPRO" / "GOPR0012.MP4", "sharp", 0.8)
    write_recording(sharp / "101GOPRO" / "GP010012.MP4", "sharp", 0.7)
    for name in ("GH010007.THM", "GL010007.LRV", "._GH010007.MP4", ".Trashes/GX010001.MP4"):
        (blurry / name).parent.mkdir(exist_ok=True)
        (blurry / name).write_bytes(b"no video")
    planned, _ = take_in((blurry, sharp), tmp_path / "raw")
    assert planned.leftovers == ()
    (take,) = read_takes(tmp_path / "raw")
    assert [path.name for path in take.blurry] == ["blurry_1.mp4", "blurry_2.mp4"]
    assert [path.name for path in take.sharp] == ["sharp_1.mp4", "sharp_2.mp4"]
    assert len(list(iter_frames(take.sharp))) == 150


def test_files_of_a_loop_are_one_recording(tmp_path):
    blurry, sharp = tmp_path / "blurry", tmp_path / "sharp"
    for number in (3, 2, 4):  # the first one is overwritten
        write_recording(blurry / f"GHAA{number:04d}.MP4", "blurry", 0.2 * number, NOON + timedelta(seconds=number))
    write_recording(blurry / "GHAB0001.MP4", "blurry", 0.6, NOON + timedelta(hours=1))
    for name, seconds, begun in (("GHAA0001", 1.9, NOON), ("GHAB0001", 0.7, NOON + timedelta(hours=1))):
        write_recording(sharp / f"{name}.MP4", "sharp", seconds, begun)
    planned, _ = take_in((blurry, sharp), tmp_path / "raw")
    assert planned.leftovers == ()
    chapters = [[path.name for path in take.blurry.paths] for take in planned.takes]
    assert chapters == [["GHAA0002.MP4", "GHAA0003.MP4", "GHAA0004.MP4"], ["GHAB0001.MP4"]]


def test_slow_motion_is_taken_in_at_the_rate_of_the_recording(tmp_path):
    write_recording(tmp_path / "blurry" / "a.mp4", "blurry", telemetry=False)
    write_recording(tmp_path / "sharp" / "a.mp4", "sharp", 4.0, fps=25, telemetry=False)
    cards = tmp_path / "blurry", tmp_path / "sharp"
    (refused,) = ingest.plan(*cards, tmp_path / "raw").takes
    planned, _ = take_in(cards, tmp_path / "raw", capture_fps_sharp=100.0)
    assert [take.state for take in planned.takes] == ["new"]
    (take,) = read_takes(tmp_path / "raw")
    assert (take.blurry_format.capture_fps, take.sharp_format.capture_fps) == (None, 100)
    assert (refused.state, refused.diagnosis.level_of("frame-rate")) == ("refused", "refuse")


def test_a_missing_chapter_is_named(tmp_path):
    write_recording(tmp_path / "blurry" / "GX010001.MP4", "blurry")
    write_recording(tmp_path / "blurry" / "GX030002.MP4", "blurry")
    write_recording(tmp_path / "sharp" / "GX010001.MP4", "sharp")
    planned, _ = take_in((tmp_path / "blurry", tmp_path / "sharp"), tmp_path / "raw")
    assert [take.name for take in planned.takes] == ["take_0001"]
    ((camera, recording, reason),) = [(one.camera, one.recording.name, one.reason) for one in planned.leftovers]
    assert (camera, recording, reason) == ("blurry", "GX0002", "chapters 1, 2 of 3 are missing")


def test_many_missing_chapters_are_not_all_listed(tmp_path):
    write_recording(tmp_path / "GP990001.MP4", "blurry")
    (recording,) = ingest.find_recordings(tmp_path)
    assert recording.problem == "chapters 1, 2, 3, 4, 5, ... of 100 are missing"


def test_a_link_that_leads_nowhere_is_named(cards, tmp_path):
    both = copy_cards(cards, tmp_path / "cards")
    for name in ("GX010004.MP4", "clip.mp4"):
        (folder_of(both[0]) / name).symlink_to(tmp_path / "nowhere.mp4")
    planned, table = take_in(both, tmp_path / "raw")
    reason = "is a link to a file that is not there"
    assert [(left.recording.name, left.reason) for left in planned.leftovers] == [("GX0004", reason), ("clip", reason)]
    assert {row["bytes"] for row in rows_of(table) if row["state"] == "unreadable"} == {""}


def test_a_folder_of_the_card_that_cannot_be_read_is_warned_of(cards, tmp_path, monkeypatch, caplog):
    def walk(top, onerror, original=os.walk):
        onerror(PermissionError(13, "Permission denied", f"{top}/DCIM/101GOPRO"))
        return original(top, onerror=onerror)

    monkeypatch.setattr(os, "walk", walk)
    assert len(ingest.find_recordings(cards[0])) == 3
    assert "101GOPRO: cannot be read (Permission denied); what is in it is left out" in caplog.text


def test_a_recording_that_cannot_be_read_whole_is_a_fault_once_the_others_are_done(cards, tmp_path, invoke_ingest):
    both = copy_cards(cards, tmp_path / "cards")
    write_recording(folder_of(both[1]) / "GX020099.MP4", "sharp")
    damaged = folder_of(both[0]) / "GX010002.MP4"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    out = tmp_path / "raw"
    result = invoke_ingest(both, out)
    assert result.status == 2
    assert "blurry GX0002, sharp GX0099: cannot be read whole" in result.err
    assert "blurry camera: GX0002 is in no take: GX010002.MP4: lacks its index: it is cut short" in result.output
    assert [take.name for take in read_takes(out)] == ["take_0001", "take_0003"]
    # What has no partner is no fault.
    for name, card in (("GX010002.MP4", both[0]), ("GX020099.MP4", both[1])):
        (folder_of(card) / name).unlink()
    result = invoke_ingest(both, out)
    assert result.status == 0
    assert "sharp camera: GX0042 is in no take" in result.output


def test_a_file_that_may_not_be_read_is_not_called_cut_short(cards, tmp_path, monkeypatch):
    def refuse(path, *args, **options):
        raise av.error.PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(av, "open", refuse)
    planned = ingest.plan(*cards, tmp_path / "raw")
    assert planned.leftovers[0].reason == "GX010001.MP4: cannot be read (Permission denied)"


def test_files_of_camcorders_are_recordings(tmp_path):
    for camera in ("blurry", "sharp"):
        whole = write_recording(tmp_path / f"{camera}.mp4", camera, telemetry=False)
        (tmp_path / camera).mkdir()
        remux(whole, tmp_path / camera / "00001.MTS", "mpegts")
    planned, _ = take_in((tmp_path / "blurry", tmp_path / "sharp"), tmp_path / "raw")
    assert [take.state for take in planned.takes] == ["new"]
    (take,) = read_takes(tmp_path / "raw")
    assert [path.name for path in (*take.blurry, *take.sharp)] == ["blurry.mts", "sharp.mts"]


def remux(source, target, container):
    with av.open(str(source)) as read, av.open(str(target), "w", format=container) as written:
        stream = written.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(read.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                written.mux(packet)


@pytest.mark.parametrize(
    ("name", "take"),
    [
        ("two\nlines.mp4", "take_two_nlines"),
        ("\x1b[31mred\x07.mp4", "take_x1b_31mred_x07"),
        (os.fsdecode(b"no \xff UTF-8.mp4"), "take_no_udcff_UTF-8"),
        ("x" * 250 + ".mp4", "take_" + "x" * 100),
    ],
)
def test_names_that_no_terminal_and_no_table_should_hold(tmp_path, name, take):
    write_recording(tmp_path / "blurry.mp4", "blurry").rename(write_folder(tmp_path / "blurry") / name)
    write_recording(tmp_path / "sharp" / "GX010001.MP4", "sharp", 2.0)
    cards, out = (tmp_path / "blurry", tmp_path / "sharp"), tmp_path / "raw"
    planned, table = take_in(cards, out)
    assert [one.name for one in planned.takes] == [take]
    assert table.read_text(encoding="utf-8").replace("\n", "").isprintable()
    assert len(table.read_text().splitlines()) == 3
    planned, _ = take_in(cards, out)
    assert [one.state for one in planned.takes] == ["present"]


def write_folder(path):
    path.mkdir()
    return path


def test_cards_and_raw_directory_lie_apart(cards, tmp_path):
    for arguments in (
        (cards[0], cards[1], cards[0] / "raw"),
        (cards[0], cards[1], cards[1] / "raw"),
        (cards[0] / "DCIM", cards[0], tmp_path / "raw"),
        (cards[0], cards[0] / "DCIM", tmp_path / "raw"),
    ):
        with pytest.raises(InputError, match=r"lies in .*; expected folders apart from each other"):
            ingest.plan(*arguments)


def test_captures_may_be_laid_down_first(cards, tmp_path):
    captures = tmp_path / "raw" / "calibration" / "geometry"
    captures.mkdir(parents=True)
    take_in(cards, tmp_path / "raw")
    assert captures.is_dir()
    assert len(read_takes(tmp_path / "raw")) == 3


def test_one_recording_without_a_creation_time_keeps_none_from_its_partner(cards, tmp_path):
    both = copy_cards(cards, tmp_path / "cards")
    write_recording(folder_of(both[0]) / "GX010003.MP4", "blurry", 0.8, None)
    planned = ingest.plan(*both, tmp_path / "raw")
    assert [take.name for take in planned.takes] == ["take_0001", "take_0002"]
    left = {leftover.recording.name: leftover.reason for leftover in planned.leftovers}
    assert left["GX0003"] == "it does not state when it began"
    assert left["GX0043"].startswith("no recording of the other card began with it")


def test_a_take_that_another_run_took_in_meanwhile_stays(cards, tmp_path):
    planned = ingest.plan(*cards, tmp_path / "raw")
    ingest.run(planned)
    before = contents(tmp_path / "raw")
    with pytest.raises(InputError, match=r"takes/take_0001: was made since this run looked, by another one"):
        ingest.run(planned)
    assert contents(tmp_path / "raw") == before | {
        name: content for name, content in contents(tmp_path / "raw").items() if name.startswith(".ingest")
    }


def test_a_chapter_that_is_cut_short_is_named(tmp_path, invoke_ingest):
    for chapter in (1, 2):
        path = write_recording(tmp_path / "blurry" / f"GX{chapter:02d}0001.MP4", "blurry")
    path.write_bytes(path.read_bytes()[:2000])
    write_recording(tmp_path / "sharp" / "GX010001.MP4", "sharp", 2.0)
    result = invoke_ingest((tmp_path / "blurry", tmp_path / "sharp"), tmp_path / "raw")
    assert result.status == 2
    assert "GX0001 is in no take: GX020001.MP4: lacks its index: it is cut short" in result.output
    assert not (tmp_path / "raw" / "takes").exists()


def test_files_of_any_name_and_a_timecode_for_a_clock(tmp_path):
    for index, seconds in enumerate((0, 40, 95)):
        for camera, ahead in (("blurry", 0), ("sharp", 3)):
            folder = tmp_path / camera
            start = 60 * 60 * 10 + seconds + ahead
            text = f"{start // 3600:02d}:{start // 60 % 60:02d}:{start % 60:02d}:00"
            name = folder / f"clip {index} of {camera}.mp4"
            write_recording(name, camera, 1.0 + 0.1 * index, None, timecode=text)
    planned, _ = take_in((tmp_path / "blurry", tmp_path / "sharp"), tmp_path / "raw")
    assert [take.name for take in planned.takes] == [f"take_clip_{index}_of_blurry" for index in range(3)]
    assert planned.offset_seconds == pytest.approx(3.0)
    assert all("timecodes" in take.evidence for take in planned.takes)


def test_what_cannot_give_a_good_data_set_is_refused(cards, tmp_path, invoke_ingest):
    both = copy_cards(cards, tmp_path / "cards")
    begun = NOON + timedelta(seconds=61)
    write_recording(folder_of(both[0]) / "GX010002.MP4", "blurry", 1.4, begun, telemetry={"settings": {"EISE": "Y"}})
    out = tmp_path / "raw"
    result = invoke_ingest(both, out)
    assert result.status == 2
    assert "take_0002: refused" in result.err
    assert "take_0002: stabilization: refuse: blurry camera: stabilization is on" in result.output
    assert [take.name for take in read_takes(out)] == ["take_0001", "take_0003"]
    states = {row["take"]: row["state"] for row in rows_of(out / "ingest.csv")}
    assert states == {"take_0001": "taken", "take_0002": "refused", "take_0003": "taken"}
    result = invoke_ingest(both, out, "--keep-refused")
    assert result.status == 0
    assert len(read_takes(out)) == 3


def test_swapped_cards_are_named(cards, tmp_path):
    with pytest.raises(InputError, match=r"is the sharp camera's card, and .* the blurry camera's"):
        ingest.plan(cards[1], cards[0], tmp_path / "raw")


def test_what_two_ways_of_pairing_explain_is_not_guessed(tmp_path, invoke_ingest):
    both = write_cards(tmp_path, [(60 * index, 1.0) for index in range(4)], clock_offset=9000)
    (folder_of(both[1]) / "GX010044.MP4").unlink()
    out = tmp_path / "raw"
    result = invoke_ingest(both, out)
    assert result.status == 2
    assert "the clocks may differ by" in result.output
    assert not (out / "takes").exists()
    result = invoke_ingest(both, out, "--clock-offset", "9000")
    assert result.status == 0
    assert len(read_takes(out)) == 3
    assert "GX0004 is in no take" in result.output


def turning(seed, seconds, lead):
    """What two cameras that are fixed to each other measure, the sharp one from a little earlier on."""
    rng = np.random.default_rng(seed)
    motion = gaussian_filter1d(rng.normal(0, 4, (round(200 * (seconds + 2 * lead)), 3)), 12, axis=0)
    first = round(200 * lead)
    tracks = {"blurry": motion[first : first + round(200 * seconds)], "sharp": motion[:, [1, 2, 0]] * [1, -1, -1]}
    return {camera: {"gyro": gyro, "gyro_times": np.arange(len(gyro)) / 200} for camera, gyro in tracks.items()}


def test_how_the_cameras_were_turned_settles_a_doubt(tmp_path):
    """Takes at even intervals, of cameras whose clocks are 9000 s apart; the sharp camera missed the last one."""
    for index in range(3):
        stated = turning(index, 4.0, 0.5)
        begun = NOON + timedelta(seconds=60 * index)
        write_recording(tmp_path / "blurry" / f"GX01{index:04d}.MP4", "blurry", 4.0, begun, telemetry=stated["blurry"])
        if index < 2:
            begun += timedelta(seconds=9000)
            path = tmp_path / "sharp" / f"GX01{index + 7:04d}.MP4"
            write_recording(path, "sharp", 5.0, begun, telemetry=stated["sharp"])
    planned = ingest.plan(tmp_path / "blurry", tmp_path / "sharp", tmp_path / "raw")
    assert [(take.blurry.name, take.sharp.name) for take in planned.takes] == [
        ("GX0000", "GX0007"),
        ("GX0001", "GX0008"),
    ]
    assert all("turned alike, and unlike all others" in take.evidence for take in planned.takes)
    assert planned.doubts == ()
    assert [leftover.recording.name for leftover in planned.leftovers] == ["GX0002"]


def test_a_run_that_was_stopped_goes_on(cards, tmp_path, monkeypatch):
    out = tmp_path / "raw"
    config = ingest.IngestConfig()
    planned = ingest.plan(*cards, out, config)
    copied = []

    def copy(source, target, count, original=stage._copy):
        if len(copied) == 3:
            raise KeyboardInterrupt
        copied.append(target)
        return original(source, target, count)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "_copy", copy)
        with pytest.raises(KeyboardInterrupt):
            ingest.run(planned, config)
    # The first take is there, and half of the second is laid aside.
    assert [take.name for take in read_takes(out)] == ["take_0001"]
    (left,) = (out / ".ingest" / "take_0002").glob("*.mp4")
    left.write_bytes(left.read_bytes()[:-1] + b"\0")  # of the right length, and damaged
    (left.parent / "sharp_2.mp4").write_bytes(b"of a recording that has since been deleted")
    fresh = take_in(cards, tmp_path / "fresh")[1].read_text()
    assert take_in(cards, out)[1].read_text() == fresh
    assert {path.name for path in (out / "takes" / "take_0002").iterdir()} == RECORDS
    assert not (out / ".ingest").exists()


def test_two_runs_at_once(cards, tmp_path):
    planned = ingest.plan(*cards, tmp_path / "raw")
    with stage._locked(tmp_path / "raw"), pytest.raises(InputError, match="another run is writing here"):
        ingest.run(planned)


def test_subjects(cards, tmp_path):
    with pytest.raises(InputError) as caught:
        ingest.IngestConfig(category="face")
    assert caught.value.key == "subject"
    take_in(cards, tmp_path / "raw", category="face", subject="ann: the 'first'", green_screen=True, screen="blue")
    told = {(take.subject, take.green_screen, take.screen) for take in read_takes(tmp_path / "raw")}
    assert told == {("ann: the 'first'", True, "blue")}


def test_folders_that_do_not_fit(cards, tmp_path):
    (tmp_path / "empty").mkdir()
    for wrong, message in (
        ((cards[0], tmp_path / "none"), "there is no such folder"),
        ((cards[0], tmp_path / "empty"), "holds no recording"),
        ((cards[0], cards[0]), "is given for both cameras"),
    ):
        with pytest.raises(InputError, match=message):
            ingest.plan(*wrong, tmp_path / "raw")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty and is not a raw directory"):
        ingest.plan(*cards, tmp_path / "other")
    take_in(cards, tmp_path / "raw")
    rig = yaml.safe_load((_rig_path()).read_text()) | {"name": "mine", "search_range_seconds": 0.5}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(rig))
    with pytest.raises(InputError, match="names the rig gopro_hero8"):
        ingest.plan(*cards, tmp_path / "raw", ingest.IngestConfig(rig=str(tmp_path / "mine.yaml")))


def _rig_path():
    from rb2v.io.config import find_rig

    return find_rig("gopro_hero8")


def test_a_record_that_somebody_edited(cards, tmp_path):
    take_in(cards, tmp_path / "raw")
    path = tmp_path / "raw" / "takes" / "take_0001" / "ingest.json"
    record = json.loads(path.read_text())
    del record["sharp"]["files"]
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"ingest\.json: sharp\.files: is missing"):
        ingest.plan(*cards, tmp_path / "raw")


def test_what_a_record_says(cards, tmp_path):
    take_in(cards, tmp_path / "raw")
    record = json.loads((tmp_path / "raw" / "takes" / "take_0001" / "ingest.json").read_text())
    assert record["sharp"]["files"][0]["source"] == "GX010041.MP4"
    assert record["sharp"]["created"] == "2024-05-07T12:00:36"
    assert record["blurry"]["frames"] == 25


@pytest.mark.slow
def test_a_simulated_session_goes_through_cards(brief_session, tmp_path):
    names = sorted(take.name for take in read_takes(brief_session.raw))
    for camera, first in (("blurry", 11), ("sharp", 57)):
        for number, name in enumerate(
            sorted(names, key=lambda name: day_seconds(brief_session, name, camera)), start=first
        ):
            target = tmp_path / camera / "DCIM" / "100GOPRO" / f"GX01{number:04d}.MP4"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(brief_session.raw / "takes" / name / f"{camera}.mp4", target)
    cards = tmp_path / "blurry", tmp_path / "sharp"
    planned, _ = take_in(cards, tmp_path / "again", rig=str(brief_session.root / "rig.yaml"))
    assert planned.leftovers == ()
    assert [diagnosis.level for diagnosis in doctor.run(tmp_path / "again")] == ["ok", "ok"]
    recorded = {pair_of(brief_session.raw / "takes" / name) for name in names}
    assert {pair_of(tmp_path / "again" / "takes" / take.name) for take in planned.takes} == recorded


def day_seconds(session, name, camera):
    return session.truth.rig.day_seconds(session.truth.take(name), camera)


def pair_of(folder):
    return tuple((folder / f"{camera}.mp4").read_bytes() for camera in ("blurry", "sharp"))
