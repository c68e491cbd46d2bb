"""The readers of files, each with a whole file to damage and a function that reads one and may only raise Rb2vError."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml
from cards import write_recording
from sessions import RIG
from textures import write_data_set

from rb2v.io.calibration import read_calibration
from rb2v.io.config import read_rig, read_settings, read_take
from rb2v.io.container import iter_boxes
from rb2v.io.gopro import parse_payload, parse_timecode, read_telemetry
from rb2v.io.recording import read_recording
from rb2v.io.store import read_alignment, read_json
from rb2v.io.video import iter_frames, probe_video
from rb2v.shards import ShardReader
from rb2v.shards.manifest import MANIFEST_NAME, read_manifest
from rb2v.stages.align import AlignConfig


@dataclass(frozen=True)
class Target:
    """A reader."""

    name: str
    file: Path
    """A whole file, in a folder that holds all that the reader needs."""
    read: Callable[[Path], object]
    """Takes the damaged file, which lies at the place of the whole one in a copy of its folder."""


def make_targets(root, calibration=None):
    """Write a whole file for every reader and return the readers."""
    video = write_recording(root / "video" / "a.mp4", "sharp", 0.3)
    (root / "gpmf").mkdir()
    content = video.read_bytes()
    start = content.index(b"DEVC")
    (root / "gpmf" / "a.gpmf").write_bytes(content[start : start + 4000])
    (root / "timecode").mkdir()
    (root / "timecode" / "a.txt").write_text("12:34:56:07")
    for folder, text in (
        ("rig", yaml.safe_dump(RIG)),
        ("settings", yaml.safe_dump({"search": "full", "max_shift_px": 1.0, "response": {"gamma": 2.2}})),
        ("json", '{"schema": 1, "takes": [{"name": "a", "values": [1.5, -2e3, null, true]}]}'),
        ("table", _TABLE),
    ):
        (root / folder).mkdir()
        (root / folder / "a.txt").write_text(text)
    take = root / "take"
    take.mkdir()
    (take / "take.yaml").write_text(
        "category: face\nsubject: ann\ngreen_screen: false\nsplit: train\ncapture_fps: {sharp: 240}\n"
        "color_matrix: {blurry: bt709}\n"
    )
    for camera in ("blurry", "sharp"):
        (take / f"{camera}.mp4").touch()
    write_data_set(root / "shards", 2, 1, 16)
    targets = [
        Target("MP4 boxes", video, _walk_boxes),
        Target("recordings", video, lambda path: read_recording([path])),
        Target("formats", video, probe_video),
        Target("frames", video, lambda path: [frame.time_seconds for frame in iter_frames([path])]),
        Target("telemetry", video, lambda path: read_telemetry([path])),
        Target("GPMF", root / "gpmf" / "a.gpmf", lambda path: parse_payload(path.read_bytes())),
        Target("timecodes", root / "timecode" / "a.txt", lambda path: parse_timecode(path.read_text("latin-1"), 30)),
        Target("rigs", root / "rig" / "a.txt", read_rig),
        Target("takes", take / "take.yaml", lambda path: read_take(path.parent)),
        Target("settings", root / "settings" / "a.txt", lambda path: read_settings(AlignConfig, path)),
        Target("JSON", root / "json" / "a.txt", read_json),
        Target("alignment tables", root / "table" / "a.txt", read_alignment),
        Target("manifests", root / "shards" / MANIFEST_NAME, lambda path: read_manifest(path.parent)),
        Target("shards", next((root / "shards").glob("train-*.h5")), _read_shard),
    ]
    if calibration is not None:
        targets.append(Target("calibrations", calibration, read_calibration))
    return targets


_TABLE = (
    "take,blurry_index,blurry_time,position,position_fine,psnr,margin_db,accepted,reason,"
    + ",".join(f"m{row}{column}" for row in range(3) for column in range(4))
    + ",composite_psnr,explained_psnr\n"
    + "walk,0,0.0,3,3.1,40.0,2.0,1,,"
    + ",".join(["1", "0", "0", "0"] * 3)
    + ",,\n"
)


def _walk_boxes(path):
    with path.open("rb") as file:
        return [box.kind for box in iter_boxes(file, 0, file.seek(0, 2))]


def _read_shard(path):
    reader = ShardReader(path.parent, "train")
    return [reader.read(index).blurry.shape for index in range(len(reader))]
