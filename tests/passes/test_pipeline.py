"""Whole pipelines: values, receipts, dumps, and that a broken step is caught where it breaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from smelt.errors import SmeltError
from smelt.ir.op import OPS
from smelt.ir.parser import parse_program
from smelt.ir.printer import print_program
from smelt.ir.program import Program
from smelt.ir.tensor import make
from smelt.ir.types import DType, Type
from smelt.passes import pipeline
from smelt.passes.match import count_ops
from smelt.passes.options import Options, parse_quant
from smelt.passes.pipeline import PIPELINES, apply, run
from tests.passes.programs import assert_same, reference, results, tiny

COMPOSITES = frozenset(name for name, op in OPS.items() if op.is_composite)


@pytest.mark.parametrize("keep", [frozenset(), COMPOSITES], ids=["expanded", "fused"])
@pytest.mark.parametrize("model", ["llama", "gpt2", "mixtral"])
@pytest.mark.parametrize("target", PIPELINES)
def test_values_stay(target: str, model: str, keep: frozenset[str]) -> None:
    program, receipts = run(tiny(model), target, keep=keep)
    assert receipts[-1].step == "lift_weights"
    assert {n for n in count_ops(program) if OPS[n].is_composite} <= keep
    assert_same(results(program), reference(model))


@pytest.mark.parametrize("keep", [frozenset(), COMPOSITES], ids=["expanded", "fused"])
@pytest.mark.parametrize("target", ["onnx-ort", "edge"])
def test_quantized_values_do_not_depend_on_joins(target: str, keep: frozenset[str]) -> None:
    quant = parse_quant("int4,asym,activations=none")
    plain, _ = run(tiny(), "torch", Options(quant))
    joined, _ = run(tiny(), target, Options(quant), keep=keep)
    assert_same(results(joined), results(plain))


def test_text_of_every_step_parses_back(tmp_path: Path) -> None:
    options = Options(parse_quant("int4"), DType.I8)
    run(tiny("mixtral"), "edge", options, keep=COMPOSITES, dump=tmp_path)
    files = sorted(tmp_path.iterdir())
    assert [f.name for f in files][:3] == ["00_built.ir", "01_fold.ir", "02_recognise.ir"]
    assert files[-1].name.endswith("_lift_weights.ir")
    for file in files:
        text = file.read_text()
        assert print_program(parse_program(text)) == text


def test_receipts_are_plain_and_repeatable() -> None:
    runs = [run(tiny(), "edge", Options(parse_quant("int8")), keep=COMPOSITES)[1] for _ in (1, 2)]
    assert [r.as_dict() for r in runs[0]] == [r.as_dict() for r in runs[1]]
    text = "\n".join(receipt.explain() for receipt in runs[0])
    assert "fuse_norm_residual fired at model.layers.*.post_attention_layernorm ×2" in text
    assert "note: 5 vectors (norms, biases) stay float" in text


def test_a_step_that_breaks_the_graph_is_named() -> None:
    def lie(program: Program) -> Program:
        function = program.functions["main"]
        (logits,) = function.roots
        wrong = make(logits.op, logits.operands, logits.attrs, Type((3,), DType.F32))
        return replace(program, functions={"main": function.with_roots((wrong,))})

    with pytest.raises(SmeltError, match="after lie: linear is typed"):
        apply("lie", lie, tiny())


def test_unknown_target() -> None:
    with pytest.raises(SmeltError, match="no pipeline for target `riscv`"):
        run(tiny(), "riscv")


def test_integer_activations_are_the_edge_default() -> None:
    quant = Options(parse_quant("int8"))
    found = {t: count_ops(run(tiny(), t, quant, keep=COMPOSITES)[0]) for t in ("edge", "torch")}
    assert found["edge"]["quantized_linear"]
    assert not found["torch"]["quantized_linear"]
    assert pipeline.ACTIVATION_TERMS.keys() == PIPELINES.keys()
