"""Rebuilding graphs: the one walk that every rewriting pass uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from smelt.ir.program import Program, toposort
from smelt.ir.tensor import Tensor, beside, make
from smelt.ir.types import TupleType

#: Gets a node whose operands are already rewritten; gives its replacement, or None to keep it.
#: A node with several results is replaced by a tuple.
Rule = Callable[[Tensor], "Tensor | tuple[Tensor, ...] | None"]


def rewrite(roots: tuple[Tensor, ...], rule: Rule) -> tuple[Tensor, ...]:
    """The roots with the rule applied to every node once, operands first."""
    new: dict[int, Tensor | tuple[Tensor, ...]] = {}
    for node in toposort(roots):
        whole = new[id(node.inputs[0])] if node.op.name == "item" else None
        if isinstance(whole, tuple):
            new[id(node)] = whole[node.attr("index")]
            continue
        operands = tuple(None if t is None else _single(new[id(t)]) for t in node.operands)
        rebuilt = rebuild(node, operands)
        with beside(node):
            replacement = rule(rebuilt)
        new[id(node)] = rebuilt if replacement is None else replacement
    return tuple(_single(new[id(root)]) for root in roots)


def rebuild(node: Tensor, operands: tuple[Tensor | None, ...]) -> Tensor:
    """The same op and attributes on other operands; the type follows theirs."""
    if all(a is b for a, b in zip(node.operands, operands, strict=True)):
        return node
    with beside(node):
        same_types = all(
            (a.result if a else None) == (b.result if b else None)
            for a, b in zip(node.operands, operands, strict=True)
        )
        if same_types:
            return make(node.op, operands, node.attrs, node.result)
        return node.op.node(operands, dict(node.attrs))


def _single(value: Tensor | tuple[Tensor, ...]) -> Tensor:
    # Only `item` looks inside a tuple; anything else that holds the node holds it whole.
    if isinstance(value, tuple):
        raise TypeError("a node with several results is used without item")
    return value


def rewrite_program(program: Program, rule: Rule) -> Program:
    """The program with the rule applied to every function; shared graphs stay shared."""
    roots = tuple(root for f in program.functions.values() for root in f.roots)
    changed = rewrite(roots, rule)
    functions = {}
    start = 0
    for name, function in program.functions.items():
        count = len(function.roots)
        functions[name] = function.with_roots(changed[start : start + count])
        start += count
    return replace(program, functions=functions)


def has_several_results(node: Tensor) -> bool:
    return isinstance(node.result, TupleType)
