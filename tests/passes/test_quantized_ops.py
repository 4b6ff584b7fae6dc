"""What the quantized composites compute, to the bit, against their definition written in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smelt.ir import ops
from smelt.ir.dims import symbol
from smelt.ir.materialize import Weights
from smelt.ir.program import Program
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, Type
from smelt.passes.expand import Expand
from tests.passes.programs import graph

Array = np.ndarray[Any, Any]


def _run(inputs: dict[str, Array], *roots: Tensor) -> list[Array]:
    import torch

    from smelt.backends.torch.module import build_module

    program: Program = Expand()(graph(*roots))
    module = build_module(program, Weights(program, lambda name: inputs[name]), use_fused=False)
    wanted = {t.attr("name") for t in program.functions["main"].inputs}
    given = {n: torch.from_numpy(a.copy()) for n, a in inputs.items() if n in wanted}
    with torch.no_grad():
        return [value.numpy() for value in module(**given).values()]


def _t(array: Array, name: str, *shape: Any) -> Tensor:
    kind = Type(shape or tuple(map(int, array.shape)), DType.of(array.dtype))
    return ops.input(name=name, type=kind)  # type: ignore[no-any-return]


def _codes(rng: np.random.Generator, bits: int, symmetric: bool, *shape: int) -> Array:
    if bits == 8 and symmetric:
        return rng.integers(-127, 128, shape).astype(np.int8)
    return rng.integers(0, 2**bits, shape).astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([4, 8]), st.booleans(), st.sampled_from([16, 32]), st.integers(0, 2**32))
def test_dequantize_is_exact(bits: int, symmetric: bool, group: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = _codes(rng, bits, symmetric, 5, 3 * group)
    scales = (rng.standard_normal((5, 3)) * 10.0 ** rng.integers(-6, 4)).astype(np.float16)
    zeros = _codes(rng, bits, symmetric, 5, 3) * (not symmetric)
    arrays = {"c": codes, "s": scales, "z": zeros.astype(codes.dtype)}
    root = ops.dequantize(*(_t(a, n) for n, a in arrays.items()), group=group, size=3 * group - 5)
    (found,) = _run(arrays, root)
    blocks = codes.astype(np.int32).reshape(5, 3, group) - zeros.astype(np.int32)[..., None]
    wanted = (blocks * scales.astype(np.float64)[..., None]).reshape(5, -1)[:, : 3 * group - 5]
    # An integer of 9 bits times a number of 11 fits f32: no rounding anywhere.
    assert (found.astype(np.float64) == wanted).all()


def _activation(x: Array, group: int) -> tuple[Array, Array]:
    """Codes and scales as the definition says, one group at a time."""
    extra = -x.shape[-1] % group
    blocks = np.pad(x, ((0, 0), (0, extra))).reshape(len(x), -1, group)
    peak = np.abs(blocks).max(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(peak == 0, np.float32(0), np.float32(127) / peak)
    codes = np.clip(np.rint(blocks * factor), -127, 127).astype(np.int8)
    return codes, peak / np.float32(127)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 70), st.sampled_from([16, 32]), st.integers(-20, 20), st.integers(0, 2**32))
def test_activations_become_the_same_integers(
    width: int, group: int, power: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((4, width)) * 2.0**power).astype(np.float32)
    x[1] = 0
    x[2] = np.rint(x[2] / 2.0**power) * 0.5
    codes, scales = _run({"x": x}, *ops.quantize_activation(_t(x, "x"), group=group))
    wanted = _activation(x, group)
    assert (codes == wanted[0]).all()
    assert (scales == wanted[1]).all()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [4, 8])
def test_products_are_of_integers(bits: int, symmetric: bool) -> None:
    """y is the sum over groups of both scales times an exact integer."""
    rng = np.random.default_rng(bits)
    group, groups, out, width = 32, 2, 5, 60
    x = rng.standard_normal((3, width)).astype(np.float32)
    codes = _codes(rng, bits, symmetric, out, group * groups)
    scales = rng.uniform(0.01, 0.1, (out, groups)).astype(np.float16)
    zeros = _codes(rng, bits, symmetric, out, groups)
    arrays = {"x": x, "c": codes, "s": scales, "z": zeros}
    operands = [_t(a, n) for n, a in arrays.items()]
    (found,) = _run(arrays, ops.quantized_linear(*operands, group=group))
    quantized, steps = _activation(x, group)
    offsets = codes.astype(np.int64).reshape(out, groups, group) - zeros.astype(np.int64)[..., None]
    dots = np.einsum("rgk,ogk->rog", quantized.astype(np.int64), offsets)
    assert np.abs(dots).max() < 2**24
    terms = dots.astype(np.float32) * steps[:, None, :, 0] * scales.astype(np.float32)[None]
    assert np.abs(found - terms.sum(-1)).max() <= 2e-7 * np.abs(terms).sum(-1).max()


def test_experts_use_their_own_weights() -> None:
    rng = np.random.default_rng(9)
    group, width, out = 16, 40, 6
    x = rng.standard_normal((2, 3, 1, width)).astype(np.float32)
    codes = _codes(rng, 4, True, 4, out, 48)
    scales = rng.uniform(0.01, 0.1, (4, out, 3)).astype(np.float16)
    chosen = rng.integers(0, 4, (2, 3, 2))
    bias = rng.standard_normal((4, out)).astype(np.float32)
    arrays = {"x": x, "c": codes, "s": scales, "i": chosen, "b": bias}
    row = symbol("batch")
    shapes = {"x": (row, 3, 1, width), "i": (row, 3, 2)}
    t = {n: _t(a, n, *shapes.get(n, ())) for n, a in arrays.items()}
    eight = ops.const(value=8, dtype=DType.U8)
    root = ops.quantized_grouped_linear(t["x"], t["c"], t["s"], eight, t["i"], t["b"], group=group)
    (found,) = _run(arrays, root)
    for place in np.ndindex(2, 3, 2):
        e = int(chosen[place])
        part = {"x": x[place[:2]], "c": codes[e], "s": scales[e], "b": bias[e]}
        p = {n: _t(a, n) for n, a in part.items()}
        one = ops.quantized_linear(p["x"], p["c"], p["s"], eight, p["b"], group=group)
        (wanted,) = _run(part, one)
        assert np.abs(found[place] - wanted[0]).max() < 1e-5


def test_rows_of_a_table() -> None:
    rng = np.random.default_rng(11)
    codes = _codes(rng, 8, False, 50, 32)
    scales = rng.uniform(0.01, 0.1, (50, 2)).astype(np.float16)
    zeros = _codes(rng, 8, False, 50, 2)
    ids = rng.integers(0, 50, (2, 7))
    arrays = {"c": codes, "s": scales, "z": zeros, "i": ids}
    t = [_t(a, n) for n, a in arrays.items()]
    rows, table = (
        ops.quantized_gather(*t, group=16, size=30),
        ops.dequantize(*t[:3], group=16, size=30),
    )
    found, whole = _run(arrays, rows, table)
    assert (found == whole[ids]).all()
