"""Costs of nodes and functions, against counts made by hand."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from smelt.errors import SmeltError
from smelt.ir import ops
from smelt.ir.cost import Cost, function_cost, node_cost, total
from smelt.ir.dims import evaluate, symbol
from smelt.ir.op import OPS
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, Type
from smelt.passes.options import Options, parse_quant
from smelt.passes.pipeline import run
from tests.passes.programs import graph, tiny


def _x(*shape: Any, dtype: DType = DType.F32) -> Tensor:
    return ops.input(name="x", type=Type(shape, dtype))  # type: ignore[no-any-return]


def _ids(*shape: Any) -> Tensor:
    return ops.input(name="ids", type=Type(shape, DType.I64))  # type: ignore[no-any-return]


def _w(*shape: int) -> Tensor:
    return ops.param(name="w", type=Type(shape, DType.F32))  # type: ignore[no-any-return]


CASES: dict[str, tuple[Tensor, Cost]] = {
    "linear": (ops.linear(_x(3, 8), _w(5, 8)), Cost(2 * 3 * 5 * 8, 4 * (24 + 40), 4 * 15)),
    "add": (_x(3, 8) + _x(8), Cost(24, 4 * 32, 4 * 24)),
    "a number": (_x(3, 8) * 2.0, Cost(24, 4 * 24, 4 * 24)),
    "reshape": (ops.reshape(_x(3, 8), shape=(24,)), Cost()),
    "permute": (ops.permute(_x(3, 8), axes=(1, 0)), Cost(0, 96, 96)),
    "sum": (ops.sum(_x(3, 8)), Cost(24, 96, 12)),
    "gather": (ops.gather(_w(100, 8), _ids(3)), Cost(0, 3 * 32 + 24, 96)),
    "gather of all": (ops.gather(_w(2, 8), _ids(3)), Cost(0, 2 * 32 + 24, 96)),
    "relu": (ops.relu(_x(3, 8)), Cost(24, 96, 96)),
    "silu": (ops.silu(_x(3, 8)), Cost(48, 96, 96)),
    "experts": (
        ops.grouped_linear(_x(3, 1, 8), _w(7, 5, 8), _ids(3, 2)),
        Cost(2 * 30 * 8, 96 + 6 * 160 + 48, 120),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_counts(name: str) -> None:
    node, wanted = CASES[name]
    assert node_cost(graph(node), node, {}) == wanted


def test_symbols_need_values() -> None:
    node = _x(symbol("batch"), 8) * 2.0
    assert node_cost(graph(node), node, {"batch": 3}).flops == 24
    with pytest.raises(SmeltError, match="needs a value for batch"):
        node_cost(graph(node), node, {})


def test_decode_reads_each_weight_once() -> None:
    sizes = {"batch": 1, "seq": 1, "past": 15}
    program, _ = run(tiny(), "torch")
    cost = total(function_cost(program, "main", sizes).values())
    parameters = sum(evaluate(p.type.size, {}) for p in program.parameters().values())
    linears = parameters - 5 * 40
    attention = 2 * (2 * 4 * 10 * 16) * 2
    assert cost.flops >= 2 * linears + attention
    assert cost.flops < 2.2 * (2 * linears + attention)
    assert cost.read > 4 * parameters
    rows = {n.op.name: c for n, c in function_cost(program, "main", sizes).items()}
    assert rows["cache"].written == 2 * 10 * 4


def test_codes_of_four_bits_are_half_a_byte() -> None:
    keep = {"quantized_linear", "quantized_gather"}
    read = {}
    for recipe in ("int8", "int4"):
        program, _ = run(tiny(hidden_size=64), "edge", Options(parse_quant(recipe)), keep=keep)
        costs = function_cost(program, "main", {"batch": 1, "seq": 1, "past": 0})
        node = next(n for n in costs if n.op.name == "quantized_linear")
        read[recipe] = costs[node].read
    assert read["int8"] - read["int4"] == 80 * 64 // 2


@pytest.mark.parametrize("name", sorted(n for n, op in OPS.items() if op.flops))
def test_every_own_count_takes_the_attributes(name: str) -> None:
    """A cost rule gets all operands and attributes; one that cannot take them breaks here."""
    op = OPS[name]
    assert op.flops is not None
    attrs = dict.fromkeys(op.attr_names)
    inspect.signature(op.flops).bind(None, *[None for _ in op.operand_names], **attrs)
