"""Gated delta networks beside attention, and their kin."""

from __future__ import annotations

from typing import Any

from tests.parity.case import table

LM = ("causal_lm",)
BASE: dict[str, Any] = {
    "hidden_size": 42,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "vocab_size": 99,
    "intermediate_size": 27,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
#: Each key head serves two value heads.
DELTA: dict[str, Any] = {
    **BASE,
    "head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 6,
    "linear_value_head_dim": 5,
    "layer_types": ["linear_attention", "full_attention"],
}
EXPERTS = {
    "num_experts": 5,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 21,
    "shared_expert_intermediate_size": 19,
}
EQUAL = {"linear_num_key_heads": 3, "linear_num_value_heads": 3, "linear_conv_kernel_dim": 2}
ROPE = {"rope_type": "default", "rope_theta": 300.0, "partial_rotary_factor": 0.5}
KIMI = {
    **BASE,
    "num_key_value_heads": 6,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 21,
    "kv_lora_rank": 14,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 6,
    "v_head_dim": 9,
    "linear_head_dim": 7,
    "linear_num_heads": 3,
    "layer_types": ["linear_attention", "full_attention"],
}

CASES = [
    *table(
        "qwen3_5_text",
        {
            "causal_lm": "Qwen3_5ForCausalLM",
            "feature_extraction": "Qwen3_5TextModel",
            "sequence_classification": "Qwen3_5TextForSequenceClassification",
        },
        DELTA,
        {
            "plain": {"num_labels": 3},
            "equal": {**EQUAL, "attention_bias": True, "rope_parameters": ROPE, "tasks": LM},
            "short": {"linear_conv_kernel_dim": 6, "prompt": 3, "pads": (1, 0, 0), "tasks": LM},
        },
    ),
    *table(
        "qwen3_5_moe_text",
        {"causal_lm": "Qwen3_5MoeForCausalLM", "feature_extraction": "Qwen3_5MoeTextModel"},
        {**DELTA, **EXPERTS},
        {"plain": {}, "equal": {**EQUAL, "num_experts_per_tok": 3, "tasks": LM}},
    ),
    *table(
        "qwen3_next",
        {
            "causal_lm": "Qwen3NextForCausalLM",
            "feature_extraction": "Qwen3NextModel",
            "sequence_classification": "Qwen3NextForSequenceClassification",
            "token_classification": "Qwen3NextForTokenClassification",
            "question_answering": "Qwen3NextForQuestionAnswering",
        },
        {**DELTA, **EXPERTS},
        {
            "plain": {"num_labels": 3},
            "equal": {
                **EQUAL,
                "norm_topk_prob": False,
                "mlp_only_layers": [0],
                "attention_bias": True,
                "tasks": LM,
            },
            "some-layers": {"decoder_sparse_step": 2, "tie_word_embeddings": True, "tasks": LM},
        },
    ),
    *table(
        "olmo_hybrid",
        {"causal_lm": "OlmoHybridForCausalLM", "feature_extraction": "OlmoHybridModel"},
        {**BASE, "hidden_size": 48, "layer_types": DELTA["layer_types"], "linear_key_head_dim": 5},
        {
            "plain": {"attention_bias": True},
            "grouped": {
                "linear_num_key_heads": 2,
                "linear_num_value_heads": 4,
                "linear_value_head_dim": 7,
                "linear_allow_neg_eigval": False,
                "linear_conv_kernel_dim": 3,
                "rope_parameters": {"rope_type": "default", "rope_theta": None},
                "tie_word_embeddings": True,
                "tasks": LM,
            },
        },
    ),
    *table(
        "kimi_linear",
        {"causal_lm": "KimiLinearForCausalLM", "feature_extraction": "KimiLinearModel"},
        KIMI,
        {
            "plain": {},
            "groups": {
                "q_lora_rank": 15,
                "num_local_experts": 6,
                "n_group": 3,
                "topk_group": 2,
                "norm_topk_prob": False,
                "attention_bias": True,
                "n_shared_experts": 2,
                "mlp_layer_types": ["sparse", "dense"],
                "linear_conv_kernel_dim": 2,
                "tasks": LM,
            },
        },
    ),
]
