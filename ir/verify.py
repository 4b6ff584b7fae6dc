"""Is this program well formed? The driver asks after every pass."""

from __future__ import annotations

from smelt.errors import SmeltError
from smelt.ir.dims import symbol
from smelt.ir.program import Program, toposort
from smelt.ir.tensor import Tensor
from smelt.ir.types import Type


def verify(program: Program, *, after: str = "", typed: set[Tensor] | None = None) -> None:
    """Refuse a program whose types, inputs, slots or weights do not hold together.

    typed: nodes whose types were found right before; it gains this program's. A node never
    changes, so it is asked once however many passes keep it.
    """
    typed = set() if typed is None else typed
    try:
        for function in program.functions.values():
            inputs = set(function.inputs)
            for node in function.nodes():
                if node not in typed:
                    _check_type(node)
                    typed.add(node)
                _check_place(program, node)
                if node.op.name == "input" and node not in inputs:
                    raise SmeltError(
                        f"input `{node.attr('name')}` is not declared by {function.name}"
                    )
            for slot, value in function.writes:
                _check_write(program, function.name, slot, value)
        for node in toposort(program.weights.values()):
            if node.op.name in ("input", "read", "cache", "weight"):
                raise SmeltError(f"a derived weight depends on {node.op.name}")
    except SmeltError as error:
        if not after:
            raise
        raise SmeltError(f"after {after}: {error.message}", place=error.place) from None


def _check_type(node: Tensor) -> None:
    inferred = node.op.infer(node.operands, dict(node.attrs))
    if inferred != node.result:
        raise SmeltError(
            f"{node.op.name} is typed {node.result}, its rule gives {inferred}", place=node.source
        )


def _check_place(program: Program, node: Tensor) -> None:
    """Does the program have the slot or the derived weight that the node names?"""
    if node.op.name in ("cache", "read"):
        _check_slot(program, node)
    if node.op.name == "weight":
        name = node.attr("name")
        expression = program.weights.get(name)
        if expression is None:
            raise SmeltError(f"derived weight `{name}` does not exist", place=node.source)
        if expression.type != node.type:
            raise SmeltError(
                f"derived weight `{name}` is {expression.type}, the graph says {node.type}",
                place=node.source,
            )


def _check_slot(program: Program, node: Tensor) -> None:
    """Does a slot hold what the node reads or appends?"""
    name = node.attr("slot")
    slot = program.slots.get(name)
    if slot is None:
        raise SmeltError(f"slot `{name}` does not exist", place=node.source)
    if node.op.name == "read":
        held = node.type
    else:
        (x,) = node.inputs
        axis = node.attr("axis") % x.type.rank
        if slot.kind != "append":
            raise SmeltError(f"slot `{name}` is {slot.kind}, cache appends", place=node.source)
        if slot.axis % x.type.rank != axis:
            raise SmeltError(
                f"slot `{name}` grows along axis {slot.axis}, cache appends along {axis}",
                place=node.source,
            )
        held = Type((*x.shape[:axis], symbol("past"), *x.shape[axis + 1 :]), x.dtype)
    if slot.type != held:
        raise SmeltError(f"slot `{name}` holds {slot.type}, wants {held}", place=node.source)


def _check_write(program: Program, function: str, name: str, value: Tensor) -> None:
    slot = program.slots.get(name)
    if slot is None:
        raise SmeltError(f"{function} writes slot `{name}`, which does not exist")
    if slot.type != value.type:
        raise SmeltError(
            f"{function} writes {value.type} to slot `{name}`, which holds {slot.type}",
            place=value.source,
        )
