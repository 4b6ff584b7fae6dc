"""A value of the graph under construction, made when something first needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smelt.ir.dims import Size
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, Type


class Value:
    """A result: its IR type and node where it has one, and the ONNX value, which may not exist yet.

    ``rows`` is another form of a tensor [batch, heads, seq, dim]: the same numbers as
    [batch, seq, heads·dim], which contrib ops read and write. Either is made from the other.
    """

    __slots__ = ("_made", "_make", "_type", "node", "operands", "rows")

    def __init__(
        self,
        type: Type | None = None,
        *,
        made: Any = None,
        make: Callable[[], Value] | None = None,
        node: Tensor | None = None,
        operands: tuple[Value | None, ...] = (),
        rows: Value | None = None,
    ) -> None:
        self._type = type
        self._made = made
        self._make = make
        self.node = node
        self.operands = operands
        self.rows = rows

    @property
    def made(self) -> Any:
        """The onnx-ir value; builds it on first use."""
        if self._made is None:
            assert self._make is not None
            self._made = self._make().made
        return self._made

    @property
    def is_made(self) -> bool:
        return self._made is not None

    @property
    def type(self) -> Type:
        assert self._type is not None, "an inner value of a row has no IR type"
        return self._type

    @property
    def shape(self) -> tuple[Size, ...]:
        return self.type.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def rank(self) -> int:
        return self.type.rank

    @property
    def op(self) -> str:
        """Name of the IR op that it is the result of, or nothing."""
        return self.node.op.name if self.node is not None else ""

    @property
    def is_weight(self) -> bool:
        """Whether its numbers are in the weights file."""
        return self.op in ("param", "weight")

    def typed(self, type: Type) -> Value:
        """The same value with its IR type known."""
        self._type = type
        return self
