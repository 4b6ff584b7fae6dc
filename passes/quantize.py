"""Store weights as integer codes with a scale for each group of input columns, or as bf16.

A weight is whatever expression over parameters a ``linear``, ``grouped_linear`` or ``gather``
reads: transposed, packed or plain. The codes are one expression too, so a tied table has one set of
them. Nothing is skipped silently: what stays float is noted with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from smelt.errors import SmeltError
from smelt.ir import ops
from smelt.ir.program import Program, toposort
from smelt.ir.rewrite import rewrite_program
from smelt.ir.tensor import Tensor, beside
from smelt.ir.types import DType
from smelt.passes.fixed import fixed_nodes
from smelt.passes.match import Result, one
from smelt.passes.options import GROUPS, ROLES, Quant, Scheme
from smelt.passes.receipt import fired, note, pattern
from smelt.passes.roles import heads_of, routers_of

#: Kernels work on 16 rows at a time; a head of a few labels is not worth it, and is precious. A
#: table of few rows (segments, relative positions) likewise.
MIN_ROWS = {"linear": 16, "grouped_linear": 16, "gather": 64}
#: Fewer columns than this do not fill two groups of the smallest size.
MIN_COLUMNS = 32

#: Where the weight is among the operands of each op that reads one.
_WEIGHT = {"linear": 1, "grouped_linear": 1, "gather": 0}


@dataclass(frozen=True)
class Quantize:
    """Quantize every large weight by a recipe; ``terms``: int8 terms of inputs at run time, and
    with any of them inputs of bf16 weights are rounded to bf16."""

    quant: Quant
    terms: int = 0

    def __call__(self, program: Program) -> Program:
        roots = [root for f in program.functions.values() for root in f.roots]
        plan = _Plan(program, self.quant, fixed_nodes(roots))
        with pattern("quantize"):
            return rewrite_program(program, lambda node: self._rule(node, plan))

    def _rule(self, node: Tensor, plan: _Plan) -> Result:
        at = _WEIGHT.get(node.op.name)
        weight = node.operands[at] if at is not None else None
        scheme = plan.schemes.get(id(weight))
        if weight is None or scheme is None:
            return None
        fired(node)
        if scheme.is_bf16:
            return self._rounded(node, weight)
        size = weight.shape[-1]
        codes, scales, zeros, group = quantized(weight, scheme)
        if node.op.name == "gather":
            rows = ops.quantized_gather(
                codes, scales, zeros, node.operands[1], group=group, size=size
            )
            return _as(rows, node.dtype)
        if not self.terms:
            values = ops.dequantize(codes, scales, zeros, group=group, size=size)
            restored = _as(values, weight.dtype)
            return one(node.op(node.operands[0], restored, *node.operands[2:]))
        packed = (node.operands[0], codes, scales, zeros, *node.operands[2:])
        if node.op.name == "linear":
            return one(ops.quantized_linear(*packed, group=group, terms=self.terms))
        return one(ops.quantized_grouped_linear(*packed, group=group, terms=self.terms))

    def _rounded(self, node: Tensor, weight: Tensor) -> Tensor:
        """The node with its weight as bf16."""
        with beside(weight):
            stored = one(ops.cast(weight, dtype=DType.BF16))
        if node.op.name == "gather":
            return _as(one(ops.bf16_gather(stored, node.operands[1])), node.dtype)
        if not self.terms:
            restored = _as(stored, weight.dtype)
            return one(node.op(node.operands[0], restored, *node.operands[2:]))
        product = ops.bf16_linear if node.op.name == "linear" else ops.bf16_grouped_linear
        return one(product(node.operands[0], stored, *node.operands[2:]))


def quantized(weight: Tensor, scheme: Scheme) -> tuple[Tensor, Tensor, Tensor, int]:
    """Codes, scales and zeros of a weight, and the group that its width allows.

    Zeros are a single constant with a symmetric scheme. Columns are padded with zeros where no
    group fits.
    """
    width = weight.shape[-1]
    assert isinstance(width, int)
    group, extra = choose_group(width, scheme.group)
    with beside(weight):
        padded = ops.pad(weight, axis=-1, before=0, after=extra) if extra else weight
        codes, scales, zeros = ops.quantize_weight(
            padded, bits=scheme.bits, group=group, symmetric=scheme.symmetric
        )
        if scheme.symmetric:
            zeros = ops.const(value=8 if scheme.bits == 4 else 0, dtype=codes.dtype)
    return codes, scales, zeros, group


def choose_group(width: int, wanted: int) -> tuple[int, int]:
    """The largest group up to the wanted one that divides the width, and the columns to add:
    without such a group the width is padded to a multiple of the wanted one.
    """
    for group in GROUPS:
        if group <= wanted and width % group == 0:
            return group, 0
    return wanted, -width % wanted


class _Plan:
    """Which weight gets which scheme, decided over the whole program; notes what stays float."""

    def __init__(self, program: Program, quant: Quant, fixed: dict[int, bool]) -> None:
        self.schemes: dict[int, Scheme] = {}
        heads, routers = heads_of(program), routers_of(program)
        readers: dict[int, tuple[Tensor, list[Tensor]]] = {}
        blocked: set[int] = set()
        vectors: dict[int, Tensor] = {}
        for node in program.nodes():
            for i, operand in enumerate(node.operands):
                if operand is None or fixed[id(node)] or not fixed[id(operand)]:
                    continue
                if operand.type.rank < 2 or _is_bias(node, i):
                    vectors[id(operand)] = operand
                elif _is_weight(node, i):
                    readers.setdefault(id(operand), (operand, []))[1].append(node)
                else:
                    blocked.add(id(operand))
                    note(f"{_name(operand)} {operand.type} stays float: {node.op.name} reads it")
        for weight, nodes in readers.values():
            if id(weight) not in blocked:
                self._decide(weight, nodes, _roles(nodes, heads), routers, quant)
        if vectors:
            note(f"{len(vectors)} vectors (norms, biases) stay float")

    def _decide(
        self,
        weight: Tensor,
        nodes: list[Tensor],
        roles: tuple[str, ...],
        routers: set[int],
        quant: Quant,
    ) -> None:
        names = tuple(n.attr("name") for n in toposort([weight]) if n.op.name == "param")
        named = {key: chosen for key, chosen in quant.tensors if key in roles}
        if len(set(named.values())) > 1:
            raise SmeltError(
                f"{_name(weight)} is embedding and lm_head in one and cannot be both "
                + " and ".join(f"{k}={s or 'none'}" for k, s in named.items()),
                hint="give embedding and lm_head the same type",
            )
        scheme, decided = quant.choose(names, roles)
        explicit = decided not in ("recipe", *(f"{role} default" for role in roles))
        text = f"{_name(weight)} {weight.type}"
        reason = None
        if scheme is None:
            reason = decided
        elif weight.shape[-1] < MIN_COLUMNS:  # type: ignore[operator]
            reason = f"it has fewer than {MIN_COLUMNS} columns"
        elif weight.shape[-2] < (rows := min(MIN_ROWS[n.op.name] for n in nodes)):  # type: ignore[operator]
            reason = f"it has fewer than {rows} rows"
        elif not explicit and any(id(n) in routers for n in nodes):
            reason = "it chooses experts"
        if scheme is None or reason is not None:
            note(f"{text} stays float: {reason}")
            return
        if scheme.bits != quant.scheme.bits:
            note(f"{text}: {scheme.kind} ({decided})")
        self.schemes[id(weight)] = scheme
        if scheme.is_bf16:
            return
        width = weight.shape[-1]
        assert isinstance(width, int)
        group, extra = choose_group(width, scheme.group)
        if extra:
            reason = f"no group up to {scheme.group} divides {width}"
            note(f"{text}: {reason}, {extra} columns of zeros added")
        elif group != scheme.group:
            note(f"{text}: group {group}, since {scheme.group} does not divide {width}")


def _is_weight(node: Tensor, operand: int) -> bool:
    """Is this operand a matrix that has a quantized form?"""
    if _WEIGHT.get(node.op.name) != operand:
        return False
    table = node.op.name == "gather"
    return not table or (node.attr("axis") == 0 and node.inputs[0].type.rank == 2)


def _is_bias(node: Tensor, operand: int) -> bool:
    return node.op.name == "grouped_linear" and operand == 3


def _roles(nodes: list[Tensor], heads: set[int]) -> tuple[str, ...]:
    is_table = any(n.op.name == "gather" for n in nodes)
    is_head = any(id(n) in heads for n in nodes)
    return tuple(r for r, is_one in zip(ROLES, (is_table, is_head), strict=True) if is_one)


def _as(x: Tensor, dtype: DType) -> Tensor:
    return x if x.dtype is dtype else one(ops.cast(x, dtype=dtype))


def _name(weight: Tensor) -> str:
    names = [n.attr("name") for n in toposort([weight]) if n.op.name == "param"]
    return names[0] if len(names) == 1 else f"{names[0]} (and {len(names) - 1} more)"
