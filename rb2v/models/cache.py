"""Place of fetched weights."""

from __future__ import annotations

import os
from pathlib import Path

from rb2v.errors import InputError


def cache_folder() -> Path:
    """Return the folder for what can be fetched again.

    Returns
    -------
    Path
        ``$RB2V_CACHE`` where it is set, else ``rb2v`` in ``$XDG_CACHE_HOME`` or in ``~/.cache``; it need not exist.

    Raises
    ------
    InputError
        If none of the three is set and the user has no home folder.

    References
    ----------
    .. [1] XDG Base Directory Specification: a relative ``$XDG_CACHE_HOME`` is to be ignored.
    """
    if chosen := os.environ.get("RB2V_CACHE"):
        return Path(chosen)
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if Path(shared).is_absolute():
        return Path(shared) / "rb2v"
    try:
        return Path.home() / ".cache" / "rb2v"
    except RuntimeError as error:
        raise InputError("RB2V_CACHE", "is not set, and there is no home folder", expected="a folder") from error


def fetched_file(model: str, file: str) -> Path:
    """Return where a file of a model lies once it is fetched.

    Parameters
    ----------
    model : str
        Name of the model, as in ``CATALOGUE``.
    file : str
        Name of the file.
    """
    return cache_folder() / "models" / model / file
