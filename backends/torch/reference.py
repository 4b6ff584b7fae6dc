"""The reference: the unoptimized graph, every composite by its meaning, in fp32 on the CPU."""

from __future__ import annotations

from typing import Any

from smelt.backends.torch.module import build_module
from smelt.backends.torch.rows import COARSE
from smelt.ir import ops
from smelt.ir.materialize import Weights, fixed_shape
from smelt.ir.program import Program
from smelt.ir.rewrite import rewrite_program
from smelt.ir.tensor import Tensor

#: Codes that a quantized product dequantizes at a time, so that a vocabulary's stay small.
CODES_AT_ONCE = 1 << 20


def reference_module(program: Program, weights: Weights, *, is_resident: bool = True) -> Any:
    """An ``nn.Module`` of the program in which nothing is fused but what rounds coarsely, so that
    who listens to it can tell; see ``build_module``.
    """
    program = rewrite_program(program, _split)
    while any(_is_expanded(node) for node in program.nodes()):
        program = rewrite_program(program, _expand)
    return build_module(program, weights, use_fused=False, is_resident=is_resident)


def _is_expanded(node: Tensor) -> bool:
    return node.op.is_composite and node.op.name not in COARSE


def _expand(node: Tensor) -> Any:
    return node.op.expand(node) if _is_expanded(node) else None


def _split(node: Tensor) -> Tensor | None:
    """A product with many quantized rows as several with some; each output stays the same sum."""
    if node.op.name != "quantized_linear":
        return None
    x, codes, scales, zeros, bias = node.operands
    assert x is not None and codes is not None and scales is not None and zeros is not None
    rows, columns = fixed_shape(codes)
    step = max(CODES_AT_ONCE // columns, 1)
    if rows <= step:
        return None

    def part(t: Tensor, start: int) -> Tensor:
        if not t.type.rank:
            return t  # one zero for all
        found: Tensor = ops.slice(t, axis=0, start=start, stop=min(start + step, rows))
        return found

    parts = [
        ops.quantized_linear(
            x,
            part(codes, start),
            part(scales, start),
            part(zeros, start),
            part(bias, start) if bias is not None else None,
            **dict(node.attrs),
        )
        for start in range(0, rows, step)
    ]
    joined: Tensor = ops.concat(*parts, axis=-1)
    return joined
