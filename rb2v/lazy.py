"""Public names of a package that are imported on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a package, with which importing the package imports none of its modules.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    modules : mapping of str to str
        The module that defines each public name.

    Examples
    --------
    >>> lazy_names("rb2v", {"InputError": "rb2v.errors"})("InputError")
    <class 'rb2v.errors.InputError'>
    """

    def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute can be anything
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules[name]), name)

    return __getattr__
