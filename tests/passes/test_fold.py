"""Folding: each rule fires where it may, leaves alone what it must, and values stay."""

from __future__ import annotations

from typing import Any

import pytest

from smelt.ir import ops
from smelt.ir.dims import symbol
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, Type
from smelt.passes.expand import Expand
from smelt.passes.fold import fold
from smelt.passes.pipeline import apply
from tests.passes.programs import assert_same, graph, reference, results, root, tiny

BATCH = symbol("batch")


def _input(*shape: Any, dtype: DType = DType.F32) -> Tensor:
    return ops.input(name="x", type=Type(shape, dtype))  # type: ignore[no-any-return]


X = _input(BATCH, 4, 6)
HALF = _input(BATCH, 4, dtype=DType.F16)
FLAG = _input(BATCH, 4, dtype=DType.BOOL)
YES = ops.const(value=True, dtype=DType.BOOL)
WIDE = ops.const(value=1.0, dtype=DType.F32, shape=(3, 1, 1, 1))


def _cut(x: Tensor, start: Any, stop: Any, axis: int = 2) -> Tensor:
    return ops.slice(x, axis=axis, start=start, stop=stop)  # type: ignore[no-any-return]


BECOMES: dict[str, tuple[Tensor, Tensor]] = {
    "x + 0": (X + 0.0, X),
    "0 + x": (0.0 + X, X),
    "x * 1": (X * 1.0, X),
    "1 * x": (1.0 * X, X),
    "x - 0": (X - 0.0, X),
    "x / 1": (X / 1.0, X),
    "x ** 1": (X**1.0, X),
    "neg of neg": (ops.neg(ops.neg(X)), X),
    "numbers": (X * ops.sqrt(ops.const(value=4.0, dtype=DType.F32)), X * 2.0),
    "vector": (
        X * (ops.const(value=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0), dtype=DType.F32, shape=(6,)) + 1.0),
        X * ops.const(value=(2.0, 3.0, 4.0, 5.0, 6.0, 7.0), dtype=DType.F32, shape=(6,)),
    ),
    "and true": (ops.logical_and(FLAG, YES), FLAG),
    "where true": (ops.where(YES, X, -X), X),
    "cast to own": (ops.cast(X, dtype=DType.F32), X),
    "cast there and back": (ops.cast(ops.cast(HALF, dtype=DType.F32), dtype=DType.F16), HALF),
    "reshape to own": (ops.reshape(X, shape=(BATCH, 4, 6)), X),
    "reshape twice": (
        ops.reshape(ops.reshape(X, shape=(BATCH, 24)), shape=(BATCH, 6, 4)),
        ops.reshape(X, shape=(BATCH, 6, 4)),
    ),
    "permute back": (ops.permute(ops.permute(X, axes=(0, 2, 1)), axes=(0, 2, 1)), X),
    "permute of one": (
        ops.permute(ops.reshape(X, shape=(BATCH, 1, 4, 6)), axes=(0, 2, 1, 3)),
        ops.reshape(X, shape=(BATCH, 4, 1, 6)),
    ),
    "expand to own": (ops.expand(X, shape=(BATCH, 4, 6)), X),
    "axis from the end": (_cut(X, 0, 2, axis=-1), _cut(X, 0, 2)),
    "slice of all": (_cut(X, 0, 6), X),
    "slice of slice": (_cut(_cut(X, 1, 5), 1, 3), _cut(X, 2, 4)),
    "symbolic slice of all": (_cut(X, 0, BATCH, axis=0), X),
    "slice of a part": (_cut(ops.concat(X, -X, axis=2), 6, 12), -X),
    "slice inside a part": (_cut(ops.concat(X, -X, axis=2), 7, 9), _cut(-X, 1, 3)),
    "join of neighbours": (ops.concat(_cut(X, 0, 2), _cut(X, 2, 5), axis=2), _cut(X, 0, 5)),
    "join of all": (ops.concat(_cut(X, 0, 2), _cut(X, 2, 6), axis=2), X),
    "join of joins": (
        ops.concat(ops.concat(X, -X, axis=1), X, axis=1),
        ops.concat(X, -X, X, axis=1),
    ),
    "join of one": (ops.concat(X, axis=1), X),
    "pad by nothing": (ops.pad(X, axis=1, before=0, after=0), X),
    "flip back": (ops.flip(ops.flip(X, axis=1), axis=1), X),
    "sum over one": (
        ops.sum(ops.reshape(X, shape=(BATCH, 1, 4, 6)), axes=(1,), keepdims=False),
        X,
    ),
}

STAYS: dict[str, Tensor] = {
    "1 that broadcasts": X * WIDE,
    "exp of a number": X * ops.exp(ops.const(value=1.0, dtype=DType.F32)),
    "two products": X * 3.0 * 5.0,
    "cast that rounds": ops.cast(ops.cast(X, dtype=DType.F16), dtype=DType.F32),
    "slice across parts": _cut(ops.concat(X, -X, axis=2), 5, 8),
    "join out of order": ops.concat(_cut(X, 2, 5), _cut(X, 0, 2), axis=2),
    "join along another axis": ops.concat(_cut(X, 0, 2), _cut(X, 2, 4), axis=1),
    "slice with a step": ops.slice(X, axis=2, start=0, stop=6, step=2),
}


@pytest.mark.parametrize("name", BECOMES)
def test_becomes(name: str) -> None:
    given, wanted = BECOMES[name]
    program, receipt = apply("fold", fold, graph(given))
    assert root(program) is wanted
    assert receipt.fired


@pytest.mark.parametrize("name", STAYS)
def test_stays(name: str) -> None:
    program, _ = apply("fold", fold, graph(STAYS[name]))
    assert root(program) is STAYS[name]


@pytest.mark.parametrize("model", ["llama", "gpt2", "mixtral"])
def test_values_stay(model: str) -> None:
    expanded = Expand()(tiny(model))
    folded, receipt = apply("fold", fold, expanded)
    assert receipt.nodes_after < receipt.nodes_before
    assert_same(results(folded), reference(model), tolerance=0.0)


def test_folding_again_changes_nothing() -> None:
    once = fold(Expand()(tiny()))
    assert fold(once) is once
