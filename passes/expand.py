"""Replace composites that a target has no row for by their meaning."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from smelt.ir.program import Program
from smelt.ir.rewrite import rewrite_program
from smelt.ir.tensor import Tensor


@dataclass(frozen=True)
class Expand:
    """Expand every composite whose name is not kept, and those inside the expansions."""

    keep: Collection[str] = ()

    def __call__(self, program: Program) -> Program:
        while any(self._is_left(node) for node in program.nodes()):
            program = rewrite_program(program, self._rule)
        return program

    def _rule(self, node: Tensor) -> Tensor | tuple[Tensor, ...] | None:
        return node.op.expand(node) if self._is_left(node) else None

    def _is_left(self, node: Tensor) -> bool:
        return node.op.is_composite and node.op.name not in self.keep
