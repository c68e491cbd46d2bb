"""The errors that a caller can cause; the command line prints one as one message and exits with 2."""

from __future__ import annotations

from collections.abc import Collection
from os import PathLike
from pathlib import Path


class Rb2vError(ValueError):
    """Base of every error that is the input's fault and not the program's."""


class InputError(Rb2vError):
    """An input that cannot be used, with its place, what is wrong, and what was expected.

    Parameters
    ----------
    source : path or str
        The file or folder that holds the fault.
    problem : str
        What is wrong.
    key : str, optional
        Where in the file: a key of a YAML or JSON document, a column, a data set.
    expected : str, optional
        What would have been right.

    Examples
    --------
    >>> print(InputError("take.yaml", "'steet' is not a category", key="category", expected="street, face or hand"))
    take.yaml: category: 'steet' is not a category; expected street, face or hand
    """

    def __init__(
        self,
        source: str | PathLike[str],
        problem: str,
        key: str | None = None,
        expected: str | None = None,
    ) -> None:
        # All four go to args, so that the error crosses process boundaries unchanged.
        super().__init__(str(source), problem, key, expected)
        self.source = str(source)
        self.problem = problem
        self.key = key
        self.expected = expected

    def __str__(self) -> str:
        place = self.source if self.key is None else f"{self.source}: {self.key}"
        ending = "" if self.expected is None else f"; expected {self.expected}"
        return f"{place}: {self.problem}{ending}"


class ConfigMismatchError(InputError):
    """An output folder that was made with another configuration."""


def require_file(path: Path, expected: str | None = None) -> None:
    """Check that there is a file at a path.

    Raises
    ------
    InputError
        If there is none; it says what was expected.
    """
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "there is no such file"
        raise InputError(path, problem, expected=expected)


def check_member(name: str, value: str, known: Collection[str]) -> None:
    """Check that an option or argument is one of the values that there are.

    Raises
    ------
    InputError
        If it is not; it names those there are.
    """
    if value not in known:
        raise InputError(name, f"{value!r} is not known", expected=" or ".join(known))
