"""Orders of samples from a table of labels, in place of those in the shards."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

from rb2v.artifacts import SPLITS
from rb2v.errors import InputError
from rb2v.io.store import read_text, sha256_of
from rb2v.shards.manifest import manifest_path
from rb2v.shards.reader import ShardReader

DATA_COLUMN = "data_sha256"
"""Of the digest of the manifest whose samples have these labels, in every row."""

_EXPECTED = "the table that 'rb2v label-order' writes"
_OF_THIS_DATA_SET = "labels of this data set"


def read_orders(
    path: Path, reader: ShardReader, *, min_margin: float = 0.0, only_consistent: bool = False
) -> tuple[int, ...]:
    """Read the order of every sample from a table of labels.

    Parameters
    ----------
    path : Path
        A table as ``rb2v label-order`` and ``rb2v train-hypercut`` write it; of its columns, ``take``, ``blurry_index``
        and ``order`` are needed, and those that the other parameters ask for. Samples of both splits may share a take
        where there is ``split``; where there is ``data_sha256``, the labels are of that data set alone.
    reader : ShardReader
        The samples.
    min_margin : float
        Least ``margin`` of an order; samples below it have order 0.
    only_consistent : bool
        Whether samples that are not ``consistent``, whose pairs lie on different sides, have order 0.

    Returns
    -------
    tuple of int
        +1 keep, -1 reverse or 0, in the order of ``reader.table``.

    Raises
    ------
    InputError
        If it is no such table or one of another data set, a sample has no label or two, or there is a label of no
        sample.
    """
    if not 0 <= min_margin < math.inf:
        raise InputError("options", f"is {min_margin}", "min_margin", "0 or more")
    needed = {"take", "blurry_index", "order"}
    needed |= {"margin"} if min_margin > 0 else set()
    needed |= {"consistent"} if only_consistent else set()
    splits = SPLITS if reader.split is None else (reader.split,)
    data_sha256 = sha256_of(manifest_path(reader.folder))
    orders: dict[tuple[str, str, str], int] = {}
    try:
        rows = csv.DictReader(io.StringIO(read_text(path)))
        columns = rows.fieldnames or ()
        for name in sorted(needed.difference(columns)):
            raise InputError(path, "column is missing", name, _EXPECTED)
        for row in rows:
            line = rows.line_num
            if "split" in columns and row["split"] not in SPLITS:
                raise InputError(path, f"line {line}: {row['split']!r} is not a split", "split", " or ".join(SPLITS))
            if DATA_COLUMN in columns and row[DATA_COLUMN] != data_sha256:
                raise InputError(path, f"line {line}: is of another data set", DATA_COLUMN, _OF_THIS_DATA_SET)
            if row["order"] not in ("-1", "0", "1"):
                raise InputError(path, f"line {line}: {row['order']!r} is not an order", "order", "1, -1 or 0")
            if only_consistent and row["consistent"] not in ("0", "1"):
                raise InputError(path, f"line {line}: is {row['consistent']!r}", "consistent", "1 or 0")
            too_close = min_margin > 0 and _margin(path, line, row) < min_margin
            left_out = too_close or (only_consistent and row["consistent"] == "0")
            # Of a table without splits, what is not asked for may be of the other split.
            if "split" not in columns or row["split"] in splits:
                sample = (row["split"] if "split" in columns else "", row["take"], row["blurry_index"])
                if sample in orders:
                    raise InputError(path, f"line {line}: {_name(*sample)} has a label already")
                orders[sample] = 0 if left_out else int(row["order"])
    except csv.Error as error:
        raise InputError(path, f"is not a table ({error})", expected=_EXPECTED) from error
    samples = [(split if "split" in columns else "", take, str(index)) for split, take, index in reader.keys]
    if "split" not in columns and reader.split is None and len(set(samples)) < len(samples):
        raise InputError(path, "column is missing, and the splits share a take", "split", _EXPECTED)
    for sample in samples:
        if sample not in orders:
            raise InputError(path, f"{_name(*sample)} has no label", expected=_OF_THIS_DATA_SET)
    if "split" in columns or reader.split is None:
        for sample in sorted(orders.keys() - set(samples), key=str)[:1]:
            raise InputError(path, f"{_name(*sample)} is not a sample", expected=_OF_THIS_DATA_SET)
    return tuple(orders[sample] for sample in samples)


def _name(split: str, take: str, index: str) -> str:
    return f"frame {index} of take {take!r}" + (f" of the {split} split" if split else "")


def _margin(path: Path, line: int, row: Mapping[str, str | None]) -> float:
    try:
        margin = float(row["margin"] or "")
    except ValueError:
        margin = math.nan
    if not margin >= 0:
        raise InputError(path, f"line {line}: {row['margin']!r} is no margin", "margin", "a number, 0 or more")
    return margin
