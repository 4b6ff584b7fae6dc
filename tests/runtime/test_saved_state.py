"""State in files: what was saved goes on bit for bit, whatever kind of state, however stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smelt.compiling import compile
from smelt.runtime.edge_engine import EdgeEngine, open_engine
from tests import tiny
from tests.test_beams import lfm2, mamba, seeded

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def llama(folder: Path) -> Path:
    return tiny.llama(folder)


def sliding(folder: Path) -> Path:
    config = transformers.MistralConfig(
        vocab_size=99,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=5,
        max_position_embeddings=256,
    )
    seeded(transformers.MistralForCausalLM(config), folder)
    return folder


def recurrent(folder: Path) -> Path:
    seeded(mamba(), folder)
    return folder


def mixed(folder: Path) -> Path:
    seeded(lfm2(), folder)
    return folder


KINDS = [
    (llama, None),
    (llama, "f16"),
    (llama, "bf16"),
    (llama, "int8"),
    (sliding, None),
    (sliding, "int8"),
    (recurrent, None),
    (mixed, "f16"),
]


def feed(engine: EdgeEngine, ids: Any) -> Any:
    """The logits of one call."""
    given = np.asarray(ids, np.int64)
    rows, count = given.shape
    arrays: dict[str, Any] = {
        "input_ids": given,
        "attention_mask": np.ones((rows, engine.past + count), np.int64),
        "position_ids": np.tile(np.arange(engine.past, engine.past + count), (rows, 1)),
    }
    wanted = {tensor.name for tensor in engine.manifest.function("main").inputs}
    return engine.call("main", {n: a for n, a in arrays.items() if n in wanted})["logits"]


@pytest.mark.parametrize(("make", "kv"), KINDS, ids=lambda v: getattr(v, "__name__", str(v)))
def test_a_session_goes_on_from_a_file(make: Any, kv: str | None, tmp_path: Path) -> None:
    torch.manual_seed(5)
    out = tmp_path / "model.smelt"
    compile(make(tmp_path / "source"), target="edge", kv=kv, out=out, verify=False, context=200)
    first, second = open_engine(out, threads=1), open_engine(out, threads=1)
    random = np.random.default_rng(2)
    prompt = random.integers(1, 99, (2, 150))  # more than a ring of 5 - 1 + 128 holds
    feed(first, prompt[:, :100])
    feed(first, prompt[:, 100:])
    feed(second, random.integers(1, 99, (2, 3)))  # what is loaded replaces what was there
    saved = tmp_path / "state"
    first._session.save(str(saved))
    second._session.load(str(saved))
    assert second.past == first.past == 150
    for name, array in first.read_state().items():
        assert np.array_equal(array, second.read_state()[name]), name
    for _ in range(3):
        ids = random.integers(1, 99, (2, 1))
        assert np.array_equal(feed(first, ids), feed(second, ids))
    assert [path.name for path in tmp_path.glob("state*")] == ["state"]
