"""T5Gemma and T5Gemma 2: an encoder and a decoder, with windows shorter than the text."""

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

FIRST = table(
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

# The second one tells its own: parts of one width, and two kinds of rotation.
TEXT: dict[str, Any] = {**PART, "head_dim": 10}
OTHER_TEXT: dict[str, Any] = {
    **TEXT,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "num_hidden_layers": 3,
    "sliding_window": 4,
    "layer_types": ["full_attention", "sliding_attention", "full_attention"],
    "hidden_activation": "silu",
    "attention_bias": True,
    "final_logit_softcapping": 20.0,
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
        "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0},
    },
}
VISION: dict[str, Any] = {
    "model_type": "siglip_vision_model",
    "hidden_size": 12,
    "intermediate_size": 14,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
SEES: dict[str, Any] = {"vision_config": VISION, "mm_tokens_per_image": 4, "eoi_token_index": 7}

SECOND = table(
    "t5gemma2",
    {
        "seq2seq_lm": "T5Gemma2ForConditionalGeneration",
        "seq2seq_features": "T5Gemma2Model",
        "sequence_classification": "T5Gemma2ForSequenceClassification",
        "token_classification": "T5Gemma2ForTokenClassification",
    },
    {"encoder": {**SEES, "text_config": TEXT}, "decoder": TEXT},
    {
        "plain": {"tasks": ("seq2seq_lm", "seq2seq_features")},
        "unlike": {
            "tasks": ("seq2seq_lm",),
            "encoder": {**SEES, "text_config": OTHER_TEXT},
            "pads": (0, 6, 1),
        },
        "unlike-decoder": {"tasks": ("seq2seq_lm",), "decoder": OTHER_TEXT},
        "read": {
            "tasks": ("sequence_classification", "token_classification"),
            "num_labels": 3,
        },
    },
)

CASES = [*FIRST, *SECOND]
