"""Gemma 3n: streams, inputs for each layer, shared keys, sparse activations."""

from __future__ import annotations

from tests.parity.case import table

CASES = table(
    "gemma3n_text",
    {"causal_lm": "Gemma3nForCausalLM", "feature_extraction": "Gemma3nTextModel"},
    {
        "hidden_size": 42,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 10,
        "vocab_size": 99,
        "vocab_size_per_layer_input": 80,
        "hidden_size_per_layer_input": 6,
        "intermediate_size": 57,
        "max_position_embeddings": 128,
        "sliding_window": 5,
        "laurel_rank": 5,
        "altup_num_inputs": 3,
        "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    {
        "plain": {},
        "sparse": {
            "num_kv_shared_layers": 0,
            "activation_sparsity_pattern": [0.9, 0.5, 0.0, 0.7],
            "intermediate_size": [57, 49, 57, 33],
            "final_logit_softcapping": 3.0,
        },
        "other-stream": {
            "altup_active_idx": 1,
            "altup_correct_scale": False,
            "tie_word_embeddings": False,
        },
    },
)
