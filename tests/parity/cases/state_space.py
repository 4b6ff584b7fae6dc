"""Mamba-2, and decoders with Mamba in some of their layers and attention in others."""

from __future__ import annotations

from tests.parity.case import table

BOTH = ("causal_lm", "feature_extraction")
LM = ("causal_lm",)
SPECIAL = {"vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}

MAMBA2 = table(
    "mamba2",
    {"causal_lm": "Mamba2ForCausalLM", "feature_extraction": "Mamba2Model"},
    {
        **SPECIAL,
        "hidden_size": 30,
        "num_heads": 6,
        "head_dim": 10,
        "state_size": 7,
        "n_groups": 3,
        "num_hidden_layers": 2,
        "chunk_size": 4,
    },
    {
        "plain": {"tasks": BOTH},
        "biased": {
            "tasks": LM,
            "use_bias": True,
            "use_conv_bias": False,
            "n_groups": 1,
            "conv_kernel": 3,
            "tie_word_embeddings": True,
            "hidden_act": "gelu",
            "layer_norm_epsilon": 1e-2,
        },
        "bounded": {"tasks": LM, "time_step_limit": (0.5, 1.2), "expand": 4, "head_dim": 20},
    },
)

BAMBA = table(
    "bamba",
    {"causal_lm": "BambaForCausalLM", "feature_extraction": "BambaModel"},
    {
        **SPECIAL,
        "hidden_size": 32,
        "intermediate_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "attn_layer_indices": [1],
        "mamba_n_heads": 4,
        "mamba_n_groups": 2,
        "mamba_d_state": 6,
        "mamba_chunk_size": 5,
    },
    {
        "plain": {"tasks": BOTH},
        "biased": {
            "tasks": LM,
            "attention_bias": True,
            "mlp_bias": True,
            "mamba_proj_bias": True,
            "mamba_conv_bias": False,
            "mamba_n_groups": 1,
            "mamba_expand": 3,
            "mamba_d_conv": 3,
            "tie_word_embeddings": True,
            "time_step_limit": (0.3, 2.0),
            "hidden_act": "gelu",
            "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0},
        },
    },
)

GRANITE = table(
    "granitemoehybrid",
    {"causal_lm": "GraniteMoeHybridForCausalLM", "feature_extraction": "GraniteMoeHybridModel"},
    {
        **SPECIAL,
        "hidden_size": 32,
        "intermediate_size": 20,
        "shared_intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "layer_types": ["linear_attention", "full_attention"],
        "num_local_experts": 4,
        "mamba_n_heads": 8,
        "mamba_d_state": 6,
        "mamba_chunk_size": 5,
        "embedding_multiplier": 2.0,
        "residual_multiplier": 0.7,
        "attention_multiplier": 0.3,
        "logits_scaling": 1.5,
    },
    {
        "plain": {"tasks": BOTH, "position_embedding_type": "rope", "mamba_n_groups": 2},
        "dense": {
            "tasks": LM,
            "num_local_experts": 0,
            "num_experts_per_tok": 0,
            "attention_bias": True,
            "mamba_proj_bias": True,
            "mamba_conv_bias": False,
            "mamba_d_conv": 2,
            "tie_word_embeddings": True,
            "time_step_limit": (0.3, 2.0),
        },
    },
)

ZAMBA = table(
    "zamba",
    {
        "causal_lm": "ZambaForCausalLM",
        "feature_extraction": "ZambaModel",
        "sequence_classification": "ZambaForSequenceClassification",
    },
    {
        **SPECIAL,
        "hidden_size": 24,
        "intermediate_size": 20,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "mamba_d_state": 5,
        "num_labels": 3,
    },
    {
        "plain": {},
        "biased": {
            "tasks": LM,
            "layers_block_type": None,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "num_hidden_layers": 5,
            "n_mamba_heads": 3,
            "mamba_proj_bias": True,
            "mamba_conv_bias": False,
            "mamba_d_conv": 3,
            "mamba_dt_rank": 4,
            "attention_head_dim": 10,
            "hidden_act": "silu",
            "hidden_mamba_act": "gelu",
            "tie_word_embeddings": False,
        },
        "single": {
            "tasks": LM,
            "n_mamba_heads": 1,
            "num_hidden_layers": 3,
            "layers_block_type": ["hybrid", "linear_attention", "hybrid"],
        },
    },
)

ZAMBA2 = table(
    "zamba2",
    {
        "causal_lm": "Zamba2ForCausalLM",
        "feature_extraction": "Zamba2Model",
        "sequence_classification": "Zamba2ForSequenceClassification",
    },
    {
        **SPECIAL,
        "hidden_size": 24,
        "intermediate_size": 20,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "layers_block_type": ["linear_attention", "hybrid", "hybrid"],
        "mamba_d_state": 7,
        "n_mamba_heads": 6,
        "chunk_size": 5,
        "adapter_rank": 3,
        "num_labels": 3,
    },
    {
        "plain": {"use_mem_rope": True},
        # No third hybrid: transformers itself, in f32 and f64, then differs by more than 1e-4.
        "blocks": {
            "tasks": LM,
            "num_mem_blocks": 2,
            "use_shared_attention_adapter": True,
            "hidden_act": "silu",
        },
        "biased": {
            "tasks": LM,
            "mamba_ngroups": 2,
            "add_bias_linear": True,
            "time_step_min": 0.4,
            "mamba_d_conv": 3,
            "hidden_act": "silu",
            "num_key_value_heads": 2,
            "tie_word_embeddings": False,
            "use_conv_bias": False,
        },
    },
)

JAMBA = table(
    "jamba",
    {
        "causal_lm": "JambaForCausalLM",
        "feature_extraction": "JambaModel",
        "sequence_classification": "JambaForSequenceClassification",
    },
    {
        **SPECIAL,
        "hidden_size": 24,
        "intermediate_size": 20,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "attn_layer_period": 3,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "num_experts": 4,
        "mamba_d_state": 5,
        "num_labels": 3,
    },
    {
        "plain": {},
        "biased": {
            "tasks": LM,
            "num_experts": 1,
            "attn_layer_period": 2,
            "num_hidden_layers": 2,
            "mamba_proj_bias": True,
            "mamba_conv_bias": False,
            "mamba_d_conv": 3,
            "mamba_dt_rank": 4,
            "mamba_expand": 3,
            "hidden_act": "gelu",
            "tie_word_embeddings": True,
        },
        "experts-first": {
            "tasks": LM,
            "expert_layer_period": 3,
            "expert_layer_offset": 0,
            "num_experts_per_tok": 3,
            "num_experts": 5,
        },
    },
)

NEMOTRON = table(
    "nemotron_h",
    {"causal_lm": "NemotronHForCausalLM", "feature_extraction": "NemotronHModel"},
    {
        **SPECIAL,
        "hidden_size": 32,
        "intermediate_size": 20,
        "layers_block_type": ["linear_attention", "moe", "full_attention", "mlp"],
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 10,
        "ssm_state_size": 6,
        "mamba_num_heads": 4,
        "mamba_head_dim": 9,
        "n_groups": 2,
        "chunk_size": 5,
        "n_routed_experts": 6,
        "moe_intermediate_size": 12,
        "moe_shared_expert_intermediate_size": 14,
    },
    {
        "plain": {"tasks": BOTH},
        "biased": {
            "tasks": LM,
            "n_groups": 1,
            "use_bias": True,
            "mlp_bias": True,
            "use_conv_bias": False,
            "conv_kernel": 3,
            "time_step_min": 0.4,
            "mamba_hidden_act": "gelu",
            "mlp_hidden_act": "silu",
            "moe_latent_size": 16,
            "n_group": 3,
            "topk_group": 2,
            "norm_topk_prob": False,
            "routed_scaling_factor": 2.5,
        },
    },
)

FALCON = table(
    "falcon_h1",
    {"causal_lm": "FalconH1ForCausalLM", "feature_extraction": "FalconH1Model"},
    {
        **SPECIAL,
        "hidden_size": 32,
        "intermediate_size": 20,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "mamba_d_ssm": 24,
        "mamba_n_heads": 4,
        "mamba_d_state": 7,
        "mamba_chunk_size": 5,
        "lm_head_multiplier": 0.5,
        "embedding_multiplier": 2.0,
        "mlp_multipliers": [0.8, 1.3],
        "key_multiplier": 0.6,
        "attention_out_multiplier": 0.7,
        "attention_in_multiplier": 1.2,
        "ssm_multipliers": [0.9, 1.1, 0.8, 1.2, 0.7],
        "ssm_in_multiplier": 1.4,
        "ssm_out_multiplier": 0.6,
    },
    {
        "plain": {"tasks": BOTH},
        "normed": {
            "tasks": LM,
            "mamba_rms_norm": True,
            "mamba_n_groups": 2,
            "attention_bias": True,
            "mlp_bias": True,
            "mamba_proj_bias": True,
            "projectors_bias": True,
            "mamba_conv_bias": False,
            "mamba_d_conv": 3,
            "tie_word_embeddings": True,
            "time_step_limit": (0.3, 2.0),
        },
        "gate-first": {
            "tasks": LM,
            "mamba_rms_norm": True,
            "mamba_norm_before_gate": False,
            "mamba_d_ssm": None,
            "mamba_n_groups": 4,
            "head_dim": 6,
        },
    },
)

CASES = MAMBA2 + BAMBA + GRANITE + ZAMBA + ZAMBA2 + JAMBA + NEMOTRON + FALCON
