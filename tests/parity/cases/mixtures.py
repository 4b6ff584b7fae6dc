"""Mixtures of experts: every way to choose them, shared ones, latent keys, sinks."""

from __future__ import annotations

from tests.parity.case import table

BASE = {
    "hidden_size": 42,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "vocab_size": 99,
    "intermediate_size": 27,
    "max_position_embeddings": 128,
    "num_experts_per_tok": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
HEAD_10 = {**BASE, "head_dim": 10}
#: 6 heads of 8 channels.
OWN = {**BASE, "hidden_size": 48}
QWEN = {**BASE, "num_experts": 5, "moe_intermediate_size": 21}
SCORED = {
    **BASE,
    "n_routed_experts": 6,
    "n_shared_experts": 2,
    "moe_intermediate_size": 21,
    "first_k_dense_replace": 1,
    "n_group": 3,
    "topk_group": 2,
    "routed_scaling_factor": 1.7,
}
LATENT = {
    **SCORED,
    "num_key_value_heads": 6,
    "q_lora_rank": 15,
    "kv_lora_rank": 14,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 6,
    "v_head_dim": 9,
}
YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "rope_theta": 300.0,
    "mscale": 0.7,
    "mscale_all_dim": 1.3,
    "original_max_position_embeddings": 32,
}


def heads(prefix: str, *tasks: str) -> dict[str, str]:
    """The transformers class of each task."""
    names = {
        "causal_lm": "ForCausalLM",
        "feature_extraction": "Model",
        "sequence_classification": "ForSequenceClassification",
        "token_classification": "ForTokenClassification",
        "question_answering": "ForQuestionAnswering",
    }
    chosen = ("causal_lm", "feature_extraction", *tasks)
    return {task: prefix + names[task] for task in chosen}


CLASSES = ("sequence_classification", "token_classification", "question_answering")
WINDOW = {"use_sliding_window": True, "sliding_window": 6}

CASES = [
    *table(
        "qwen2_moe",
        heads("Qwen2Moe", *CLASSES),
        {**QWEN, "hidden_size": 48, "shared_expert_intermediate_size": 19},
        {
            "plain": {},
            "window": {**WINDOW, "max_window_layers": 1, "norm_topk_prob": True, "num_labels": 3},
            "some-layers": {"decoder_sparse_step": 2, "qkv_bias": False, "num_experts_per_tok": 3},
        },
    ),
    *table(
        "qwen3_moe",
        heads("Qwen3Moe", *CLASSES),
        {**QWEN, "head_dim": 10},
        {
            "plain": {},
            "window": {**WINDOW, "norm_topk_prob": True, "num_labels": 3},
            "some-layers": {"mlp_only_layers": [1], "attention_bias": True},
        },
    ),
    *table(
        "olmoe",
        heads("Olmoe"),
        {**OWN, "num_experts": 5},
        {"plain": {}, "limited": {"clip_qkv": 0.7, "norm_topk_prob": True, "attention_bias": True}},
    ),
    *table(
        "flex_olmo",
        heads("FlexOlmo"),
        {**BASE, "num_experts": 5},
        {"plain": {"hidden_size": 48}, "shares": {"hidden_size": 48, "norm_topk_prob": True}},
    ),
    *table(
        "granitemoe",
        heads("GraniteMoe"),
        {**OWN, "num_local_experts": 5, "attention_multiplier": 0.3, "residual_multiplier": 0.6},
        {"plain": {}, "loud": {"embedding_multiplier": 3.0, "logits_scaling": 2.5}},
    ),
    *table(
        "granitemoeshared",
        heads("GraniteMoeShared"),
        {**OWN, "num_local_experts": 5, "attention_multiplier": 0.3, "residual_multiplier": 0.6},
        {"plain": {"shared_intermediate_size": 19}, "unshared": {"attention_bias": True}},
    ),
    *table(
        "hunyuan_v1_moe",
        heads("HunYuanMoEV1", "sequence_classification"),
        {**HEAD_10, "num_experts": 5, "moe_topk": 2},
        {"plain": {}, "biased": {"attention_bias": True, "moe_topk": 3, "num_experts": 4}},
    ),
    *table(
        "deepseek_v3",
        heads("DeepseekV3", "sequence_classification", "token_classification"),
        LATENT,
        {
            "plain": {},
            "yarn": {
                "q_lora_rank": None,
                "rope_interleave": False,
                "attention_bias": True,
                "norm_topk_prob": False,
                "rope_parameters": YARN,
            },
            "one-group": {"n_group": 1, "topk_group": 1, "num_experts_per_tok": 3},
        },
    ),
    *table(
        "deepseek_v2",
        heads("DeepseekV2", "sequence_classification"),
        LATENT,
        {
            "plain": {"topk_method": "greedy"},
            "groups": {"topk_method": "group_limited_greedy", "first_k_dense_replace": 0},
            "yarn": {"q_lora_rank": None, "attention_bias": True, "rope_parameters": YARN},
        },
    ),
    *table(
        "gpt_oss",
        heads("GptOss", "sequence_classification", "token_classification"),
        {**HEAD_10, "num_local_experts": 5, "sliding_window": 6},
        {
            "plain": {},
            "narrow": {
                "swiglu_limit": 0.5,
                "attention_bias": False,
                "num_experts_per_tok": 3,
                "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
            },
        },
    ),
    *table(
        "glm4_moe",
        heads("Glm4Moe"),
        {**SCORED, "head_dim": 12},
        {
            "plain": {},
            "normed": {"use_qk_norm": True, "attention_bias": True, "n_group": 1, "topk_group": 1},
        },
    ),
    *table(
        "dots1",
        heads("Dots1"),
        {**SCORED, "head_dim": 12},
        {
            "plain": {},
            "window": {"sliding_window": 6, "max_window_layers": 1, "norm_topk_prob": True},
        },
    ),
]
