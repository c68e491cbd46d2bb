"""What the system refuses is said as the system's, and leaves nothing half-written."""

import errno
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_shards import make_sample

from rb2v.errors import Rb2vError
from rb2v.shards import write_shard

SAMPLES = [make_sample(index, size=(100, 120)) for index in range(3)]


def test_a_shard_that_finds_no_room_is_reported_and_removed(tmp_path):
    """In a process of its own: what HDF5 holds back must not be left to its exit."""
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from test_refused_writes import SAMPLES, write_shard\n"
        "try:\n"
        "    write_shard(Path(sys.argv[1]) / 'train-00000.h5', SAMPLES)\n"
        "except OSError as error:\n"
        "    print(error.errno, Path(error.filename).parent == Path(sys.argv[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path, *Path(__file__).parents[:2]],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
        check=True,
    )
    assert done.stdout.split() == [str(errno.EFBIG), "True"]
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_that_there_is_no_room_and_goes_on_later(session, start_rb2v, rb2v, tmp_path):
    def arguments(name):
        places = ("--aligned", session.aligned, "--out", tmp_path / name)
        return ("build-shards", *places, "--workers", "1", "--shard-samples", "8")

    process = start_rb2v(*arguments("shards"), max_file_bytes=100_000)
    _, message = process.communicate()
    assert process.returncode == 2, message
    assert "File too large; files under their final names are whole, run the command again to go on" in (
        " ".join(message.split())
    )
    assert [path.name for path in (tmp_path / "shards").iterdir()] == ["config.json"]
    assert rb2v(*arguments("shards")).status == rb2v(*arguments("undisturbed")).status == 0
    for path in (tmp_path / "undisturbed").iterdir():
        assert (tmp_path / "shards" / path.name).read_bytes() == path.read_bytes()


def test_a_folder_that_vanishes_is_named(tmp_path):
    folder = tmp_path / "shards"

    def samples():
        yield SAMPLES[0]
        shutil.rmtree(folder)
        yield SAMPLES[1]

    with pytest.raises(Rb2vError, match=str(folder)):
        write_shard(folder / "train-00000.h5", samples())
    assert not folder.exists()
