"""Small specs, and a build of them without a checkpoint."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from smelt.frontend.build import build
from smelt.ir.program import Program

CONFIG: dict[str, Any] = {"model_type": "tiny", "vocab_size": 7, "hidden_size": 4}

#: A whole causal language model, small enough to be changed in a test.
TINY = """
def causal_lm():
    x = embedding(input_ids, at="embed", rows=config.vocab_size, dim=config.hidden_size)
    return linear(x, at="head", out=config.vocab_size)
"""

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 12,
    "vocab_size": 11,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "max_position_embeddings": 32,
}


def build_text(text: str, config: dict[str, Any] | None = None, **options: Any) -> Program:
    """The program of a spec's text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.arch"
        path.write_text(text, encoding="utf-8")
        return build(config or CONFIG, spec=path, **options)


def returning(expression: str, before: str = "") -> str:
    """A spec whose language model gives an expression of ``x``."""
    return f"""
def causal_lm():
    x = embedding(input_ids, at="embed", rows=config.vocab_size, dim=config.hidden_size)
    {before or "y = x"}
    return {expression}
"""
