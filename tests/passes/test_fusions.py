"""Joins: where they fire, why they nearly do, and that values stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from smelt.ir import ops
from smelt.ir.dims import symbol
from smelt.ir.program import Program
from smelt.ir.tensor import Tensor, source
from smelt.ir.types import DType, Type
from smelt.passes.fuse_bias_activation import FuseActivation, FuseBias
from smelt.passes.fuse_norm_residual import FuseNormResidual
from smelt.passes.options import parse_quant
from smelt.passes.pack_linears import FuseGated, PackLinears
from smelt.passes.pipeline import apply
from smelt.passes.receipt import Receipt
from tests.passes.programs import assert_same, graph, ops_in, reference, results, root, tiny

NORMS = frozenset({"add_rms_norm", "add_layer_norm"})


@pytest.mark.parametrize(
    ("model", "step", "fires", "op"),
    [
        ("llama", PackLinears(), 4, "concat"),
        ("llama", FuseGated(), 2, "gated"),
        ("llama", FuseNormResidual(NORMS), 4, "add_rms_norm"),
        ("mixtral", PackLinears(), 4, "concat"),
        ("mixtral", FuseGated(), 2, "gated"),
        ("gpt2", FuseNormResidual(NORMS), 5, "add_layer_norm"),
        ("gpt2", FuseActivation(), 2, "linear_activation"),
    ],
)
def test_fires_and_keeps_values(
    model: str, step: Callable[[Program], Program], fires: int, op: str
) -> None:
    program, receipt = apply("step", step, tiny(model))
    assert sum(map(len, receipt.fired.values())) == fires
    assert op in ops_in(program)
    assert_same(results(program), reference(model))


def test_packed_names_the_module() -> None:
    program, _ = apply("pack", PackLinears(), tiny())
    packed = [
        n for n in program.nodes() if n.op.name == "linear" and n.inputs[1].op.name == "concat"
    ]
    assert {n.source for n in packed} == {
        f"model.layers.{i}.{part}" for i in (0, 1) for part in ("self_attn", "mlp")
    }


def test_gate_comes_first() -> None:
    program, _ = apply("gated", FuseGated(), tiny())
    gated = next(n for n in program.nodes() if n.op.name == "gated")
    joined = gated.inputs[0].operands[1]
    assert joined is not None
    assert [p.attr("name").split(".")[-2] for p in joined.inputs] == ["gate_proj", "up_proj"]


def _x(*shape: Any) -> Tensor:
    return ops.input(name="x", type=Type(shape, DType.F32))  # type: ignore[no-any-return]


def _w(name: str, *shape: int) -> Tensor:
    return ops.param(name=name, type=Type(shape, DType.F32))  # type: ignore[no-any-return]


def _run(step: Callable[[Program], Program], *roots: Tensor) -> tuple[Program, Receipt]:
    return apply("step", step, graph(*roots))


def test_gated_halves_of_one_linear() -> None:
    x = ops.linear(_x(3, 8), _w("w", 12, 8))
    gate, up = (ops.slice(x, axis=-1, start=s, stop=s + 6) for s in (0, 6))
    program, _ = _run(FuseGated(), ops.silu(gate) * up)
    assert root(program).op.name == "gated"
    assert root(program).inputs[0] is x
    program, _ = _run(FuseGated(), ops.silu(up) * gate)
    assert root(program).op.name == "mul"


def test_bias_moves_into_linear() -> None:
    x, w, b = _x(symbol("batch"), 8), _w("w", 6, 8), _w("b", 6)
    program, _ = _run(FuseBias(), b + ops.linear(x, w))
    assert root(program) is ops.linear(x, w, b)


@pytest.mark.parametrize(
    ("step", "make", "reason"),
    [
        (FuseBias(), lambda y: y + _w("row", 3, 6), "not one number for each output channel"),
        (FuseBias(), lambda y: (y + _w("b", 6)) * y, "used elsewhere"),
        (FuseActivation(), lambda y: ops.silu(y) + y, "used elsewhere"),
        (FuseNormResidual(NORMS), lambda y: ops.rms_norm(y + _w("b", 6), eps=1e-5), "broadcasts"),
        (
            FuseNormResidual(NORMS),
            lambda y: ops.rms_norm(y + y, eps=1e-5) + ops.rms_norm(y + y, eps=1e-6),
            "has a norm already",
        ),
    ],
)
def test_near_misses_say_why(
    step: Callable[[Program], Program], make: Callable[[Tensor], Tensor], reason: str
) -> None:
    _, receipt = _run(step, make(ops.linear(_x(3, 8), _w("w", 6, 8))))
    assert any(reason in miss.reason for miss in receipt.misses), receipt.misses


def test_biased_linear_keeps_second_bias() -> None:
    y = ops.linear(_x(3, 8), _w("w", 6, 8), _w("b", 6)) + _w("c", 6)
    program, receipt = _run(FuseBias(), y)
    assert root(program) is y
    assert [m.reason for m in receipt.misses] == ["the linear has a bias"]


def test_packing_respects_the_recipe() -> None:
    quant = parse_quant("int4,*.v_proj.*=int8")
    _, receipt = apply("pack", PackLinears(quant), tiny())
    assert any("stores their weights differently" in miss.reason for miss in receipt.misses)


def test_packing_leaves_routers_alone() -> None:
    x = _x(3, 8)
    with source("mlp.gate"):
        _, chosen = ops.topk(ops.softmax(ops.linear(x, _w("gate", 4, 8))), k=2)
    with source("mlp.shared"):
        y = ops.linear(x, _w("shared", 6, 8))
    program, receipt = _run(PackLinears(), y, chosen)
    assert root(program) is y
    assert [m.reason for m in receipt.misses] == ["one of them chooses experts and stays apart"]


def test_packing_fills_missing_biases() -> None:
    x = _x(3, 8)
    with source("attn.q"):
        q = ops.linear(x, _w("q", 5, 8), _w("b", 5))
    with source("attn.k"):
        k = ops.linear(x, _w("k", 3, 8))
    program, _ = _run(PackLinears(), q, k)
    bias = root(program).inputs[0].operands[2]
    assert bias is not None
    assert bias.shape == (8,)
    assert [t.op.name for t in bias.inputs] == ["param", "const"]
