"""Temporary files and scratch folders for atomic writes, locked while their writers live."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".partial-"

_LOCK_NAME = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file until it is closed, or its process ends however it does.

    The file has to be open for writing: locks on network file systems ask for that.

    Returns
    -------
    bool or None
        Whether the lock is ours now; None where the file system knows no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return True


def is_same_file(path: Path, descriptor: int) -> bool:
    """Return whether a path still leads to the file that is open."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def create_partial_file(path: Path) -> tuple[Path, int]:
    """Create an empty file beside ``path``, with its suffix, and return its path and a descriptor that locks it."""
    while True:
        temporary = _new_name(path)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if _is_ours(temporary, descriptor):
            return temporary, descriptor
        os.close(descriptor)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yield a new scratch folder beside ``path``; it vanishes when the block ends.

    What a killed writer of the same ``path`` left is removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(leftovers_of(path))
    folder, descriptor = _create_scratch(path)
    try:
        yield folder
    finally:
        _remove_folder(folder)
        os.close(descriptor)


def leftovers_of(path: Path) -> Iterator[Path]:
    """Yield temporary files and scratch folders of writers of ``path``, dead or alive."""
    pattern = re.compile(rf"{re.escape(PARTIAL)}([0-9a-f]{{12}}-)?{re.escape(path.name)}")
    return (other for other in path.parent.iterdir() if pattern.fullmatch(other.name))


def leftovers_in(folders: Iterable[Path]) -> Iterator[Path]:
    """Yield temporary files and scratch folders of writers, dead or alive, anywhere in some folders."""
    for folder in folders:
        # A list, because what is found is removed on the way.
        yield from list(folder.rglob(f"{PARTIAL}*"))


def remove_leftovers(paths: Iterable[Path]) -> bool:
    """Remove what dead writers left, and return whether a writer is alive.

    Where the file system knows no locks nothing is removed: nobody can tell then.
    """
    alive = [_is_alive_or_remove(path) for path in paths]
    return any(alive)


def _is_alive_or_remove(path: Path) -> bool:
    is_folder = path.is_dir() and not path.is_symlink()
    try:
        descriptor = _open_lock(path / _LOCK_NAME if is_folder else path)
    except FileNotFoundError:
        with suppress(OSError):
            # A folder without a lock was left by a writer that had come no further, if it is empty.
            path.rmdir()
        return (path / _LOCK_NAME).exists()
    except OSError as error:
        if error.errno != errno.ELOOP:  # whoever cannot look cannot tell
            return True
        with suppress(OSError):
            path.unlink()
        return False
    try:
        try:
            locked = try_lock(descriptor)
        except OSError:  # on NFS, of a file that may not be written here
            return True
        if locked:
            with suppress(PermissionError):  # dead, and its owner's to remove
                _remove_folder(path) if is_folder else path.unlink(missing_ok=True)
        return locked is False
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    # A link is not followed, and a pipe not waited for.
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | flags)
    except PermissionError:
        # Where locks are of this machine's own, a file open for reading tells as well.
        return os.open(path, os.O_RDONLY | flags)


def _create_scratch(path: Path) -> tuple[Path, int]:
    while True:
        folder = _new_name(path)
        folder.mkdir()
        lock = folder / _LOCK_NAME
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileNotFoundError:  # taken for a leftover while it was empty
            continue
        if _is_ours(lock, descriptor):
            return folder, descriptor
        os.close(descriptor)


def _new_name(path: Path) -> Path:
    return path.with_name(f"{PARTIAL}{secrets.token_hex(6)}-{path.name}")


def _is_ours(path: Path, descriptor: int) -> bool:
    # Between its creation and its lock a file may have been taken for a leftover.
    return try_lock(descriptor) is not False and is_same_file(path, descriptor)


def _remove_folder(folder: Path) -> None:
    """Remove a scratch folder with its lock last, without which what is in it would never be removed again."""
    with suppress(FileNotFoundError):
        for child in folder.iterdir():
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child, ignore_errors=True)
            elif child.name != _LOCK_NAME:
                child.unlink(missing_ok=True)
        (folder / _LOCK_NAME).unlink(missing_ok=True)
        folder.rmdir()
