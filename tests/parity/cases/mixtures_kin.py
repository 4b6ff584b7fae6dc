"""Variants of mixtures of experts: which layers have them, how they are scored, what is shared."""

from __future__ import annotations

from tests.parity.case import table
from tests.parity.cases.mixtures import BASE, HEAD_10, LATENT, OWN, QWEN, SCORED, YARN, heads

KINDS = ["sliding_attention", "full_attention"]
TWO_ROPES = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
    "full_attention": {
        "rope_type": "yarn",
        "factor": 4.0,
        "rope_theta": 900.0,
        "partial_rotary_factor": 0.5,
        "original_max_position_embeddings": 32,
    },
}
PLAIN = {k: v for k, v in OWN.items() if k != "num_experts_per_tok"}
#: DeepSeek-V3's keys without its experts.
ATTENTION = {k: v for k, v in LATENT.items() if k not in SCORED or k in BASE}
ATTENTION = {**ATTENTION, "num_key_value_heads": 6}
ATTENTION.pop("num_experts_per_tok")

CASES = [
    *table(
        "solar_open",
        heads("SolarOpen"),
        {**{k: v for k, v in SCORED.items() if k != "first_k_dense_replace"}, "head_dim": 12},
        {
            "plain": {},
            "one-group": {
                "n_group": 1,
                "topk_group": 1,
                "attention_bias": True,
                "norm_topk_prob": False,
                "rope_parameters": {"rope_type": "default", "rope_theta": 300.0},
                "tasks": ("causal_lm",),
            },
        },
    ),
    *table(
        "exaone_moe",
        heads("ExaoneMoe"),
        {**OWN, "num_experts": 6, "moe_intermediate_size": 21, "sliding_window": 6},
        {
            "plain": {"layer_types": KINDS, "n_group": 3, "topk_group": 2},
            "unwindowed": {
                "num_shared_experts": 2,
                "mlp_layer_types": ["sparse", "dense"],
                "norm_topk_prob": False,
                "sliding_window_pattern": 2,
                "tasks": ("causal_lm",),
            },
        },
    ),
    *table(
        "glm4_moe_lite",
        heads("Glm4MoeLite"),
        {k: v for k, v in LATENT.items() if k != "first_k_dense_replace"},
        {
            "plain": {},
            "sparse-first": {
                "mlp_layer_types": ["sparse", "dense"],
                "q_lora_rank": None,
                "rope_interleave": False,
                "attention_bias": True,
                "tasks": ("causal_lm",),
            },
        },
    ),
    *table(
        "hy_v3",
        heads("HYV3"),
        {**HEAD_10, "num_experts": 5, "moe_intermediate_size": 21},
        {
            "plain": {},
            "biased": {
                "attention_bias": True,
                "mlp_bias": True,
                "num_shared_experts": 2,
                "mlp_layer_types": ["sparse", "dense"],
                "router_scaling_factor": 1.3,
                "tasks": ("causal_lm",),
            },
        },
    ),
    *table(
        "mistral4",
        heads("Mistral4", "sequence_classification", "token_classification"),
        LATENT,
        {
            "plain": {
                "rope_parameters": {
                    **YARN,
                    "original_max_position_embeddings": 8,
                    "llama_4_scaling_beta": 0.3,
                },
            },
            "one-group": {
                "n_group": 1,
                "topk_group": 1,
                "q_lora_rank": None,
                "rope_interleave": False,
                "norm_topk_prob": False,
                "attention_bias": True,
                "tasks": ("causal_lm",),
            },
        },
    ),
    *table(
        "mellum",
        heads("Mellum"),
        {**QWEN, "head_dim": 10, "sliding_window": 6},
        {
            "plain": {},
            "kinds": {
                "layer_types": KINDS,
                "rope_parameters": {
                    k: {**v, "partial_rotary_factor": 1.0} for k, v in TWO_ROPES.items()
                },
                "mlp_layer_types": ["sparse", "dense"],
                "attention_bias": True,
                "norm_topk_prob": False,
                "tasks": ("causal_lm",),
            },
        },
    ),
    *table(
        "laguna",
        heads("Laguna"),
        {**QWEN, "head_dim": 12, "sliding_window": 6, "shared_expert_intermediate_size": 19},
        {
            "plain": {},
            "kinds": {
                "layer_types": KINDS,
                "rope_parameters": TWO_ROPES,
                "num_attention_heads_per_layer": [4, 6],
                "mlp_layer_types": ["sparse", "sparse"],
                "gating": "per-element",
                "attention_bias": True,
                "moe_routed_scaling_factor": 1.4,
                "moe_router_logit_softcapping": 0.8,
                "tasks": ("causal_lm",),
            },
        },
    ),
    *table(
        "granitemoe_swa",
        heads("GraniteMoeSWA"),
        {**OWN, "num_local_experts": 5, "attention_multiplier": 0.3, "sliding_window": 6},
        {
            "plain": {"shared_intermediate_size": 19, "residual_multiplier": 0.6},
            "turns": {"layer_rope_theta": [300.0, 0], "tasks": ("causal_lm",)},
        },
    ),
    *table(
        "granite_swa",
        heads("GraniteSWA"),
        {**PLAIN, "attention_multiplier": 0.3, "sliding_window": 6, "logits_scaling": 2.0},
        {
            "plain": {"embedding_multiplier": 3.0},
            "turns": {
                "layer_rope_theta": [0, 300.0],
                "layer_types": KINDS,
                "attention_bias": True,
                "mlp_bias": True,
                "tie_word_embeddings": False,
                "tasks": ("causal_lm",),
            },
        },
    ),
    *table(
        "cohere2_moe",
        heads("Cohere2Moe"),
        {**HEAD_10, "num_experts": 5, "sliding_window": 6, "layer_types": KINDS},
        {
            "plain": {},
            "shared": {
                "num_shared_experts": 2,
                "expert_selection_fn": "sigmoid",
                "mlp_layer_types": ["sparse", "dense"],
                "prefix_dense_intermediate_size": 31,
                "rms_norm_eps": 1e-5,
                "attention_bias": True,
                "tasks": ("causal_lm",),
            },
            "summed": {
                "num_shared_experts": 1,
                "shared_expert_combination_strategy": "sum",
                "expert_selection_fn": "sigmoid",
                "norm_topk_prob": False,
                "layer_types": None,
                "sliding_window_pattern": 2,
                "tie_word_embeddings": False,
                "tasks": ("causal_lm",),
            },
        },
    ),
    *table(
        "youtu",
        heads("Youtu"),
        ATTENTION,
        {"plain": {}, "yarn": {"rope_parameters": YARN, "q_lora_rank": None}},
    ),
    *table(
        "minicpm3",
        heads("MiniCPM3", "sequence_classification"),
        ATTENTION,
        {
            "plain": {"dim_model_base": 20, "v_head_dim": None},
            "yarn": {
                "rope_parameters": YARN,
                "q_lora_rank": None,
                "scale_emb": 3,
                "scale_depth": None,
                "dim_model_base": None,
                "attention_bias": True,
                "mlp_bias": True,
                "tie_word_embeddings": False,
                "tasks": ("causal_lm",),
            },
        },
    ),
    *table(
        "openai_privacy_filter",
        {
            "feature_extraction": "OpenAIPrivacyFilterModel",
            "token_classification": "OpenAIPrivacyFilterForTokenClassification",
        },
        {**HEAD_10, "num_local_experts": 5, "sliding_window": 4, "num_labels": 5},
        {
            "plain": {},
            "turned": {
                "swiglu_limit": 0.5,
                "attention_bias": False,
                "num_experts_per_tok": 3,
                "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
                "tasks": ("token_classification",),
            },
        },
    ),
]
