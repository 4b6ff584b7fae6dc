"""State, chunks and rows of the TensorRT engine, with onnxruntime in the GPU's place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smelt.errors import ArtifactError
from smelt.runtime.engine import Array
from smelt.runtime.tensorrt_engine import TensorRTEngine
from tests.tensorrt.graphs import VOCAB, decoder, encoder
from tests.tensorrt.host import HostMemory, HostPlan


def opened(tmp_path: Path, chunk: int = 0) -> tuple[TensorRTEngine, HostPlan, HostMemory]:
    manifest = decoder(tmp_path / "main.onnx")
    manifest = manifest.model_copy(update={"options": {"chunk": str(chunk)}})
    memory = HostMemory()
    plan = HostPlan(tmp_path / "main.onnx", memory)
    return TensorRTEngine(manifest, {"main": plan}, memory), plan, memory


def feed(ids: Array, past: int = 0) -> dict[str, Array]:
    mask = np.ones((ids.shape[0], past + ids.shape[1]), np.int64)
    return {"input_ids": ids, "attention_mask": mask}


IDS = np.random.default_rng(1).integers(0, VOCAB, (2, 11))


def test_chunks_and_steps_give_what_one_call_gives(tmp_path: Path) -> None:
    whole, _, _ = opened(tmp_path)
    want = whole.call("main", feed(IDS))["logits"]
    engine, plan, memory = opened(tmp_path, chunk=4)
    got = [engine.call("main", feed(IDS[:, :9]))["logits"]]
    assert [call["attention_mask"][1] for call in plan.calls] == [4, 8, 9]
    for step in (9, 10):
        got.append(engine.call("main", feed(IDS[:, step : step + 1], step))["logits"])
    np.testing.assert_allclose(np.concatenate(got, 1), want, rtol=1e-5, atol=1e-6)
    assert engine.past == 11
    for name, state in whole.read_state().items():
        np.testing.assert_allclose(engine.read_state()[name], state, rtol=1e-5, atol=1e-6)
    assert len(memory.arrays) == 2, "only the two slots are held between calls"
    engine.reset()
    assert not memory.arrays
    assert engine.past == 0


def test_rewind_and_reorder(tmp_path: Path) -> None:
    engine, _, _ = opened(tmp_path)
    engine.call("main", feed(IDS[:, :6]))
    want = engine.call("main", feed(IDS[:, 6:8], 6))["logits"]
    engine.rewind(6)
    assert engine.past == 6
    np.testing.assert_allclose(engine.call("main", feed(IDS[:, 6:8], 6))["logits"], want)
    engine.rewind(6)
    engine.reorder(np.array([1, 0]))
    swapped = engine.call("main", feed(IDS[::-1, 6:8], 6))["logits"]
    np.testing.assert_allclose(swapped, want[::-1], rtol=1e-5, atol=1e-6)
    with pytest.raises(ArtifactError, match="rewind to 9 tokens, 8 are held"):
        engine.rewind(9)


def test_an_encoder_has_no_state(tmp_path: Path) -> None:
    manifest = encoder(tmp_path / "main.onnx")
    memory = HostMemory()
    engine = TensorRTEngine(manifest, {"main": HostPlan(tmp_path / "main.onnx", memory)}, memory)
    out = engine.call("main", feed(IDS))
    assert out["last_hidden_state"].shape[:2] == IDS.shape
    assert not memory.arrays
    assert engine.bytes() == {"weights": 1, "state": 0, "activations": 2}
