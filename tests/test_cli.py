"""The commands as a user meets them: the whole chain, wrong input, and a chain that is killed on the way."""

import hashlib
import json
import shutil
import subprocess
import sys
import time

import pandas as pd
import pytest
import typer
import yaml
from sessions import write_rig

from rb2v.cli import app
from rb2v.shards import ShardReader

STAGES = {
    "simulate": (
        "simulate --out {f}/raw --rig {rig} --size 192x160 --seconds 0.4 --test-seconds 0.32"
        " --categories hand --workers 1"
    ),
    "calibrate": "calibrate --raw-dir {f}/raw --out {f}/calibration.json",
    "align": "align --raw-dir {f}/raw --calibration {f}/calibration.json --out {f}/aligned --workers 1",
    "build-shards": "build-shards --aligned {f}/aligned --out {f}/shards --shard-samples 8 --workers 1",
    "train-hypercut": (
        "train-hypercut --shards {f}/shards --out {f}/hypercut --device cpu --steps 60 --image-size 40 --batch-size 4"
    ),
    "benchmark": (
        "benchmark --shards {f}/shards --run {f}/hypercut --out {f}/report --aligned {f}/aligned"
        " --calibration {f}/calibration.json --raw-dir {f}/raw --truth {f}/truth --workers 1"
    ),
}
"""The chain's commands, in order."""

OUTPUTS = {
    "simulate": ["raw", "truth"],
    "calibrate": [
        "calibration.json",
        *(f"calibration_{name}" for name in ("overlay.png", "residuals.png", "flicker.gif", "colors.png")),
    ],
    "align": ["aligned"],
    "build-shards": ["shards"],
    "train-hypercut": ["hypercut"],
    "benchmark": ["report"],
}


RIG = {"search_range_seconds": 0.25}


def stage_arguments(stage, folder, rig_path):
    return [part.format(f=folder, rig=rig_path) for part in STAGES[stage].split()]


def run_chain(folder):
    rig_path = write_rig(folder / "tiny.yaml", **RIG)
    script = (
        "import json, sys\n"
        "from rb2v.cli import main\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['rb2v', *arguments]\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as stop:\n"
        "        if stop.code:\n"
        "            raise\n"
        "    computed = arguments[0] in ('simulate', 'calibrate', 'align', 'build-shards')\n"
        "    assert not (computed and 'torch' in sys.modules), 'no network was asked for'\n"
    )
    chain = json.dumps([stage_arguments(name, folder, rig_path) for name in STAGES])
    done = subprocess.run([sys.executable, "-c", script, chain], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def session(shared):
    """The whole chain on a tiny session, by the commands themselves."""
    return shared(run_chain, trained=True)


def run_to_end(process):
    output = "".join(process.communicate(timeout=300))
    assert process.returncode == 0, output


def tree_digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "tensorboard"  # its events hold the time
    }


def test_chain_accepts_the_frames_of_moving_takes(session):
    table = pd.read_csv(session / "aligned" / "alignment.csv", keep_default_na=False)
    assert table.groupby("take")["accepted"].mean().min() >= 0.9


def test_chain_places_every_accepted_frame(session):
    table = pd.read_csv(session / "aligned" / "alignment.csv", keep_default_na=False)
    truth = json.loads((session / "truth" / "truth.json").read_text())
    true_positions = {take["name"]: take["positions"] for take in truth["takes"]}
    for row in table[table["accepted"] == 1].itertuples():
        assert abs(row.position - true_positions[row.take][row.blurry_index]) <= 0.55


def test_splits_share_no_subject(session):
    subjects = [set(ShardReader(session / "shards", split).table["subject"]) for split in ("train", "test")]
    assert all(subjects)
    assert not subjects[0] & subjects[1]


def test_report_shows_every_stage(session):
    report = (session / "report" / "report.html").read_text()
    assert "data:image/" in report
    results = json.loads((session / "report" / "results.json").read_text())
    stages = set(pd.read_csv(session / "report" / "results.csv")["stage"])
    assert results["schema"] == 1
    assert {"calibrate", "align", "train-hypercut"} <= stages


def test_a_finished_chain_is_left_as_it_is(session, rb2v, tmp_path):
    copy = shutil.copytree(session, tmp_path / "copy")
    before = {path: path.stat().st_mtime_ns for path in (copy / "raw" / "takes").rglob("*.mp4")}
    before |= {path: path.stat().st_mtime_ns for path in copy.glob("shards/*.h5")}
    for name in ("simulate", "build-shards"):
        assert rb2v(*stage_arguments(name, copy, session / "tiny.yaml")).status == 0
    assert len(before) > 4
    assert before == {path: path.stat().st_mtime_ns for path in before}


# What shows that a stage is in the middle of its work: a folder, and what appears in it.
UNDER_WAY = {
    "simulate": ("raw", "**/*.mp4"),
    "calibrate": (".", "*"),
    "align": ("aligned", "takes/.partial-*/[!.]*"),
    "build-shards": ("shards", ".partial-*"),
    "train-hypercut": ("hypercut", "state.pt"),
    "benchmark": (".", "report"),
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", list(UNDER_WAY))
def test_a_killed_stage_goes_on_to_the_same_bytes(session, start_rb2v, tmp_path, stage):
    order = list(STAGES)
    for earlier in order[: order.index(stage)]:
        for name in OUTPUTS[earlier]:
            source = session / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    arguments = stage_arguments(stage, tmp_path, session / "tiny.yaml")
    process = start_rb2v(*arguments)
    place, pattern = UNDER_WAY[stage]
    before = set((tmp_path / place).glob(pattern))
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if set((tmp_path / place).glob(pattern)) - before:
            break
        time.sleep(0.01)
    process.kill_group()
    process.wait()
    run_to_end(start_rb2v(*arguments))
    for name in OUTPUTS[stage]:
        expected, found = session / name, tmp_path / name
        if expected.is_dir():
            assert tree_digests(found) == tree_digests(expected)
        else:
            assert found.read_bytes() == expected.read_bytes()


@pytest.mark.slow
def test_chain_on_a_real_clip(tmp_path, rb2v, shared_data):
    clip = shared_data / "video" / "vtest.avi"
    rig = write_rig(tmp_path / "tiny.yaml", **RIG)
    record = f"simulate --out {tmp_path}/raw --rig {rig} --size 192x160 --video {clip} --workers 1".split()
    rest = [stage_arguments(name, tmp_path, rig) for name in ("calibrate", "align", "build-shards")]
    rest[1] += ["--interpolator", "quick-flow"]
    for arguments in [record, *rest]:
        assert rb2v(*arguments).status == 0
    table = pd.read_csv(tmp_path / "aligned" / "alignment.csv", keep_default_na=False)
    positions = json.loads((tmp_path / "truth" / "truth.json").read_text())["takes"][0]["positions"]
    accepted = table[table["accepted"] == 1]
    assert len(accepted) >= 0.9 * len(table) > 20
    errors = [abs(row.position - positions[row.blurry_index]) for row in accepted.itertuples()]
    assert max(errors) <= 0.55
    assert len(ShardReader(tmp_path / "shards")) == len(accepted)


def copy_raw(session, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(session / "raw", raw)
    return raw


def rewrite(path, **changes):
    document = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        if value is None:
            document.pop(key)
        else:
            document[key] = value
    path.write_text(yaml.safe_dump(document))


def drop_video(raw):
    (raw / "takes" / "hand_train" / "sharp.mp4").unlink()


def truncate_video(raw):
    path = raw / "takes" / "hand_train" / "sharp.mp4"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace_video_by_text(raw):
    (raw / "takes" / "hand_train" / "blurry.mp4").write_text("no video")


def empty_video(raw):
    (raw / "takes" / "hand_train" / "blurry.mp4").write_bytes(b"")


def drop_takes(raw):
    shutil.rmtree(raw / "takes")


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (drop_video, ["hand_train/sharp.mp4", "no such file"]),
        (truncate_video, ["hand_train/sharp.mp4", "cut short"]),
        (replace_video_by_text, ["hand_train/blurry.mp4", "not a video"]),
        (empty_video, ["hand_train/blurry.mp4", "not a video"]),
        (drop_takes, ["takes", "holds no take"]),
        (
            lambda raw: rewrite(raw / "takes/hand_train/take.yaml", category="steet"),
            ["take.yaml", "category", "hand"],
        ),
        (lambda raw: rewrite(raw / "takes/hand_train/take.yaml", subjct="a"), ["take.yaml", "subjct", "subject"]),
        (lambda raw: rewrite(raw / "takes/hand_train/take.yaml", subject=None), ["take.yaml", "subject", "missing"]),
        (lambda raw: rewrite(raw / "takes/hand_train/take.yaml", sharp=["../x.mp4"]), ["take.yaml", "../x.mp4"]),
        (lambda raw: rewrite(raw / "capture.yaml", schema=2), ["capture.yaml", "schema", "expected 1"]),
        (lambda raw: rewrite(raw / "capture.yaml", rig="gopro_hero99"), ["capture.yaml", "rig", "gopro_hero8"]),
        (lambda raw: (raw / "capture.yaml").write_text("rig: [1"), ["capture.yaml", "is not YAML"]),
        (lambda raw: (raw / "capture.yaml").unlink(), ["capture.yaml", "no such file"]),
        (shutil.rmtree, ["raw", "no such folder"]),
    ],
)
def test_wrong_raw_directory_is_named(session, tmp_path, rb2v, spoil, parts):
    raw = copy_raw(session, tmp_path)
    spoil(raw)
    out = tmp_path / "aligned"
    status, output, message = rb2v("align", "--raw-dir", raw, "--out", out, "--workers", "1",
        *("--calibration", session / "calibration.json"),
    )  # fmt: skip
    assert status == 2
    assert output == ""
    assert message.count("error:") == 1
    assert "Traceback" not in message
    for part in parts:
        assert part in message
    assert not (out / "alignment.csv").exists()
    assert not (out / "takes" / "hand_train.h5").exists()


def test_wrong_calibration_is_named(session, tmp_path, rb2v):
    document = json.loads((session / "calibration.json").read_text())
    path = tmp_path / "calibration.json"
    for change, parts in (
        ({"mirrored": False}, ["mirrored is False"]),
        ({"schema": 7}, ["schema", "is 7", "expected 1"]),
        ({"homography": [[1, 0], [0, 1]]}, ["homography"]),
        ({"hmgraphy": 1}, ["hmgraphy", "not a known key"]),
    ):
        path.write_text(json.dumps(document | change))
        status, _, message = rb2v(
            "align", "--raw-dir", session / "raw", "--calibration", path, "--out", tmp_path / "out"
        )
        assert status == 2
        for part in ["calibration.json", *parts]:
            assert part in message
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["calibrate", "--raw-dir", "{empty}", "--out", "{out}"], ["capture.yaml", "no such file"]),
        (["build-shards", "--aligned", "{empty}", "--out", "{out}"], ["manifest.json", "no such file"]),
        (["train-hypercut", "--shards", "{empty}", "--out", "{out}"], ["manifest.json", "no such file"]),
        (["benchmark", "--shards", "{empty}", "--out", "{out}"], ["manifest.json", "no such file"]),
        (["train-hypercut", "--shards", "{shards}", "--out", "{out}", "--arch", "nope"], ["arch", "motion"]),
        (["train-hypercut", "--shards", "{shards}", "--out", "{out}", "--device", "cuda"], ["CUDA"]),
        (["build-shards", "--aligned", "{aligned}", "--out", "{out}", "--size", "big"], ["--size", "WIDTHxHEIGHT"]),
        (["build-shards", "--aligned", "{aligned}", "--out", "{out}", "--backgrounds", "{empty}"], ["empty"]),
        (["simulate", "--out", "{out}", "--categories", "street,feet"], ["--categories", "feet"]),
        (["simulate", "--out", "{out}", "--video", "{empty}/no.mp4"], ["no.mp4", "no such file"]),
        (["simulate", "--out", "{out}", "--size", "63x63"], ["size"]),
        (["align", "--raw-dir", "{raw}", "--calibration", "{calibration}", "--out", "{out}", "--interpolator", "x"],
         ["interpolator", "flow"]),
        (["align", "--raw-dir", "{raw}", "--calibration", "{calibration}", "--out", "{raw}"],
         ["raw", "not empty"]),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(session, tmp_path, rb2v, arguments, parts):
    (tmp_path / "empty").mkdir()
    places = {name: session / name for name in ("raw", "aligned", "shards")}
    places |= {"calibration": session / "calibration.json", "empty": tmp_path / "empty", "out": tmp_path / "out"}
    status, _, message = rb2v(*(text.format(**places) for text in arguments))
    assert status == 2
    for part in parts:
        assert part in message
    assert "Traceback" not in message


def test_shards_of_another_schema_are_refused(session, tmp_path, rb2v):
    shutil.copytree(session / "shards", tmp_path / "shards")
    path = tmp_path / "shards" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))
    status, _, message = rb2v("train-hypercut", "--shards", tmp_path / "shards", "--out", tmp_path / "out")
    assert status == 2
    for part in ("manifest.json", "schema", "2", "expected 1"):
        assert part in message


def test_an_output_folder_of_another_configuration_is_refused(session, tmp_path, rb2v):
    shutil.copytree(session / "shards", tmp_path / "shards")
    status, _, message = rb2v(
        "build-shards", "--aligned", session / "aligned", "--out", tmp_path / "shards", "--seed", 5
    )
    assert status == 2
    assert "seed: the folder was made with 0, this run has 5" in message


@pytest.mark.parametrize("command", typer.main.get_command(app).commands)
def test_every_command_explains_itself(rb2v, command):
    status, output, _ = rb2v(command, "--help")
    assert status == 0
    assert f"Example: rb2v {command}" in output
