"""Pickles read as data: an interpreter of the opcodes that state dicts are made of.

Nothing is imported and nothing in the file is called. A name in the file (a "global") is looked up
in a table of a few functions of our own; any other name stops the reading and is reported.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NoReturn

from smelt.errors import CheckpointError
from smelt.frontend.checkpoint.sizes import short

#: What malformed input makes the opcode decoder or our tables raise.
DAMAGE = (ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError, EOFError)

MARK = object()

#: Opcodes whose decoded argument is the value itself.
CONSTANTS = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    }
)
MAKERS: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
FIXED_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
IGNORED = frozenset({"PROTO", "FRAME"})


class PickleData:
    """One file's pickles: `globals` says what a name means, `persistent` what a persistent id is.

    A global is a function of our own that a pickle may call, or any other value it may mention.
    """

    def __init__(
        self, globals_: Mapping[str, Any], persistent: Callable[[Any], Any], place: str
    ) -> None:
        self.globals = globals_
        self.persistent = persistent
        self.place = place

    def load(self, file: BinaryIO) -> Any:
        """The value of the pickle at the file's position, which ends up behind it."""
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        try:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._step(opcode.name, argument)
        except DAMAGE as error:
            raise CheckpointError(
                f"the pickle is damaged: {short(str(error))}", place=self.place
            ) from error
        raise CheckpointError("the pickle does not end", place=self.place)

    def _step(self, name: str, argument: Any) -> None:
        stack, memo = self._stack, self._memo
        if name in CONSTANTS:
            stack.append(argument)
        elif name in MAKERS:
            stack.append(MAKERS[name]())
        elif name in PUTS:
            memo[int(argument)] = stack[-1]
        elif name in GETS:
            stack.append(memo[int(argument)])
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in FIXED_TUPLES:
            count = FIXED_TUPLES[name]
            if len(stack) < count:
                raise IndexError("a tuple of more than there is")
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(self._global(name, argument))
        elif name in HANDLERS:
            HANDLERS[name](self)
        elif name not in IGNORED:
            self.refuse(f"the opcode {name}")

    def _global(self, name: str, argument: Any) -> Any:
        if name == "GLOBAL":
            known = ".".join(argument.split(" "))
        else:
            attribute, module = self._stack.pop(), self._stack.pop()
            if not isinstance(attribute, str) or not isinstance(module, str):
                raise TypeError("a global without a name")
            known = f"{module}.{attribute}"
        if known not in self.globals:
            self.refuse(f"`{short(known)[1:-1]}`")
        return self.globals[known]

    def refuse(self, what: str) -> NoReturn:
        """Stop at something that is no plain data."""
        raise CheckpointError(
            f"the pickle wants {what}, which is not data",
            place=self.place,
            hint="loading a pickle can run any code, so smelt reads only what tensors are made of; "
            "convert the checkpoint to safetensors where you trust it",
        )

    def since_mark(self) -> list[Any]:
        """Pop everything above the last mark, and the mark."""
        stack = self._stack
        for at in range(len(stack) - 1, -1, -1):
            if stack[at] is MARK:
                found = stack[at + 1 :]
                del stack[at:]
                return found
        raise IndexError("a mark is missing")

    def top(self, kind: type) -> Any:
        """The value on top, which must be of a kind."""
        if type(self._stack[-1]) is not kind:
            raise TypeError(f"{type(self._stack[-1]).__name__}, wants {kind.__name__}")
        return self._stack[-1]

    def mark(self) -> None:
        self._stack.append(MARK)

    def pop(self) -> None:
        self._stack.pop()

    def pop_mark(self) -> None:
        self.since_mark()

    def tuple_(self) -> None:
        self._stack.append(tuple(self.since_mark()))

    def list_(self) -> None:
        self._stack.append(self.since_mark())

    def dict_(self) -> None:
        self._stack.append(pairs(self.since_mark()))

    def append(self) -> None:
        value = self._stack.pop()
        self.top(list).append(value)

    def appends(self) -> None:
        values = self.since_mark()
        self.top(list).extend(values)

    def set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self.top(dict).update(pairs([key, value]))

    def set_items(self) -> None:
        values = self.since_mark()
        self.top(dict).update(pairs(values))

    def reduce(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(arguments, tuple) or not callable(function):
            raise TypeError("a call of something that is no function")
        self._stack.append(function(*arguments))

    def build(self) -> None:
        """Drop the attributes of a dict: a state dict's `_metadata` says nothing about tensors."""
        self._stack.pop()
        self.top(dict)

    def persistent_id(self) -> None:
        self._stack.append(self.persistent(self._stack.pop()))


HANDLERS: Mapping[str, Callable[[PickleData], None]] = {
    "MARK": PickleData.mark,
    "POP": PickleData.pop,
    "POP_MARK": PickleData.pop_mark,
    "TUPLE": PickleData.tuple_,
    "LIST": PickleData.list_,
    "DICT": PickleData.dict_,
    "APPEND": PickleData.append,
    "APPENDS": PickleData.appends,
    "SETITEM": PickleData.set_item,
    "SETITEMS": PickleData.set_items,
    "REDUCE": PickleData.reduce,
    "BUILD": PickleData.build,
    "BINPERSID": PickleData.persistent_id,
}


def pairs(values: list[Any]) -> dict[Any, Any]:
    """Keys and values, alternating, as a dict; keys are text or numbers."""
    if len(values) % 2:
        raise IndexError("a key without a value")
    # Hashing a tuple of tuples that share parts can take exponentially long.
    if not all(type(key) in (str, int) for key in values[::2]):
        raise TypeError("a key that is neither text nor a number")
    return dict(zip(values[::2], values[1::2], strict=True))
