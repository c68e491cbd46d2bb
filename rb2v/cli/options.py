"""Options that take their name, choices, help and default from the fields of a configuration."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache, update_wrapper
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import TypeAdapter, ValidationError

from rb2v.cli.shared import parse_distortion, parse_response, parse_size
from rb2v.configuration import fault_of
from rb2v.errors import Rb2vError

Given = Mapping[str, Any]
"""Fields of a configuration that were given on the command line, by name."""


@dataclass(frozen=True)
class Written:
    """A value that is written in another form than a single word, number or choice."""

    metavar: str
    parse: Callable[[str, str], Any]
    """Reads the text of an option, named second."""
    show: Callable[[Any], str] = str


@dataclass(frozen=True)
class OptionsOf:
    """Which fields of a configuration are options of a command, and how they differ from their fields."""

    config: type
    """A class that `rb2v.configuration.config` made."""
    panels: Mapping[str, Sequence[str]]
    """Fields by the heading under which the help lists them."""
    former: Mapping[str, str] = field(default_factory=dict)
    """Former names of options, which are still read, by field."""
    recommended: Collection[str] = ()
    """Fields whose default depends on others; their field's own is not shown, and none is required."""

    def __call__(self, function: Callable[..., None]) -> Callable[..., None]:
        """Replace a command's parameter ``given`` by an option for each field."""
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            if parameter.name == "given":
                for panel, names in self.panels.items():
                    parameters += [made for name in names for made in self._parameters(name, panel)]
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        names = [name for listed in self.panels.values() for name in listed]

        def command(**arguments: Any) -> None:  # noqa: ANN401 - the options
            given = {name: arguments.pop(name) for name in names}
            for name, option in self.former.items():
                if (value := arguments.pop(_former(name))) is not None:
                    typer.echo(f"note: {option} is now {option_of(name)}", err=True)
                    given[name] = value
            function(**arguments, given={name: value for name, value in given.items() if value is not None})

        update_wrapper(command, function)
        del command.__wrapped__  # type: ignore[attr-defined]  # typer would look through it, at the function's own parameters
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    def _parameters(self, name: str, panel: str) -> list[inspect.Parameter]:
        kind, option = _describe(self.config, name, show_default=name not in self.recommended)
        option.rich_help_panel = panel
        is_required = name not in self.recommended and _has_no_default(self.config, name)
        made = [_parameter(name, kind, option, is_required=is_required)]
        if name in self.former:
            _, hidden = _describe(self.config, name, show_default=False)
            hidden.default, hidden.param_decls, hidden.hidden = self.former[name], (), True
            made.append(_parameter(_former(name), kind, hidden))
        return made


def repeated_choice(choices: Any, text: str, panel: str) -> Any:  # noqa: ANN401 - a Literal, and typer's option
    """Return an option of type ``list[str]`` that may be repeated, each time with one of the choices.

    Raises
    ------
    typer.BadParameter
        From the option, if a value is not one of them.
    """
    names: tuple[str, ...] = get_args(choices)

    def check(values: list[str] | None) -> list[str] | None:
        for value in values or ():
            if value not in names:
                raise typer.BadParameter(f"{value!r} is not known; expected {', '.join(names)}")
        return values

    return typer.Option(
        metavar="|".join(names), help=f"{text}; may be repeated.", callback=check, rich_help_panel=panel
    )


def option_of(name: str) -> str:
    """Return the option of a field.

    Examples
    --------
    >>> option_of("min_psnr_db")
    '--min-psnr-db'
    """
    return "--" + name.replace("_", "-")


def help_of(config: type, name: str) -> str:
    """Return what a field's docstring says, as one line."""
    description = config.__pydantic_fields__[name].description or ""  # type: ignore[attr-defined]
    return " ".join(description.replace("``", "").split())


def check_value(config: type, name: str, value: Any) -> Any:  # noqa: ANN401 - a field can be anything
    """Return a value as its field holds it.

    Raises
    ------
    typer.BadParameter
        If the field cannot have it.
    """
    named: Any = types.GenericAlias(dict, (str, _hints(config)[name]))  # whose faults begin with the name, as a field's
    try:
        return TypeAdapter(named).validate_python({name: value})[name]
    except ValidationError as error:
        fault = fault_of(error, option_of(name))
        ending = f"; expected {fault.expected}" if fault.expected else ""
        raise typer.BadParameter(f"{fault.problem}{ending}") from None


@cache
def _hints(config: type) -> Mapping[str, Any]:
    return get_type_hints(config, include_extras=True)


def _former(name: str) -> str:
    return f"former_{name}"


def _parameter(name: str, kind: Any, option: Any, *, is_required: bool = False) -> inspect.Parameter:  # noqa: ANN401
    default = inspect.Parameter.empty if is_required else None
    annotation = Annotated[kind, option] if is_required else Annotated[kind | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _has_no_default(config: type, name: str) -> bool:
    one = next(one for one in fields(config) if one.name == name)
    return one.default is MISSING and one.default_factory is MISSING


def _describe(config: type, name: str, *, show_default: bool) -> tuple[Any, Any]:
    """Return the type that typer parses, and the option, of a field."""
    hint = _hints(config)[name]
    kind, bounds = _strip(hint)
    examples = config.__pydantic_fields__[name].examples or ()  # type: ignore[attr-defined]
    written = _written(kind, *examples)
    option = option_of(name)
    declarations = (f"{option}/--no-{option[2:]}" if kind is bool else option,)
    default = next(_default_of(one) for one in fields(config) if one.name == name)

    def check(value: Any) -> Any:  # noqa: ANN401 - what typer parsed
        if value is None:
            return None
        try:
            return check_value(config, name, value if written is None else written.parse(value, option))
        except Rb2vError as error:
            raise typer.BadParameter(str(error).removeprefix(f"{option}: ")) from None

    ending = ""
    if show_default and default is not None:
        shown = _show_flag(name, default) if kind is bool else (written.show if written else str)(default)
        ending = f"  [default: {shown}]"
    made = typer.Option(
        *declarations,
        help=help_of(config, name) + ending,
        show_default=False,
        metavar=None if written is None else written.metavar,
        callback=check,
        min=bounds.get("ge"),
        max=bounds.get("le"),
    )
    return (kind if written is None else str), made


def _show_flag(name: str, value: bool) -> str:
    return name.replace("_", "-") if value else f"no-{name.replace('_', '-')}"


def _default_of(one: Field[Any]) -> Any:  # noqa: ANN401 - a field can be anything
    return None if one.default is MISSING else one.default


def _strip(hint: Any) -> tuple[Any, dict[str, float]]:  # noqa: ANN401 - a type
    """Return a field's type without None and annotations, and its bounds."""
    bounds: dict[str, float] = {}
    while True:
        if get_origin(hint) is Annotated:
            for noted in hint.__metadata__:
                for one in getattr(noted, "metadata", ()):
                    bounds |= {bound: getattr(one, bound) for bound in ("ge", "le") if hasattr(one, bound)}
            hint = get_args(hint)[0]
        elif get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint):
            others = tuple(kind for kind in get_args(hint) if kind is not type(None))
            hint = Union[others]  # noqa: UP007 - made of a tuple
        else:
            return hint, bounds


def _written(kind: Any, *examples: str) -> Written | None:  # noqa: ANN401 - a type
    """Return how values of a type are written, where typer knows no way."""
    members = get_args(kind)
    if get_origin(kind) in (Union, types.UnionType):
        words = [word for member in members if get_origin(member) is Literal for word in get_args(member)]
        return Written("|".join((*words, "GAMMA")), lambda text, option: parse_response(text, option, words))
    if get_origin(kind) is not tuple:
        return None
    if members[-1] is Ellipsis:
        return Written("NAME,...", lambda text, _: tuple(text.split(",")), ",".join)
    if _strip(members[0])[0] is float:
        return Written("BLURRY[,SHARP]", parse_distortion, lambda pair: ",".join(f"{value:g}" for value in pair))
    return Written(
        "WIDTHxHEIGHT", lambda text, option: parse_size(text, option, *examples), lambda size: "{}x{}".format(*size)
    )
