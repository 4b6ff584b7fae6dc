"""The torch target as a module: own parameters, gradients, dtypes, torch.compile, CPU, CUDA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import smelt
from smelt.backends.torch.engine import open_engine
from smelt.backends.torch.module import build_module
from smelt.backends.torch.state import State
from smelt.ir import ops
from smelt.ir.materialize import Weights
from smelt.ir.program import Function, Program
from smelt.ir.types import DType, Type
from tests import tiny

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
    ),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def artifact(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("torch") / "out"
    smelt.compile(checkpoint, target="torch", out=out)
    return out


def oracle(checkpoint: Path) -> Any:
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(checkpoint)


def inputs(device: str, count: int = 11) -> dict[str, torch.Tensor]:
    ids = (torch.arange(2 * count) * 7 % 99).reshape(2, count)
    positions = torch.arange(count).expand(2, count)
    named = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "position_ids": positions,
    }
    return {name: tensor.to(device) for name, tensor in named.items()}


def test_state_dict_has_the_checkpoints_keys_and_values(checkpoint: Path, artifact: Path) -> None:
    found = open_engine(artifact).module.state_dict()
    wanted = oracle(checkpoint).state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_tensor_and_what_is_derived_from_it_stand_side_by_side() -> None:
    kind = Type((3,), DType.F32)
    x = ops.input(name="x", type=kind)
    derived, plain = (ops.param(name=name, type=kind) for name in ("a.w.sub", "a.w"))
    function = Function("main", (x,), (("y", derived + x * plain),))
    program = Program("case", "case", {"main": function}, {}, {})
    weights = Weights(program, lambda name: np.full(3, len(name), np.float32))
    found = build_module(program, weights)(x=torch.ones(3))
    assert found["y"].tolist() == [10.0] * 3


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_equal_the_references(checkpoint: Path, artifact: Path, device: str) -> None:
    module = open_engine(artifact, device=device).module
    model = oracle(checkpoint).to(device)
    given = inputs(device)
    module(**given)["logits"].square().mean().backward()
    model(**given).logits.square().mean().backward()
    for name, wanted in model.named_parameters():
        found = module.get_parameter(name).grad
        assert (found - wanted.grad).abs().max() <= 1e-4 * wanted.grad.abs().max()


@pytest.mark.parametrize("device", DEVICES)
def test_decoding_into_a_static_cache_equals_the_reference(
    checkpoint: Path, artifact: Path, device: str
) -> None:
    engine = open_engine(artifact, context=32, device=device)
    given = inputs("cpu", 20)
    wanted = oracle(checkpoint)(**given).logits.detach().numpy()
    for start, stop in [(0, 13), *((t, t + 1) for t in range(13, 20))]:
        part = {name: tensor[:, start:stop].numpy() for name, tensor in given.items()}
        part["attention_mask"] = given["attention_mask"][:, :stop].numpy()
        found = engine.call("main", part)["logits"]
        assert abs(found - wanted[:, start:stop]).max() <= 1e-4 * abs(wanted).max()
    assert engine.past == 20


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_other_dtypes_stay_close(checkpoint: Path, tmp_path: Path, dtype: str, device: str) -> None:
    smelt.compile(checkpoint, target="torch", out=tmp_path / "out", dtype=dtype)
    module = open_engine(tmp_path / "out", device=device).module
    assert {p.dtype for p in module.parameters()} == {
        torch.bfloat16 if dtype == "bf16" else torch.float16
    }
    wanted = oracle(checkpoint)(**inputs("cpu")).logits
    with torch.inference_mode():
        found = module(**inputs(device))["logits"].float().cpu()
    assert (found - wanted).abs().max() <= (0.1 if dtype == "bf16" else 0.02) * wanted.abs().max()


@pytest.mark.parametrize("device", DEVICES)
def test_torch_compile_gives_the_same(artifact: Path, device: str) -> None:
    module = open_engine(artifact, device=device).module
    given = inputs(device)
    with torch.inference_mode():
        wanted = module(state=State(module.program), **given)["logits"]
        # "aot_eager" traces the whole module without needing a compiler on this machine.
        compiled = torch.compile(module, backend="inductor" if device == "cuda" else "aot_eager")
        found = compiled(state=State(module.program), **given)["logits"]
    assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max()
