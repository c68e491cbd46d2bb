import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from PIL import Image
from small_sets import HEIGHT, WIDTH, damage, make_sample, write_set, write_takes

from rb2v.io.video import iter_frames, read_image


@pytest.fixture
def inspect(rb2v):
    return lambda *arguments: rb2v("inspect", *arguments)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    write_takes(folder)
    return folder


def test_the_numbers_are_printed(inspect, shards):
    code, out, _ = inspect(shards)
    assert code == 0
    assert "9 samples of a blurry and 7 sharp frames, 64x48 pixels" in out
    lines = [line.split() for line in out.splitlines()]
    train = next(line for line in lines if line[:1] == ["train"])
    assert train[-6:] == ["7", "4", "0", "3", "2", "2"]
    assert "takes: walk 4, wave 3, <b>nod</b> 2" in out
    assert ["5", 40 * "█", "9"] in lines
    code, out, _ = inspect(shards, "--take", "wave")
    assert code == 0
    assert "3 samples" in out
    assert "walk" not in out


def test_a_report_is_written_and_replaced(inspect, shards, tmp_path):
    out_dir = tmp_path / "new" / "report"
    assert inspect(shards, "--out", out_dir)[0] == 0
    assert sorted(path.name for path in out_dir.iterdir()) == ["contact_sheet.png", "histograms.png", "summary.json"]
    first = {path.name: path.read_bytes() for path in out_dir.iterdir()}
    summary = json.loads(first["summary.json"])
    assert (summary["schema"], summary["samples"], summary["takes"]["walk"]) == (1, 9, 4)
    assert len(summary["motion"]["median_px"]) == sum(summary["motion"]["median"]["counts"]) == 9
    assert min(read_image(out_dir / "histograms.png").shape[:2]) > 300
    assert inspect(shards, "--out", out_dir)[0] == 0
    assert {path.name: path.read_bytes() for path in out_dir.iterdir()} == first


def test_one_sample_as_gif_plays_back_and_forth(inspect, shards, tmp_path):
    path = tmp_path / "sample.gif"
    code, out, _ = inspect(shards, "--sample", 4, "--out", path)
    assert (code, out.strip()) == (0, str(path))
    with Image.open(path) as clip:
        assert clip.n_frames == 1 + 7 + 6
        assert clip.width == WIDTH
        assert clip.height > HEIGHT
        frames, durations = [], []
        for index in range(clip.n_frames):
            clip.seek(index)
            durations.append(clip.info["duration"])
            frames.append(np.asarray(clip.convert("RGB"), dtype=float)[:HEIGHT])
    assert durations == [1000] + 13 * [100]
    for forth, back in zip(frames[1:7], frames[:7:-1], strict=True):
        np.testing.assert_array_equal(forth, back)
    assert np.abs(frames[1] - frames[7]).mean() > 5


def test_one_sample_as_mp4_holds_the_blurry_frame(inspect, shards, tmp_path):
    assert inspect(shards, "--sample", 8, "--out", tmp_path / "sample.mp4")[0] == 0
    frames = [frame.image for frame in iter_frames([tmp_path / "sample.mp4"])]
    assert len(frames) == 10 + 7 + 6
    assert frames[0].shape[1] == WIDTH
    still = np.abs(frames[9].astype(float) - frames[1])[:HEIGHT].mean()
    moved = np.abs(frames[16].astype(float) - frames[10])[:HEIGHT].mean()
    assert moved > 3 * still


def test_one_sample_as_png_is_a_strip(inspect, shards, tmp_path):
    assert inspect(shards, "--sample", 0, "--out", tmp_path / "sample.png")[0] == 0
    height, width = read_image(tmp_path / "sample.png").shape[:2]
    assert width > 8 * WIDTH
    assert HEIGHT < height < 3 * HEIGHT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sample", 9, "--out", "{f}/a.gif"], "there is no sample 9; expected 0 to 8"),
        (["--sample", 0, "--split", "test", "--out", "{f}/a.gif"], "sample 0 is not of those chosen"),
        (["--sample", 0], "expected --out FILE.gif, FILE.mp4 or FILE.png, or --serve"),
        (["--sample", 0, "--out", "{f}/a.webm"], "expected .gif or .mp4 or .png"),
        (["--sample", 0, "--out", "{f}/folder.gif"], "is a folder"),
        (["--out", "{f}/full"], "holds 'letter.txt'"),
        (["--out", "{f}/full/letter.txt"], "is a file"),
        (["--out", "{shards}"], "not of this command"),
        (["--serve", "--out", "{f}/a"], "--out: is not written by --serve"),
        (["--take", "nobody"], "'nobody' is no take of it; expected <b>nod</b>, walk, wave"),
        (["--split", "train", "--category", "face"], "no sample is of train and face"),
        (["--serve", "--host", "host.invalid"], "--host"),
        (["--serve", "--host", ""], "--host"),
    ],
)
def test_wrong_input_ends_in_one_message(inspect, shards, tmp_path, arguments, message):
    (tmp_path / "folder.gif").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    before = {path: path.stat().st_mtime_ns for folder in (tmp_path, shards) for path in folder.rglob("*")}
    code, out, err = inspect(shards, *(str(part).format(f=tmp_path, shards=shards) for part in arguments))
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not out
    assert {path: path.stat().st_mtime_ns for folder in (tmp_path, shards) for path in folder.rglob("*")} == before


def test_what_is_no_data_set_is_refused(inspect, tmp_path):
    code, _, err = inspect(tmp_path)
    assert code == 2
    assert "manifest.json: there is no such file" in err


def test_a_damaged_sample_is_named_and_not_written(inspect, tmp_path):
    write_takes(tmp_path / "shards")
    damage(tmp_path / "shards", "train-00000.h5", 2)
    code, _, err = inspect(tmp_path / "shards", "--sample", 2, "--out", tmp_path / "a.gif")
    assert code == 2
    assert "train-00000.h5" in err
    assert not (tmp_path / "a.gif").exists()
    code, out, _ = inspect(tmp_path / "shards")
    assert code == 0
    assert "1 of the samples drawn cannot be read: 2;" in out


STEERING = "a\x1b]0;title\x07\x1b[2J\x9b2J\u202eb"
SPELLED = r"a\x1b]0;title\x07\x1b[2J\x9b2J\u202eb"


@pytest.fixture
def steering_shards(tmp_path):
    samples = [make_sample(STEERING, f"s{STEERING}", "street", index) for index in range(2)]
    write_set(tmp_path / "shards", {"train": samples}, rig=f"r{STEERING}")
    return tmp_path / "shards"


def test_names_do_not_steer_the_terminal(rb2v, inspect, steering_shards):
    code, out, _ = inspect(steering_shards)
    assert code == 0
    assert f"rig r{SPELLED}, built" in out
    assert f"takes: {SPELLED} 2" in out
    assert f"subjects: s{SPELLED} 2" in out
    (steering_shards / f"{STEERING}.h5").touch()
    code, verified, message = rb2v("verify", steering_shards, "--workers", 1)
    assert code == 2
    assert f"{SPELLED}.h5: the manifest does not list it" in verified
    assert {letter for letter in out + verified + message if not letter.isprintable()} == {"\n"}


def test_messages_keep_their_own_style_and_no_other(steering_shards):
    script = "from rb2v.cli import main; main()"
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    result = subprocess.run(
        [sys.executable, "-c", script, "inspect", str(steering_shards), "--take", "nobody"],
        capture_output=True,
        text=True,
        env={**environment, "FORCE_COLOR": "1", "TERM": "xterm-256color"},
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    style, message, rest = result.stderr.partition("error: ")
    assert (style, message) == ("\x1b[1;31m", "error: ")
    end, _, rest = rest.partition("m")
    assert end == "\x1b[0"
    assert "'nobody' is no take of it" in rest
    assert r"a\x1b]0;title" in rest
    assert {letter for letter in rest if not letter.isprintable()} == {"\n"}


def test_a_busy_port_is_named(inspect, shards):
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, _, err = inspect(shards, "--serve", "--port", other.getsockname()[1])
    assert code == 2
    assert "Address already in use" in err
    assert "--port" in err


def test_the_page_is_served_until_an_interrupt(shards):
    command = [
        sys.executable,
        "-c",
        "from rb2v.cli import main; main()",
        "inspect",
        str(shards),
        "--serve",
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        [*command, "--sample", "5", "--take", "wave"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
    )
    try:
        address, _, state = process.stdout.readline().strip().partition("#")
        assert state == "sample=5&take=wave"
        with urllib.request.urlopen(f"{address}frame?sample=5&name=sharp_6", timeout=20) as answer:
            assert answer.read().startswith(b"\x89PNG")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (0, "")
    finally:
        process.kill()
        process.communicate()
