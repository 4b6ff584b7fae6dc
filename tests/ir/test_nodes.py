"""Nodes: interning, immutability, operators, builders from signatures, and types of composites."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from smelt.errors import SmeltError
from smelt.ir import ops
from smelt.ir.dims import symbol
from smelt.ir.op import OPS
from smelt.ir.program import toposort
from smelt.ir.rewrite import rewrite
from smelt.ir.tensor import Tensor, beside, new_program, source
from smelt.ir.types import DType, TupleType, Type, parse_type

B, S = symbol("batch"), symbol("seq")


def _t(name: str, *shape: Any, dtype: DType = DType.F32) -> Tensor:
    return ops.input(name=name, type=Type(shape, dtype))  # type: ignore[no-any-return]


X = _t("x", B, S, 12)
I64 = {"dtype": DType.I64}


def test_equal_means_identical() -> None:
    assert ops.mul(X, X) is ops.mul(X, X)
    assert X * 2 is X * 2.0
    assert ops.softmax(X + 1.0) is ops.softmax(X + 1.0)
    assert X + X is not X * X


def test_one_and_true_and_one_point_nought_differ() -> None:
    kinds = [ops.full(shape=(2,), value=v, dtype=DType.F32) for v in (1, 1.0, True)]
    assert len({id(k) for k in kinds}) == 3


def test_the_first_source_stays() -> None:
    with source("a"):
        first = X * 123.5
    with source("b"):
        assert X * 123.5 is first
    assert first.source == "a"


def test_programs_share_no_nodes() -> None:
    def made(place: str) -> Tensor:
        with new_program(), source(place):
            return ops.neg(ops.arange(7))  # type: ignore[no-any-return]

    first, second = made("a"), made("b")
    assert first is not second
    assert (first.source, first.operands[0].source) == ("a", "a")  # type: ignore[union-attr]
    assert (second.source, second.operands[0].source) == ("b", "b")  # type: ignore[union-attr]
    with beside(first):
        again = ops.neg(ops.arange(7))
        assert again is first
        assert (again * 3).source == "a"
    (rewritten,) = rewrite((second,), lambda n: n + 1 if n.op.name == "arange" else None)
    assert {t.program for t in toposort([rewritten])} == {second.program}


def test_nodes_die_with_their_users() -> None:
    from smelt.ir.tensor import _interned

    gc.collect()
    before = len(_interned)
    kept = ops.exp(X * 0.123456)
    assert len(_interned) > before
    del kept
    gc.collect()
    assert len(_interned) == before


def test_nodes_cannot_change() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        X.source = "y"


def test_numbers_take_the_type_of_the_tensor() -> None:
    half = _t("h", 3, dtype=DType.F16)
    assert (half * 2).dtype is DType.F16
    assert (2 - half).dtype is DType.F16
    assert ops.where(_t("c", 3, dtype=DType.BOOL), half, 0.0).dtype is DType.F16
    ids = _t("i", 3, **I64)
    assert (ids + 1).operands[1].attr("value") == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (lambda: ops.linear(X, _t("w", 5, 11)), "linear: input has 12 channels", None),
        (lambda: X + _t("y", B, S, 11), "add: shapes [batch, seq, 12] and", None),
        (lambda: X + _t("y", 12, dtype=DType.F16), "operands are f32 and f16", "cast one of them"),
        (lambda: ops.rms_norm(X, epz=1e-5), "rms_norm:", "did you mean `eps`?"),
        (lambda: ops.softmax(), "softmax: missing a required argument: 'x'", "signature"),
        (lambda: ops.softmax("x"), "softmax: operand is str", None),
        (lambda: ops.reshape(X, shape=(B, S, 11)), "elements of", None),
        (lambda: ops.permute(X, axes=(0, 1)), "axes (0, 1) are not an order", None),
        (lambda: ops.slice(X, axis=2, start=3, stop=13), "slice 3:13 is outside axis 2", None),
        (lambda: ops.gather(X, X), "indices are f32, want i64", None),
        (lambda: ops.split_heads(X, heads=5), "12 channels do not divide into 5 heads", None),
        (lambda: ops.expand(X, shape=(B, S, 24)), "12 and 24 at axis -1", None),
        (lambda: ops.concat(X, _t("y", B, 12), axis=0), "ranks: 2 and 3 differ", None),
        (lambda: ops.const(value=(1.0, 2.0), dtype=DType.F32, shape=(3,)), "2 values for", None),
        (lambda: ops.quantize_weight(X, bits=4, group=5, symmetric=True), "group 5 does", None),
        (lambda: ops.gated(_t("g", 3, 7), act="silu"), "7 channels do not divide", None),
        (lambda: ops.gated(_t("g", 3, 8), act="swish"), "activation is 'swish'", None),
    ],
)
def test_wrong_calls_say_both_values(make: Any, message: str, hint: str | None) -> None:
    with pytest.raises(SmeltError) as caught:
        make()
    assert message in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


def test_composites_with_several_results() -> None:
    total, normed = ops.add_rms_norm(X, X, eps=1e-5)
    whole = total.inputs[0]
    assert isinstance(whole.result, TupleType)
    assert normed.inputs[0] is whole
    assert [n.op.name for n in toposort([normed])] == ["input", "add_rms_norm", "item"]
    with pytest.raises(AssertionError, match="several results"):
        _ = whole.type


H = _t("heads", B, 6, S, 8)
K = _t("keys", B, 2, symbol("past") + S, 8)
TYPES: dict[str, tuple[Tensor, str]] = {
    "softmax": (ops.softmax(X), "f32[batch, seq, 12]"),
    "split_heads": (ops.split_heads(X, heads=3), "f32[batch, 3, seq, 4]"),
    "merge_heads": (ops.merge_heads(H), "f32[batch, seq, 48]"),
    "attention": (ops.attention(H, K, K, scale=1.0, causal=True), "f32[batch, 6, seq, 8]"),
    "rope": (
        ops.rope(H, *ops.rope_table(_t("p", B, S, **I64), _t("f", 3))),
        "f32[batch, 6, seq, 8]",
    ),
    "quantize_activation": (ops.quantize_activation(X, group=8)[0], "i8[batch, seq, 2, 8]"),
    "quantized_linear": (
        ops.quantized_linear(
            X,
            _t("c", 5, 16, dtype=DType.U8),
            _t("s", 5, 2, dtype=DType.F16),
            ops.const(value=8, dtype=DType.U8),
            group=8,
        ),
        "f32[batch, seq, 5]",
    ),
    "gated": (ops.gated(X, act="gelu"), "f32[batch, seq, 6]"),
    "conv": (
        ops.conv(
            _t("n", B, 3, 2 * S),
            _t("k", 4, 3, 3),
            stride=(2,),
            padding=(1, 1),
            dilation=(1,),
        ),
        "f32[batch, 4, (2*seq - 1)//2 + 1]",
    ),
    "matmul": (ops.matmul(H, ops.permute(H, axes=(0, 1, 3, 2))), "f32[batch, 6, seq, seq]"),
    "slice": (ops.slice(X, axis=1, start=0, stop=S, step=2), "f32[batch, (seq + 1)//2, 12]"),
}


@pytest.mark.parametrize("name", TYPES)
def test_types_follow_from_operands(name: str) -> None:
    node, wanted = TYPES[name]
    assert str(node.result) == wanted
    assert parse_type(wanted) == node.result
    if node.op.is_composite:
        expanded = node.op.expand(node)
        assert expanded.result == node.result


def test_rewrite_shares_and_retypes() -> None:
    shared = ops.exp(X)
    root = shared + shared

    def halve(node: Tensor) -> Tensor | None:
        if node.op.name == "input":
            return ops.slice(node, axis=2, start=0, stop=6)  # type: ignore[no-any-return]
        return None

    (found,) = rewrite((root,), halve)
    assert str(found.result) == "f32[batch, seq, 6]"
    assert found.operands[0] is found.operands[1]
    assert rewrite((root,), lambda node: None) == (root,)


def test_depth_does_not_matter() -> None:
    x = X
    for _ in range(5000):
        x = ops.exp(x)
    assert sum(1 for _ in toposort([x])) == 5001


def test_every_composite_has_a_meaning_in_other_ops() -> None:
    assert {n for n, op in OPS.items() if op.is_composite} >= {"attention", "rms_norm", "gated"}
