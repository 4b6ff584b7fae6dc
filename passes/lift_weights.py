"""Turn everything that depends on parameters alone into a derived weight, computed once at
emission.

Transposed linears, packed q/k/v, `weight + 1` of a norm and quantized codes all become leaves;
their expressions move to ``Program.weights``.
"""

from __future__ import annotations

from dataclasses import replace

from smelt.ir import ops
from smelt.ir.program import Program, toposort
from smelt.ir.rewrite import rewrite
from smelt.ir.tensor import Tensor
from smelt.ir.types import TupleType
from smelt.passes.fixed import CODE_NAMES, LEAVES, fixed_nodes
from smelt.passes.match import Result, roots_of, substitute
from smelt.passes.receipt import fired, pattern


def lift_weights(program: Program) -> Program:
    """The program whose graphs compute nothing from parameters that emission can compute."""
    roots = roots_of(program)
    fixed = fixed_nodes(roots)
    borders = _borders(roots, fixed)
    if not borders:
        return program
    weights = dict(program.weights)
    leaves: dict[Tensor, Tensor] = {}
    for node in borders:
        expression = _inline(node, program)
        name = _name(expression, weights)
        weights[name] = expression
        with pattern("lift"):
            fired(node)
        leaves[node] = ops.weight(name=name, type=node.type)
    changed = substitute(program, leaves)
    functions = changed.functions
    live = {n.attr("name") for f in functions.values() for n in f.nodes() if n.op.name == "weight"}
    kept = {name: w for name, w in weights.items() if name in live}
    return replace(program, functions=functions, weights=kept)


def _borders(roots: list[Tensor], fixed: dict[int, bool]) -> list[Tensor]:
    """Fixed nodes that something else needs, leaves and whole tuples aside."""
    found: dict[int, Tensor] = {}
    for node in toposort(roots):
        if not fixed[id(node)]:
            found |= {id(t): t for t in node.inputs if fixed[id(t)] and t.op.name not in LEAVES}
    found |= {id(t): t for t in roots if fixed[id(t)] and t.op.name not in LEAVES}
    return [t for t in found.values() if not isinstance(t.result, TupleType)]


def _inline(node: Tensor, program: Program) -> Tensor:
    """The expression in primitives, with weights that were derived earlier written out."""

    def rule(t: Tensor) -> Result:
        if t.op.name == "weight":
            return program.weights[t.attr("name")]
        return t.op.expand(t) if t.op.is_composite else None

    while True:
        changed = rewrite((node,), rule)[0]
        if changed is node:
            return node
        node = changed


def _name(expression: Tensor, taken: dict[str, Tensor]) -> str:
    """A name a reader recognizes: the first parameter inside, and what became of it."""
    first = next(n for n in toposort([expression]) if n.op.name == "param")
    what = expression.op.name
    if what == "item":
        what = CODE_NAMES[expression.attr("index")]
    base = first.attr("name")
    name, count = f"{base}.{what}", 1
    while name in taken and taken[name] is not expression:
        count += 1
        name = f"{base}.{count}.{what}"
    return name
