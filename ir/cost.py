"""What a node costs: floating-point operations, and bytes read and written, for given sizes.

A count of the work that the meaning asks for, with each operand read once and each result written
once: what a roofline wants. An op says its own operations where they are not one for each element;
a composite that says nothing costs what its expansion costs, but moves only its operands and
results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from smelt.errors import SmeltError
from smelt.ir.dims import Size, evaluate
from smelt.ir.ops import OPS
from smelt.ir.program import Program, toposort
from smelt.ir.tensor import Tensor
from smelt.ir.types import TupleType, Type


@dataclass(frozen=True)
class Cost:
    """Operations, and bytes moved."""

    flops: int = 0
    read: int = 0
    written: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.read + other.read, self.written + other.written)

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return self.read + self.written


#: Leaves and views: they move nothing by themselves.
_FREE = frozenset(
    {"input", "param", "weight", "const", "item", "read", "reshape", "arange", "full", "expand"}
)
#: Ops that move elements and compute nothing.
_MOVES = frozenset(
    ("permute", "concat", "slice", "flip", "pad", "gather", "gather_elements", "cache", "cast")
)
#: Ops that work on every element of their input, not of their result.
_REDUCES = frozenset(("sum", "mean", "max", "min", "argmax", "topk"))
#: Tables of which only rows named by indices are read: the table operands, and the indices.
_TABLES = {
    "gather": ((0,), 1),
    "bf16_gather": ((0,), 1),
    "quantized_gather": ((0, 1, 2), 3),
    "grouped_linear": ((1, 3), 2),
    "bf16_grouped_linear": ((1, 3), 2),
    "quantized_grouped_linear": ((1, 2, 3, 5), 4),
}


def node_cost(program: Program, node: Tensor, sizes: Mapping[str, int]) -> Cost:
    """The cost of one node; ``sizes`` gives every symbol's value."""
    if node.op.name in _FREE:
        return Cost()
    try:
        return _cost(program, node, sizes)
    except KeyError as error:
        message = f"the cost of {node.op.name} needs a value for {error.args[0]}"
        raise SmeltError(message, place=node.source or None) from None


def _cost(program: Program, node: Tensor, sizes: Mapping[str, int]) -> Cost:
    flops = evaluate(_flops(node), sizes)
    read = sum(_read(program, node, i, sizes) for i in range(len(node.operands)))
    written = sum(_bytes(kind, sizes) for kind in _types(node))
    if node.op.name == "cache":
        # What is appended is written, in the slot's type; the rest lies where it is.
        (x,) = node.inputs
        slot = program.slots[node.attr("slot")]
        written = evaluate(x.type.size, sizes) * slot.dtype.bytes
    return Cost(flops, read, written)


def function_cost(program: Program, function: str, sizes: Mapping[str, int]) -> dict[Tensor, Cost]:
    """The cost of every node of a function."""
    return {n: node_cost(program, n, sizes) for n in program.functions[function].nodes()}


def total(costs: Iterable[Cost]) -> Cost:
    """The sum of costs."""
    return sum(costs, Cost())


def _flops(node: Tensor) -> Size:
    if node.op.flops is not None:
        return node.op.flops(_types(node)[0], *node.operands, **dict(node.attrs))
    if node.op.is_composite:
        return _expanded_flops(node)
    if node.op.name in _MOVES:
        return 0
    if node.op.name in _REDUCES:
        return node.inputs[0].type.size
    return _types(node)[0].size


def operations(name: str, result: Type, operands: Sequence[Type | None]) -> int:
    """The operations of an op by name on fixed sizes, where only types are known.

    An op without attributes, or with a count of its own; a name that is no op costs one operation
    for each element of its result.
    """
    op = OPS.get(name)
    if name in _FREE or name in _MOVES:
        return 0
    count = len(operands) if op is None or op.variadic else len(op.operand_names)
    kinds = [*operands, *[None] * count][:count]
    stand_ins = tuple(
        None if kind is None else OPS["input"](name=f"operand{i}", type=kind)
        for i, kind in enumerate(kinds)
    )
    if op is not None and op.flops is not None:
        return evaluate(op.flops(result, *stand_ins), {})
    if op is not None and op.is_composite:
        return evaluate(_expanded_flops(op.node(stand_ins, {})), {})
    first = operands[0] if operands else None
    return evaluate(first.size if name in _REDUCES and first else result.size, {})


def _expanded_flops(node: Tensor) -> Size:
    # Stand-ins for the operands: their own cost is not this node's.
    operands = tuple(
        None if t is None else OPS["input"](name=f"operand{i}", type=t.type)
        for i, t in enumerate(node.operands)
    )
    result = node.op.body(*operands, **dict(node.attrs))
    roots = result if isinstance(result, tuple) else (result,)
    count: Size = 0
    for inner in toposort(roots):
        if inner.op.name not in _FREE:
            count = count + _flops(inner)
    return count


def _read(program: Program, node: Tensor, index: int, sizes: Mapping[str, int]) -> int:
    operand = node.operands[index]
    if operand is None or operand.op.name in ("const", "full", "arange"):
        return 0
    whole = _operand_bytes(program, operand, sizes)
    tables, indices = _TABLES.get(node.op.name, ((), -1))
    if index not in tables:
        return whole
    named = node.operands[indices]
    assert named is not None
    rows = evaluate(operand.shape[0], sizes)
    # At most every index names another row.
    return whole * min(evaluate(named.type.size, sizes), rows) // max(rows, 1)


def _operand_bytes(program: Program, operand: Tensor, sizes: Mapping[str, int]) -> int:
    if isinstance(operand.result, TupleType):
        return sum(_bytes(kind, sizes) for kind in operand.result.items)
    if operand.op.name == "cache":
        slot = program.slots[operand.attr("slot")]
        return evaluate(operand.type.size, sizes) * slot.dtype.bytes
    return _bytes(operand.type, sizes) * code_bits(program, operand) // 8


def code_bits(program: Program, operand: Tensor) -> int:
    """Bits of each stored byte that count: 4 for codes of 4 bits, which are stored in pairs."""
    expression = operand
    if operand.op.name == "weight":
        expression = program.weights[operand.attr("name")]
    if expression.op.name != "item" or expression.attr("index") == 1:
        return 8
    source = expression.inputs[0]
    return int(source.attr("bits")) if source.op.name == "quantize_weight" else 8


def _types(node: Tensor) -> tuple[Type, ...]:
    return node.result.items if isinstance(node.result, TupleType) else (node.result,)


def _bytes(kind: Type, sizes: Mapping[str, int]) -> int:
    return evaluate(kind.size, sizes) * kind.dtype.bytes
