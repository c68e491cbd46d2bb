"""Artifacts to JSON and CSV and back, written whole or not at all."""

from __future__ import annotations

import csv
import dataclasses
import difflib
import errno
import fcntl
import hashlib
import io
import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from rb2v.artifacts import AlignedFrame
from rb2v.errors import ConfigMismatchError, InputError, Rb2vError, require_file
from rb2v.io.partial import (
    PARTIAL,
    create_partial_file,
    leftovers_in,
    leftovers_of,
    remove_leftovers,
    try_lock,
)

SCHEMA = 1  # of JSON documents; raised when an older version could not read them
CONFIG_NAME = "config.json"

_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")  # of pydantic's models and of plain dataclasses

logger = logging.getLogger(__name__)


_COLOR_COLUMNS = tuple(f"m{row}{column}" for row in range(3) for column in range(4))
ALIGNMENT_COLUMNS = (
    "take",
    "blurry_index",
    "blurry_time",
    "position",
    "position_fine",
    "psnr",
    "margin_db",
    "accepted",
    "reason",
    *_COLOR_COLUMNS,
    "composite_psnr",
    "explained_psnr",
)
_LATER_COLUMNS = ("composite_psnr", "explained_psnr")  # tables of versions before 0.4 lack them

Document = TypeVar("Document")
Value = TypeVar("Value")


@contextmanager
def whole_file(path: Path, *, outlives_power: bool = True) -> Iterator[Path]:
    """Yield a temporary path that becomes ``path`` when the block ends well, and vanishes otherwise.

    Every writer has a temporary file of its own, so that writers of the same file do not disturb each other; what
    killed writers of the file left is removed. The name keeps the suffix, because writers choose a container by it.

    Parameters
    ----------
    path : Path
        The file.
    outlives_power : bool
        Whether it is flushed to the disk; what is read and deleted soon need not be.

    Raises
    ------
    InputError
        If a folder stands in its place.
    Rb2vError
        If somebody removed the temporary file on the way.
    """
    if path.is_dir() and not path.is_symlink():
        raise InputError(path, "is a folder", expected="the name of a file to write")
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(leftovers_of(path))
    temporary, descriptor = create_partial_file(path)
    try:
        yield temporary
        try:
            if outlives_power:
                _flush(temporary)
            temporary.replace(path)
        except FileNotFoundError as error:
            problem = "its temporary file was removed while it was written; run the command again"
            raise Rb2vError(f"{path}: {problem}") from error
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # a full disk does not say which file it was
        raise
    finally:
        os.close(descriptor)
    if outlives_power:
        _flush(path.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not every file system flushes folders
            raise
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> Path:
    """Write a UTF-8 text file whole or not at all, and return its path."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_json(path: Path, document: Mapping[str, Any]) -> Path:
    """Write a JSON document whole or not at all, and return its path."""
    return write_text(path, to_json(document))


def to_json(document: Mapping[str, Any]) -> str:
    """Return a document as JSON: 2-space indent, keys as given, no NaN."""
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    InputError
        If the file is missing, not JSON, or not an object.
    """
    try:
        document = parse_json(read_text(path))
    except ValueError as error:
        raise InputError(path, f"is not JSON ({error})", expected="a JSON document") from error
    if not isinstance(document, dict):
        raise InputError(path, f"holds a {type(document).__name__}", expected="a JSON object")
    return document


def parse_json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Parse JSON from anywhere: no NaN, no infinity, and a plain error for what is too deep or too long.

    Raises
    ------
    ValueError
        If the text is no such document.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is larger than a number can be")
    return number


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def read_text(path: Path) -> str:
    """Read a UTF-8 text file.

    Raises
    ------
    InputError
        If there is no such file, or it is not text.
    """
    require_file(path, "a text file")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(path, "is not UTF-8 text") from error
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_files(paths: Iterable[Path]) -> str:
    """Return one SHA-256 of several files' names and contents, in their order, as 64 hex digits."""
    listed = "".join(f"{path.name} {sha256_of(path)}\n" for path in paths)
    return hashlib.sha256(listed.encode()).hexdigest()


def check_schema(path: Path, document: Mapping[str, Any], schema: int = SCHEMA) -> None:
    """Check that a document is of the schema that this version reads.

    Raises
    ------
    InputError
        If its ``schema`` is missing or another.
    """
    if "schema" not in document:
        raise InputError(path, "is missing", "schema", expected=str(schema))
    found = document["schema"]
    if isinstance(found, bool) or found != schema:
        raise InputError(path, f"is {found!r}", "schema", expected=str(schema))


def validate(document_type: type[Document], document: object, source: Path) -> Document:
    """Turn a plain document into a typed one, without bending values: neither ``'10'`` nor ``true`` is a number.

    Parameters
    ----------
    document_type : type
        A pydantic model or dataclass.
    document : object
        What a JSON or YAML file held.
    source : Path
        The file, for the message.

    Raises
    ------
    InputError
        Naming the first key that is unknown, missing or of the wrong kind.
    """
    try:
        text = json.dumps([document], default=str)
    except (TypeError, ValueError, RecursionError) as error:  # a date as a key, or what holds itself, from YAML
        raise InputError(source, f"holds what JSON cannot ({error})") from error
    # In a tuple of one, because plain dataclasses take settings only from what they stand in.
    adapter = TypeAdapter(tuple[document_type], config=ConfigDict(extra="forbid"))  # type: ignore[valid-type]
    try:
        return adapter.validate_json(text, strict=True)[0]
    except ValidationError as error:
        faults = error.errors(include_url=False)
        # A misspelt key first: what seems to be missing is what it was meant to be.
        fault = next((fault for fault in faults if fault["type"] in _UNKNOWN_KEY), faults[0])
        path = fault["loc"][1:]
        key = ".".join(str(part) for part in path) or None
        if fault["type"] in _UNKNOWN_KEY:
            raise InputError(source, "is not a known key", key, expected=_expect_key(document_type, path)) from error
        if fault["type"] in ("missing", "missing_argument"):
            raise InputError(source, "is missing", key) from error
        given = "" if isinstance(fault["input"], dict) or not fault["loc"] else f"{fault['input']!r}: "
        raise InputError(source, f"{given}{fault['msg'].removeprefix('Value error, ')}", key) from error


def _expect_key(document_type: object, path: Sequence[int | str]) -> str | None:
    """Return which key an unknown one may be meant to be, or else which there are."""
    kind: object = document_type
    for part in path[:-1]:
        kind = _field_types(kind).get(str(part))
    names = list(_field_types(kind))
    nearest = difflib.get_close_matches(str(path[-1]), names, n=1)
    if nearest:
        return f"{nearest[0]} (of {', '.join(names)})"
    return "one of " + ", ".join(names) if names else None


def _field_types(kind: object) -> dict[str, object]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        types = get_type_hints(kind)
        return {field.name: types[field.name] for field in dataclasses.fields(kind)}
    return {}


def adopt_folder(folder: Path, config: Mapping[str, Any], *, contents: Sequence[Path] = ()) -> None:
    """Make ``folder`` the output of ``config``, or go on in it if it is already.

    A run that failed before it finished a file leaves nothing but its configuration, which is replaced.

    Parameters
    ----------
    folder : Path
        The folder to write to; it need not exist.
    config : mapping
        What decides the bytes of what is made.
    contents : sequence of Path, optional
        Further folders that hold what is made under the configuration.

    Raises
    ------
    ConfigMismatchError
        If the folder, or one of ``contents``, holds what was made with another configuration; the message names the
        first key that differs.
    InputError
        If the folder holds other things and no configuration, or a file stands in its place.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(folder, "is a file", expected="a folder to write to")
    path = folder / CONFIG_NAME
    if path.exists():
        found = read_json(path)
        wanted = json.loads(json.dumps(config))
        difference = _first_difference(found, wanted)
        if difference is None:
            return
        if any(made != path for place in (folder, *contents) for made in _finished_files(place)):
            key, before, now = difference
            raise ConfigMismatchError(
                path,
                f"the folder was made with {_shorten(before)}, this run has {_shorten(now)}",
                key,
                expected="the same configuration, or another output folder",
            )
        if remove_leftovers(leftovers_in((folder, *contents))):
            raise InputError(folder, "a worker of another run is still writing here", expected="to wait for its end")
    elif folder.is_dir() and any(not child.name.startswith(PARTIAL) for child in folder.iterdir()):
        raise InputError(folder, "is not empty and was not made by this command", expected="a new or empty folder")
    try:
        write_json(path, config)
    except OSError as error:
        raise InputError(folder, f"cannot be written ({error.strerror})") from error


@contextmanager
def output_folder(folder: Path, config: Mapping[str, Any], *, contents: Sequence[Path] = ()) -> Iterator[None]:
    """Adopt a folder, see `adopt_folder`, and keep every other run out of it until the block ends.

    What killed writers left in the folder, and in ``contents``, is removed. Where the file system knows no locks
    other runs are not kept out, and a warning says so.

    Raises
    ------
    InputError
        If another run is writing to the folder; and what `adopt_folder` raises.
    """
    path = folder / CONFIG_NAME
    with _alone_at_start(folder):
        if path.is_file():
            # Before it may be replaced, and with it the lock of the run that is writing.
            os.close(_lock_folder(path))
        adopt_folder(folder, config, contents=contents)
        descriptor = _lock_folder(path)
    try:
        remove_leftovers(leftovers_in((folder, *contents)))
        yield
        remove_leftovers(leftovers_in((folder, *contents)))
    finally:
        os.close(descriptor)


def _lock_folder(path: Path) -> int:
    """Return a descriptor that locks a folder's configuration; the system releases it with the process."""
    descriptor = os.open(path, os.O_RDWR)
    locked = try_lock(descriptor)
    if locked is False:
        os.close(descriptor)
        raise InputError(path.parent, "another run is writing here", expected="to wait for its end")
    if locked is None:
        logger.warning("%s: its file system knows no locks; see that no other run writes here", path.parent)
    return descriptor


@contextmanager
def _alone_at_start(folder: Path) -> Iterator[None]:
    # Of two runs that start at once, one has to find the other's configuration. Not every file system locks folders.
    with ExitStack() as stack:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _finished_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        partial = any(part.startswith(PARTIAL) for part in path.relative_to(folder).parts)
        if not partial and (path.is_symlink() or not path.is_dir()):
            yield path


def _first_difference(
    found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = ""
) -> tuple[str, object, object] | None:
    """Return the dotted name of the first key that differs, and both values."""
    # What made a folder tells more than any of its settings.
    for key in sorted(found.keys() | wanted.keys(), key=lambda key: (key != "stage", key)):
        before, now = found.get(key), wanted.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            inner = _first_difference(before, now, f"{prefix}{key}.")
            if inner is not None:
                return inner
        elif before != now:
            return f"{prefix}{key}", before, now
    return None


def _shorten(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def write_alignment(path: Path, frames: Iterable[AlignedFrame]) -> Path:
    """Write ``alignment.csv``, sorted by take and index, and return its path."""
    rows = sorted(frames, key=lambda frame: (frame.take, frame.blurry_index))
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(ALIGNMENT_COLUMNS)
        writer.writerows(_to_row(frame) for frame in rows)
    return path


def _to_row(frame: AlignedFrame) -> list[object]:
    return [
        frame.take,
        frame.blurry_index,
        f"{frame.blurry_time:.6f}",
        frame.position,
        f"{frame.position_fine:.4f}",
        f"{frame.psnr:.4f}",
        f"{frame.margin_db:.4f}",
        int(frame.accepted),
        frame.reason,
        *(f"{value:.9g}" for value in frame.color.ravel()),
        *("" if math.isnan(psnr) else f"{psnr:.4f}" for psnr in (frame.composite_psnr, frame.explained_psnr)),
    ]


def read_alignment(path: Path) -> list[AlignedFrame]:
    """Read ``alignment.csv``.

    Raises
    ------
    InputError
        If the file is not a table, a column is missing, or a value is not of its column's kind.
    """
    require_file(path, "the table that 'rb2v align' writes")
    reader = csv.DictReader(io.StringIO(read_text(path)))
    try:
        needed = [name for name in ALIGNMENT_COLUMNS if name not in _LATER_COLUMNS]
        missing = [name for name in needed if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(path, "column is missing", missing[0], expected=", ".join(needed))
        return [_from_row(row, path, line) for line, row in enumerate(reader, start=2)]
    except csv.Error as error:
        raise InputError(path, f"is not a table ({error})", expected="the table that 'rb2v align' writes") from error


def _from_row(row: Mapping[str, str | None], path: Path, line: int) -> AlignedFrame:
    def parsed(name: str, kind: Callable[[str], Value]) -> Value:
        text = row[name]
        try:
            return kind(text or "")
        except ValueError as error:
            raise InputError(
                path, f"line {line}: {text!r} is not a number", name, "as 'rb2v align' writes it"
            ) from error

    return AlignedFrame(
        take=row["take"] or "",
        blurry_index=parsed("blurry_index", int),
        blurry_time=parsed("blurry_time", float),
        position=parsed("position", int),
        position_fine=parsed("position_fine", float),
        psnr=parsed("psnr", float),
        margin_db=parsed("margin_db", float),
        accepted=bool(parsed("accepted", int)),
        reason=row["reason"] or "",
        color=np.array([parsed(name, float) for name in _COLOR_COLUMNS]).reshape(3, 4),
        **{name: parsed(name, float) if row.get(name) else math.nan for name in _LATER_COLUMNS},
    )
