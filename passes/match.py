"""Rewrite rules as tables, and the two ways to apply them.

A rule gets a node and gives its replacement, or None; it says ``return why(node, "...")`` where
only a precondition is missing. ``Rules`` sees operands already rewritten and repeats until nothing
changes: for local simplification. ``substitute`` replaces nodes found in the graph as it was, which
is what a pattern needs that looks at users.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from smelt.errors import SmeltError
from smelt.ir.program import Function, Program, toposort
from smelt.ir.rewrite import rebuild, rewrite
from smelt.ir.tensor import Tensor
from smelt.passes.receipt import fired, pattern

Result: TypeAlias = "Tensor | tuple[Tensor, ...] | None"
Rule: TypeAlias = Callable[[Tensor], Result]

#: Sweeps before a table of rules is declared to run in circles.
MAX_SWEEPS = 32


class Rules:
    """Rules by the op of the node that they replace; ``a + b`` is both tables."""

    def __init__(self, table: Mapping[str, tuple[Rule, ...]] | None = None) -> None:
        self.table: dict[str, tuple[Rule, ...]] = dict(table or {})

    def on(self, *names: str) -> Callable[[Rule], Rule]:
        """Add the decorated rule for nodes of these ops."""

        def add(rule: Rule) -> Rule:
            for name in names:
                self.table[name] = (*self.table.get(name, ()), rule)
            return rule

        return add

    def __add__(self, other: Rules) -> Rules:
        names = self.table.keys() | other.table.keys()
        return Rules({n: self.table.get(n, ()) + other.table.get(n, ()) for n in names})

    def __call__(self, program: Program) -> Program:
        """The program with the rules applied until none fires."""
        roots = [function.roots for function in program.functions.values()]
        flat = self.simplify(tuple(root for part in roots for root in part))
        functions = {}
        start = 0
        for name, function in program.functions.items():
            count = len(function.roots)
            functions[name] = function.with_roots(flat[start : start + count])
            start += count
        same = all(functions[n].roots == f.roots for n, f in program.functions.items())
        return program if same else replace(program, functions=functions)

    def simplify(self, roots: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Tensors with the rules applied until none fires."""
        settled: set[Tensor] = set()  # no rule wants them: a node never changes, nor does a rule
        for _ in range(MAX_SWEEPS):
            changed = rewrite(roots, lambda node: self._first(node, settled))
            if changed == roots:
                return roots
            roots = changed
        raise SmeltError(f"rules still change the graph after {MAX_SWEEPS} sweeps")

    def _first(self, node: Tensor, settled: set[Tensor]) -> Result:
        if node in settled:
            return None
        for rule in self.table.get(node.op.name, ()):
            with pattern(rule.__name__.strip("_")):
                result = rule(node)
                if result is not None and result is not node:
                    fired(node)
                    return result
        settled.add(node)
        return None


def users(program: Program) -> dict[int, list[Tensor]]:
    """The nodes that use each node, by its id; a function's output counts as a use by the output
    itself.
    """
    found: dict[int, list[Tensor]] = {}
    for node in program.nodes():
        for operand in node.inputs:
            found.setdefault(id(operand), []).append(node)
    for root in roots_of(program):
        found.setdefault(id(root), []).append(root)
    return found


def roots_of(program: Program) -> list[Tensor]:
    """Every root of every function."""
    return [root for function in program.functions.values() for root in function.roots]


def substitute(program: Program, new: Mapping[Tensor, Tensor]) -> Program:
    """The program with nodes replaced; replacements may use nodes that are replaced themselves.

    All replacements are stated over the graph as it was. None may contain the node that it
    replaces.
    """
    by_id = {id(old): replacement for old, replacement in new.items()}
    done: dict[int, Tensor] = {}

    def resolve(roots: Iterable[Tensor]) -> tuple[Tensor, ...]:
        roots = tuple(roots)
        # An explicit stack: depth grows with layers, and a replacement is walked like the original.
        stack = [(root, False) for root in reversed(roots)]
        while stack:
            node, ready = stack.pop()
            if id(node) in done:
                continue
            target = by_id.get(id(node))
            needs = node.inputs if target is None else (target,)
            if ready:
                if target is None:
                    operands = tuple(None if t is None else done[id(t)] for t in node.operands)
                    done[id(node)] = rebuild(node, operands)
                else:
                    done[id(node)] = done[id(target)]
                continue
            stack.append((node, True))
            stack.extend((t, False) for t in reversed(needs))
        return tuple(done[id(root)] for root in roots)

    functions: dict[str, Function] = {}
    for name, function in program.functions.items():
        functions[name] = function.with_roots(resolve(function.roots))
    return replace(program, functions=functions)


def one(result: Any) -> Tensor:
    """What an op gives, when it has one result."""
    assert isinstance(result, Tensor)
    return result


def count_nodes(program: Program) -> int:
    """Nodes of all functions, each once."""
    return len(program.nodes())


def count_ops(program: Program) -> Counter[str]:
    """How often each op occurs."""
    return Counter(node.op.name for node in program.nodes())


def depends_on(root: Tensor, node: Tensor) -> bool:
    """Does computing ``root`` need ``node``?"""
    return any(found is node for found in toposort([root]))
