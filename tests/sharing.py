"""Build folders that many tests read once, for all workers of a run and for later runs."""

import fcntl
import hashlib
import inspect
import json
import os
import shutil
import time
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import rb2v

_SOURCES = Path(rb2v.__file__).parent
_HELPERS = Path(__file__).parent
_ABOVE_STAGES = {"cli", "benchmark", "deblurring", "blur2vid", "hypercut", "inspection"}
"""What import-linter keeps the stages from importing: a change there leaves their results valid."""
_KEPT_SECONDS = 3 * 24 * 3600  # a weekend
_LIBRARIES = ("numpy", "scipy", "opencv-python-headless", "av", "h5py", "scikit-image", "torch")


class SharedFolders:
    """Folders by what makes them: a function of a test module, its arguments, and the code that it runs.

    A folder is made under a lock, in its final place (what is made may hold its own path), and counts as complete once
    its list of files is written. A list that no longer agrees with the folder means that it is made anew. Tests read
    these folders; a test that changes one works on a copy, and `close` fails the run of one that does not.
    """

    def __init__(self, root):
        self._root = root
        self._held = {}
        self._digests = {}

    def __call__(self, maker, *, trained=False, **arguments):
        """Return the folder that ``maker(folder, **arguments)`` fills.

        Parameters
        ----------
        maker : function of a test module or of a helper beside this one
            Fills an empty folder.
        trained : bool
            Whether it trains networks: then all of rb2v's code counts.
        **arguments
            Values with a ``repr`` that tells them apart.
        """
        said = f"{maker.__module__}.{maker.__qualname__}({sorted(arguments.items())!r})"
        name = f"{maker.__name__}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
        folder = self._root / name / self._code_digest(maker, trained)
        if folder not in self._held:
            self._held[folder] = self._hold(folder, maker, arguments)
        return folder

    def close(self):
        """Release the folders; AssertionError where a test has changed one, which the next run then makes anew."""
        for lock in self._held.values():
            lock.close()
        changed = [folder for folder in self._held if not _is_complete(folder)]
        for folder in changed:
            _list_path(folder).unlink(missing_ok=True)
        assert not changed, f"tests changed shared folders, which they may only read: {changed}"

    def _hold(self, folder, maker, arguments):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as on_failure:
            lock = on_failure.enter_context(folder.with_suffix(".lock").open("w"))
            while True:
                fcntl.flock(lock, fcntl.LOCK_SH)  # held until the process ends: nobody clears what is in use
                if _is_complete(folder):
                    os.utime(folder.with_suffix(".lock"))
                    on_failure.pop_all()
                    return lock
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not _is_complete(folder):
                    _clear_unused(self._root, folder)
                    shutil.rmtree(folder, ignore_errors=True)
                    folder.mkdir()
                    maker(folder, **arguments)
                    _list_path(folder).write_text(json.dumps(_list_files(folder)))

    def _code_digest(self, maker, trained):
        module = Path(inspect.getsourcefile(maker))
        if (module, trained) not in self._digests:
            digest = hashlib.sha256(repr([(name, version(name)) for name in _LIBRARIES]).encode())
            code = [
                path
                for path in _SOURCES.rglob("*.py")
                if trained or path.relative_to(_SOURCES).parts[0] not in _ABOVE_STAGES
            ]
            for path in sorted({module, *code, *_HELPERS.glob("*.py")}):
                digest.update(f"{path.name}:{path.stat().st_size}:".encode() + path.read_bytes())
            self._digests[module, trained] = digest.hexdigest()[:16]
        return self._digests[module, trained]


def _list_path(folder):
    return folder.with_suffix(".json")


def _list_files(folder):
    """Return the size and the time of change of each file; sub-folders too, to which a test could add."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_dir():
            stat = path.lstat()
            found[path.relative_to(folder).as_posix()] = [stat.st_size, stat.st_mtime_ns]
    return found


def _is_complete(folder):
    try:
        return json.loads(_list_path(folder).read_text()) == _list_files(folder)
    except (OSError, ValueError):
        return False


def _clear_unused(root, kept):
    """Remove what earlier code has made of the same, and what nobody has read for days, unless a process reads it."""
    oldest = time.time() - _KEPT_SECONDS
    for path in root.glob("*/*.lock"):
        if path == kept.with_suffix(".lock") or (path.parent != kept.parent and path.stat().st_mtime > oldest):
            continue
        with path.open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            _list_path(path.with_suffix("")).unlink(missing_ok=True)
            path.unlink()
