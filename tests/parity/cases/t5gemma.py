"""T5Gemma: an encoder and a decoder of sizes of their own, with windows shorter than the text."""

from __future__ import annotations

from typing import Any

from tests.parity.case import table

PART: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 42,
    "intermediate_size": 55,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "query_pre_attn_scalar": 11,
    "sliding_window": 5,
}
OTHER: dict[str, Any] = {
    **PART,
    "hidden_size": 36,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "num_hidden_layers": 3,
    "sliding_window": 4,
    "layer_types": ["full_attention", "sliding_attention", "full_attention"],
    "hidden_activation": "silu",
    "attention_bias": True,
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
    "rms_norm_eps": 1e-3,
    "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0},
}
LM: dict[str, Any] = {"tasks": ("seq2seq_lm", "seq2seq_features")}
READ: dict[str, Any] = {"tasks": ("sequence_classification", "token_classification")}
ALONE: dict[str, Any] = {"is_encoder_decoder": False}

CASES = table(
    "t5gemma",
    {
        "seq2seq_lm": "T5GemmaForConditionalGeneration",
        "seq2seq_features": "T5GemmaModel",
        "feature_extraction": "T5GemmaEncoderModel",
        "sequence_classification": "T5GemmaForSequenceClassification",
        "token_classification": "T5GemmaForTokenClassification",
    },
    {"encoder": PART, "decoder": PART, "vocab_size": 99},
    {
        "plain": LM,
        "unlike": {**LM, "decoder": OTHER, "tie_word_embeddings": False, "pads": (0, 6, 1)},
        "unlike-encoder": {"tasks": ("seq2seq_lm",), "encoder": OTHER},
        "read": {**READ, "num_labels": 3},
        "read-alone": {**READ, **ALONE, "encoder": OTHER},
        "alone": {**ALONE, "tasks": ("feature_extraction",)},
    },
)
