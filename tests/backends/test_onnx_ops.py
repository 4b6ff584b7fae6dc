"""Every op in both dialects against the reference, and nothing left without a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("torch", reason="torch is the reference")

from smelt.backends.onnx.emit import Options, emit
from smelt.backends.onnx.row import Dialect
from smelt.backends.onnx.table import coverage
from smelt.ir.ops import OPS
from smelt.ir.program import Program
from tests.backends.op_case import Case
from tests.backends.op_cases import CASES
from tests.backends.reference_run import Reference

DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
TOLERANCE = 4e-6  # of the largest value: one op in f32, in another order


class Onnx:
    """Runs an emitted graph, keeping state between runs."""

    def __init__(self, program: Program, folder: Path) -> None:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        settings.intra_op_num_threads = 1
        settings.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "0")
        self.session = onnxruntime.InferenceSession(str(folder / "main.onnx"), settings)
        self.state: dict[str, np.ndarray[Any, Any]] = {}
        self.slots = program.slots

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        past = {}
        for value in self.session.get_inputs():
            if value.name.startswith("past."):
                empty = {"batch": 2, "past": 0, "capacity": 0}
                shape = [empty.get(s, s) for s in value.shape]
                past[value.name] = self.state.get(value.name, np.zeros(shape, np.float32))
        names = [value.name for value in self.session.get_outputs()]
        results = dict(zip(names, self.session.run(names, inputs | past), strict=True))
        found = {}
        for name, value in results.items():
            slot = name.removeprefix("present.")
            if slot == name:
                found[name] = value
            else:
                self.state[f"past.{slot}"] = value
                found[f"state {slot}"] = value
        return found


def test_every_op_has_a_case() -> None:
    covered = {case.op for case in CASES} | {"arange", "full", "cache", "read"}
    leaves = {"input", "param", "weight", "const", "item", "quantize_weight"}
    assert not OPS.keys() - covered - leaves


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nothing_is_missing(dialect: Dialect) -> None:
    assert coverage(dialect).missing == ()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_op(case: Case, dialect: Dialect, tmp_path: Path) -> None:
    import onnx

    program, read = case.build()
    emit(program, case.weights(program, read), tmp_path, Options(dialect))
    if dialect == "standard":
        onnx.checker.check_model(tmp_path / "main.onnx", full_check=True)
    reference = Reference(program, case.weights(program, read))
    engine = Onnx(program, tmp_path)
    for inputs in case.runs(program):
        expected, found = reference.run(inputs), engine.run(inputs)
        assert found.keys() == expected.keys()
        for name, want in expected.items():
            got = found[name]
            if case.matters is not None and name == "y0":
                matters = case.matters(inputs)
                got, want = np.where(matters, got, 0), np.where(matters, want, 0)
            compare(name, got, want)


def compare(name: str, got: Any, want: Any) -> None:
    """Equal shapes and kinds; equal integers, and floats up to the tolerance."""
    assert got.shape == want.shape, name
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, err_msg=name)
        return
    wide = np.asarray(want, np.float64)
    scale = np.abs(wide).max(initial=0.0)
    error = np.abs(np.asarray(got, np.float64) - wide).max(initial=0.0)
    assert error <= TOLERANCE * max(scale, 1e-6), f"{name}: {error} of {scale}"
