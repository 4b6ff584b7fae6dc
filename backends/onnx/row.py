"""Rows: how one op becomes ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.value import Value
from smelt.ir.tensor import Tensor

Dialect: TypeAlias = Literal["standard", "ort"]

#: Called with the graph, the operands' values, and the attributes by name.
Build: TypeAlias = Callable[..., Any]


def always(node: Tensor) -> bool:
    return True


@dataclass(frozen=True)
class Row:
    """How an op is built, and which of its nodes it is for; others try the next row.

    A lazy row runs when something asks for the value; a row that sees through it never does.
    """

    build: Build
    accepts: Callable[[Tensor], bool] = always
    lazy: bool = False


#: Rows by op name; a bare function accepts every node.
Rows: TypeAlias = Mapping[str, Build | Row]


def direct(name: str, **fixed: Any) -> Build:
    """The ONNX op of this name on the same operands; IR attributes are not passed on."""

    def build(g: Graph, *operands: Value | None, **attributes: Any) -> Value:
        return g.op(name, *operands, **fixed)

    return build


def in_f32(name: str, **fixed: Any) -> Build:
    """The ONNX op on one operand, computed in f32 whatever the operand's type."""

    def build(g: Graph, x: Value) -> Value:
        return g.narrow(g.op(name, g.wide(x), **fixed), x.dtype)

    return build
