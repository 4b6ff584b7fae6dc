"""Ops, each defined once as a Python function.

A parameter annotated ``Tensor`` (or ``Tensor | None``) is an operand, any other an attribute. The
builder, verifier, printer, parser, spec vocabulary and documentation all come from that signature.

- ``@primitive``: the body is the type rule; a backend has one row for it.
- ``@composite``: the body, in other ops, is the meaning; type, reference and fallback derive from
  it.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, overload

from smelt.errors import SmeltError
from smelt.ir.dims import Size
from smelt.ir.tensor import Tensor, beside, make
from smelt.ir.types import DType, TupleType, Type

Body = Callable[..., Any]

#: Every op by name; filled by the two decorators when `smelt.ir.ops` is imported.
OPS: dict[str, Op] = {}


@dataclass(frozen=True, eq=False)
class Op:
    """An op: its name, its signature, and its body (a type rule or a meaning)."""

    name: str
    body: Body
    is_composite: bool
    operand_names: tuple[str, ...]
    attr_names: tuple[str, ...]
    signature: inspect.Signature
    variadic: bool
    flops: Callable[..., Size] | None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Build the node; the type rule may refuse with a SmeltError."""
        operands, attrs = self.bind(args, kwargs)
        return self.build(operands, attrs)

    def bind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Tensor | None, ...], dict[str, Any]]:
        """Split call arguments into operands and attributes."""
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            names = [*self.operand_names, *self.attr_names]
            unknown = [k for k in kwargs if k not in names]
            near = difflib.get_close_matches(unknown[0], names, 1) if unknown else []
            hint = (
                f"did you mean `{near[0]}`?" if near else f"signature: {self.name}{self.signature}"
            )
            raise SmeltError(f"{self.name}: {error}", hint=hint) from None
        bound.apply_defaults()
        values = dict(bound.arguments)
        if self.variadic:
            given: list[Any] = list(values.pop(self.operand_names[0]))
        else:
            given = [values.pop(name) for name in self.operand_names]
        # The last tensor decides a number's type: the first operand of `where` is its condition.
        like = next((t for t in reversed(given) if isinstance(t, Tensor)), None)
        operands = tuple(self._operand(value, like) for value in given)
        return operands, {name: _attribute(values[name]) for name in self.attr_names}

    def build(self, operands: tuple[Tensor | None, ...], attrs: dict[str, Any]) -> Any:
        """Build from operands and attributes that are already split; several results: a tuple."""
        node = self.node(operands, attrs)
        if isinstance(node.result, TupleType):
            item = OPS["item"]
            return tuple(item(node, index=i) for i in range(len(node.result.items)))
        return node

    def node(self, operands: tuple[Tensor | None, ...], attrs: dict[str, Any]) -> Tensor:
        """The bare node, also for an op with several results."""
        try:
            result = self.infer(operands, attrs)
        except SmeltError as error:
            if error.message.startswith(f"{self.name}:"):
                raise
            raise type(error)(
                f"{self.name}: {error.message}", place=error.place, hint=error.hint
            ) from None
        return make(self, operands, tuple(attrs.items()), result)

    def infer(self, operands: tuple[Tensor | None, ...], attrs: dict[str, Any]) -> Type | TupleType:
        """The result type, from the body."""
        if not self.is_composite:
            result = self.body(*operands, **attrs)
            return TupleType(result) if isinstance(result, tuple) else result
        types = tuple(None if t is None else t.type for t in operands)
        return _composite_type(self.name, types, tuple(attrs.items()))

    def expand(self, node: Tensor) -> Any:
        """The meaning of a composite node in other ops: a tensor, or a tuple of tensors."""
        with beside(node):
            return self.body(*node.operands, **dict(node.attrs))

    def _operand(self, value: Any, like: Tensor | None) -> Tensor | None:
        if value is None or isinstance(value, Tensor):
            return value
        if isinstance(value, (int, float, bool)):
            dtype = like.dtype if like is not None else DType.F32
            exact = float(value) if dtype.is_float else int(value)
            return OPS["const"](value=exact, dtype=dtype)  # type: ignore[no-any-return]
        raise SmeltError(
            f"{self.name}: operand is {type(value).__name__}, wants a tensor or number"
        )

    def __repr__(self) -> str:
        return f"<op {self.name}>"


@overload
def primitive(body: Body) -> Op: ...
@overload
def primitive(*, flops: Callable[..., Size]) -> Callable[[Body], Op]: ...
def primitive(body: Body | None = None, *, flops: Callable[..., Size] | None = None) -> Any:
    """Declare a primitive; the body maps operands and attributes to the result ``Type``."""
    return _declare(body, False, flops)


@overload
def composite(body: Body) -> Op: ...
@overload
def composite(*, flops: Callable[..., Size]) -> Callable[[Body], Op]: ...
def composite(body: Body | None = None, *, flops: Callable[..., Size] | None = None) -> Any:
    """Declare a composite; the body builds its meaning from other ops."""
    return _declare(body, True, flops)


def _declare(body: Body | None, is_composite: bool, flops: Callable[..., Size] | None) -> Any:
    def wrap(function: Body) -> Op:
        name = function.__name__.rstrip("_")
        signature = inspect.signature(function)
        parameters = signature.parameters.values()
        operands = [p for p in parameters if str(p.annotation) in ("Tensor", "Tensor | None")]
        op = Op(
            name=name,
            body=function,
            is_composite=is_composite,
            operand_names=tuple(p.name for p in operands),
            attr_names=tuple(p.name for p in parameters if p not in operands),
            signature=signature,
            variadic=any(p.kind is p.VAR_POSITIONAL for p in operands),
            flops=flops,
        )
        assert name not in OPS, f"op {name} is defined twice"
        OPS[name] = op
        return op

    return wrap if body is None else wrap(body)


@lru_cache(maxsize=65536)
def _composite_type(
    name: str, types: tuple[Type | None, ...], attrs: tuple[tuple[str, Any], ...]
) -> Type | TupleType:
    """Type of a composite; operand types alone decide it, so each is inferred once."""
    operands = tuple(
        None if t is None else OPS["input"](name=f"operand{i}", type=t) for i, t in enumerate(types)
    )
    result = OPS[name].body(*operands, **dict(attrs))
    return TupleType(tuple(r.type for r in result)) if isinstance(result, tuple) else result.type


def _attribute(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_attribute(v) for v in value)
    if isinstance(value, tuple):
        return tuple(_attribute(v) for v in value)
    return value
