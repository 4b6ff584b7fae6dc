"""Linears that play a special part: those that give the logits, and those that choose."""

from __future__ import annotations

from smelt.ir.program import Program
from smelt.ir.tensor import Tensor

#: What may stand between the last linear and the logits, or a router's linear and its choice.
_LIGHT = frozenset(
    (
        *("add", "sub", "mul", "div", "neg", "maximum", "minimum", "clamp", "softcap", "tanh"),
        *("exp", "log", "sigmoid", "softmax", "sum", "max", "topk", "item", "where"),
        *("cast", "reshape", "permute", "slice", "concat"),
    )
)


def heads_of(program: Program) -> set[int]:
    """Linears that give the logits, up to light work behind them."""
    return _before([t for f in program.functions.values() for n, t in f.outputs if n == "logits"])


def routers_of(program: Program) -> set[int]:
    """Linears whose result decides a choice."""
    return _before([n for n in program.nodes() if n.op.name in ("topk", "argmax")])


def _before(ends: list[Tensor]) -> set[int]:
    """The linears from which only light work leads to one of the ends."""
    found: set[int] = set()
    seen: set[int] = set()
    stack = [(end, True) for end in ends]
    while stack:
        node, is_end = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.op.name == "linear":
            found.add(id(node))
        elif is_end or node.op.name in _LIGHT:
            stack.extend((t, False) for t in node.inputs)
    return found
