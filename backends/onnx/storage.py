"""State in another element type than the model's: casts before storing it and after reading."""

from __future__ import annotations

from dataclasses import replace

from smelt.ir import ops
from smelt.ir.program import Function, Program, Slot
from smelt.ir.rewrite import rewrite_program
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, Type


def spell_out_storage(program: Program) -> Program:
    """The program in which every slot is stored in the type that the graph gives it."""
    slots = {name: _stored(slot) for name, slot in program.slots.items()}
    if slots == program.slots:
        return program

    def rule(node: Tensor) -> Tensor | None:
        if node.op.name not in ("cache", "read"):
            return None
        kind = slots[node.attr("slot")].dtype
        if kind is node.dtype:
            return None
        if node.op.name == "read":
            kept = ops.read(slot=node.attr("slot"), type=Type(node.shape, kind))
        else:
            kept = ops.cache(ops.cast(node.inputs[0], dtype=kind), **dict(node.attrs))
        back: Tensor = ops.cast(kept, dtype=node.dtype)
        return back

    changed = rewrite_program(program, rule)
    functions = {name: _writes(f, slots) for name, f in changed.functions.items()}
    return replace(changed, functions=functions, slots=slots)


def _stored(slot: Slot) -> Slot:
    # An int8 slot keeps its rounded values (`round_to_int8` is in the graph) in the model's type.
    dtype = slot.type.dtype if slot.dtype is DType.I8 else slot.dtype
    return replace(slot, type=Type(slot.type.shape, dtype), dtype=dtype)


def _writes(function: Function, slots: dict[str, Slot]) -> Function:
    written = tuple((name, _as(value, slots[name].dtype)) for name, value in function.writes)
    return replace(function, writes=written)


def _as(x: Tensor, dtype: DType) -> Tensor:
    return x if x.dtype is dtype else ops.cast(x, dtype=dtype)
