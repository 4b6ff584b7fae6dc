"""Mixtures of experts that are chosen with a correction of their scores."""

from __future__ import annotations

from tests.parity.case import table

BASE = {
    "hidden_size": 42,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 10,
    "vocab_size": 99,
    "intermediate_size": 27,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

CASES = [
    *table(
        "minimax_m2",
        {"causal_lm": "MiniMaxM2ForCausalLM", "feature_extraction": "MiniMaxM2Model"},
        {**BASE, "num_local_experts": 5, "num_experts_per_tok": 2},
        {"plain": {}, "partly-rotated": {"rotary_dim": 6, "num_experts_per_tok": 3}},
    ),
    *table(
        "ernie4_5_moe",
        {"causal_lm": "Ernie4_5_MoeForCausalLM", "feature_extraction": "Ernie4_5_MoeModel"},
        {**BASE, "moe_num_experts": 5, "moe_k": 2, "moe_intermediate_size": 21},
        {
            "plain": {},
            "biased": {
                "use_bias": True,
                "tie_word_embeddings": False,
                "moe_layer_start_index": 0,
                "moe_layer_interval": 2,
                "moe_num_shared_experts": 0,
            },
        },
    ),
]
