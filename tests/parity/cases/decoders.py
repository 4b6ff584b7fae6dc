"""Llama's relatives: windows, norms on heads, soft caps, experts."""

from __future__ import annotations

from typing import Any

from tests.parity.case import table

BASE: dict[str, Any] = {
    "hidden_size": 42,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 10,
    "vocab_size": 99,
    "intermediate_size": 57,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LM = ("causal_lm",)
YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "rope_theta": 300.0,
    "original_max_position_embeddings": 32,
}


def heads(name: str, *without: str, features: str | None = None) -> dict[str, str]:
    """The classes of a family whose names are regular."""
    endings = {
        "causal_lm": "ForCausalLM",
        "feature_extraction": "Model",
        "sequence_classification": "ForSequenceClassification",
        "token_classification": "ForTokenClassification",
        "question_answering": "ForQuestionAnswering",
    }
    return {task: name + end for task, end in endings.items() if task not in without}


MISTRAL = table(
    "mistral",
    heads("Mistral"),
    BASE,
    {
        "short-window": {"sliding_window": 5},
        "window-of-two": {"sliding_window": 2, "num_key_value_heads": 1, "num_labels": 5},
        "full": {"sliding_window": None, "tie_word_embeddings": True, "num_labels": 3},
        "wide-window": {"sliding_window": 29, "vocab_size": 71, "head_dim": 14, "pads": (0, 3, 9)},
        "yarn": {"tasks": LM, "sliding_window": 7, "rope_parameters": YARN},
    },
)

QWEN2 = table(
    "qwen2",
    heads("Qwen2"),
    {k: v for k, v in BASE.items() if k != "head_dim"} | {"hidden_size": 60},
    {
        "plain": {},
        "late-window": {
            "use_sliding_window": True,
            "sliding_window": 6,
            "max_window_layers": 1,
            "num_labels": 3,
        },
        "layer-types": {
            "use_sliding_window": True,
            "sliding_window": 4,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "tie_word_embeddings": True,
        },
        "odd-heads": {"num_attention_heads": 5, "num_key_value_heads": 5, "vocab_size": 53},
        "yarn": {"tasks": LM, "rope_parameters": YARN},
    },
)

QWEN3 = table(
    "qwen3",
    heads("Qwen3"),
    BASE,
    {
        "plain": {},
        "biased": {"attention_bias": True, "tie_word_embeddings": True, "num_labels": 3},
        "late-window": {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 2},
        "odd": {
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "head_dim": 22,
            "vocab_size": 67,
        },
        "yarn": {"tasks": LM, "rope_parameters": YARN},
    },
)

GEMMA2 = table(
    "gemma2",
    heads("Gemma2", "question_answering"),
    BASE | {"query_pre_attn_scalar": 13, "sliding_window": 5},
    {
        "plain": {},
        "untied": {"tie_word_embeddings": False, "final_logit_softcapping": 3.0, "num_labels": 3},
        "hot": {"attn_logit_softcapping": 1.5, "num_key_value_heads": 6, "attention_bias": True},
        "uncapped": {
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
            "layer_types": ["full_attention", "full_attention", "sliding_attention"],
            "vocab_size": 51,
        },
        "yarn": {"tasks": LM, "rope_parameters": YARN},
    },
)

GEMMA3 = table(
    "gemma3_text",
    {
        "causal_lm": "Gemma3ForCausalLM",
        "feature_extraction": "Gemma3TextModel",
        "sequence_classification": "Gemma3TextForSequenceClassification",
    },
    BASE | {"query_pre_attn_scalar": 13, "sliding_window": 5},
    {
        "plain": {"sliding_window_pattern": 2},
        "untied": {"tie_word_embeddings": False, "final_logit_softcapping": 3.0, "num_labels": 3},
        "two-ropes": {
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 900.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 70.0},
            },
        },
        "odd": {"num_key_value_heads": 3, "head_dim": 14, "attention_bias": True, "vocab_size": 47},
        "both-ways": {
            "tasks": ("feature_extraction",),
            "use_bidirectional_attention": True,
            "sliding_window_pattern": 2,
        },
    },
)

MIXTRAL = table(
    "mixtral",
    heads("Mixtral"),
    BASE | {"num_local_experts": 5, "num_experts_per_tok": 2, "num_hidden_layers": 2},
    {
        "plain": {},
        "one-expert": {
            "num_local_experts": 3,
            "num_experts_per_tok": 1,
            "tie_word_embeddings": True,
        },
        "all-experts": {"num_local_experts": 3, "num_experts_per_tok": 3, "num_labels": 3},
        "window": {
            "sliding_window": 6,
            "num_key_value_heads": 1,
            "vocab_size": 73,
            "pads": (3, 0, 5),
        },
    },
)

CASES = [*MISTRAL, *QWEN2, *QWEN3, *GEMMA2, *GEMMA3, *MIXTRAL]
