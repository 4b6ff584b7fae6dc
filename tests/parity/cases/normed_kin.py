"""Llama's relatives with other norms, fused matrices, or attention of another kind."""

from __future__ import annotations

from tests.parity.cases.decoders import YARN
from tests.parity.cases.llama_kin import BASE, LM, NO_QA, WIDE, kin

NARROW = ("token_classification", "question_answering")
TWO_ROPES = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 900.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 70.0},
}

CASES = [
    *kin(
        "phi",
        "Phi",
        NO_QA,
        WIDE,
        plain={"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.4}},
        normed_heads={"qk_layernorm": True, "hidden_size": 72, "num_labels": 3},
        tied={"tasks": LM, "hidden_size": 72, "tie_word_embeddings": True},
    ),
    *kin(
        "phi3",
        "Phi3",
        NO_QA,
        WIDE,
        plain={},
        window={"sliding_window": 5, "num_labels": 3, "tie_word_embeddings": True},
        longrope={
            "tasks": LM,
            "original_max_position_embeddings": 24,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 400.0,
                "short_factor": [1.0, 1.1, 1.2, 1.5],
                "long_factor": [1.3, 2.0, 3.0, 4.5],
                "partial_rotary_factor": 0.8,
            },
        },
    ),
    *kin(
        "olmo",
        "Olmo",
        NARROW,
        WIDE,
        plain={},
        clipped={"clip_qkv": 0.7, "attention_bias": True, "tie_word_embeddings": True},
    ),
    *kin(
        "olmo2",
        "Olmo2",
        NARROW,
        WIDE,
        plain={},
        biased={"attention_bias": True, "num_key_value_heads": 6, "num_labels": 3},
    ),
    *kin(
        "olmo3",
        "Olmo3",
        NARROW,
        {**WIDE, "sliding_window": 5},
        plain={"num_hidden_layers": 4},
        two_ropes={
            "layer_types": ["full_attention", "sliding_attention"],
            "rope_parameters": TWO_ROPES,
            "num_labels": 3,
        },
    ),
    *kin(
        "stablelm",
        "StableLm",
        NO_QA,
        {**WIDE, "hidden_size": 96},
        plain={},
        beside={"use_parallel_residual": True, "use_qkv_bias": True, "num_labels": 3},
        normed_heads={"qk_layernorm": True, "tie_word_embeddings": True},
    ),
    *kin(
        "glm",
        "Glm",
        NO_QA,
        {**BASE, "head_dim": 12},
        plain={},
        odd={"attention_bias": False, "num_key_value_heads": 6, "num_labels": 3},
    ),
    *kin(
        "glm4",
        "Glm4",
        NO_QA,
        {**BASE, "head_dim": 12},
        plain={},
        odd={"attention_bias": False, "tie_word_embeddings": True, "num_labels": 3},
    ),
    *kin(
        "exaone4",
        "Exaone4",
        (),
        {**WIDE, "sliding_window": 5},
        plain={"sliding_window_pattern": 2},
        full={"sliding_window": None, "layer_types": ["full_attention"] * 2, "num_labels": 3},
        yarn={"tasks": LM, "sliding_window_pattern": 2, "rope_parameters": YARN},
    ),
    *kin(
        "apertus",
        "Apertus",
        ("sequence_classification", "question_answering"),
        WIDE,
        plain={},
        yarn={"rope_parameters": YARN, "attention_bias": True},
        silu={"tasks": LM, "hidden_act": "silu", "tie_word_embeddings": True},
    ),
    *kin(
        "diffllama",
        "DiffLlama",
        (),
        {**BASE, "num_attention_heads": 4, "head_dim": 10},
        plain={},
        biased={"num_key_value_heads": 4, "attention_bias": True, "num_labels": 3},
    ),
    *kin(
        "persimmon",
        "Persimmon",
        NO_QA,
        {k: v for k, v in WIDE.items() if k != "num_key_value_heads"} | {"hidden_size": 72},
        plain={},
        bare={"qk_layernorm": False, "hidden_act": "gelu", "num_labels": 3},
    ),
    *kin(
        "nemotron",
        "Nemotron",
        (),
        {**BASE, "head_dim": 12},
        plain={},
        biased={"attention_bias": True, "mlp_bias": True, "num_labels": 3},
    ),
    *kin(
        "modernbert-decoder",
        "ModernBertDecoder",
        NARROW,
        {k: v for k, v in WIDE.items() if k != "num_key_value_heads"} | {"local_attention": 10},
        plain={"num_hidden_layers": 4},
        biased={
            "layer_types": ["full_attention", "sliding_attention"],
            "rope_parameters": TWO_ROPES,
            "attention_bias": True,
            "mlp_bias": True,
            "norm_bias": True,
            "classifier_bias": True,
            "decoder_bias": False,
            "tie_word_embeddings": False,
            "num_labels": 3,
        },
    ),
    *kin(
        "doge",
        "Doge",
        NARROW,
        {**WIDE, "keep_window_size": 128},
        plain={},
        window={"sliding_window": 5, "attention_bias": True, "num_labels": 3},
    ),
]
