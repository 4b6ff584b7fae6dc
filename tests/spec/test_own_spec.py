"""An architecture that the package does not know, added by a spec file beside its checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import smelt
from smelt.errors import SpecError
from smelt.targets import TARGETS

SPEC = '''
"""Echo: what a token says, plus what the tokens before it said, forgetting by half each step."""
dim = config.width

def causal_lm():
    table = param("words.weight", shape=(config.vocab_size, dim))
    x = gather(table, input_ids)
    x = repeat(config.depth, block, x, at="blocks")
    return linear(x, table)

def block(x, i):
    x4 = reshape(x, shape=(batch, 1, seq, dim))
    kept = cache(x4, "seen")
    y = attention(x4, kept, kept, attention_mask, scale=0.5 / (i + 1), causal=True)
    return x + tanh(linear(reshape(y, shape=(batch, seq, dim)), at="mix", out=dim, bias=True))
'''


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    random = np.random.default_rng(3)

    def draw(*shape: int) -> Any:
        return random.standard_normal(shape).astype(np.float32)

    folder = tmp_path / "echo"
    folder.mkdir()
    tensors = {"words.weight": draw(13, 6)}
    for i in range(2):
        tensors |= {f"blocks.{i}.mix.weight": draw(6, 6), f"blocks.{i}.mix.bias": draw(6)}
    save_file(tensors, folder / "model.safetensors")
    config = {"model_type": "echo", "width": 6, "depth": 2, "vocab_size": 13}
    (folder / "config.json").write_text(
        json.dumps({**config, "architectures": ["EchoForCausalLM"]})
    )
    (folder / "smelt.arch").write_text(SPEC)
    return folder


def expected(checkpoint: Path, ids: Any) -> Any:
    """The same model written down in numpy."""
    from safetensors.numpy import load_file

    w = load_file(checkpoint / "model.safetensors")
    x = w["words.weight"][ids]
    for i in range(2):
        scores = x @ x.transpose(0, 2, 1) * (0.5 / (i + 1))
        scores = np.where(np.tril(np.ones(scores.shape[1:], bool)), scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        y = (weights / weights.sum(-1, keepdims=True)) @ x
        x = x + np.tanh(y @ w[f"blocks.{i}.mix.weight"].T + w[f"blocks.{i}.mix.bias"])
    return x @ w["words.weight"].T


@pytest.mark.parametrize(
    "target, dialect", [("torch", None), ("onnx", "standard"), ("onnx", "ort"), ("edge", None)]
)
def test_it_compiles_and_runs(
    checkpoint: Path, tmp_path: Path, target: str, dialect: str | None
) -> None:
    if (target, dialect) not in TARGETS:
        pytest.skip(f"no target {target} {dialect or ''}")
    out = tmp_path / "out"
    compiled = smelt.compile(checkpoint, target=target, dialect=dialect, out=out, context=32)
    assert compiled.manifest.certificate is not None
    assert compiled.manifest.certificate.status == "passed"
    engine = TARGETS[target, dialect].open(out)
    ids = np.array([[3, 1, 4, 1, 5, 9, 2, 6]])
    first = engine.call(
        "main", {"input_ids": ids[:, :5], "attention_mask": np.ones((1, 5), np.int64)}
    )
    rest = engine.call(
        "main", {"input_ids": ids[:, 5:], "attention_mask": np.ones((1, 8), np.int64)}
    )
    logits = np.concatenate([first["logits"], rest["logits"]], 1)
    np.testing.assert_allclose(logits, expected(checkpoint, ids), atol=1e-5)


def test_without_its_spec_the_type_is_unknown(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "smelt.arch").unlink()
    with pytest.raises(SpecError, match="no spec for model type `echo`"):
        smelt.compile(checkpoint, target="torch", out=tmp_path / "out")


def test_a_spec_by_path_wins(checkpoint: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.arch"
    other.write_text(SPEC.replace("tanh(", "sigmoid("))
    out = tmp_path / "out"
    smelt.compile(checkpoint, target="torch", out=out, spec=other, verify=False)
    ids = np.array([[3, 1, 4]])
    inputs = {"input_ids": ids, "attention_mask": np.ones((1, 3), np.int64)}
    logits = TARGETS["torch", None].open(out).call("main", inputs)["logits"]
    assert np.abs(logits - expected(checkpoint, ids)).max() > 0.1
