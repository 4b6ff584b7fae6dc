"""Short convolutions, linear recurrences and lightning attention beside attention."""

from __future__ import annotations

from typing import Any

from tests.parity.case import table

LM = ("causal_lm",)
BASE: dict[str, Any] = {
    "hidden_size": 42,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "vocab_size": 99,
    "intermediate_size": 27,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LONG = {**BASE, "max_position_embeddings": 128}

CASES = [
    *table(
        "recurrent_gemma",
        {"causal_lm": "RecurrentGemmaForCausalLM", "feature_extraction": "RecurrentGemmaModel"},
        {**BASE, "hidden_size": 24, "block_types": ["recurrent", "attention"]},
        {
            "plain": {"attention_window_size": 6},
            "wide": {
                "lru_width": 30,
                "conv1d_width": 3,
                "logits_soft_cap": 3.0,
                "attention_bias": True,
                "tie_word_embeddings": False,
                "num_key_value_heads": 3,
                "rope_parameters": {"rope_type": "default", "rope_theta": 300.0},
                "tasks": LM,
            },
        },
    ),
    *table(
        "lfm2",
        {"causal_lm": "Lfm2ForCausalLM", "feature_extraction": "Lfm2Model"},
        {**LONG, "block_multiple_of": 10},
        {
            "plain": {"full_attn_idxs": [1]},
            "biased": {
                "layer_types": ["full_attention", "conv"],
                "conv_bias": True,
                "conv_L_cache": 5,
                "block_ffn_dim_multiplier": 1.3,
                "tie_word_embeddings": False,
                "prompt": 3,
                "pads": (1, 0, 0),
                "tasks": LM,
            },
            "own-width": {
                "layer_types": ["conv", "full_attention"],
                "block_auto_adjust_ff_dim": False,
                "tasks": LM,
            },
        },
    ),
    *table(
        "lfm2_moe",
        {"causal_lm": "Lfm2MoeForCausalLM", "feature_extraction": "Lfm2MoeModel"},
        {
            **LONG,
            "layer_types": ["conv", "full_attention"],
            "num_experts": 5,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 21,
            "num_dense_layers": 1,
        },
        {
            "plain": {},
            "unbiased": {
                "use_expert_bias": False,
                "norm_topk_prob": False,
                "routed_scaling_factor": 1.7,
                "num_dense_layers": 0,
                "conv_bias": True,
                "tasks": LM,
            },
        },
    ),
    *table(
        "minimax",
        {
            "causal_lm": "MiniMaxForCausalLM",
            "feature_extraction": "MiniMaxModel",
            "sequence_classification": "MiniMaxForSequenceClassification",
            "token_classification": "MiniMaxForTokenClassification",
            "question_answering": "MiniMaxForQuestionAnswering",
        },
        {**LONG, "num_local_experts": 5, "block_size": 4},
        {
            "plain": {"num_labels": 3},
            # Its first layer counts the tokens in transformers, so it must have a cache.
            "weighed": {
                "layer_types": ["full_attention", "linear_attention"],
                "head_dim": 10,
                "full_attn_alpha_factor": 1.3,
                "full_attn_beta_factor": 0.7,
                "linear_attn_alpha_factor": 0.6,
                "linear_attn_beta_factor": 1.4,
                "mlp_alpha_factor": 1.2,
                "mlp_beta_factor": 0.8,
                "sliding_window": 6,
                "num_experts_per_tok": 3,
                "tasks": LM,
            },
        },
    ),
]
