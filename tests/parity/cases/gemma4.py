"""Gemma 4: two kinds of layers of different widths, shared keys, experts."""

from __future__ import annotations

from tests.parity.case import table

KINDS = ["sliding_attention", "full_attention"]

CASES = table(
    "gemma4_text",
    {"causal_lm": "Gemma4ForCausalLM", "feature_extraction": "Gemma4TextModel"},
    {
        "hidden_size": 42,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 10,
        "global_head_dim": 16,
        "vocab_size": 99,
        "vocab_size_per_layer_input": 99,
        "hidden_size_per_layer_input": 6,
        "intermediate_size": 57,
        "max_position_embeddings": 128,
        "sliding_window": 5,
        "layer_types": KINDS * 2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    {
        "plain": {"num_hidden_layers": 2, "layer_types": KINDS},
        "shared": {
            "num_kv_shared_layers": 2,
            "use_double_wide_mlp": True,
            "final_logit_softcapping": 3.0,
            "tie_word_embeddings": False,
        },
        "experts": {
            "num_hidden_layers": 2,
            "layer_types": KINDS,
            "hidden_size_per_layer_input": 0,
            "attention_k_eq_v": True,
            "num_global_key_value_heads": 1,
            "enable_moe_block": True,
            "num_experts": 5,
            "top_k_experts": 2,
            "moe_intermediate_size": 13,
        },
    },
)
