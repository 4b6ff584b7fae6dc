"""Move a bias that is added after a linear into it, and the activation that follows."""

from __future__ import annotations

from dataclasses import dataclass

from smelt.ir import ops
from smelt.ir.composites.activations import ACTIVATIONS
from smelt.ir.program import Program
from smelt.ir.tensor import Tensor
from smelt.passes.fixed import fixed_nodes
from smelt.passes.match import one, roots_of, substitute, users
from smelt.passes.receipt import fired, pattern, why


@dataclass(frozen=True)
class FuseBias:
    """linear(x, w) + b → linear(x, w, b), for a vector b of output channels."""

    def __call__(self, program: Program) -> Program:
        used, fixed = users(program), fixed_nodes(roots_of(program))
        new: dict[Tensor, Tensor] = {}
        with pattern("fuse_bias"):
            for node in program.nodes():
                found = self._match(node, used, fixed) if node.op.name == "add" else None
                if found is not None:
                    new[node] = found
                    fired(node)
        return substitute(program, new)

    def _match(
        self, node: Tensor, used: dict[int, list[Tensor]], fixed: dict[int, bool]
    ) -> Tensor | None:
        for product, bias in (node.inputs, node.inputs[::-1]):
            if product.op.name != "linear" or not fixed[id(bias)]:
                continue
            if product.operands[2] is not None:
                return why(node, "the linear has a bias")
            if bias.shape != product.shape[-1:]:
                return why(node, f"{bias.type} is not one number for each output channel")
            if len(used[id(product)]) > 1:
                return why(node, "the product without bias is used elsewhere")
            return one(ops.linear(product.operands[0], product.operands[1], bias))
        return None


@dataclass(frozen=True)
class FuseActivation:
    """act(linear(x, w, b)) → ``linear_activation``."""

    def __call__(self, program: Program) -> Program:
        used = users(program)
        new: dict[Tensor, Tensor] = {}
        with pattern("fuse_activation"):
            for node in program.nodes():
                if node.op.name not in ACTIVATIONS or node.inputs[0].op.name != "linear":
                    continue
                (product,) = node.inputs
                if len(used[id(product)]) > 1:
                    why(node, "the product without activation is used elsewhere")
                    continue
                new[node] = one(ops.linear_activation(*product.operands, act=node.op.name))
                fired(node)
        return substitute(program, new)
