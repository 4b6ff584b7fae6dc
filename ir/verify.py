"""Is this program well formed? The driver asks after every pass."""

from __future__ import annotations

from smelt.errors import SmeltError
from smelt.ir.program import Program, toposort
from smelt.ir.tensor import Tensor


def verify(program: Program, *, after: str = "") -> None:
    """Refuse a program whose types, inputs, slots or weights do not hold together."""
    try:
        for function in program.functions.values():
            inputs = set(function.inputs)
            for node in function.nodes():
                _check_node(program, node)
                if node.op.name == "input" and node not in inputs:
                    raise SmeltError(
                        f"input `{node.attr('name')}` is not declared by {function.name}"
                    )
            for slot, _ in function.writes:
                if slot not in program.slots:
                    raise SmeltError(f"{function.name} writes slot `{slot}`, which does not exist")
        for node in toposort(program.weights.values()):
            if node.op.name in ("input", "read", "cache", "weight"):
                raise SmeltError(f"a derived weight depends on {node.op.name}")
    except SmeltError as error:
        if not after:
            raise
        raise SmeltError(f"after {after}: {error.message}", place=error.place) from None


def _check_node(program: Program, node: Tensor) -> None:
    attrs = dict(node.attrs)
    if node.op.infer(node.operands, attrs) != node.result:
        raise SmeltError(
            f"{node.op.name} is typed {node.result}, its rule gives "
            f"{node.op.infer(node.operands, attrs)}",
            place=node.source,
        )
    if node.op.name in ("cache", "read") and attrs["slot"] not in program.slots:
        raise SmeltError(f"slot `{attrs['slot']}` does not exist", place=node.source)
    if node.op.name == "weight" and attrs["name"] not in program.weights:
        raise SmeltError(f"derived weight `{attrs['name']}` does not exist", place=node.source)
