"""Composites found again after they were spelled out, in every form; and what must not be found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from smelt.ir import ops
from smelt.ir.dims import symbol
from smelt.ir.op import OPS
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, Type
from smelt.passes.expand import Expand
from smelt.passes.fold import fold
from smelt.passes.match import count_ops
from smelt.passes.pipeline import apply
from smelt.passes.recognise import recognise
from tests.passes.programs import assert_same, graph, reference, results, root, tiny

B, S, P = symbol("batch"), symbol("seq"), symbol("past")


def _t(name: str, *shape: Any, dtype: DType = DType.F32) -> Tensor:
    return ops.input(name=name, type=Type(shape, dtype))  # type: ignore[no-any-return]


X = _t("x", B, S, 12)
H = _t("h", B, S, 12, dtype=DType.BF16)
W, V = _t("w", 12), _t("v", 12)
Q, K, U = _t("q", B, 6, S, 8), _t("k", B, 2, P + S, 8), _t("u", B, 2, P + S, 10)
MASK = _t("mask", B, P + S, dtype=DType.I64)
LONG = _t("long", B, P + S + 3, dtype=DType.I64)
BIAS = _t("bias", 1, 6, S, P + S)
SINKS = _t("sinks", 6)


def _attend(*rest: Tensor | None, **attrs: Any) -> Tensor:
    return ops.attention(Q, K, U, *rest, **{"scale": 0.3, **attrs})  # type: ignore[no-any-return]


CALLS: dict[str, Tensor] = {
    "softmax": ops.softmax(X),
    "softmax bf16": ops.softmax(H),
    "silu": ops.silu(X),
    "gelu": ops.gelu(X),
    "gelu_tanh": ops.gelu_tanh(X),
    "gelu_sigmoid": ops.gelu_sigmoid(X),
    "softplus": ops.softplus(X),
    "softcap": ops.softcap(X, limit=30.0),
    "rms_norm": ops.rms_norm(X, W, eps=1e-6),
    "rms_norm bare": ops.rms_norm(X, eps=1e-6),
    "rms_norm offset": ops.rms_norm(X, W, eps=1e-6, offset=1.0),
    "rms_norm bf16": ops.rms_norm(H, ops.cast(W, dtype=DType.BF16), eps=1e-6),
    "layer_norm": ops.layer_norm(X, W, V, eps=1e-5),
    "layer_norm bare": ops.layer_norm(X, eps=1e-5),
    "layer_norm scaled": ops.layer_norm(X, W, eps=1e-5),
    "attention": _attend(),
    "attention causal": _attend(MASK, causal=True),
    "attention long mask": _attend(LONG),
    "attention window": _attend(MASK, causal=True, window=7),
    "attention both sides": _attend(window=7),
    "attention capped": _attend(MASK, causal=True, softcap=50.0),
    "attention bias": _attend(None, BIAS),
    "attention mask and bias": _attend(MASK, BIAS, causal=True),
    "attention sinks": _attend(MASK, None, SINKS, causal=True, window=9),
    "attention unscaled": _attend(MASK, scale=1.0),
}


@pytest.mark.parametrize("name", CALLS)
def test_found_after_spelling_out(name: str) -> None:
    call = CALLS[name]
    spelled = fold(Expand()(graph(call)))
    assert not any(OPS[op].is_composite for op in count_ops(spelled))
    found, receipt = apply("recognise", recognise, spelled)
    wanted = fold(graph(call))
    assert root(found) is root(wanted), receipt.explain()


def _spelled_attention(after: bool, heads: int) -> Tensor:
    k, v = (
        ops.reshape(
            ops.expand(
                ops.reshape(t, shape=(B, 2, 1, P + S, t.shape[3])),
                shape=(B, 2, heads // 2, P + S, t.shape[3]),
            ),
            shape=(B, heads, P + S, t.shape[3]),
        )
        for t in (K, U)
    )
    columns = ops.permute(k, axes=(0, 1, 3, 2))
    scores = ops.matmul(Q, columns) * 0.3 if after else ops.matmul(Q * 0.3, columns)
    return ops.matmul(ops.softmax(BIAS + scores), v)  # type: ignore[no-any-return]


@pytest.mark.parametrize("after", [False, True])
def test_attention_as_people_write_it(after: bool) -> None:
    spelled = Expand()(graph(_spelled_attention(after, 6)))
    found, receipt = apply("recognise", recognise, spelled)
    assert root(found) is _attend(None, BIAS), receipt.explain()


def test_operands_may_come_in_either_order() -> None:
    found = recognise(graph(ops.sigmoid(X) * X))
    assert root(found) is ops.silu(X)
    norm = W * (X * ops.rsqrt(ops.mean(X * X) + 1e-6))
    assert root(recognise(graph(norm))) is ops.rms_norm(X, W, eps=1e-6)


NEARLY: dict[str, tuple[Callable[[], Tensor], str]] = {
    "gelu with another constant": (lambda: X * 0.5 * (ops.erf(X * 0.7) + 1.0), "gelu"),
    "rms over another axis": (
        lambda: X * ops.rsqrt(ops.mean(X * X, axes=(1,)) + 1e-6) * W,
        "rms_norm",
    ),
    "softmax without the maximum of its own": (
        lambda: ops.exp(X - ops.max(X, axes=(1,))) / ops.sum(ops.exp(X - ops.max(X, axes=(1,)))),
        "softmax",
    ),
    "attention that scales one side only": (
        lambda: ops.matmul(
            ops.softmax(ops.matmul(Q, ops.permute(_t("k6", B, 6, S, 8), axes=(0, 1, 3, 2))) * 0.5)
            * 2.0,
            _t("v6", B, 6, S, 8),
        ),
        "",
    ),
    "attention with a mask of its own": (
        lambda: ops.matmul(
            ops.softmax(
                ops.where(
                    ops.less_equal(_t("a", 1, 1, S, S), 0.5),
                    ops.matmul(Q, ops.permute(_t("k6", B, 6, S, 8), axes=(0, 1, 3, 2))),
                    -1e4,
                )
            ),
            _t("v6", B, 6, S, 8),
        ),
        "attention",
    ),
}


@pytest.mark.parametrize("name", NEARLY)
def test_near_misses_stay_and_say_so(name: str) -> None:
    make, composite = NEARLY[name]
    spelled = fold(Expand()(graph(make())))
    found, receipt = apply("recognise", recognise, spelled)
    assert root(found).op.name not in ("gelu", "rms_norm", "softmax", "attention")
    if composite:
        reason = f"looks like {composite} and is not what {composite} means"
        assert reason in {miss.reason for miss in receipt.misses}


@pytest.mark.parametrize("model", ["llama", "gpt2", "mixtral"])
def test_a_model_is_found_whole(model: str) -> None:
    program = tiny(model)
    found = recognise(Expand()(program))
    names = ("attention", "rms_norm", "layer_norm", "silu", "gelu_tanh", "softmax")
    before, after = count_ops(program), count_ops(found)
    # Mixtral's router spells its softmax out by name already; the count covers it.
    assert {n: after[n] for n in names} == {n: before[n] for n in names}
    assert_same(results(found), reference(model))
