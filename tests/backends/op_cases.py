"""Operands for every op: the table of `op_case.Case`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from smelt.ir import ops
from smelt.ir.dims import symbol
from smelt.ir.program import Slot
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, parse_type
from tests.backends.op_case import (
    Array,
    Bf16,
    Cached,
    Case,
    Const,
    In,
    Inputs,
    Operand,
    Par,
    Quant,
    case_of,
    sizes_of,
)

X = "f32[batch, seq, 6]"
IDS = "i64[batch, seq]"
ODD = "f32[3, 1, 7]"


def _arithmetic() -> Iterator[Case]:
    for op in ("add", "sub", "mul", "maximum", "minimum"):
        yield case_of(op, X, X)
        yield case_of(op, X, "f32[6]", note="row")
        yield case_of(op, ODD, "f32[5, 1]", note="both")
        yield case_of(op, "f32[]", X, note="scalar")
        yield case_of(op, "i64[batch, seq]", "i64[seq]", note="integers")
    yield case_of("div", X, In("f32[6]", 0.5, 2))
    yield case_of("div", In(IDS, -9, 9), In("i64[seq]", values=(-4, -3, 1, 2, 7)), note="integers")
    yield case_of("mod", X, In("f32[6]", values=(-1.5, -0.7, 0.4, 3.0)))
    yield case_of("mod", In(IDS, -9, 9), In("i64[seq]", values=(-4, -3, 1, 2, 7)), note="integers")
    yield case_of("pow", In(X, 0.1, 3), "f32[6]")
    yield case_of("pow", X, Const(2.0), note="square")
    for op in ("neg", "abs", "sign"):
        yield case_of(op, X)
        yield case_of(op, In(IDS, -3, 3), note="integers")
    for op in ("floor", "round", "exp", "sin", "cos", "tanh", "erf", "sigmoid"):
        yield case_of(op, In(X, -4, 4))
    yield case_of("round", In(X, values=(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)), note="halves")
    for op in ("sqrt", "rsqrt", "log"):
        yield case_of(op, In(X, 0.1, 9))


def _logic() -> Iterator[Case]:
    few = (-1.0, 0.0, 1.0)
    for op in ("equal", "less", "less_equal"):
        yield case_of(op, In(X, values=few), In("f32[6]", values=few))
        yield case_of(op, In(IDS, -2, 2), In("i64[batch, 1]", -2, 2), note="integers")
    yield case_of("equal", "bool[batch, seq]", "bool[seq]", note="bools")
    yield case_of("logical_and", "bool[batch, seq]", "bool[seq]")
    yield case_of("logical_or", "bool[batch, 1]", "bool[seq]")
    yield case_of("logical_not", "bool[batch, seq]")
    yield case_of("where", "bool[batch, seq, 1]", X, "f32[]")
    yield case_of("where", "bool[seq, 1]", In(X), In("f32[batch, 1, 6]"), note="broadcast")
    yield case_of("where", "bool[batch, seq]", IDS, "i64[]", note="integers")
    yield case_of("cast", In(X, -3, 3), dtype=DType.I64, note="to i64")
    yield case_of("cast", In(X, -3, 3), dtype=DType.I32, note="to i32")
    yield case_of("cast", In(X, values=(0.0, 0.5, -1.0)), dtype=DType.BOOL, note="to bool")
    yield case_of("cast", IDS, dtype=DType.F32, note="to f32")
    yield case_of("cast", "bool[batch, seq]", dtype=DType.I64, note="from bool")
    yield case_of("cast", X, dtype=DType.F16, note="to f16")
    yield Case("cast", (In(X),), {"dtype": DType.BF16}, "to bf16", then=_widen)
    yield case_of("cast", In("i64[7]", -9, 9), dtype=DType.I8, note="to i8")


def _shapes() -> Iterator[Case]:
    yield case_of("reshape", X, shape=sizes_of("batch,seq,2,3"), note="split")
    yield case_of("reshape", X, shape=sizes_of("batch*seq,6"), note="flatten")
    yield case_of("reshape", X, shape=sizes_of("seq,batch,6"), note="swap")
    yield Case(
        "reshape", (In(X),), {"shape": sizes_of("batch*seq,6")}, "product", then=_split_product
    )
    yield case_of("reshape", "f32[]", shape=(1, 1), note="scalar")
    yield case_of("reshape", ODD, shape=(21,), note="fixed")
    yield case_of("permute", "f32[batch, seq, 2, 3]", axes=(2, 0, 3, 1))
    yield case_of("expand", "f32[batch, 1, 6]", shape=sizes_of("batch,4,6"))
    yield case_of("expand", In("f32[6]"), shape=(3, 2, 6), note="new axes")
    yield case_of("expand", "i64[1, seq]", shape=sizes_of("4,seq"), note="symbolic")
    yield case_of("concat", X, "f32[batch, seq, 3]", "f32[batch, seq, 1]", axis=-1)
    yield case_of("concat", X, X, axis=1, note="symbolic")
    yield case_of("slice", X, axis=-1, start=1, stop=6, step=2)
    yield case_of("slice", X, axis=1, start=0, stop=symbol("seq"), step=3, note="symbolic")
    yield case_of("slice", X, axis=1, start=symbol("seq") - 1, stop=symbol("seq"), note="last")
    yield case_of("slice", X, axis=2, start=2, stop=2, note="empty")
    yield case_of("flip", X, axis=1)
    yield case_of("pad", X, axis=1, before=2, after=1, value=-1.5)
    yield case_of("pad", X, axis=-1, before=symbol("seq"), after=0, note="symbolic")
    yield case_of("pad", IDS, axis=1, before=0, after=3, value=1, note="integers")
    yield case_of("gather", Par("f32[11, 6]"), In(IDS, 0, 10))
    yield case_of("gather", X, In("i64[4]", 0, 5), axis=-1, note="columns")
    yield case_of("gather", X, In("i64[2, 2]", 0, 0), axis=1, note="middle")
    yield case_of("gather_elements", X, In("i64[batch, seq, 6]", 0, 5), axis=2)
    yield Case("neg", (In(IDS),), {}, "arange", then=_plus_arange)
    sizes = {"seq": symbol("seq"), "past": symbol("past")}
    kept = Cached("f32[batch, 2, seq, 3]", "layers.0.key")
    yield Case("is_further_token", (), sizes, then=_kept, more=(In(X), kept))
    yield Case("neg", (In(IDS),), {}, "full", then=_plus_full)


def _widen(x: Tensor) -> Tensor:
    # numpy has no bfloat16 of its own, so runtimes do not give one.
    return ops.cast(x, dtype=DType.F32)  # type: ignore[no-any-return]


def _split_product(x: Tensor) -> Tensor:
    return ops.reshape(x, shape=(x.shape[0], 3, 2))  # type: ignore[no-any-return]


def _plus_arange(x: Tensor) -> Tensor:
    ramp = ops.arange(stop=3 * symbol("seq") + 1, start=2 * symbol("seq") + 1)
    return x + ramp  # type: ignore[no-any-return]


def _kept(is_kept: Tensor, x: Tensor, keys: Tensor) -> tuple[Tensor, ...]:
    return ops.where(is_kept, x, 0.0), -keys


def _plus_full(x: Tensor) -> tuple[Tensor, ...]:
    batch, seq = x.shape
    table = ops.full(shape=(seq, batch, 2), value=0.25, dtype=DType.F32)
    return x, table, ops.full(shape=(seq,), value=3, dtype=DType.I64)


def _reductions() -> Iterator[Case]:
    for op in ("sum", "mean", "max", "min"):
        yield case_of(op, X)
        yield case_of(op, X, axes=(0, 2), keepdims=False, note="two")
        yield case_of(op, "f32[3, 1, 1]", axes=(1,), keepdims=False, note="one element")
    yield case_of("sum", IDS, axes=(1,), note="integers")
    yield case_of("max", IDS, axes=(1,), note="integers")
    yield case_of("argmax", In(X, values=(0.0, 1.0, 2.0)))
    yield case_of("argmax", X, axis=1, note="middle")
    yield case_of("cumsum", X, axis=1)
    yield case_of("cumsum", IDS, axis=-1, note="integers")
    yield case_of("topk", In(X, values=(0.0, 1.0, 2.0, 3.0)), k=3, note="ties")
    yield case_of("topk", X, k=6, note="all")


def _matrices() -> Iterator[Case]:
    yield case_of("matmul", X, "f32[6, 5]")
    yield case_of("matmul", "f32[batch, 2, seq, 3]", "f32[batch, 1, 3, 4]", note="broadcast")
    yield case_of("matmul", "f32[seq, 6]", "f32[6, seq]", note="plain")
    yield case_of("linear", X, Par("f32[5, 6]"))
    yield case_of("linear", X, Par("f32[5, 6]"), Par("f32[5]"), note="bias")
    yield case_of("linear", "f32[seq, 6]", Par("f32[1, 6]"), Par("f32[1]"), note="one column")
    yield case_of("linear", "f32[batch, 2, seq, 6]", Par("f32[5, 6]"), note="four axes")
    yield case_of("linear", X, "f32[5, 6]", note="matrix at run time")
    chosen = In("i64[batch, seq, 2]", 0, 3)
    yield case_of("grouped_linear", "f32[batch, seq, 1, 6]", Par("f32[4, 5, 6]"), chosen)
    yield case_of(
        "grouped_linear",
        "f32[batch, seq, 2, 6]",
        Par("f32[4, 5, 6]"),
        chosen,
        Par("f32[4, 5]"),
        note="bias",
    )
    yield case_of(
        "grouped_linear", "f32[seq, 6]", Par("f32[3, 5, 6]"), In("i64[seq]", 0, 2), note="rows"
    )
    line: dict[str, Any] = {"stride": (1,), "padding": (1, 1), "dilation": (1,)}
    yield case_of("conv", "f32[batch, 3, 9]", Par("f32[4, 3, 3]"), Par("f32[4]"), **line)
    yield case_of(
        "conv",
        "f32[batch, 4, seq]",
        Par("f32[4, 1, 4]"),
        stride=(1,),
        padding=(3, 0),
        dilation=(1,),
        groups=4,
        note="depthwise",
    )
    yield case_of(
        "conv",
        "f32[batch, 4, 9]",
        Par("f32[6, 2, 3]"),
        stride=(2,),
        padding=(3, 0),
        dilation=(2,),
        groups=2,
        note="uneven",
    )
    yield case_of(
        "conv",
        "f32[batch, 3, 10, 13]",
        Par("f32[5, 3, 4, 3]"),
        Par("f32[5]"),
        stride=(4, 3),
        padding=(0, 1, 2, 0),
        dilation=(1, 1),
        note="two axes",
    )
    inner, state = "f32[batch, seq, 4]", "f32[batch, seq, 3]"
    steps, rates = In(inner, 0.1, 1), Par("f32[4, 3]", -2, -0.1)
    yield case_of("selective_scan", inner, steps, rates, state, state, "f32[batch, 4, 3]")
    for kind in ("sum", "max"):
        yield case_of("recurrence", X, In(X, -1, 1), "f32[batch, 6]", kind=kind, note=kind)
    deep = "f32[batch, seq, 2, 3]"
    yield case_of("recurrence", deep, In(deep, -1, 1), "f32[batch, 2, 3]", note="deep")
    for dim, width, seq, note in (
        (3, 5, "seq", ""),
        (18, 37, "seq", " wide"),
        (3, 5, 150, " chunks"),
    ):
        key, value = In(f"f32[2, {seq}, 2, {dim}]", -0.5, 0.5), f"f32[2, {seq}, 4, {width}]"
        beta, before = In(f"f32[2, {seq}, 4]", 0, 1), f"f32[2, 4, {dim}, {width}]"
        for each, learned, kind in ((1, None, "plain"), (1, beta, "delta"), (dim, beta, "rows")):
            decay = In(f"f32[2, {seq}, 4, {each}]", -1, 0)
            operands = (key, key, value, decay, learned, before)
            yield case_of("linear_attention", *operands, note=kind + note)


def _activations() -> Iterator[Case]:
    wide = In(X, -6, 6)
    for op in ("softmax", "relu", "silu", "gelu", "gelu_tanh", "gelu_sigmoid", "softplus"):
        yield case_of(op, wide)
    yield case_of("softplus", In(X, -200, 200), note="large")
    yield case_of("acos", In(X, -1, 1))
    yield case_of("softmax", In(X, -1e4, 1e4), note="large")
    yield case_of("softmax", In(X, values=(-3.0e38,)), note="all forbidden")
    yield case_of("softcap", wide, limit=2.5)
    yield case_of("clamp", wide, low=-1.0, high=2.0)
    for act in ("silu", "gelu", "gelu_tanh", "gelu_sigmoid", "relu", "sigmoid", "tanh"):
        yield case_of("gated", wide, act=act, note=act)
        yield case_of("linear_activation", X, Par("f32[5, 6]"), Par("f32[5]"), act=act, note=act)
    yield case_of("linear_activation", X, Par("f32[5, 6]"), act="gelu", note="no bias")


def _norms() -> Iterator[Case]:
    scale, shift = Par("f32[6]"), Par("f32[6]")
    yield case_of("rms_norm", X, scale, eps=1e-5)
    yield case_of("rms_norm", X, scale, eps=1e-6, offset=1.0, note="offset")
    yield case_of("rms_norm", X, None, eps=1e-6, note="no weight")
    yield case_of("rms_norm", In(X, -1e-3, 1e-3), scale, eps=1e-5, note="small")
    yield case_of("rms_norm", "f32[batch, 3, seq, 6]", scale, eps=1e-6, note="heads")
    yield case_of("layer_norm", X, scale, shift, eps=1e-5)
    yield case_of("layer_norm", In(X, 1, 2), scale, None, eps=1e-12, note="no bias")
    yield case_of("layer_norm", X, None, None, eps=1e-6, note="plain")
    yield case_of("add_rms_norm", X, X, scale, eps=1e-5)
    yield case_of("add_rms_norm", X, X, scale, eps=1e-5, offset=1.0, note="offset")
    yield case_of("add_rms_norm", X, X, None, eps=1e-5, note="no weight")
    yield case_of("add_layer_norm", X, X, scale, shift, eps=1e-5)
    yield case_of("add_layer_norm", X, X, scale, None, eps=1e-5, note="no bias")
    yield case_of("add_layer_norm", X, "f32[6]", scale, shift, eps=1e-5, note="broadcast")


def _attention() -> Iterator[Case]:
    angles = "f32[batch, seq, 4]"
    yield case_of("rope_table", In(IDS, 0, 50), Par("f32[4]"), scale=1.25)
    yield case_of("rope", "f32[batch, 3, seq, 8]", angles, angles)
    yield case_of("rope", "f32[batch, 3, seq, 8]", angles, angles, interleaved=True, note="pairs")
    yield case_of("rope", "f32[batch, 3, seq, 11]", angles, angles, note="partial")
    shared = "f32[1, seq, 4]"
    yield case_of("rope", "f32[batch, 3, seq, 8]", shared, shared, note="shared")
    yield case_of("relative_shift", "f32[batch, 3, seq, 2*seq]", keys=symbol("seq"))
    yield case_of("split_heads", "f32[batch, seq, 12]", heads=3)
    yield case_of("merge_heads", "f32[batch, 3, seq, 4]")
    q, k = "f32[batch, 4, seq, 8]", "f32[batch, 2, source, 8]"
    yield case_of("attention", q, k, k, scale=0.3, note="cross")
    yield case_of("attention", q, k, "f32[batch, 2, source, 5]", scale=0.3, note="other values")
    mask = In("i64[batch, source]", values=(1, 1, 0))
    yield case_of("attention", q, k, k, mask, scale=0.3, note="cross mask")
    own = "f32[batch, 4, seq, 8]"
    real = In("i64[batch, seq]", values=(1, 1, 0))
    attrs = {"scale": 0.3}
    matters = _sees_something(None, causal=False)
    yield Case("attention", (In(q), In(own), In(own), real), attrs, "encoder", matters=matters)
    yield case_of("attention", q, own, own, scale=0.3, window=2, note="near")
    attrs, matters = {"scale": 1.0, "causal": True}, _sees_something(None)
    yield Case("attention", (In(q), In(own), In(own), real), attrs, "no cache", matters=matters)
    bias = "f32[1, 4, seq, seq]"
    yield case_of("attention", q, own, own, real, bias, scale=1.0, note="bias")
    yield case_of("bf16_attention", q, k, "f32[batch, 2, source, 5]", scale=0.3)
    yield case_of("bf16_attention", q, own, own, real, bias, scale=0.3, note="bias")
    yield Case(
        "bf16_attention", (In(q), In(own), In(own), real), attrs, "no cache", matters=matters
    )
    for heads, group in ((4, 4), (4, 2), (3, 1)):
        yield from _cached_attention(heads, group)


def _cached_attention(heads: int, kv_heads: int) -> Iterator[Case]:
    q = In(f"f32[batch, {heads}, seq, 8]")
    k = Cached(f"f32[batch, {kv_heads}, seq, 8]", "layers.0.key")
    v = Cached(f"f32[batch, {kv_heads}, seq, 8]", "layers.0.value")
    # Columns of padding stand on the left of real tokens, and anywhere in this test.
    mask = In("i64[batch, past + seq]", values=(1, 1, 1, 0))
    name = f"{heads} over {kv_heads}"
    plain = {"scale": 0.4, "causal": True}

    def case(note: str, *operands: Operand, window: int | None = None, **attrs: Any) -> Case:
        return Case(
            "attention",
            (q, k, v, *operands),
            plain | attrs | {"window": window},
            f"{name} {note}",
            # A query that sees nothing but padding is padding itself.
            matters=_sees_something(window) if mask in operands else None,
        )

    yield case("plain")
    yield case("mask", mask)
    yield case("window", mask, window=3)
    yield case("softcap", mask, softcap=1.5)
    yield case("sinks", mask, None, Par(f"f32[{heads}]"))
    bias = In(f"f32[1, {heads}, seq, past + seq]")
    yield case("bias", mask, bias)
    yield replace(case("bf16", mask, softcap=1.5), op="bf16_attention")
    narrow = Cached(f"f32[batch, {kv_heads}, seq, 5]", "layers.0.value")
    yield Case(
        "attention",
        (q, k, narrow, mask),
        plain,
        f"{name} other values",
        matters=_sees_something(None),
    )


def _sees_something(window: int | None, causal: bool = True) -> Callable[[Inputs], Array]:
    """Queries [batch, 1, seq, 1] that may see a key, where the mask is the first with two axes."""

    def matters(inputs: Inputs) -> Array:
        mask = next(a for a in inputs.values() if a.ndim == 2) != 0
        seq, keys = inputs["x0"].shape[2], mask.shape[1]
        distance = np.arange(keys - seq, keys)[:, None] - np.arange(keys)[None]
        allowed = ((distance >= 0) | (not causal)) & (distance < (window or keys))
        seen: Array = (allowed[None] & mask[:, None, :]).any(axis=-1)
        return seen[:, None, :, None]

    return matters


def _state() -> Iterator[Case]:
    new = Cached("f32[batch, 2, seq, 3]", "layers.0.key")
    yield Case("mul", (new, Const(2.0)), {}, "cache")
    flat = Cached("f32[batch, seq, 3]", "layers.0.key", axis=1, window=4)
    yield Case("mul", (flat, Const(2.0)), {}, "cache axis 1")
    kind = parse_type("f32[batch, 4, 3]")
    slot = Slot("layers.0.conv", "replace", kind, dtype=DType.F32)

    def remember(x: Tensor) -> dict[str, Any]:
        before = ops.read(slot=slot.name, type=kind)
        now = before * 0.5 + ops.sum(x, axes=(1,), keepdims=True)
        return {"outputs": now * 2.0, "writes": {slot.name: now}}

    yield Case(
        "mul", (In("f32[batch, seq, 3]"), Const(1.5)), {}, "read", slots=(slot,), then=remember
    )


def _quantized() -> Iterator[Case]:
    for bits in (4, 8):
        for symmetric in (True, False):
            kind = f"int{bits} {'sym' if symmetric else 'asym'}"
            # 130 columns have no group, so they are padded.
            for out, width, group in ((24, 64, 32), (16, 128, 64), (17, 130, 64)):
                weight = Quant(f"f32[{out}, {width}]", bits, group, symmetric)
                attrs = {"group": group, "size": width}
                note = f"{kind} {out}x{width}"
                ids, x = In(IDS, 0, out - 1), In(f"f32[batch, seq, {width}]")
                yield Case("dequantize", (weight,), attrs, note, (), _rows, (ids,))
                yield Case("quantized_gather", (weight, ids), attrs, note)
                yield Case("dequantize", (weight,), attrs, f"linear {note}", (), _times, (x,))
            experts = Quant("f32[3, 24, 64]", bits, 32, symmetric)
            rows, chosen = In("f32[batch, seq, 2, 64]"), In("i64[batch, seq, 2]", 0, 2)
            attrs = {"group": 32, "size": 64}
            more = (rows, chosen)
            yield Case("dequantize", (experts,), attrs, f"experts {kind}", (), _chosen, more)
            for terms in (1, 2):
                attrs = {"group": 32, "terms": terms}
                for width in (64, 50):
                    x = In(f"f32[batch, seq, {width}]")
                    weight = Quant(f"f32[24, {width}]", bits, 32, symmetric)
                    note = f"{kind} {width} in {terms}"
                    yield Case("quantized_linear", (x, weight), attrs, note)
                    biased = (x, weight, Par("f32[24]"))
                    yield Case("quantized_linear", biased, attrs, f"{note} bias")
                yield Case(
                    "quantized_grouped_linear",
                    (rows, experts, chosen, Par("f32[3, 24]")),
                    attrs,
                    f"{kind} in {terms}",
                )
    yield case_of("quantize_activation", "f32[batch, seq, 64]", group=32)
    yield case_of("quantize_activation", "f32[batch, seq, 50]", group=32, note="padded")
    yield case_of("quantize_activation", In("f32[3, 64]", 0, 0), group=32, note="zeros")
    yield case_of("round_to_int8", "f32[batch, 2, seq, 8]")


def _bf16() -> Iterator[Case]:
    # Columns that fill no pair or vector, rows that fill no panel.
    for out, width in ((24, 64), (17, 51), (40, 3)):
        weight, note = Bf16(f"f32[{out}, {width}]"), f"{out}x{width}"
        x, ids = In(f"f32[batch, seq, {width}]"), In(IDS, 0, out - 1)
        yield Case("bf16_linear", (x, weight), {}, note)
        yield Case("bf16_linear", (x, weight, Par(f"f32[{out}]")), {}, f"{note} bias")
        yield Case("bf16_gather", (weight, ids), {}, note)
        widened = {"dtype": DType.F32}
        yield Case("cast", (weight,), widened, f"bf16 linear {note}", (), _times, (x,))
        yield Case(
            "cast", (weight,), widened, f"bf16 sum {note}", (), _plus, (In(f"f32[{width}]"),)
        )
    experts = Bf16("f32[3, 24, 50]")
    rows, chosen = In("f32[batch, seq, 2, 50]"), In("i64[batch, seq, 2]", 0, 2)
    yield Case("bf16_grouped_linear", (rows, experts, chosen), {})
    yield Case("bf16_grouped_linear", (rows, experts, chosen, Par("f32[3, 24]")), {}, "bias")


def _plus(weight: Tensor, x: Tensor) -> Tensor:
    return weight + x


def _chosen(weight: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    return ops.grouped_linear(x, weight, indices)  # type: ignore[no-any-return]


def _rows(weight: Tensor, ids: Tensor) -> Tensor:
    return ops.gather(weight, ids)  # type: ignore[no-any-return]


def _times(weight: Tensor, x: Tensor) -> Tensor:
    return ops.linear(x, weight)  # type: ignore[no-any-return]


_PLAIN = (_arithmetic, _logic, _shapes, _reductions, _matrices)
_LAYERS = (_activations, _norms, _attention, _state, _quantized, _bf16)
CASES: tuple[Case, ...] = tuple(case for each in (*_PLAIN, *_LAYERS) for case in each())
