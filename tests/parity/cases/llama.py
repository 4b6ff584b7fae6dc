"""Llama: every rope type, grouped heads, biases, tied and untied heads."""

from __future__ import annotations

from tests.parity.case import table

BASE = {
    "hidden_size": 42,
    "num_hidden_layers": 2,
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
HEADS = {
    "causal_lm": "LlamaForCausalLM",
    "feature_extraction": "LlamaModel",
    "sequence_classification": "LlamaForSequenceClassification",
    "token_classification": "LlamaForTokenClassification",
    "question_answering": "LlamaForQuestionAnswering",
}
LM = ("causal_lm",)

CASES = table(
    "llama",
    HEADS,
    BASE,
    {
        "plain": {},
        "tied-mqa": {"tie_word_embeddings": True, "num_key_value_heads": 1, "num_labels": 3},
        "biased": {"attention_bias": True, "mlp_bias": True, "vocab_size": 61, "num_labels": 1},
        "wide-heads": {
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "head_dim": 18,
            "hidden_act": "gelu",
            "rms_norm_eps": 1e-3,
            "pads": (0, 7, 2),
        },
        "linear": {
            "tasks": LM,
            "rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0},
        },
        "dynamic": {
            "tasks": LM,
            "rope_parameters": {"rope_type": "dynamic", "factor": 2.5, "rope_theta": 1000.0},
            "max_position_embeddings": 17,
        },
        "dynamic-long-prompt": {
            "tasks": LM,
            "rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1000.0},
            "max_position_embeddings": 8,
        },
        "yarn": {
            "tasks": LM,
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 4.0,
                "rope_theta": 300.0,
                "original_max_position_embeddings": 32,
            },
        },
        "yarn-mscale": {
            "tasks": LM,
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 8.0,
                "rope_theta": 300.0,
                "original_max_position_embeddings": 16,
                "beta_fast": 16.0,
                "beta_slow": 2.0,
                "mscale": 0.7,
                "mscale_all_dim": 1.3,
                "truncate": False,
            },
        },
        "longrope": {
            "tasks": LM,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 400.0,
                "short_factor": [1.0, 1.1, 1.2, 1.5, 2.0],
                "long_factor": [1.3, 2.0, 3.0, 4.5, 8.0],
                "original_max_position_embeddings": 24,
            },
        },
        "llama3": {
            "tasks": LM,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
    },
)
