"""Tensor nodes: immutable and interned, so within a program equal means identical and common
subexpressions are free.
"""

from __future__ import annotations

import threading
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from smelt.ir.dims import Size
from smelt.ir.types import DType, TupleType, Type

if TYPE_CHECKING:
    from smelt.ir.op import Op

# Attribute values: None, bool, int, float, str, DType, Dim, Type and tuples of these.
Attribute = Any


class Tensor:
    """One result of an op: its operands, attributes, type, and the place in the model it came from.

    ``source`` is for people (profiles, errors); it is not part of a node's identity, so of two
    equal nodes of a program the first one's source stays. ``program`` numbers the program that the
    node belongs to, 0 outside of `new_program`: programs share no nodes.
    """

    __slots__ = ("op", "operands", "attrs", "result", "source", "program", "__weakref__")

    op: Op
    operands: tuple[Tensor | None, ...]
    attrs: tuple[tuple[str, Any], ...]
    result: Type | TupleType
    source: str
    program: int

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"tensors are immutable; build a new one instead of setting {name}")

    @property
    def type(self) -> Type:
        assert isinstance(self.result, Type), f"{self.op.name} has several results"
        return self.result

    @property
    def shape(self) -> tuple[Size, ...]:
        return self.type.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The operands that are present."""
        operands = self.operands
        if None not in operands:
            return operands  # type: ignore[return-value]
        return tuple(operand for operand in operands if operand is not None)

    def attr(self, name: str) -> Any:
        """The value of an attribute; KeyError when the op has none of that name."""
        for key, value in self.attrs:
            if key == name:
                return value
        raise KeyError(name)

    def __add__(self, other: Tensor | float) -> Tensor:
        return _arithmetic("add", self, other)

    def __radd__(self, other: float) -> Tensor:
        return _arithmetic("add", self, other)

    def __sub__(self, other: Tensor | float) -> Tensor:
        return _arithmetic("sub", self, other)

    def __rsub__(self, other: float) -> Tensor:
        return _arithmetic("sub", other, self)

    def __mul__(self, other: Tensor | float) -> Tensor:
        return _arithmetic("mul", self, other)

    def __rmul__(self, other: float) -> Tensor:
        return _arithmetic("mul", self, other)

    def __truediv__(self, other: Tensor | float) -> Tensor:
        return _arithmetic("div", self, other)

    def __rtruediv__(self, other: float) -> Tensor:
        return _arithmetic("div", other, self)

    def __pow__(self, other: Tensor | float) -> Tensor:
        return _arithmetic("pow", self, other)

    def __neg__(self) -> Tensor:
        return _arithmetic("neg", self)

    def __repr__(self) -> str:
        return f"<{self.op.name} : {self.result} @ {self.source or '-'}>"


def _arithmetic(name: str, *operands: Tensor | float) -> Tensor:
    from smelt.ir.op import OPS  # the table of ops imports this module

    result = OPS[name](*operands)
    assert isinstance(result, Tensor)
    return result


_interned: WeakValueDictionary[tuple[Any, ...], Tensor] = WeakValueDictionary()
_programs = count(1)
_place = threading.local()


def make(
    op: Op,
    operands: tuple[Tensor | None, ...],
    attrs: tuple[tuple[str, Any], ...],
    result: Type | TupleType,
) -> Tensor:
    """The one node of the operands' program, or else of the one being made, with this op, these
    operands, attributes and type.
    """
    # 1, 1.0 and True are equal in Python but differ as attributes.
    kinds = tuple(_kind(value) for _, value in attrs)
    program = next((t.program for t in operands if t is not None), _current_program())
    key = (program, op.name, tuple(map(id, operands)), attrs, kinds, result)
    found = _interned.get(key)
    if found is not None:
        return found
    node = object.__new__(Tensor)
    for name, value in (
        ("op", op),
        ("operands", operands),
        ("attrs", attrs),
        ("result", result),
        ("source", current_source()),
        ("program", program),
    ):
        object.__setattr__(node, name, value)
    _interned[key] = node
    return node


def _kind(value: Any) -> Any:
    return tuple(map(_kind, value)) if isinstance(value, tuple) else type(value)


def current_source() -> str:
    """The path that new nodes are labelled with."""
    return getattr(_place, "path", "")


def _current_program() -> int:
    return getattr(_place, "program", 0)


class _Place:
    """Until it ends, where new nodes belong."""

    __slots__ = ("_before", "_path", "_program")  # no generator: a walk enters it for each node

    def __init__(self, path: str, program: int) -> None:
        self._path = path
        self._program = program

    def __enter__(self) -> None:
        self._before = current_source(), _current_program()
        _place.path, _place.program = self._path, self._program

    def __exit__(self, *_: object) -> None:
        _place.path, _place.program = self._before


def source(path: str) -> _Place:
    """Label the nodes made inside with a path such as ``layers.3.self_attn``."""
    return _Place(path, _current_program())


def beside(node: Tensor, path: str | None = None) -> _Place:
    """Make the nodes inside part of a node's program, with its source or another path."""
    return _Place(node.source if path is None else path, node.program)


def new_program() -> _Place:
    """Make the nodes inside a program of their own."""
    return _Place("", next(_programs))
