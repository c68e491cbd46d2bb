"""The tests' own means: folders that are shared, programs that are forked."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sharing import SharedFolders


def make(folder, text="a"):
    (folder / "deep").mkdir()
    (folder / "deep" / "file.txt").write_text(text)
    with (folder.parent / "made").open("a") as made:
        made.write("once\n")


@pytest.fixture
def use(tmp_path):
    """Returns the folder as a new run would get it, and how often it was made so far."""

    def use():
        shared = SharedFolders(tmp_path)
        folder = shared(make)
        shared.close()
        return folder, len((folder.parent / "made").read_text().splitlines())

    return use


def test_a_folder_is_made_once(use, tmp_path):
    folder, n_made = use()
    assert (folder / "deep" / "file.txt").read_text() == "a"
    assert n_made == 1
    assert use() == (folder, 1)
    shared = SharedFolders(tmp_path)
    other = shared(make, text="b")
    assert other != folder == shared(make)
    assert (other / "deep" / "file.txt").read_text() == "b"
    shared.close()


@pytest.mark.parametrize(
    "damage",
    [
        shutil.rmtree,
        lambda folder: (folder / "deep" / "file.txt").write_text(""),
        lambda folder: (folder / "deep" / "file.txt").unlink(),
        lambda folder: (folder / "new.txt").write_text("more"),
        lambda folder: folder.with_suffix(".json").write_text("{"),
        lambda folder: folder.with_suffix(".json").unlink(),
    ],
)
def test_what_is_not_whole_is_made_anew(use, damage):
    folder, _ = use()
    damage(folder)
    again, n_made = use()
    assert again == folder
    assert n_made == 2
    assert [path.name for path in folder.rglob("*.txt")] == ["file.txt"]
    assert (folder / "deep" / "file.txt").read_text() == "a"


def test_a_test_that_changes_a_folder_fails_the_run(tmp_path, use):
    shared = SharedFolders(tmp_path)
    (shared(make) / "deep" / "file.txt").write_text("changed")
    with pytest.raises(AssertionError, match="which they may only read"):
        shared.close()
    assert use()[1] == 2


def test_workers_make_a_folder_once(tmp_path, fork_server):
    program = (
        "import sys; sys.path[:0] = sys.argv[2:]\nfrom pathlib import Path\n"
        "from sharing import SharedFolders\nfrom test_sharing import make\n"
        "shared = SharedFolders(Path(sys.argv[1]))\nprint(shared(make))\nshared.close()"
    )
    processes = [fork_server.start(program, tmp_path, Path(__file__).parent) for _ in range(3)]
    folders = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    (folder,) = map(Path, folders)
    assert (folder.parent / "made").read_text() == "once\n"


def test_a_forked_program_is_a_process_of_its_own(fork_server, tmp_path):
    program = "import os, sys; print(os.getpid(), os.getcwd(), *sys.argv[1:]); sys.stderr.write('odd'); sys.exit(3)"
    process = fork_server.start(program, "x", cwd=tmp_path)
    assert process.communicate() == (f"{process.pid} {tmp_path} x\n", "odd")
    assert process.returncode == 3
    assert process.pid != os.getpid()
    process = fork_server.start("import time; time.sleep(60)")
    assert process.poll() is None
    process.kill_group()
    assert process.wait() == -signal.SIGKILL
    process = fork_server.start("raise ValueError('why')")
    assert "ValueError: why" in process.communicate()[1]
    assert process.returncode == 1


def test_who_starts_programs_himself_gets_a_command(fork_server):
    command = fork_server.command("import os, sys; print(os.environ['GIVEN'], sys.argv[1]); sys.exit(4)", "y")
    done = subprocess.run(command, capture_output=True, text=True, env={"GIVEN": "here"}, check=False)
    assert (done.stdout, done.returncode) == ("here y\n", 4)
    killed = subprocess.run(fork_server.command("import os; os.kill(os.getpid(), 9)"), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert command[0] == sys.executable
