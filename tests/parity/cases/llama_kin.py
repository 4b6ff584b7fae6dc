"""Llama's further relatives: other norms, blocks, biases, activations and rotations."""

from __future__ import annotations

from typing import Any

from tests.parity.case import table
from tests.parity.cases.decoders import YARN, heads

LM = ("causal_lm",)
NO_QA = ("question_answering",)
ONLY_LM = ("sequence_classification", "token_classification", "question_answering")
BASE: dict[str, Any] = {
    "hidden_size": 42,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "vocab_size": 99,
    "intermediate_size": 57,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WIDE = {**BASE, "hidden_size": 60}

GEMMA = table(
    "gemma",
    heads("Gemma", *NO_QA),
    {**BASE, "head_dim": 10},
    {
        "plain": {},
        "untied": {"tie_word_embeddings": False, "attention_bias": True, "num_labels": 3},
        "legacy-name": {"hidden_act": "gelu", "num_key_value_heads": 1, "vocab_size": 61},
        "yarn": {"tasks": LM, "rope_parameters": YARN},
    },
)

COHERE = table(
    "cohere",
    heads("Cohere", *ONLY_LM),
    WIDE,
    {
        "plain": {},
        "normed-heads": {"use_qk_norm": True, "logit_scale": 0.3, "vocab_size": 57},
        "biased": {"attention_bias": True, "tie_word_embeddings": False, "num_key_value_heads": 6},
        "yarn": {"tasks": LM, "rope_parameters": YARN},
    },
)

CASES = [*GEMMA, *COHERE]
