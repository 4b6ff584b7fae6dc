"""Attention by bf16 products, for programs whose linears see rounded inputs anyway."""

from __future__ import annotations

from smelt.ir import ops
from smelt.ir.program import Program
from smelt.ir.tensor import Tensor, beside
from smelt.ir.types import DType
from smelt.passes.match import one, substitute
from smelt.passes.receipt import fired, pattern, why


def round_attention(program: Program) -> Program:
    """``attention`` → ``bf16_attention`` where a cache holds keys and values as bf16, or where they
    are made in the same call: neither is then rounded again whenever it is read."""
    new: dict[Tensor, Tensor] = {}
    from_state: set[Tensor] = set()

    def is_rounded_once(node: Tensor) -> bool:
        if node.op.name == "cache":
            return program.slots[node.attr("slot")].dtype is DType.BF16
        return node not in from_state

    with pattern("round_attention"):
        for node in program.nodes():
            if "slot" in dict(node.attrs) or not from_state.isdisjoint(node.inputs):
                from_state.add(node)
            if node.op.name != "attention" or node.dtype is not DType.F32:
                continue
            _, k, v, *_ = node.inputs
            if not (is_rounded_once(k) and is_rounded_once(v)):
                why(node, "keys or values come out of state that is not bf16")
                continue
            with beside(node):
                new[node] = one(ops.bf16_attention(*node.operands, **dict(node.attrs)))
            fired(node)
    return substitute(program, new)
