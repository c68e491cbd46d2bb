"""Usage errors of typer in the one-line form of every other error."""

from __future__ import annotations

from typing import Any

import typer
from pydantic import ValidationError

from rb2v.configuration import fault_of
from rb2v.errors import InputError


def describe_usage_error(error: typer.TyperException) -> str:
    """Return ``--option: problem; expected ...`` for an error that typer found in the command line."""
    # Typer exports none of the classes that have these attributes.
    if option := getattr(error, "option_name", None):
        if not hasattr(error, "possibilities"):  # it is known, and has too few or too many values
            return f"{option}: {error.message.removeprefix(f'Option {option!r} ').rstrip('.')}"
        command = error.ctx.command_path  # type: ignore[attr-defined]
        expected = " or ".join(error.possibilities or ()) or f"one that '{command} --help' lists"
        return str(InputError(option, f"is not an option of '{command}'", expected=expected))
    if parameter := getattr(error, "param", None):
        return _describe_value(error, parameter)
    return error.format_message()


def _describe_value(error: typer.TyperException, parameter: Any) -> str:  # noqa: ANN401 - typer exports no class
    place = parameter.opts[0] if parameter.param_type_name == "option" else parameter.display_name_raw
    if not isinstance(error.__cause__, ValidationError):
        return f"{place}: {error.message or 'is missing'}"
    fault = fault_of(error.__cause__, place)
    if parameter.type_descriptor.is_choice:
        value = error.__cause__.errors()[0]["input"]
        fault = InputError(place, f"{value!r} is not known", expected=" or ".join(parameter.type_descriptor.choices))
    return str(fault)
