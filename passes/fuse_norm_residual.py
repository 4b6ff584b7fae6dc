"""Join the addition of a residual with the norm that follows it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from smelt.ir.op import OPS
from smelt.ir.program import Program
from smelt.ir.tensor import Tensor, beside
from smelt.passes.match import substitute
from smelt.passes.receipt import fired, pattern, why

#: The fused form of each norm.
FUSED = {"rms_norm": "add_rms_norm", "layer_norm": "add_layer_norm"}


@dataclass(frozen=True)
class FuseNormResidual:
    """norm(a + b) → ``add_…_norm``(a, b), which gives sum and norm; only forms in ``keep``."""

    keep: Collection[str]

    def __call__(self, program: Program) -> Program:
        new: dict[Tensor, Tensor] = {}
        with pattern("fuse_norm_residual"):
            for node in program.nodes():
                fused = FUSED.get(node.op.name)
                if fused is not None and fused in self.keep and self._matches(node, new):
                    total, *rest = node.operands
                    assert total is not None
                    with beside(node):
                        both = OPS[fused](*total.inputs, *rest, **dict(node.attrs))
                    new[total], new[node] = both
                    fired(node)
        return substitute(program, new)

    def _matches(self, node: Tensor, new: dict[Tensor, Tensor]) -> bool:
        total = node.operands[0]
        if total is None or total.op.name != "add":
            return False
        a, b = total.inputs
        if a.shape != b.shape:
            why(node, f"the sum broadcasts {a.type} and {b.type}")
            return False
        if total in new:
            why(node, "the sum has a norm already")
            return False
        return True
