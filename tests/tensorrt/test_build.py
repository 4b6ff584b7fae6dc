"""Engines are built without a GPU; what is not covered is named before anything is built."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from smelt.backends.tensorrt.emit import Options, check, emit
from smelt.backends.tensorrt.profiles import Range, axis_range, profiles
from smelt.errors import UnsupportedError
from smelt.runtime.cuda import NoGpu, missing_gpu
from smelt.runtime.folder import FolderWriter, open_folder
from smelt.runtime.manifest import Manifest
from smelt.runtime.tensorrt_engine import open_engine
from tests.tensorrt.graphs import (
    DIM,
    HEADS,
    VOCAB,
    WIDTH,
    Described,
    Graph,
    decoder,
    encoder,
    heads,
    mask,
)

RTX = Options(library="tensorrt_rtx", context=64)


def compiled(folder: Path, source: Manifest, out: Path) -> Manifest:
    """Build engines, and describe them as the driver does."""
    built = emit(folder, source.functions, source.symbols, out, RTX)
    told = {"functions": built.functions, "options": built.options, "requires": built.requires}
    return source.model_copy(update={"target": "tensorrt", **told})


@pytest.mark.parametrize("graph", [encoder, decoder])
def test_engine_is_built_without_a_gpu(graph: Callable[[Path], Manifest], tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    source = graph(tmp_path / "main.onnx")
    with FolderWriter(tmp_path / "out") as writer:
        built = writer.seal(compiled(tmp_path, source, writer.path))
    assert open_folder(tmp_path / "out").manifest == built
    assert (built.target, built.requires) == ("tensorrt", ("tensorrt_rtx",))
    assert [entry.path for entry in built.files] == ["main.engine"]
    assert built.files[0].bytes > 10_000
    assert len(json.loads(built.options["profiles"])) == (2 if source.state else 1)


def test_fp32_attention_op_builds(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    source = encoder(tmp_path / "main.onnx")
    g = Graph(opset=23)
    x = g.add("Gather", g.weight(VOCAB, WIDTH), "input_ids")
    y = g.add("Attention", heads(g, x), heads(g, x), heads(g, x), mask(g))
    g.add("Identity", y, out="last_hidden_state")
    ids: Described = ("i64", ["batch", "seq"])
    hidden: Described = ("f32", ["batch", HEADS, "seq", DIM])
    inputs = {"input_ids": ids, "attention_mask": ids}
    g.save(tmp_path / "main.onnx", inputs, {"last_hidden_state": hidden})
    compiled(tmp_path, source, tmp_path)
    assert (tmp_path / "main.engine").stat().st_size > 10_000


def test_without_a_gpu_the_artifact_says_so(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    if missing_gpu() is None:
        pytest.skip("this machine has a GPU")
    source = encoder(tmp_path / "main.onnx")
    with FolderWriter(tmp_path / "out") as writer:
        writer.seal(compiled(tmp_path, source, writer.path))
    with pytest.raises(NoGpu, match="not run: no GPU"):
        open_engine(tmp_path / "out")


def test_uncovered_nodes_are_named(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    g = Graph()
    x = g.add("Relu", "x", out="layers.0")
    x = g.add("FastGelu", x, out="layers.3.mlp", domain="com.microsoft")
    g.add("Relu", x, out="y")
    value = ("f32", ["batch", 4])
    g.save(tmp_path / "main.onnx", {"x": value}, {"y": value})
    with pytest.raises(UnsupportedError, match=r"main\.onnx: `layers\.3\.mlp/FastGelu`"):
        check({"main": tmp_path / "main.onnx"}, RTX)


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    encoder(tmp_path / "main.onnx")
    missing = Options(library="tensorrt")
    with pytest.raises(UnsupportedError, match="no library can build") as raised:
        check({"main": tmp_path / "main.onnx"}, missing)
    assert raised.value.place is not None
    assert raised.value.place.startswith("tensorrt: ")


def test_profiles_of_a_decoder(tmp_path: Path) -> None:
    prefill, decode = profiles(decoder(tmp_path / "main.onnx").symbols, 64, max_batch=2, chunk=16)
    assert prefill["seq"] == Range(1, 16, 16)
    assert prefill["past"] == Range(0, 0, 63)
    assert decode["seq"] == Range(1, 1, 1)
    assert axis_range("past + seq", prefill, "mask") == Range(1, 16, 79)
    assert axis_range("2*seq - 1", prefill, "here") == Range(1, 31, 31)
    assert axis_range("7", prefill, "here") == Range(7, 7, 7)


@pytest.mark.parametrize("text", ["frames", "seq.real", "unknown + seq"])
def test_an_axis_without_bounds_is_refused(text: str, tmp_path: Path) -> None:
    (ranges,) = profiles(encoder(tmp_path / "main.onnx").symbols, 64, max_batch=2, chunk=16)
    with pytest.raises(UnsupportedError) as raised:
        axis_range(text, ranges, "x axis 1")
    assert raised.value.place == "x axis 1"
