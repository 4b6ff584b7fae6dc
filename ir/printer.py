"""Programs as text, which `smelt.ir.parser` reads back exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from smelt.ir.dims import Dim
from smelt.ir.program import Function, Program, toposort
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, Type


def print_program(program: Program) -> str:
    """The whole program; one line for each symbol, slot and node."""
    lines = [f"program {program.model_type} {program.task}"]
    lines += [f"symbol {name} {b.low}..{b.high}" for name, b in program.symbols.items()]
    for slot in program.slots.values():
        window = "" if slot.window is None else f" window={slot.window}"
        lines.append(
            f'slot "{slot.name}" {slot.kind} axis={slot.axis}{window} layout={slot.layout}'
            f" as={slot.dtype.value} : {slot.type}"
        )
    for name, expression in program.weights.items():
        lines += ["", f'weight "{name}" {{', *_body([expression], ("yield",)), "}"]
    for function in program.functions.values():
        lines += ["", *_function(function)]
    return "\n".join(lines) + "\n"


def _function(function: Function) -> Iterator[str]:
    inputs = ", ".join(f"{t.attr('name')}: {t.type}" for t in function.inputs)
    yield f"func {function.name}({inputs}) {{"
    labels = [f"return {name}" for name, _ in function.outputs]
    labels += [f'write "{slot}"' for slot, _ in function.writes]
    yield from _body(list(function.roots), tuple(labels))
    yield "}"


def _body(roots: list[Tensor], labels: tuple[str, ...]) -> Iterator[str]:
    numbers: dict[int, str] = {}
    for node in toposort(roots):
        numbers[id(node)] = f"%{len(numbers)}"
        yield "  " + print_node(node, numbers)
    for label, root in zip(labels, roots, strict=True):
        yield f"  {label} = {numbers[id(root)]}"


def print_node(node: Tensor, numbers: dict[int, str]) -> str:
    """One node, its operands named by ``numbers`` (by node id)."""
    operands = ", ".join("_" if t is None else numbers[id(t)] for t in node.operands)
    attrs = ", ".join(f"{name}={print_attribute(value)}" for name, value in node.attrs)
    text = f"{numbers[id(node)]} = {node.op.name}({operands})"
    text += f" {{{attrs}}}" if attrs else ""
    text += f" : {node.result}"
    return text + (f"  @ {node.source}" if node.source else "")


def print_attribute(value: Any) -> str:
    """An attribute value in Python's literal syntax, with sizes, dtypes and types written `<…>`."""
    if isinstance(value, tuple):
        inner = ", ".join(map(print_attribute, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, Dim):
        return f"<size {value}>"
    if isinstance(value, DType):
        return f"<dtype {value.value}>"
    if isinstance(value, Type):
        return f"<type {value}>"
    return repr(value)
