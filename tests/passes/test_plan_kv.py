"""State planning: layouts, types, bytes, and int8 rounding that every target can repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from smelt.errors import SmeltError, UnsupportedError
from smelt.ir import ops
from smelt.ir.dims import symbol
from smelt.ir.program import Program, Slot
from smelt.ir.types import DType, Type
from smelt.passes.options import parse_kv
from smelt.passes.pipeline import apply
from smelt.passes.plan_kv import PlanKv, capacity, kv_report, slot_bytes
from tests.passes.programs import assert_same, graph, reference, results, tiny


def _windowed() -> Program:
    return tiny("mixtral", sliding_window=8)


def test_full_without_a_window() -> None:
    program, _ = apply("plan_kv", PlanKv(), tiny())
    assert {(s.layout, s.dtype) for s in program.slots.values()} == {("full", DType.F32)}


@pytest.mark.parametrize(("context", "layout"), [(None, "ring"), (9, "ring"), (8, "full")])
def test_ring_where_the_window_is_shorter(context: int | None, layout: str) -> None:
    program, receipt = apply("plan_kv", PlanKv(context=context), _windowed())
    assert {s.layout for s in program.slots.values()} == {layout}
    assert receipt.notes == (f"append {layout} f32, window 8: f32[batch, 2, past, 10]",)


@pytest.mark.parametrize("name", ["f32", "f16", "bf16", "int8"])
def test_values_stay_within_the_rounding(name: str) -> None:
    program, _ = apply("plan_kv", PlanKv(parse_kv(name)), tiny())
    assert {s.dtype for s in program.slots.values()} == {parse_kv(name)}
    tolerance = {"f32": 0.0, "f16": 2e-3, "bf16": 2e-2, "int8": 3e-2}[name]
    found, wanted = results(program), reference()
    assert_same(found, wanted, tolerance)
    assert name == "f32" or any((found[k] != wanted[k]).any() for k in wanted)


def test_int8_rows_are_codes_of_one_scale() -> None:
    program, receipt = apply("plan_kv", PlanKv(DType.I8), tiny())
    assert len(receipt.fired["round_to_int8"]) == 4
    keys = results(program)["model.layers.0.self_attn.key"]
    scale = np.abs(keys).max(-1, keepdims=True) / 127
    codes = keys / scale
    assert np.abs(codes - np.rint(codes)).max() < 1e-4
    again, receipt = apply("plan_kv", PlanKv(DType.I8), program)
    assert not receipt.fired
    assert again.functions["main"].roots == program.functions["main"].roots


def test_int8_refuses_a_cache_along_its_rows() -> None:
    x = ops.input(name="x", type=Type((1, 2, 3, symbol("seq")), DType.F32))
    slot = Slot("s", "append", Type((1, 2, 3, symbol("past")), DType.F32), axis=3)
    program = replace(graph(ops.cache(x, slot="s", axis=3)), slots={"s": slot})
    with pytest.raises(UnsupportedError, match="slot `s` grows along the axis"):
        PlanKv(DType.I8)(program)


def test_bytes() -> None:
    slot = Slot("s", "append", Type((symbol("batch"), 2, symbol("past"), 10), DType.F32))
    assert slot_bytes(slot, 100) == 2 * 100 * 10 * 4
    assert slot_bytes(slot, 100, batch=3) == 3 * 2 * 100 * 10 * 4
    assert slot_bytes(replace(slot, dtype=DType.F16), 100) == 2 * 100 * 10 * 2
    assert slot_bytes(replace(slot, dtype=DType.I8), 100) == 2 * 100 * (10 + 4)
    ring = replace(slot, window=16, layout="ring")
    assert capacity(ring, 100) == 16
    assert capacity(ring, 100, chunk=8) == 23
    assert capacity(ring, 12, chunk=8) == 12
    assert slot_bytes(ring, 100, chunk=8) == 2 * 23 * 10 * 4


def test_bytes_need_every_symbol() -> None:
    cross = Slot("s", "replace", Type((symbol("batch"), 2, symbol("source"), 10), DType.F32))
    with pytest.raises(SmeltError, match="size of slot `s` depends on source"):
        slot_bytes(cross, 100)
    assert slot_bytes(cross, 100, source=7) == 2 * 7 * 10 * 4


def test_report_sums_layers() -> None:
    program = PlanKv(DType.F16)(tiny())
    report = kv_report(program, context=64, batch=2)
    assert len(report.rows) == 1
    assert len(report.rows[0].slots) == 4
    assert report.bytes_per_token == 4 * 2 * 2 * 10 * 2
    assert report.bytes == 64 * report.bytes_per_token
    assert "4 × append full f16 f32[batch, 2, past, 10], 64 entries" in str(report)
