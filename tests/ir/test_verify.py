"""The verifier refuses every kind of broken program, and says where."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from smelt.errors import SmeltError
from smelt.ir import ops
from smelt.ir.dims import symbol
from smelt.ir.program import Function, Program, Slot
from smelt.ir.tensor import Tensor, make, source
from smelt.ir.types import DType, Type
from smelt.ir.verify import verify
from tests.passes.programs import graph, tiny

X = ops.input(name="x", type=Type((2, symbol("seq"), 4), DType.F32))
CACHE = Type((2, symbol("past"), 4), DType.F32)
STATE = Type((2, 4), DType.F32)


def _mistyped() -> Program:
    node = ops.exp(X)
    with source("layers.3"):
        return graph(make(node.op, node.operands, node.attrs, Type((9,), DType.F32)))


def _program(root: Tensor, **changes: Any) -> Program:
    return replace(graph(root), **changes)


def _cached(**changes: Any) -> Program:
    slot = replace(Slot("s", "append", CACHE, axis=1), **changes)
    return _program(ops.cache(X, slot="s", axis=1), slots={"s": slot})


def _written(value: Tensor, slot: Slot) -> Program:
    function = Function("main", (X,), (("y", X),), (("s", value),))
    return Program("m", "t", {"main": function}, {slot.name: slot}, {})


def _weighted(expression: Tensor, kind: Type = STATE) -> Program:
    leaf = ops.weight(name="w", type=kind)
    return _program(leaf + 1.0, weights={"w": expression})


PARAM = ops.param(name="p", type=STATE)
READ = ops.read(slot="s", type=STATE)

BROKEN: dict[str, tuple[Program, str]] = {
    "wrong type": (_mistyped(), "exp is typed f32[9], its rule gives f32[2, seq, 4]"),
    "undeclared input": (
        Program("m", "t", {"main": Function("main", (), (("y", X),))}, {}, {}),
        "input `x` is not declared by main",
    ),
    "no slot to append to": (_program(ops.cache(X, slot="s", axis=1)), "slot `s` does not exist"),
    "no slot to read": (_program(READ), "slot `s` does not exist"),
    "no slot to write": (
        _written(ops.exp(X), Slot("other", "replace", STATE)),
        "main writes slot `s`, which does not exist",
    ),
    "appends to a replaced slot": (_cached(kind="replace"), "slot `s` is replace"),
    "appends along another axis": (_cached(axis=2), "slot `s` grows along axis 2"),
    "appends another type": (
        _cached(type=Type((2, symbol("past"), 5), DType.F32)),
        "slot `s` holds f32[2, past, 5]",
    ),
    "writes another type": (
        _written(ops.exp(X), Slot("s", "replace", STATE)),
        "main writes f32[2, seq, 4] to slot `s`, which holds f32[2, 4]",
    ),
    "reads another type": (
        _program(READ, slots={"s": Slot("s", "replace", CACHE)}),
        "slot `s` holds f32[2, past, 4]",
    ),
    "no derived weight": (
        _program(ops.weight(name="w", type=STATE) + 1.0),
        "derived weight `w` does not exist",
    ),
    "derived weight of another type": (
        _weighted(ops.permute(PARAM, axes=(1, 0))),
        "derived weight `w` is f32[4, 2], the graph says f32[2, 4]",
    ),
    "derived weight from state": (_weighted(READ * PARAM), "a derived weight depends on read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_refused(name: str) -> None:
    program, message = BROKEN[name]
    with pytest.raises(SmeltError) as caught:
        verify(program, after="step")
    assert message in caught.value.message
    assert caught.value.message.startswith("after step: ")
    with pytest.raises(SmeltError, match=r"^(?!after)"):
        verify(program)


def test_says_where() -> None:
    with pytest.raises(SmeltError) as caught:
        verify(_mistyped())
    assert caught.value.place == "layers.3"


@pytest.mark.parametrize("model", ["llama", "gpt2", "mixtral"])
def test_models_pass(model: str) -> None:
    verify(tiny(model))
    verify(_cached())
    verify(_weighted(PARAM * 2.0))
