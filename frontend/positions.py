"""Contexts longer than a learned table of positions are refused before anything is compiled."""

from __future__ import annotations

from smelt.errors import UnsupportedError
from smelt.ir.program import Program
from smelt.ir.tensor import Tensor

#: What may lie between counting tokens and looking a position up.
COUNTING = frozenset({"add", "sub", "mul", "cast", "reshape", "expand", "slice", "concat"})


def refuse_longer(program: Program, context: int, longest: int) -> None:
    """UnsupportedError when a context is over what config.json names, and a table ends before it.

    Rotary and relative positions have no end, so a context of any length is the user's choice.
    """
    if context <= longest:
        return
    for node in program.nodes():
        if node.op.name != "gather" or node.attr("axis") != 0:
            continue
        table, indices = node.operands
        assert table is not None and indices is not None
        rows = table.shape[0]
        is_short = table.op.name == "param" and isinstance(rows, int) and rows < context
        if is_short and _counts(indices):
            raise UnsupportedError(
                f"a context of {context} tokens is longer than the model's {longest}: "
                f"`{table.attr('name')}` has {rows} positions",
                place=node.source,
                hint=f"choose --context {longest} or less",
            )


def _counts(indices: Tensor) -> bool:
    """Whether indices are token positions, counted in the graph or given by the caller."""
    seen = [indices]
    for node in seen:
        is_given = node.op.name == "input" and node.attr("name") == "position_ids"
        if is_given or node.op.name in ("arange", "cumsum"):
            return True
        if node.op.name in COUNTING:
            seen += [t for t in node.inputs if t not in seen]
    return False
