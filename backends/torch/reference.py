"""The reference: the unoptimized graph, every composite by its meaning, in fp32 on the CPU."""

from __future__ import annotations

from typing import Any

from smelt.backends.torch.module import build_module
from smelt.ir.materialize import Weights
from smelt.ir.program import Program
from smelt.ir.rewrite import rewrite_program
from smelt.ir.tensor import Tensor


def reference_module(program: Program, weights: Weights, *, is_resident: bool = True) -> Any:
    """An ``nn.Module`` of the program in which nothing is fused; see ``build_module``."""
    while any(node.op.is_composite for node in program.nodes()):
        program = rewrite_program(program, _expand)
    return build_module(program, weights, use_fused=False, is_resident=is_resident)


def _expand(node: Tensor) -> Any:
    return node.op.expand(node) if node.op.is_composite else None
