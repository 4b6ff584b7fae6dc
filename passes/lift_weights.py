"""Turn everything that depends on parameters alone into a derived weight, computed once at emission.

Transposed linears, packed q/k/v, `weight + 1` of a norm and quantized codes all become leaves; their
expressions move to ``Program.weights``.
"""

from __future__ import annotations

from dataclasses import replace

from smelt.ir import ops
from smelt.ir.program import Program, toposort
from smelt.ir.rewrite import rewrite
from smelt.ir.tensor import Tensor
from smelt.ir.types import TupleType

_LEAVES = frozenset({"param", "const", "weight"})


def lift_weights(program: Program) -> Program:
    """The program whose graphs compute nothing from parameters that could be computed beforehand."""
    roots = [root for f in program.functions.values() for root in f.roots]
    fixed = _fixed(roots)
    borders = _borders(roots, fixed)
    if not borders:
        return program
    weights = dict(program.weights)
    leaves: dict[int, Tensor] = {}
    for node in borders:
        expression = _inline(node, program)
        name = _name(expression, weights)
        weights[name] = expression
        leaves[id(node)] = ops.weight(name=name, type=node.type)
    functions = {}
    for name, function in program.functions.items():
        changed = _replace(function.roots, leaves)
        functions[name] = function.with_roots(changed)
    live = {n.attr("name") for f in functions.values() for n in f.nodes() if n.op.name == "weight"}
    kept = {name: w for name, w in weights.items() if name in live}
    return replace(program, functions=functions, weights=kept)


def _fixed(roots: list[Tensor]) -> dict[int, bool]:
    """For each node: does it depend on parameters and numbers alone, and on some parameter?"""
    alone: dict[int, bool] = {}
    has_param: dict[int, bool] = {}
    for node in toposort(roots):
        is_leaf = node.op.name in _LEAVES
        alone[id(node)] = is_leaf or (bool(node.inputs) and all(alone[id(t)] for t in node.inputs))
        has_param[id(node)] = node.op.name in ("param", "weight") or any(
            has_param[id(t)] for t in node.inputs
        )
    return {key: alone[key] and has_param[key] for key in alone}


def _borders(roots: list[Tensor], fixed: dict[int, bool]) -> list[Tensor]:
    """Fixed nodes that something else needs, leaves and whole tuples aside."""
    found: dict[int, Tensor] = {}
    for node in toposort(roots):
        if not fixed[id(node)]:
            found |= {id(t): t for t in node.inputs if fixed[id(t)] and t.op.name not in _LEAVES}
    found |= {id(t): t for t in roots if fixed[id(t)] and t.op.name not in _LEAVES}
    return [t for t in found.values() if not isinstance(t.result, TupleType)]


def _inline(node: Tensor, program: Program) -> Tensor:
    """The expression with weights that were derived earlier written out."""

    def rule(t: Tensor) -> Tensor | None:
        return program.weights[t.attr("name")] if t.op.name == "weight" else None

    return rewrite((node,), rule)[0]


def _replace(roots: tuple[Tensor, ...], leaves: dict[int, Tensor]) -> tuple[Tensor, ...]:
    originals = {id(t): t for t in toposort(roots)}

    def rule(node: Tensor) -> Tensor | None:
        return leaves.get(id(node)) if id(node) in originals else None

    # A fixed node's operands are untouched by the rewriting below it, so identity still finds it.
    return rewrite(roots, rule)


def _name(expression: Tensor, taken: dict[str, Tensor]) -> str:
    """A name a reader recognizes: the first parameter inside, and what became of it."""
    first = next(n for n in toposort([expression]) if n.op.name == "param")
    what = expression.op.name
    if what == "item":
        what = ("codes", "scales", "zeros")[expression.attr("index")]
    base = f"{first.attr('name')}.{what}"
    name, count = base, 1
    while name in taken and taken[name] is not expression:
        count += 1
        name = f"{base}.{count}"
    return name
