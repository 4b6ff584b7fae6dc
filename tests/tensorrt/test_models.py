"""Engines of many model types are built; state is kept right on the models' own graphs."""

from __future__ import annotations

from pathlib import Path

import pytest

import smelt
from smelt.golden import GOLDEN, recheck
from smelt.runtime.folder import open_folder
from smelt.runtime.tensorrt_engine import TensorRTEngine
from tests.parity.case import all_cases
from tests.parity.checkpoints import make
from tests.tensorrt.host import HostMemory, HostPlan

FIRST = {case.model_type: case for case in reversed(all_cases())}
# Each stretches the graphs in another way; relatives of these would only repeat them.
BUILT = ("llama", "gemma2", "mixtral", "gpt2", "bert", "vit", "t5", "whisper", "mamba")
# One of each kind of state: grows, has a window, is replaced, comes from an encoder.
STATEFUL = ("llama", "gemma2", "mamba", "t5", "whisper")


@pytest.mark.parametrize("model_type", BUILT)
def test_engines_are_built(model_type: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    case = FIRST[model_type]
    made = smelt.compile(
        make(case).directory,
        target="tensorrt",
        task=case.task,
        out=tmp_path / "artifact",
        verify=False,
    )
    engines = {f.file: 0 for f in made.manifest.functions}
    sizes = {entry.path: entry.bytes for entry in made.manifest.files}
    assert all(sizes[str(name)] > 100_000 for name in engines)
    assert made.manifest.requires == ("tensorrt_rtx",)
    assert not (tmp_path / "artifact" / "onnx").exists()


@pytest.mark.parametrize("chunk", [0, 5])
@pytest.mark.parametrize("model_type", STATEFUL)
def test_state_on_real_graphs(model_type: str, chunk: int, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    case = FIRST[model_type]
    made = smelt.compile(
        make(case).directory,
        target="onnx",
        dialect="standard",
        task=case.task,
        out=tmp_path / "artifact",
    )
    folder = open_folder(tmp_path / "artifact")
    memory = HostMemory()
    plans = {f.name: HostPlan(folder.file(str(f.file)), memory) for f in made.manifest.functions}
    manifest = made.manifest.model_copy(update={"options": {"chunk": str(chunk)}})
    engine = TensorRTEngine(manifest, plans, memory)
    recheck(engine, made.manifest, folder.read(GOLDEN), progress=lambda what: None)
    assert not memory.arrays
