"""Configurations: frozen pydantic dataclasses whose faults are `InputError` like those of every other input."""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from typing import Annotated, Any, Literal, TypeVar, cast, dataclass_transform

import pydantic.dataclasses
from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from rb2v.errors import InputError


def _check_window(side_px: int) -> int:
    if side_px > MAX_APART_PX and side_px % 2:
        raise ValueError(f"windows have sides of up to {MAX_APART_PX} pixels, or even ones")
    return side_px


OPTIONS_SOURCE = "options"
"""Source of the errors of a configuration that no file holds."""

Gamma = Annotated[float, Field(ge=0.1, le=10)]
"""Exponent of a gamma; cameras have 1.8 to 2.6, from which fits of odd captures stray."""
Response = Literal["linear", "srgb"] | Gamma
"""A camera response: its name, or the exponent of a gamma."""
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what numpy and torch both take
Count = Annotated[int, Field(ge=1, le=10**9)]  # beyond any use; a file could else ask for all memory
CountOrNone = Annotated[int, Field(ge=0, le=10**9)]
SidePx = Annotated[int, Field(ge=1, le=8192)]
MAX_APART_PX = 8
"""Side of the largest windows of a loss that do not overlap, in pixels; wider ones overlap by half."""
WindowPx = Annotated[int, Field(ge=1, le=8192), AfterValidator(_check_window)]
"""Side of such windows."""
BatchSize = Annotated[int, Field(ge=1, le=65_536)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
EmaDecay = Annotated[float, Field(ge=0, le=0.999999)]

_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}

Config = TypeVar("Config")


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def config(cls: type[Config]) -> type[Config]:
    """Make a class a frozen pydantic dataclass; docstrings of its fields become their descriptions.

    Its constructor, and `dataclasses.replace`, raise `InputError` with the field as key.

    Examples
    --------
    >>> @config
    ... class Exposure:
    ...     milliseconds: Annotated[float, Field(gt=0)] = 20.0
    >>> Exposure(milliseconds=0)
    Traceback (most recent call last):
    ...
    rb2v.errors.InputError: options: milliseconds: 0 is out of range; expected more than 0
    """
    settings = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
    made = pydantic.dataclasses.dataclass(frozen=True, config=settings)(cls)
    construct = made.__init__
    names = tuple(made.__dataclass_fields__)

    @wraps(construct)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the fields
        try:
            construct(self, **dict(zip(names, args, strict=False)), **kwargs)  # by name, which a fault then has
        except ValidationError as error:
            raise fault_of(error, OPTIONS_SOURCE) from None

    made.__init__ = __init__  # type: ignore[method-assign]
    return cast("type[Config]", made)


def fault_of(error: ValidationError, source: str) -> InputError:
    """Return the first fault that pydantic found, as an error of the source.

    Parameters
    ----------
    error : pydantic.ValidationError
        What pydantic raised.
    source : str
        File or options that hold the fault.
    """
    faults = error.errors(include_url=False)
    fault = faults[0]
    cause = fault.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return InputError(source, cause.problem, cause.key, cause.expected)
    place = fault["loc"][:1] + tuple(part for part in fault["loc"][1:] if isinstance(part, int))
    # A value that may be one of several kinds has a fault for each, whose place ends in the kind.
    faults = [other for other in faults if other["loc"][:1] == fault["loc"][:1] != ()] or [fault]
    described = [describe_fault(one) for one in faults]
    expected = " or ".join(dict.fromkeys(text for _, text in described if text is not None)) or None
    return InputError(source, described[0][0], ".".join(map(str, place)) or None, expected)


def describe_fault(fault: ErrorDetails) -> tuple[str, str | None]:
    """Return what is wrong with a value, and what would be right, in plain words."""
    context = fault.get("ctx", {})
    if fault["type"] in _BOUNDS:
        words, bound = _BOUNDS[fault["type"]]
        return f"{fault['input']} is out of range", f"{words} {context[bound]:g}"
    if fault["type"] == "multiple_of":
        return f"{fault['input']!r} is not a multiple", f"a multiple of {context['multiple_of']:g}"
    if fault["type"] == "literal_error":
        return f"{fault['input']!r} is not known", context["expected"].replace("'", "")
    if fault["type"] in ("float_parsing", "float_type"):
        return f"{fault['input']!r} is not a number", "a number"
    if fault["type"] in ("int_parsing", "int_type", "int_from_float"):
        return f"{fault['input']!r} is not a whole number", "a whole number"
    if fault["type"] == "unexpected_keyword_argument":
        return "is not a known key", None
    if fault["type"] == "value_error":
        return fault["msg"].removeprefix("Value error, "), None
    return f"{fault['input']!r}: {fault['msg']}", None
