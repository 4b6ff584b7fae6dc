"""Products: linears with packed weights, tables, plain matrices, convolutions, scans.

A linear takes the activation or the sum that follows it along where nothing else reads its result;
``absorbed`` decides which.
"""

from __future__ import annotations

from smelt.backends.edge.lowering import Lowering, Row
from smelt.backends.edge.opcodes import (
    ACTIVATIONS,
    INPUT_BF16,
    INPUT_F32,
    INPUT_INT8,
    INPUT_INT8_TWICE,
    NO_ACTIVATION,
)
from smelt.backends.edge.rows import shape
from smelt.backends.edge.rows.elementwise import activation, elementwise, gather
from smelt.backends.edge.value import Value, permuted, sliced
from smelt.backends.edge.weights import Coded, stored_of
from smelt.ir.dims import exact_divide
from smelt.ir.program import Function, Program
from smelt.ir.tensor import Tensor

LINEARS = ("linear", "bf16_linear", "quantized_linear")


def absorbed(function: Function) -> dict[int, Tensor]:
    """Linears that their only reader computes: an activation, a gated activation, a sum."""
    users: dict[int, list[Tensor]] = {}
    for node in function.nodes():
        for operand in node.inputs:
            users.setdefault(id(operand), []).append(node)
    roots = {id(root) for root in function.roots}
    found: dict[int, Tensor] = {}
    taken: set[int] = set()
    for node in function.nodes():
        readers = users.get(id(node), [])
        if node.op.name not in LINEARS or len(readers) != 1 or id(node) in roots:
            continue
        (reader,) = readers
        weight = _weight_of(node)
        is_packed = stored_of(weight) is not None or weight.op.name == "dequantize"
        if is_packed and id(reader) not in taken and _fits(node, reader):
            found[id(node)] = node
            taken.add(id(reader))
    return found


def _fits(linear: Tensor, reader: Tensor) -> bool:
    if reader.op.name in ACTIVATIONS:
        return True
    if reader.op.name == "gated":
        # The two halves must be whole panels of 16 rows.
        width = exact_divide(linear.shape[-1], 32)
        return width is not None
    # A sum of two products would need the other one first: the later reader takes one of them.
    return (
        reader.op.name == "add"
        and all(t.shape == reader.shape for t in reader.inputs)
        and reader.inputs[0] is not reader.inputs[1]
    )


def _weight_of(node: Tensor) -> Tensor:
    return node.inputs[1]


def linear(lower: Lowering, node: Tensor) -> Value:
    """Alone: nothing follows that could be taken along."""
    if node.op.name == "linear" and lower.packed(node.inputs[1]) is None:
        return _computed_linear(lower, node)
    inputs, form = _operands(lower, node)
    return lower.graph.made("linear", node.shape, node.dtype, [*inputs, None], NO_ACTIVATION, form)


def _operands(lower: Lowering, node: Tensor) -> tuple[list[Value | None], int]:
    """Input, weight and bias of either kind of linear, and how it sees its input."""
    x = lower.value(node.operands[0])
    x = x if x.is_rows else lower.graph.copy(x)
    if node.op.name in ("linear", "bf16_linear"):
        weight = lower.packed(node.inputs[1])
        assert weight is not None
        form = INPUT_F32 if node.op.name == "linear" else INPUT_BF16
        return [x, weight, lower.optional(node.operands[2])], form
    codes, scales, zeros = node.inputs[1:4]
    size = x.shape[-1]
    assert isinstance(size, int)
    weight = lower.weights.codes(Coded(codes, scales, zeros, node.attr("group"), size))
    return [x, weight, lower.optional(node.operands[4])], _form(node)


def _form(node: Tensor) -> int:
    """How a quantized product sees its input."""
    return INPUT_INT8 if node.attr("terms") == 1 else INPUT_INT8_TWICE


def _computed_linear(lower: Lowering, node: Tensor) -> Value:
    """A weight that is computed at run time: a plain product."""
    weight = permuted(lower.value(node.inputs[1]), (1, 0))
    x = lower.value(node.inputs[0])
    y = _product(lower, x, weight, (*x.shape[:-1], weight.shape[1]))
    bias = node.operands[2]
    if bias is None:
        return y
    return lower.graph.made("add", y.shape, y.dtype, [y, lower.value(bias)])


def activated(lower: Lowering, node: Tensor) -> Value:
    (x,) = node.inputs
    if id(x) not in lower.absorbed:
        if node.op.name in ("sigmoid", "tanh"):
            return elementwise(lower, node)
        return activation(lower, node)
    inputs, form = _operands(lower, x)
    word = ACTIVATIONS[node.op.name]
    return lower.graph.made("linear", node.shape, node.dtype, [*inputs, None], word, form)


def gated(lower: Lowering, node: Tensor) -> Value:
    (x,) = node.inputs
    word = ACTIVATIONS[node.attr("act")]
    if id(x) in lower.absorbed:
        inputs, form = _operands(lower, x)
        every = [inputs[0], inputs[1], None, inputs[2], None]
        return lower.graph.made("gated_linear", node.shape, node.dtype, every, word, form)
    both = lower.value(x)
    both = both if both.is_rows else lower.graph.copy(both)
    axis, width = node.type.rank - 1, node.shape[-1]
    halves = [sliced(both, axis, start, width) for start in (0, width)]
    return lower.graph.made("gated_activate", node.shape, node.dtype, halves, word)


def add(lower: Lowering, node: Tensor) -> Value:
    for product, other in (node.inputs, node.inputs[::-1]):
        if id(product) in lower.absorbed:
            inputs, form = _operands(lower, product)
            residual = lower.value(other)
            residual = residual if residual.is_rows else lower.graph.copy(residual)
            every = [*inputs, residual]
            return lower.graph.made("linear", node.shape, node.dtype, every, NO_ACTIVATION, form)
    return elementwise(lower, node)


def table(lower: Lowering, node: Tensor) -> Value:
    """gather; rows of a matrix that linears use too are taken from its packed form."""
    weight, ids = node.inputs
    is_table = weight.type.rank == 2 and node.attr("axis") in (0, -2)
    if is_table and (weight.op.name == "dequantize" or id(weight) in lower.tied):
        packed = lower.packed(weight)
        if packed is not None:
            return lower.graph.made("embedding", node.shape, node.dtype, [packed, lower.dense(ids)])
    return gather(lower, node)


def tied(program: Program) -> frozenset[int]:
    """The matrices that linears multiply with, as they are stored."""
    linears = [node for node in program.nodes() if node.op.name in ("linear", "bf16_linear")]
    weights = [_weight_of(node) for node in linears]
    return frozenset(id(stored_of(weight) or weight) for weight in weights)


def quantized_gather(lower: Lowering, node: Tensor) -> Value:
    codes, scales, zeros, ids = node.inputs
    packed = lower.weights.codes(Coded(codes, scales, zeros, node.attr("group"), node.attr("size")))
    return lower.graph.made("embedding", node.shape, node.dtype, [packed, lower.dense(ids)])


def cast(lower: Lowering, node: Tensor) -> Value:
    """A stored weight that is widened stays packed; others are converted."""
    packed = lower.packed(node) if node.type.rank in (2, 3) else None
    return shape.cast(lower, node) if packed is None else packed


def bf16_gather(lower: Lowering, node: Tensor) -> Value:
    """A row of a packed matrix lies apart, so only tables that linears use too are packed."""
    weight, ids = node.inputs
    if id(weight) in lower.tied:
        packed = lower.packed(weight)
        return lower.graph.made("embedding", node.shape, node.dtype, [packed, lower.dense(ids)])
    inputs = [lower.value(weight), lower.dense(ids)]
    rows = lower.graph.made("gather", node.shape, weight.dtype, inputs, 0)
    return lower.graph.made("cast", node.shape, node.dtype, [rows])


def dequantize(lower: Lowering, node: Tensor) -> Value:
    """Readers that know packed weights take them; for others `Lowering.value` unpacks."""
    packed = lower.packed(node)
    assert packed is not None
    return packed


def grouped_linear(lower: Lowering, node: Tensor) -> Value:
    x = lower.dense(node.inputs[0])
    if node.op.name in ("grouped_linear", "bf16_grouped_linear"):
        weight = lower.packed(node.inputs[1])
        ids, bias = node.operands[2], node.operands[3]
        form = INPUT_F32 if node.op.name == "grouped_linear" else INPUT_BF16
    else:
        codes, scales, zeros, ids = node.inputs[1:5]
        size = x.shape[-1]
        assert isinstance(size, int)
        weight = lower.weights.codes(Coded(codes, scales, zeros, node.attr("group"), size))
        bias, form = node.operands[5], _form(node)
    assert weight is not None and ids is not None
    inputs = [x, weight, lower.dense(ids), lower.optional(bias)]
    return lower.graph.made("grouped_linear", node.shape, node.dtype, inputs, NO_ACTIVATION, form)


def matmul(lower: Lowering, node: Tensor) -> Value:
    a, b = (lower.value(operand) for operand in node.inputs)
    return _product(lower, a, b, node.shape)


def _product(lower: Lowering, a: Value, b: Value, shape: tuple[object, ...]) -> Value:
    a = a if a.has_dense_rows else lower.graph.copy(a)
    turned = permuted(b, (*range(b.rank - 2), b.rank - 1, b.rank - 2))
    b = b if b.has_dense_rows or turned.has_dense_rows else lower.graph.copy(b)
    return lower.graph.made("matmul", shape, a.dtype, [a, b])  # type: ignore[arg-type]


def conv(lower: Lowering, node: Tensor) -> Value:
    stride, dilation = node.attr("stride"), node.attr("dilation")
    padding = node.attr("padding")
    if len(stride) == 1:  # one dimension: height 1
        stride, dilation, padding = (1, *stride), (1, *dilation), (0, 0, *padding)
    words = (*stride, *dilation, *padding, node.attr("groups"))
    x, weight = (lower.dense(operand) for operand in node.inputs[:2])
    inputs = [x, weight, lower.optional(node.operands[2])]
    return lower.graph.made("conv", node.shape, node.dtype, inputs, *words)


def selective_scan(lower: Lowering, node: Tensor) -> tuple[Value, ...]:
    outputs = [lower.graph.new(t.shape, t.dtype) for t in node.result.items]  # type: ignore[union-attr]
    lower.graph.emit("selective_scan", outputs, [lower.dense(t) for t in node.inputs])
    return tuple(outputs)


def recurrence(lower: Lowering, node: Tensor) -> Value:
    inputs = [lower.dense(t) for t in node.inputs]
    is_max = int(node.attr("kind") == "max")
    return lower.graph.made("recurrence", node.shape, node.dtype, inputs, is_max)


def linear_attention(lower: Lowering, node: Tensor) -> tuple[Value, ...]:
    outputs = [lower.graph.new(t.shape, t.dtype) for t in node.result.items]  # type: ignore[union-attr]
    lower.graph.emit("linear_attention", outputs, [lower.optional(t) for t in node.operands])
    return tuple(outputs)


ROWS: dict[str, Row] = {
    "linear": linear,
    "bf16_linear": linear,
    "quantized_linear": linear,
    **dict.fromkeys(ACTIVATIONS, activated),
    "gated": gated,
    "add": add,
    "cast": cast,
    "gather": table,
    "bf16_gather": bf16_gather,
    "quantized_gather": quantized_gather,
    "dequantize": dequantize,
    "grouped_linear": grouped_linear,
    "bf16_grouped_linear": grouped_linear,
    "quantized_grouped_linear": grouped_linear,
    "matmul": matmul,
    "conv": conv,
    "selective_scan": selective_scan,
    "recurrence": recurrence,
    "linear_attention": linear_attention,
}
