"""Public names of a package that are imported on first use."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, names: Mapping[str, Sequence[str]], *, former: Mapping[str, str] | None = None
) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a package, with which importing the package imports none of its modules.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    names : mapping of str to sequence of str
        The public names by the module that defines them.
    former : mapping of str to str, optional
        Present names by former ones, which are still found for one version, with a `DeprecationWarning`.

    Examples
    --------
    >>> lazy_names("rb2v", {"rb2v.errors": ("InputError",)})("InputError")
    <class 'rb2v.errors.InputError'>
    """
    modules = {name: module for module, defined in names.items() for name in defined}

    def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute can be anything
        if former is not None and name in former:
            warnings.warn(f"{package}.{name} is now {former[name]}", DeprecationWarning, stacklevel=2)
            name = former[name]
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules[name]), name)

    return __getattr__
