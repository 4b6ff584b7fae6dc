"""Every op on the edge runtime against the reference, and nothing left without a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("smelt.runtime._edge", reason="the edge runtime is not built")
pytest.importorskip("torch", reason="torch is the reference")

from smelt.backends.edge.emit import ROWS
from smelt.errors import UnsupportedError
from smelt.ir.ops import OPS
from tests.backends.edge_run import EdgeRun, write
from tests.backends.op_case import Case
from tests.backends.op_cases import CASES
from tests.backends.reference_run import Reference

#: Of the largest value: one op in f32, in another order, with exponentials of our own.
TOLERANCE = 1e-5
#: Ops that may round what they multiply: probabilities to bf16, by half a step of 2^-8.
COARSE = {"bf16_attention": 2.0**-9}


def test_nothing_is_missing() -> None:
    leaves = {"input", "param", "weight", "const", "quantize_weight"}
    primitives = {name for name, op in OPS.items() if not op.is_composite}
    assert not primitives - ROWS.keys() - leaves


#: What the runtime has no layout for; the emitter must say so.
REFUSED = {"mul-cache axis 1": "along axis 1"}


@pytest.mark.parametrize("case", [c for c in CASES if str(c) in REFUSED], ids=str)
def test_refusal(case: Case, tmp_path: Path) -> None:
    program, read = case.build()
    with pytest.raises(UnsupportedError, match=REFUSED[str(case)]):
        write(program, case.weights(program, read), tmp_path / "model.smelt")


@pytest.mark.parametrize("threads", (1, 2))
@pytest.mark.parametrize("case", [c for c in CASES if str(c) not in REFUSED], ids=str)
def test_op(case: Case, threads: int, tmp_path: Path) -> None:
    program, read = case.build()
    path = write(program, case.weights(program, read), tmp_path / "model.smelt")
    engine = EdgeRun(path, threads=threads)
    reference = Reference(program, case.weights(program, read))
    for inputs in case.runs(program):
        expected, found = reference.run(inputs), engine.run(inputs)
        assert found.keys() == expected.keys()
        for name, want in expected.items():
            got = found[name]
            if case.matters is not None and name == "y0":
                matters = case.matters(inputs)
                got, want = np.where(matters, got, 0), np.where(matters, want, 0)
            compare(name, got, want, COARSE.get(case.op, TOLERANCE))


def compare(name: str, got: Any, want: Any, tolerance: float) -> None:
    """Equal shapes and kinds; equal integers, and floats up to the tolerance."""
    assert got.shape == want.shape, name
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, err_msg=name)
        return
    wide = np.asarray(want, np.float64)
    scale = np.abs(wide).max(initial=0.0)
    error = np.abs(np.asarray(got, np.float64) - wide).max(initial=0.0)
    assert error <= tolerance * max(scale, 1e-6), f"{name}: {error} of {scale}"
