"""Single elements, and reductions along axes."""

from __future__ import annotations

from smelt.backends.edge.lowering import Lowering, Row
from smelt.backends.edge.opcodes import ACTIVATIONS
from smelt.backends.edge.value import Value
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType

NAMES = (
    *("neg", "abs", "sign", "floor", "round", "sqrt", "rsqrt", "exp", "log", "sin", "cos", "tanh"),
    *("erf", "sigmoid", "logical_not", "add", "sub", "mul", "div", "mod", "pow", "maximum"),
    *("minimum", "equal", "less", "less_equal", "logical_and", "logical_or", "where"),
)
REDUCTIONS = ("sum", "mean", "max", "min")


def elementwise(low: Lowering, node: Tensor) -> Value:
    """An instruction of the op's own name; operands spread as they are."""
    inputs = [low.value(operand) for operand in node.inputs]
    return low.graph.made(node.op.name, node.shape, node.dtype, inputs)


def reduction(low: Lowering, node: Tensor) -> Value:
    (x,) = node.inputs
    axes = 0
    for axis in node.attr("axes"):
        axes |= 1 << axis % x.type.rank
    return low.graph.made(node.op.name, node.shape, node.dtype, [low.value(x)], axes)


def along_axis(low: Lowering, node: Tensor) -> Value:
    """argmax and cumsum."""
    (x,) = node.inputs
    axis = node.attr("axis") % x.type.rank
    return low.graph.made(node.op.name, node.shape, node.dtype, [low.value(x)], axis)


def topk(low: Lowering, node: Tensor) -> tuple[Value, ...]:
    shape = node.result.items[0].shape  # type: ignore[union-attr]
    outputs = (low.graph.new(shape, DType.F32), low.graph.new(shape, DType.I64))
    low.graph.emit("topk", outputs, [low.dense(node.inputs[0])])
    return outputs


def softmax(low: Lowering, node: Tensor) -> Value:
    return low.graph.made("softmax", node.shape, node.dtype, [low.dense(node.inputs[0])])


def activation(low: Lowering, node: Tensor) -> Value:
    word = ACTIVATIONS[node.op.name]
    return low.graph.made("activate", node.shape, node.dtype, [low.dense(node.inputs[0])], word)


def gather(low: Lowering, node: Tensor) -> Value:
    table, ids = node.inputs
    axis = node.attr("axis") % table.type.rank
    inputs = [low.value(table), low.dense(ids)]
    return low.graph.made("gather", node.shape, node.dtype, inputs, axis)


def gather_elements(low: Lowering, node: Tensor) -> Value:
    x, ids = node.inputs
    axis = node.attr("axis") % x.type.rank
    inputs = [low.value(x), low.value(ids)]
    return low.graph.made("gather_elements", node.shape, node.dtype, inputs, axis)


ROWS: dict[str, Row] = {
    **dict.fromkeys(NAMES, elementwise),
    **dict.fromkeys(REDUCTIONS, reduction),
    "argmax": along_axis,
    "cumsum": along_axis,
    "topk": topk,
    "softmax": softmax,
    "gather_elements": gather_elements,
    **dict.fromkeys(("silu", "gelu", "gelu_tanh", "gelu_sigmoid", "relu"), activation),
}
