"""Emitted artifacts as a whole: bytes, names, state, batches that continue."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("transformers", reason="transformers makes the tiny checkpoint")

from smelt.backends.onnx.emit import WEIGHTS, Emitted, Options, emit
from smelt.backends.onnx.row import Dialect
from smelt.backends.onnx.table import composites
from smelt.backends.onnx.weights_file import ALIGNMENT
from smelt.compiling import compile
from smelt.frontend.build import build
from smelt.frontend.checkpoint import open_checkpoint
from smelt.ir import ops
from smelt.ir.dims import symbol
from smelt.ir.materialize import Weights
from smelt.ir.program import Bound, Function, Program
from smelt.ir.types import DType, Type
from smelt.passes.lift_weights import lift_weights
from smelt.passes.options import Options as PassOptions
from smelt.passes.options import Scheme, parse_kv, parse_quant
from smelt.passes.pipeline import run
from smelt.passes.quantize import quantized
from smelt.runtime.onnx_engine import open_engine
from tests.backends.reference_run import Reference
from tests.tiny import llama

DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
RECIPES = ("int8", "int4,group=32", "int4,group=64,asym", "int8,asym,embedding=int4,lm_head=int4")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tied Llama with a width that no group divides."""
    folder = tmp_path_factory.mktemp("llama")
    return llama(folder, tie_word_embeddings=True, intermediate_size=77, hidden_size=70)


def emitted(
    source: Path, out: Path, dialect: Dialect, quant: str | None = None, kv: str | None = None
) -> Emitted:
    """Emit a checkpoint by the dialect's pipeline."""
    opened = open_checkpoint(str(source))
    shapes = {name: info.shape for name, info in opened.tensors.items()}
    program = build(opened.config, shapes=shapes, context=64)
    chosen = PassOptions(
        quant=parse_quant(quant) if quant else None, kv=parse_kv(kv) if kv else None
    )
    optimized, _ = run(program, f"onnx-{dialect}", chosen, keep=composites(dialect))
    out.mkdir()
    return emit(optimized, Weights(optimized, opened.read), out, Options(dialect))


def tensors(graph: Path) -> dict[str, Any]:
    """The external initializers of a graph by name."""
    import onnx

    model = onnx.load(graph, load_external_data=False)
    return {t.name: t for t in model.graph.initializer if t.external_data}


@pytest.mark.parametrize("quant", [None, *RECIPES])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_same_bytes_twice(
    dialect: Dialect, quant: str | None, checkpoint: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        emitted(checkpoint, tmp_path / name, dialect, quant)
    for file in ("main.onnx", WEIGHTS):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("quant", [None, *RECIPES])
def test_standard_graphs_pass_the_checker(
    quant: str | None, checkpoint: Path, tmp_path: Path
) -> None:
    import onnx

    emitted(checkpoint, tmp_path / "out", "standard", quant)
    onnx.checker.check_model(tmp_path / "out" / "main.onnx", full_check=True)


@pytest.mark.parametrize("quant", [None, *RECIPES])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_weights_are_aligned_whole_and_stored_once(
    dialect: Dialect, quant: str | None, checkpoint: Path, tmp_path: Path
) -> None:
    result = emitted(checkpoint, tmp_path / "out", dialect, quant)
    places: dict[int, int] = {}
    for tensor in tensors(tmp_path / "out" / "main.onnx").values():
        facts = {entry.key: entry.value for entry in tensor.external_data}
        assert facts["location"] == WEIGHTS
        offset, length = int(facts["offset"]), int(facts["length"])
        assert offset % ALIGNMENT == 0
        assert places.setdefault(offset, length) == length
    end = 0
    for offset, length in sorted(places.items()):
        assert 0 <= offset - end < ALIGNMENT
        end = offset + length
    assert end == result.weights_bytes == (tmp_path / "out" / WEIGHTS).stat().st_size


def test_a_tied_table_is_stored_once(checkpoint: Path, tmp_path: Path) -> None:
    rows, columns = open_checkpoint(str(checkpoint)).tensors["model.embed_tokens.weight"].shape
    padded = 96  # no group divides 70 columns
    for dialect in DIALECTS:
        for quant, size in ((None, 4 * rows * columns), ("int8", rows * padded)):
            out = tmp_path / f"{dialect}-{quant}"
            emitted(checkpoint, out, dialect, quant)
            lengths = {}
            for name, tensor in tensors(out / "main.onnx").items():
                facts = {entry.key: int(entry.value) for entry in tensor.external_data[1:]}
                if name.startswith("model.embed_tokens") and "scales" not in name:
                    lengths[facts["offset"]] = facts["length"]
            assert sum(lengths.values()) == size, (dialect, quant)


def test_parameters_keep_their_names(checkpoint: Path, tmp_path: Path) -> None:
    emitted(checkpoint, tmp_path / "out", "standard")
    names = {name.removesuffix(".transposed") for name in tensors(tmp_path / "out" / "main.onnx")}
    assert names <= open_checkpoint(str(checkpoint)).tensors.keys()


@pytest.mark.parametrize("kv", ["f16", "bf16", "int8"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_smaller_caches(dialect: Dialect, kv: str, checkpoint: Path, tmp_path: Path) -> None:
    result = compile(
        checkpoint, target="onnx", dialect=dialect, kv=kv, context=64, out=tmp_path / "artifact"
    )
    certificate = result.manifest.certificate
    assert certificate is not None and certificate.status == "passed"


@pytest.mark.parametrize("quant", RECIPES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_quantized_artifacts_compute_their_meaning(
    dialect: Dialect, quant: str, checkpoint: Path, tmp_path: Path
) -> None:
    result = compile(
        checkpoint, target="onnx", dialect=dialect, quant=quant, context=64, out=tmp_path / "a"
    )
    certificate = result.manifest.certificate
    assert certificate is not None and certificate.status == "passed"
    for output in certificate.outputs:
        assert output.max_abs_error <= 1e-4 * output.max_abs_value


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_batch_continues_with_several_tokens(
    dialect: Dialect, checkpoint: Path, tmp_path: Path
) -> None:
    compile(
        checkpoint,
        target="onnx",
        dialect=dialect,
        context=64,
        out=tmp_path / "artifact",
        verify=False,
    )
    whole, parts = open_engine(tmp_path / "artifact"), open_engine(tmp_path / "artifact")
    ids = np.random.default_rng(0).integers(0, 99, (3, 11))
    mask = np.ones((3, 11), np.int64)
    mask[1, :4] = mask[2, :2] = 0
    positions = np.maximum(mask.cumsum(1) - 1, 0)

    def call(engine: Any, start: int, stop: int) -> np.ndarray[Any, Any]:
        given = {
            "input_ids": ids[:, start:stop],
            "attention_mask": mask[:, :stop],
            "position_ids": positions[:, start:stop],
        }
        result: np.ndarray[Any, Any] = engine.call("main", given)["logits"]
        return result

    expected = call(whole, 0, 11)
    got = np.concatenate([call(parts, *span) for span in ((0, 5), (5, 9), (9, 10), (10, 11))], 1)
    real = mask != 0
    assert np.abs(got - expected)[real].max() <= 1e-5 * np.abs(expected).max()
    for name, held in whole.read_state().items():
        mine = np.moveaxis(parts.read_state()[name], 2, 1)[real]
        assert np.abs(mine - np.moveaxis(held, 2, 1)[real]).max() <= 1e-5 * np.abs(held).max()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_dequantized_weights_are_bit_equal(
    dialect: Dialect, bits: int, symmetric: bool, tmp_path: Path
) -> None:
    """A product with the identity, and rows of a table, are the eager backend's weights exactly."""
    import onnxruntime

    size, rows, group = 96, 40, 32
    weight = np.random.default_rng(1).standard_normal((rows, size)).astype(np.float32)
    kind = Scheme(bits, group, symmetric)
    codes, scales, zeros, _ = quantized(
        ops.param(name="w", type=Type(weight.shape, DType.F32)), kind
    )
    x = ops.input(name="x", type=Type((symbol("batch"), size), DType.F32))
    ids = ops.input(name="ids", type=Type((symbol("batch"),), DType.I64))
    matrix = ops.dequantize(codes, scales, zeros, group=group, size=size)
    picked = ops.quantized_gather(codes, scales, zeros, ids, group=group, size=size)
    outputs = (("product", ops.linear(x, matrix)), ("rows", picked))
    function = Function("main", (x, ids), outputs)
    program = lift_weights(Program("w", "w", {"main": function}, {}, {"batch": Bound(1, 99)}))
    emit(program, Weights(program, lambda name: weight), tmp_path, Options(dialect))
    session = onnxruntime.InferenceSession(tmp_path / "main.onnx")
    eager = Reference(program, Weights(program, lambda name: weight))
    given: dict[str, Any] = {"x": np.eye(size, dtype=np.float32), "ids": np.arange(size) % rows}
    expected = eager.run(given)
    product, table = session.run(["product", "rows"], given)
    assert np.array_equal(product, expected["product"])
    assert np.array_equal(table, expected["rows"])
    assert np.array_equal(product.T, table[:rows])
