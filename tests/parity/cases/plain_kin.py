"""Small variants of Llama, Gemma 2 and GPT-NeoX."""

from __future__ import annotations

from tests.parity.case import table
from tests.parity.cases.mixtures import heads

BASE = {
    "hidden_size": 48,
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

CASES = [
    *table(
        "cwm",
        heads("Cwm"),
        {**BASE, "head_dim": 10, "sliding_window": 6},
        {
            "plain": {},
            "kinds": {
                "layer_types": ["sliding_attention", "full_attention"],
                "mlp_bias": True,
                "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
                "tasks": ("causal_lm",),
            },
        },
    ),
    *table(
        "vaultgemma",
        heads("VaultGemma"),
        {**BASE, "head_dim": 10, "sliding_window": 6},
        {
            "plain": {},
            "capped": {
                "query_pre_attn_scalar": 21,
                "attn_logit_softcapping": 2.0,
                "final_logit_softcapping": None,
                "attention_bias": True,
                "tasks": ("causal_lm",),
            },
        },
    ),
    *table(
        "jais2",
        heads("Jais2"),
        BASE,
        {
            "plain": {},
            "unbiased": {
                "attention_bias": False,
                "mlp_bias": False,
                "hidden_act": "gelu",
                "head_dim": 10,
                "tie_word_embeddings": True,
                "tasks": ("causal_lm",),
            },
        },
    ),
    *table(
        "iquestcoder",
        {"causal_lm": "LlamaForCausalLM", "feature_extraction": "LlamaModel"},
        BASE,
        {"plain": {"head_dim": 10}, "biased": {"attention_bias": True, "mlp_bias": True}},
    ),
    *table(
        "gpt_neox_japanese",
        {"causal_lm": "GPTNeoXJapaneseForCausalLM", "feature_extraction": "GPTNeoXJapaneseModel"},
        {k: v for k, v in BASE.items() if k not in ("num_key_value_heads", "intermediate_size")},
        {
            "plain": {"intermediate_multiple_size": 1},
            "partly-turned": {
                "intermediate_multiple_size": 2,
                "rotary_pct": 0.5,
                "rotary_emb_base": 300,
                "tie_word_embeddings": False,
                "tasks": ("causal_lm",),
            },
        },
    ),
]
