"""Attention by bf16 products: where it is put, and what it computes."""

from __future__ import annotations

import pytest

from smelt.ir import ops
from smelt.ir.dims import symbol
from smelt.ir.types import DType, Type
from smelt.passes.options import Options, parse_quant
from smelt.passes.pipeline import apply, run
from smelt.passes.plan_kv import PlanKv
from smelt.passes.round_attention import round_attention
from tests.passes.programs import assert_same, graph, ops_in, results, root, tiny

KEEP = ("attention", "bf16_attention", "quantized_linear", "bf16_linear")


@pytest.mark.parametrize(
    ("quant", "kv", "rounds", "cache"),
    [
        ("int8,activations=int8", None, True, DType.BF16),
        ("bf16", None, True, DType.BF16),
        ("int4,activations=int8", DType.BF16, True, DType.BF16),
        ("int4,activations=int8", DType.F16, False, DType.F16),
        ("bf16,activations=none", None, False, DType.F32),
        ("int8", None, False, DType.F32),
        ("int8,activations=none", DType.BF16, False, DType.BF16),
    ],
)
def test_edge_rounds_where_linears_do(
    quant: str, kv: DType | None, rounds: bool, cache: DType
) -> None:
    program, _ = run(tiny(), "edge", Options(parse_quant(quant), kv), keep=KEEP)
    assert ("bf16_attention" in ops_in(program)) is rounds
    assert ("attention" in ops_in(program)) is not rounds
    assert {slot.dtype for slot in program.slots.values()} == {cache}


@pytest.mark.parametrize("target", ["onnx-ort", "torch"])
def test_other_targets_keep_floats(target: str) -> None:
    quant = parse_quant("int8,activations=int8")
    program, _ = run(tiny(), target, Options(quant), keep=KEEP)
    assert "bf16_attention" not in ops_in(program)
    assert {slot.dtype for slot in program.slots.values()} == {DType.F32}


def test_a_cache_that_is_not_bf16_says_why() -> None:
    program, receipt = apply("round_attention", round_attention, tiny())
    assert "bf16_attention" not in ops_in(program)
    assert "not bf16" in receipt.explain()


def test_keys_of_the_same_call_are_rounded() -> None:
    q, k = (
        ops.input(name=name, type=Type((symbol("batch"), heads, symbol("seq"), 8), DType.F32))
        for name, heads in (("q", 4), ("k", 2))
    )
    program, _ = apply("round_attention", round_attention, graph(ops.attention(q, k, k, scale=0.3)))
    assert root(program).op.name == "bf16_attention"


def test_it_moves_results_by_steps_of_bf16() -> None:
    cached, _ = apply("plan_kv", PlanKv(DType.BF16), tiny())
    rounded, _ = apply("round_attention", round_attention, cached)
    before, after = results(cached), results(rounded)
    assert any((before[name] != after[name]).any() for name in before)
    assert_same(after, before, tolerance=2.0**-6)
