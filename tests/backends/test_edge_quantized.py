"""Quantized weights and activations mean the same everywhere, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("smelt.runtime._edge", reason="the edge runtime is not built")
pytest.importorskip("torch", reason="torch is the reference")

from smelt.ir.tensor import Tensor
from smelt.ir.types import DType
from tests.backends.edge_run import EdgeRun, write
from tests.backends.op_case import Case, In, Quant
from tests.backends.reference_run import Reference

Array = np.ndarray[Any, Any]

#: Rows that fill no panel of 16, columns that no group divides.
SHAPES = ((24, 128), (17, 130), (33, 576), (1, 50))
SCHEMES = [(b, s, g) for b in (4, 8) for s in (True, False) for g in (32, 64, 128)]


def weight_case(shape: tuple[int, int], bits: int, symmetric: bool, group: int) -> Case:
    weight = Quant(f"f32[{shape[0]}, {shape[1]}]", bits, group, symmetric)
    attrs = {"group": group, "size": shape[1]}
    note = f"int{bits} {'sym' if symmetric else 'asym'} {group} {shape[0]}x{shape[1]}"
    # Programs have inputs; times one changes no bit.
    return Case("dequantize", (weight,), attrs, note, then=_times, more=(In("f32[1]"),))


def _times(weight: Tensor, one: Tensor) -> Tensor:
    return weight * one


ONE = {"x0": np.ones(1, np.float32)}


# 576 columns asked for groups of 128 get groups of 64, which is another row of the table.
CASES = [
    weight_case(shape, bits, symmetric, group)
    for bits, symmetric, group in SCHEMES
    for shape in SHAPES
    if (shape[1], group) != (576, 128)
]


def bits_of(array: Array) -> Array:
    return array.view(np.uint32)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_weights_are_bit_equal(case: Case, tmp_path: Path) -> None:
    program, read = case.build()
    expected = Reference(program, case.weights(program, read)).run(ONE)["y0"]
    edge = EdgeRun(write(program, case.weights(program, read), tmp_path / "m.smelt")).run(ONE)["y0"]
    np.testing.assert_array_equal(bits_of(edge), bits_of(expected))


@pytest.mark.parametrize("dialect", ("standard", "ort"))
@pytest.mark.parametrize("case", CASES, ids=str)
def test_onnx_weights_are_bit_equal(case: Case, dialect: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from smelt.backends.onnx.emit import Options, emit
    from tests.backends.test_onnx_ops import Onnx

    program, read = case.build()
    expected = Reference(program, case.weights(program, read)).run(ONE)["y0"]
    emit(program, case.weights(program, read), tmp_path, Options(dialect))  # type: ignore[arg-type]
    found = Onnx(program, tmp_path).run(ONE)["y0"]
    np.testing.assert_array_equal(bits_of(found), bits_of(expected))


@pytest.mark.parametrize("threads", (1, 2))
@pytest.mark.parametrize("group", (16, 32, 64, 128))
@pytest.mark.parametrize("width", (128, 576, 50))
def test_activation_codes_are_the_reference_s(
    width: int, group: int, threads: int, tmp_path: Path
) -> None:
    case = Case("quantize_activation", (In(f"f32[64, {width}]"),), {"group": group})
    program, read = case.build()
    path = write(program, case.weights(program, read), tmp_path / "m.smelt")
    engine, reference = (
        EdgeRun(path, threads=threads),
        Reference(program, case.weights(program, read)),
    )
    rng = np.random.default_rng(width * group)
    # Magnitudes from subnormal to huge, a row of zeros, and values half way between two codes.
    x = rng.standard_normal((64, width)) * np.exp(rng.uniform(-80, 80, (64, 1)))
    x[3] = 0
    x[4] = rng.integers(-254, 255, width) / 2
    x[4, ::16] = 127
    inputs = {"x0": x.astype(np.float32)}
    expected, found = reference.run(inputs), engine.run(inputs)
    assert expected["y0"].dtype == DType.I8.numpy
    np.testing.assert_array_equal(found["y0"], expected["y0"])
    np.testing.assert_array_equal(bits_of(found["y1"]), bits_of(expected["y1"]))
