"""Pickles read as data: values, and what stands for the objects that a pickle describes; nothing is executed.

The pickle is walked through opcode by opcode. No global that it names is looked up, and no opcode calls anything.

References
----------
.. [1] Python, ``pickletools``, on the opcodes.
"""

from __future__ import annotations

import pickletools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class RejectedError(Exception):
    """What the pickle holds is not what it is to be written with."""


@dataclass(frozen=True)
class Name:
    """A global that the pickle names; it is never looked up."""

    text: str


class _Mark:
    pass


class PickleReader(ABC):
    """Reads one kind of pickle: its subclasses say which opcodes it has, and what its objects are described as."""

    opcodes: ClassVar[frozenset[str]]
    """Those admitted beside `_COMMON_OPCODES`."""
    content_name: ClassVar[str]
    """Of what the pickle is written with, for errors."""
    max_slots: ClassVar[int]
    """Of the pickle's memory."""
    names: ClassVar[frozenset[str] | None] = None
    """Globals that may be named, as module and name with a space between; None for any."""

    @abstractmethod
    def call(self, name: str, arguments: tuple[Any, ...]) -> object:
        """Return what stands for the result of a call."""

    @abstractmethod
    def set_state(self, described: object, state: object) -> None:
        """Give an object that is described its state."""

    def make(self, name: str, arguments: object) -> object:
        """Return what stands for a new object."""
        raise RejectedError(f"makes an object of {name[:80]!r}")

    def load(self, persistent_id: object) -> object:
        """Return what stands for something that lies outside of the pickle."""
        raise RejectedError(f"refers to {str(persistent_id)[:80]!r}")

    def read(self, pickled: bytes | BinaryIO) -> object:
        """Return what a pickle describes; of a stream the next one, and no byte behind it.

        Raises
        ------
        RejectedError
            If it is damaged, cut short, or holds anything that is not admitted.
        """
        stack: list[Any] = []
        memory: dict[int, Any] = {}
        try:
            for opcode, argument, _ in pickletools.genops(pickled):
                if opcode.name == "STOP":
                    (result,) = stack
                    return result
                if opcode.name not in _COMMON_OPCODES | self.opcodes:
                    raise RejectedError(f"holds {opcode.name}, which no {self.content_name} is written with")
                self._step(opcode.name, argument, stack, memory)
        except (IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise RejectedError("is damaged or cut short") from error
        raise RejectedError("is cut short")

    def _admit(self, text: str) -> Name:
        if self.names is not None and text not in self.names:
            raise RejectedError(f"names {text[:80]!r}, which no {self.content_name} is written with")
        return Name(text)

    def _step(self, opcode: str, argument: Any, stack: list[Any], memory: dict[int, Any]) -> None:  # noqa: ANN401
        match opcode:
            case "PROTO":
                pass
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append(_CONSTANTS[opcode])
            case "MARK":
                stack.append(_Mark())
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "GLOBAL":
                stack.append(self._admit(str(argument)))
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                stack.append(tuple(_pop_to_mark(stack)))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [stack.pop() for _ in range(int(opcode[-1]))]
                stack.append(tuple(items[::-1]))
            case "APPEND":
                item = stack.pop()
                expect(stack[-1], list).append(item)
            case "APPENDS":
                items = _pop_to_mark(stack)
                expect(stack[-1], list).extend(items)
            case "SETITEM":
                item, key = stack.pop(), stack.pop()
                expect(stack[-1], dict)[expect(key, str)] = item
            case "SETITEMS":
                items = _pop_to_mark(stack)
                entries = zip(items[::2], items[1::2], strict=True)
                expect(stack[-1], dict).update((expect(key, str), item) for key, item in entries)
            case "BINPUT" | "LONG_BINPUT":
                if len(memory) >= self.max_slots:
                    raise RejectedError("is too large")
                memory[expect(argument, int)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memory[expect(argument, int)])
            case "BINPERSID":
                stack.append(self.load(stack.pop()))
            case "NEWOBJ":
                arguments, name = stack.pop(), stack.pop()
                stack.append(self.make(expect(name, Name).text, arguments))
            case "REDUCE":
                arguments, name = stack.pop(), stack.pop()
                stack.append(self.call(expect(name, Name).text, expect(arguments, tuple)))
            case "BUILD":
                state = stack.pop()
                self.set_state(stack[-1], state)
            case _:  # one that carries its value
                stack.append(argument)


_COMMON_OPCODES = frozenset(
    {
        *("PROTO", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BINUNICODE", "BININT", "BININT1", "BININT2", "GLOBAL"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "SETITEM", "SETITEMS"),
        *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "REDUCE", "BUILD"),
    }
)


def expect(value: Any, kind: type) -> Any:  # noqa: ANN401 - of the kind asked for
    """Return a value of a kind.

    Raises
    ------
    RejectedError
        If it is of another kind; a bool is no int.
    """
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise RejectedError(f"holds a {kind_of(value)} where a {kind.__name__.strip('_')} belongs")
    return value


def kind_of(value: object) -> str:
    """Return the name of a value's kind, for errors."""
    return type(value).__name__.strip("_")


def _pop_to_mark(stack: list[Any]) -> list[Any]:
    items: list[Any] = []
    while not isinstance(stack[-1], _Mark):
        items.append(stack.pop())
    stack.pop()
    return items[::-1]
