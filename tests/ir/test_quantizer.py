"""Weight quantization: ranges, quality against plain rounding, streaming, determinism, refusals."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smelt.errors import CheckpointError
from smelt.ir import ops
from smelt.ir.materialize import Weights
from smelt.ir.program import Program
from smelt.ir.quantizer import CHUNK, quantize
from smelt.ir.types import DType, Type

Array = np.ndarray[Any, Any]
KINDS = [(4, True), (4, False), (8, True), (8, False)]
RANGES = {(4, True): (0, 15), (4, False): (0, 15), (8, True): (-127, 127), (8, False): (0, 255)}


def restore(codes: Array, scales: Array, zeros: Array, group: int) -> Array:
    blocks = codes.astype(np.float32).reshape(*scales.shape, group)
    offsets = blocks - zeros.astype(np.float32)[..., None]
    return (offsets * scales.astype(np.float32)[..., None]).reshape(codes.shape)


def nearest(w: Array, bits: int, group: int, symmetric: bool) -> Array:
    """Plain rounding to the whole range of each group."""
    blocks = w.reshape(*w.shape[:-1], -1, group)
    low, high = blocks.min(-1, keepdims=True), blocks.max(-1, keepdims=True)
    if symmetric:
        top = 2 ** (bits - 1) - 1
        scale = np.maximum(-low, high) / top
        q = np.clip(np.rint(blocks / scale), -top, top)
    else:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
        scale = (high - low) / (2**bits - 1)
        zero = np.rint(-low / scale)
        q = np.clip(np.rint(blocks / scale) + zero, 0, 2**bits - 1) - zero
    result: Array = (q * scale).reshape(w.shape)
    return result


@pytest.mark.parametrize(("bits", "symmetric"), KINDS)
@pytest.mark.parametrize("group", [16, 32, 128])
def test_loses_less_than_plain_rounding(bits: int, symmetric: bool, group: int) -> None:
    w = np.random.default_rng(0).standard_t(5, (64, 256)).astype(np.float32)
    codes, scales, zeros = quantize(w, bits, group, symmetric)
    low, high = RANGES[bits, symmetric]
    assert low <= codes.min() and codes.max() <= high
    assert codes.dtype == (np.int8 if (bits, symmetric) == (8, True) else np.uint8)
    assert scales.shape == zeros.shape == (64, 256 // group)
    if symmetric:
        assert (zeros == (8 if bits == 4 else 0)).all()
    error = np.square(restore(codes, scales, zeros, group) - w).mean()
    plain = np.square(nearest(w, bits, group, symmetric) - w).mean()
    assert error < plain * (0.93 if bits == 4 else 1.01)


@pytest.mark.parametrize(("bits", "symmetric"), KINDS)
def test_representable_weights_come_back(bits: int, symmetric: bool) -> None:
    rng = np.random.default_rng(1)
    low, high = {(4, True): (-8, 7), (8, True): (-127, 127)}.get(
        (bits, symmetric), (0, 2**bits - 1)
    )
    steps = rng.integers(low, high + 1, (8, 64))
    steps[:, ::32] = low
    steps[:, 1::32] = high
    w = (steps * 0.0078125).astype(np.float32)
    codes, scales, zeros = quantize(w, bits, 32, symmetric)
    assert np.abs(restore(codes, scales, zeros, 32) - w).max() < 1e-5


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 3),
    st.sampled_from(KINDS),
    st.sampled_from([1e-30, 1e-6, 1.0, 1e4]),
    st.integers(0, 2**32),
)
def test_error_is_within_a_step(
    rows: int, groups: int, kind: tuple[int, bool], size: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    w = (rng.standard_normal((rows, groups * 32)) * size).astype(np.float32)
    w[rng.random(w.shape) < 0.2] = 0
    codes, scales, zeros = quantize(w, kind[0], 32, kind[1])
    error = np.abs(restore(codes, scales, zeros, 32) - w).reshape(rows, groups, 32).max(-1)
    peak = np.abs(w).reshape(rows, groups, 32).max(-1)
    # Scales below the smallest f16 vanish, and the weights with them.
    assert (error <= np.maximum(peak * (0.5 if kind[0] == 4 else 0.05), 6e-6)).all()


def test_zeros_stay_zero() -> None:
    for bits, symmetric in KINDS:
        codes, scales, zeros = quantize(np.zeros((3, 32), np.float32), bits, 32, symmetric)
        assert (restore(codes, scales, zeros, 32) == 0).all()


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "NaN"), (np.inf, "NaN"), (3e38, "f16")])
def test_refuses_what_it_cannot_hold(value: float, reason: str) -> None:
    w = np.full((4, 32), value, np.float32)
    with pytest.raises(CheckpointError, match=reason):
        quantize(w, 4, 32, True)


def test_chunks_do_not_matter() -> None:
    w = np.random.default_rng(3).standard_normal((5, 64)).astype(np.float32)
    tall = np.concatenate([w] * (CHUNK // 64))
    whole = quantize(tall, 4, 32, False)
    part = quantize(w, 4, 32, False)
    for a, b in zip(whole, part, strict=True):
        assert (a[:5] == b).all() and (a[-5:] == b).all()


def _derived(expression: Any) -> tuple[Program, Any]:
    item = ops.quantize_weight(expression, bits=4, group=32, symmetric=True)[0]
    program = Program("t", "t", {}, {}, {}, {"codes": item})
    return program, ops.weight(name="codes", type=item.type)


def test_expressions_are_read_by_rows() -> None:
    rng = np.random.default_rng(4)
    stored: dict[str, Array] = {
        "a": rng.standard_normal((2000, 60)).astype(np.float32),
        "t": rng.standard_normal((60, 3000)).astype(np.float16),
    }
    a = ops.param(name="a", type=Type((2000, 60), DType.F32))
    t = ops.param(name="t", type=Type((60, 3000), DType.F32))
    joined = ops.concat(a, ops.permute(t, axes=(1, 0)), axis=0)
    program, leaf = _derived(ops.pad(joined, axis=-1, before=0, after=4))
    wide = np.concatenate([stored["a"], stored["t"].T.astype(np.float32)])
    wanted = quantize(np.pad(wide, ((0, 0), (0, 4))), 4, 32, True)[0]
    assert (Weights(program, stored.__getitem__).array(leaf) == wanted).all()


def test_experts_are_read_one_at_a_time() -> None:
    rng = np.random.default_rng(5)
    stored = {
        f"e.{i}.{n}": rng.standard_normal((300, 320)).astype(np.float32)
        for i in range(3)
        for n in "wv"
    }
    parts = [ops.param(name=f"e.*.{n}", type=Type((3, 300, 320), DType.F32)) for n in "wv"]
    program, leaf = _derived(ops.concat(*parts, axis=1))
    whole = np.concatenate([[stored[f"e.{i}.{n}"] for i in range(3)] for n in "wv"], 1)
    wanted = quantize(whole, 4, 32, True)[0]
    assert (Weights(program, stored.__getitem__).array(leaf) == wanted).all()


def test_memory_does_not_grow_with_the_weight() -> None:
    stored = np.random.default_rng(6).standard_normal((80_000, 256)).astype(np.float16)
    w = ops.param(name="w", type=Type(stored.shape, DType.F32))
    program, leaf = _derived(w)
    weights = Weights(program, lambda name: stored)
    tracemalloc.start()
    codes = weights.array(leaf)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < codes.nbytes * 1.25 + 12 * 2**20
