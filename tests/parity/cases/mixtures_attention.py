"""Mixtures of experts whose attention differs too: experts of queries, gates, pairs of blocks."""

from __future__ import annotations

from tests.parity.case import table
from tests.parity.cases.mixtures import BASE, HEAD_10, LATENT, SCORED, heads

LONG = {
    "rope_type": "longrope",
    "rope_theta": 300.0,
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.5],
    "long_factor": [2.0, 2.5, 3.0, 3.5, 4.0],
    "short_mscale": 1.2,
    "long_mscale": 1.5,
    "original_max_position_embeddings": 20,
}
DBRX = {
    "d_model": 48,
    "n_heads": 6,
    "n_layers": 2,
    "vocab_size": 99,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

CASES = [
    *table(
        "phimoe",
        heads("Phimoe", "sequence_classification"),
        {**HEAD_10, "num_local_experts": 5, "router_jitter_noise": 0.2},
        {
            "plain": {"sliding_window": 6},
            "long": {
                "rope_parameters": LONG,
                "attention_bias": True,
                "lm_head_bias": True,
                "router_jitter_noise": 0.01,
                "num_labels": 3,
            },
        },
    ),
    *table(
        "jetmoe",
        heads("JetMoe", "sequence_classification"),
        {**BASE, "num_key_value_heads": 3, "kv_channels": 8, "num_local_experts": 5},
        {
            "plain": {},
            "three": {
                "num_experts_per_tok": 3,
                "num_local_experts": 4,
                "tie_word_embeddings": False,
                "activation_function": "gelu",
                "rms_norm_eps": 1e-3,
                "rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0},
            },
        },
    ),
    *table(
        "dbrx",
        heads("Dbrx"),
        DBRX,
        {
            "plain": {
                "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0},
                "ffn_config": {"ffn_hidden_size": 27, "moe_num_experts": 5, "moe_top_k": 2},
            },
            "limited": {
                "attn_config": {"kv_n_heads": 1, "clip_qkv": 0.7, "rope_theta": 10000.0},
                "ffn_config": {
                    "ffn_hidden_size": 19,
                    "moe_num_experts": 4,
                    "moe_top_k": 3,
                    "moe_normalize_expert_weights": 2.0,
                    "ffn_act_fn": {"name": "gelu"},
                },
                "rope_parameters": {"rope_type": "default", "rope_theta": 700.0},
            },
            "unnormed": {
                "attn_config": {"kv_n_heads": 6, "clip_qkv": 2.5, "rope_theta": 10000.0},
                "ffn_config": {"ffn_hidden_size": 19, "moe_normalize_expert_weights": None},
                "tasks": ("causal_lm",),
            },
        },
    ),
    *table(
        "afmoe",
        heads("Afmoe"),
        {
            **HEAD_10,
            "num_experts": 6,
            "moe_intermediate_size": 21,
            "sliding_window": 6,
            "global_attn_every_n_layers": 2,
        },
        {
            "plain": {},
            "loud": {
                "mup_enabled": True,
                "num_dense_layers": 0,
                "num_shared_experts": 1,
                "route_scale": 2.3,
                "attention_bias": True,
                "layer_types": ["full_attention", "sliding_attention"],
                "tie_word_embeddings": True,
            },
        },
    ),
    *table(
        "longcat_flash",
        heads("LongcatFlash"),
        {
            **{k: v for k, v in LATENT.items() if k not in ("num_hidden_layers", *SCORED)},
            "hidden_size": 42,
            "num_attention_heads": 6,
            "vocab_size": 99,
            "max_position_embeddings": 128,
            "num_layers": 1,
            "ffn_hidden_size": 27,
            "expert_ffn_hidden_size": 21,
            "n_routed_experts": 4,
            "zero_expert_num": 3,
            "moe_topk": 3,
            "routed_scaling_factor": 1.7,
            "head_dim": 6,
            "pad_token_id": 0,
        },
        {
            "plain": {},
            "all-busy": {
                "zero_expert_num": 0,
                "num_layers": 2,
                "attention_bias": True,
                "moe_topk": 2,
                "tasks": ("causal_lm",),
            },
            "yarn": {
                "rope_parameters": {
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "rope_theta": 300.0,
                    "mscale": 0.7,
                    "mscale_all_dim": 1.3,
                    "original_max_position_embeddings": 32,
                },
                "tasks": ("causal_lm",),
            },
        },
    ),
]
