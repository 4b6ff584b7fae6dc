"""Join linears that read the same input into one over joined weights: q/k/v, and gate with up.

One large product is faster than several small ones, and reads its input once. The joined weight is
an expression, so it is quantized, stored and lifted like any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from smelt.ir import ops
from smelt.ir.composites.activations import ACTIVATIONS
from smelt.ir.dims import exact_divide
from smelt.ir.program import Program, toposort
from smelt.ir.tensor import Tensor, beside
from smelt.passes.fixed import fixed_nodes
from smelt.passes.match import one, roots_of, substitute, users
from smelt.passes.options import Quant, Scheme
from smelt.passes.receipt import fired, pattern, why
from smelt.passes.roles import routers_of

#: Where a linear's weight and bias are, and the weight's axis of output channels.
_WEIGHT = 1
_BIAS = {"linear": 2, "grouped_linear": 3}
_ROWS = {"linear": 0, "grouped_linear": 1}


@dataclass(frozen=True)
class FuseGated:
    """act(linear(x)) · linear(x) → ``gated`` of one packed linear, gate first."""

    quant: Quant | None = None

    def __call__(self, program: Program) -> Program:
        new: dict[Tensor, Tensor] = {}
        packer = _Packer(program, self.quant)
        with pattern("fuse_gated"):
            for node in program.nodes():
                with beside(node):
                    replacement = self._match(node, packer) if node.op.name == "mul" else None
                if replacement is not None:
                    fired(node)
                    new[node] = replacement
        return substitute(program, new)

    def _match(self, node: Tensor, packer: _Packer) -> Tensor | None:
        for active, up in (node.inputs, node.inputs[::-1]):
            if active.op.name not in ACTIVATIONS or active.shape != up.shape:
                continue
            (gate,) = active.inputs
            if packed := _halves(gate, up):
                return one(ops.gated(packed, act=active.op.name))
            if gate.op.name in _BIAS and gate.op is up.op:
                if reason := packer.refuses((gate, up), alone=True):
                    return why(node, reason)
                return one(ops.gated(packer.pack((gate, up)), act=active.op.name))
        return None


def _halves(gate: Tensor, up: Tensor) -> Tensor | None:
    """The tensor whose first and second halves these are."""
    if gate.op.name != "slice" or up.op.name != "slice" or gate.inputs[0] is not up.inputs[0]:
        return None
    whole = gate.inputs[0]
    width = exact_divide(whole.shape[-1], 2)
    last = whole.type.rank - 1
    for part, start in ((gate, 0), (up, width)):
        is_last = part.attr("axis") % whole.type.rank == last
        if not is_last or part.attr("step") != 1 or part.attr("start") != start:
            return None
    return whole if gate.attr("stop") == width and up.attr("stop") == whole.shape[-1] else None


@dataclass(frozen=True)
class PackLinears:
    """Linears of one module over one input → slices of one linear."""

    quant: Quant | None = None

    def __call__(self, program: Program) -> Program:
        packer = _Packer(program, self.quant)
        new: dict[Tensor, Tensor] = {}
        with pattern("pack_linears"):
            for group in _siblings(program):
                if reason := packer.refuses(group):
                    why(group[0], reason)
                    continue
                fired(group[0])
                new |= _slices(packer.pack(group), group)
        return substitute(program, new)


def _siblings(program: Program) -> list[tuple[Tensor, ...]]:
    """Linears with the same op and input (and experts) whose places share a parent."""
    found: dict[tuple[object, ...], list[Tensor]] = {}
    for node in program.nodes():
        if node.op.name in _BIAS:
            parent = node.source.rpartition(".")[0]
            others = node.operands[2] if node.op.name == "grouped_linear" else None
            key = (node.op.name, id(node.operands[0]), id(others), parent)
            found.setdefault(key, []).append(node)
    return [tuple(group) for group in found.values() if len(group) > 1]


def _slices(packed: Tensor, group: tuple[Tensor, ...]) -> dict[Tensor, Tensor]:
    new = {}
    start = 0
    for node in group:
        width = node.shape[-1]
        assert isinstance(width, int)
        with beside(node):
            new[node] = one(ops.slice(packed, axis=-1, start=start, stop=start + width))
        start += width
    return new


class _Packer:
    """Packs linears of a program, where weights are known beforehand and stored alike."""

    def __init__(self, program: Program, quant: Quant | None) -> None:
        roots = roots_of(program)
        self._fixed = fixed_nodes(roots)
        self._routers = routers_of(program)
        self._users = users(program)
        self._quant = quant

    def refuses(self, group: tuple[Tensor, ...], alone: bool = False) -> str | None:
        """Why these linears cannot be one; ``alone`` asks that nothing else uses their results."""
        first = group[0]
        if any(node.operands[0] is not first.operands[0] for node in group):
            return "inputs differ"
        if first.op.name == "grouped_linear" and len({id(n.operands[2]) for n in group}) > 1:
            return "experts differ"
        if alone and any(len(self._users[id(node)]) > 1 for node in group):
            return "gate or up is used elsewhere"
        weights = [_weight(node) for node in group]
        if not all(self._fixed[id(weight)] for weight in weights):
            return "a weight is computed at run time"
        biases = [b for n in group if (b := _bias(n)) is not None]
        if not all(self._fixed[id(bias)] for bias in biases):
            return "a bias is computed at run time"
        if any(id(node) in self._routers for node in group):
            return "one of them chooses experts and stays apart"
        if len(set(map(id, weights))) < len(weights):
            return "a weight is used twice"
        if len(set(self._schemes(weights))) > 1:
            return "the recipe stores their weights differently"
        return None

    def _schemes(self, weights: Iterable[Tensor]) -> list[Scheme | None]:
        if self._quant is None:
            return []
        return [self._quant.choose(parameters(weight), ())[0] for weight in weights]

    def pack(self, group: tuple[Tensor, ...]) -> Tensor:
        """One linear whose output channels are those of the group, in order."""
        first = group[0]
        rows = _ROWS[first.op.name]
        with beside(first, first.source.rpartition(".")[0] or first.source):
            weight = ops.concat(*map(_weight, group), axis=rows)
            bias = None
            if any(_bias(node) is not None for node in group):
                bias = ops.concat(*map(_bias_or_zeros, group), axis=rows)
            if first.op.name == "linear":
                return one(ops.linear(first.operands[0], weight, bias))
            return one(ops.grouped_linear(first.operands[0], weight, first.operands[2], bias))


def parameters(weight: Tensor) -> tuple[str, ...]:
    """The names of the parameters that a weight is made of."""
    return tuple(n.attr("name") for n in toposort([weight]) if n.op.name == "param")


def _weight(node: Tensor) -> Tensor:
    weight = node.operands[_WEIGHT]
    assert weight is not None
    return weight


def _bias(node: Tensor) -> Tensor | None:
    return node.operands[_BIAS[node.op.name]]


def _bias_or_zeros(node: Tensor) -> Tensor:
    bias = _bias(node)
    if bias is not None:
        return bias
    shape = _weight(node).shape[: _ROWS[node.op.name] + 1]
    return one(ops.const(value=0.0, dtype=node.dtype, shape=shape))
