"""Llama 4: chunks, layers without rotation, experts."""

from __future__ import annotations

from tests.parity.case import table

CASES = table(
    "llama4_text",
    {"causal_lm": "Llama4ForCausalLM", "feature_extraction": "Llama4TextModel"},
    {
        "hidden_size": 42,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 10,
        "vocab_size": 99,
        "intermediate_size": 33,
        "intermediate_size_mlp": 57,
        "num_local_experts": 5,
        "max_position_embeddings": 128,
        "attention_chunk_size": 6,
        "floor_scale": 4,
        "no_rope_layers": [1, 0],
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    {
        "plain": {},
        "every-second": {
            "interleave_moe_layer_step": 2,
            "num_experts_per_tok": 2,
            "use_qk_norm": False,
            "attention_bias": True,
            "attention_chunk_size": 9,
        },
        "cold": {
            "attn_temperature_tuning": False,
            "tie_word_embeddings": True,
            "no_rope_layers": [1, 1],
        },
    },
)
