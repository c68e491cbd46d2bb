"""Common ground of the HDF5 files: frames compressed and checked one by one, only data of their own."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import hdf5plugin
import numpy as np

from rb2v.errors import InputError, require_file

if TYPE_CHECKING:
    from typing_extensions import Buffer

# LZ4 decodes twice as fast as Zstandard on camera frames, for a quarter more bytes; frames are read more than stored.
_COMPRESSION = hdf5plugin.Blosc(cname="lz4", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE)


@contextmanager
def create_hdf5(path: Path) -> Iterator[h5py.File]:
    """Yield a new HDF5 file; what is written to it alone decides its bytes.

    Raises
    ------
    OSError
        If the system refuses a write, because the disk is full for example.
    """
    with path.open("w+b", buffering=0) as raw:
        guarded = _GuardedFile(raw)
        try:
            # Since version 1.10 of the format the tables that find the chunks have checksums too.
            with _one_compression_thread(), h5py.File(guarded, "w", libver=("v110", "v112")) as file:
                yield file
        finally:
            # HDF5's own error says neither that the disk is full nor which one.
            if guarded.error is not None:
                raise guarded.error


class _GuardedFile(io.RawIOBase):
    """A file that reports its first failed write, and takes whatever comes after it.

    HDF5 writes what it holds back when a file is closed; where that fails it keeps the file open, and the process dies
    in its exit.
    """

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self.error: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        view = memoryview(data).cast("B")
        if self.error is None:
            with self._noting_error():
                done = 0
                while done < len(view):  # a disk that is nearly full takes a part
                    done += self._raw.write(view[done:])
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        if self.error is None:
            with self._noting_error():
                self._raw.truncate(size)
        return size or 0

    def readinto(self, buffer: Buffer, /) -> int:
        n_read = self._raw.readinto(buffer)
        # After an error what was never written reads as whatever the buffer held: the file is about to be removed.
        return n_read if self.error is None else memoryview(buffer).nbytes

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    @contextmanager
    def _noting_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = OSError(error.errno, error.strerror, self._raw.name)
            raise


def open_hdf5(path: Path, expected: str) -> h5py.File:
    """Open a finished HDF5 file for reading.

    Parameters
    ----------
    path : Path
        The file.
    expected : str
        What it should be, for the message.

    Raises
    ------
    InputError
        If there is no such file, or it is no whole HDF5 file.
    """
    require_file(path, expected)
    try:
        # Nobody writes to a finished file; locks fail on network and read-only file systems. No chunk is read twice.
        return h5py.File(path, "r", locking=False, rdcc_nbytes=0)
    except OSError as error:
        raise InputError(path, "is not an HDF5 file, or is cut short", expected=expected) from error


def create_frames(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    """Create an empty data set of 8-bit frames that grows along its first axis, one chunk to a frame.

    Every chunk ends in a checksum, by which HDF5 finds a damaged frame when it is read.

    Parameters
    ----------
    file : h5py.File
        The file.
    name : str
        Name of the data set.
    shape : tuple of int
        Shape of one entry, ending in (H, W, 3).
    """
    chunk = (*(1,) * (len(shape) - 2), *shape[-3:])
    file.create_dataset(
        name, (0, *shape), np.uint8, maxshape=(None, *shape), chunks=chunk, fletcher32=True, **_COMPRESSION
    )


def create_group(file: h5py.File, name: str) -> h5py.Group:
    """Create a group that does not record when it was made, as h5py's own would."""
    properties = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    properties.set_obj_track_times(False)
    return h5py.Group(h5py.h5g.create(file.id, name.encode(), gcpl=properties))


def own_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a data set whose data lie in the file itself: one from elsewhere could point at any file.

    Raises
    ------
    InputError
        If there is no such data set, it cannot be read, or it is stored outside the file.
    """
    with naming_damage(file, name):
        link = file.get(name, getlink=True)
        dataset = file[name] if isinstance(link, h5py.HardLink) else None
    if link is None:
        raise InputError(file.filename, "there is no such data set", name)
    # The link tells of the last part of a name only; a group on the way may lie in another file.
    if not isinstance(dataset, h5py.Dataset) or dataset.file != file or dataset.external or dataset.is_virtual:
        raise InputError(file.filename, "is stored outside the file", name, "a data set in the file itself")
    return dataset


@contextmanager
def naming_damage(file: h5py.File, name: str) -> Iterator[None]:
    """Name the file and the data set where the block cannot read what it holds.

    Raises
    ------
    InputError
        If the block raises an error of reading.
    """
    try:
        yield
    except InputError:
        raise
    # h5py's for data, links, objects, text, and sizes that damage made of them
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, MemoryError) as error:
        raise InputError(file.filename, f"is damaged, or cannot be read ({error})", name) from error


@contextmanager
def _one_compression_thread() -> Iterator[None]:
    # With several threads Blosc stores the blocks of a chunk in the order in which they finish.
    name = "BLOSC_NTHREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
