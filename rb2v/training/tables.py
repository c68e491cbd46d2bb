"""Reading of CSV tables: names are text, whatever they look like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype

from rb2v.errors import InputError


def read_table(path: Path, columns: Sequence[str], *, texts: Sequence[str], expected: str) -> pd.DataFrame:
    """Read a CSV table.

    Parameters
    ----------
    path : Path
        The file.
    columns : sequence of str
        Columns that it must have.
    texts : sequence of str
        Columns of text: a take named ``001``, ``NA`` or ``null`` keeps its name. All others hold numbers, and nothing,
        or ``nan``, stands for one that is not known.
    expected : str
        What the file should be, for messages.

    Raises
    ------
    InputError
        If the file is missing, no table, or lacks a column, or a column of numbers holds something else.
    """
    if not path.is_file():
        raise InputError(path, "there is no such file", expected=expected)
    try:
        header = [str(name) for name in pd.read_csv(path, nrows=0)]
        numbers = [name for name in header if name not in texts]
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(texts, str),
            keep_default_na=False,
            na_values={name: ["", "nan", "NaN"] for name in numbers},
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise InputError(path, f"is not a table ({error})", expected=expected) from error
    for name in columns:
        if name not in table:
            raise InputError(path, "column is missing", name, expected)
        if len(table) and name not in texts and not is_numeric_dtype(table[name]):
            raise InputError(path, "holds a value that is not a number", name, expected)
    return table
