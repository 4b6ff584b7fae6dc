"""Llama's further relatives: other norms, blocks, biases, activations and rotations."""

from __future__ import annotations

from typing import Any

from tests.parity.case import Case, table
from tests.parity.cases.decoders import YARN, heads

LM = ("causal_lm",)
NO_QA = ("question_answering",)
ONLY_LM = ("sequence_classification", "token_classification", "question_answering")
BASE: dict[str, Any] = {
    "hidden_size": 42,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "vocab_size": 99,
    "intermediate_size": 57,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WIDE = {**BASE, "hidden_size": 60}

GEMMA = table(
    "gemma",
    heads("Gemma", *NO_QA),
    {**BASE, "head_dim": 10},
    {
        "plain": {},
        "untied": {"tie_word_embeddings": False, "attention_bias": True, "num_labels": 3},
        "legacy-name": {"hidden_act": "gelu", "num_key_value_heads": 1, "vocab_size": 61},
        "yarn": {"tasks": LM, "rope_parameters": YARN},
    },
)

COHERE = table(
    "cohere",
    heads("Cohere", *ONLY_LM),
    WIDE,
    {
        "plain": {},
        "normed-heads": {"use_qk_norm": True, "logit_scale": 0.3, "vocab_size": 57},
        "biased": {"attention_bias": True, "tie_word_embeddings": False, "num_key_value_heads": 6},
        "yarn": {"tasks": LM, "rope_parameters": YARN},
    },
)


def kin(
    model_type: str, name: str, without: tuple[str, ...], base: dict[str, Any], **variants: Any
) -> list[Case]:
    """Rows of a type whose classes have regular names."""
    named = {key.replace("_", "-"): value for key, value in variants.items()}
    return table(model_type, heads(name, *without), base, named)


CASES = [
    *GEMMA,
    *COHERE,
    *kin(
        "cohere2",
        "Cohere2",
        ONLY_LM,
        {**WIDE, "sliding_window": 5},
        plain={"layer_types": ["sliding_attention", "full_attention"]},
        by_pattern={"num_hidden_layers": 4, "logit_scale": 0.4, "attention_bias": True},
    ),
    *kin(
        "granite",
        "Granite",
        ONLY_LM,
        {**WIDE, "attention_multiplier": 0.3, "logits_scaling": 1.7},
        plain={"embedding_multiplier": 2.5, "residual_multiplier": 0.4},
        tied={"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    ),
    *kin(
        "smollm3",
        "SmolLM3",
        (),
        WIDE,
        plain={"num_hidden_layers": 4},
        windows={
            "no_rope_layers": [0, 1],
            "use_sliding_window": True,
            "sliding_window": 5,
            "num_labels": 3,
            "attention_bias": True,
        },
        untied={"tasks": LM, "tie_word_embeddings": False, "no_rope_layer_interval": 2},
    ),
    *kin(
        "starcoder2",
        "Starcoder2",
        NO_QA,
        {**WIDE, "sliding_window": 5},
        plain={},
        unbiased={"use_bias": False, "sliding_window": None, "tie_word_embeddings": False},
    ),
    *kin(
        "ernie4_5",
        "Ernie4_5",
        ONLY_LM,
        {**BASE, "head_dim": 10},
        plain={},
        biased={"use_bias": True, "tie_word_embeddings": False, "num_key_value_heads": 1},
    ),
    *kin(
        "hunyuan_v1_dense",
        "HunYuanDenseV1",
        ("token_classification", "question_answering"),
        {**BASE, "head_dim": 10},
        plain={},
        alpha={
            "rope_parameters": {
                "rope_type": "dynamic",
                "alpha": 9.0,
                "rope_theta": 500.0,
                "factor": 1.0,
            },
            "attention_bias": True,
            "num_labels": 3,
        },
    ),
    *kin(
        "internlm3",
        "Llama",
        ONLY_LM,
        {**BASE, "head_dim": 10},
        plain={},
        biased={"attention_bias": True, "mlp_bias": True, "vocab_size": 61},
    ),
    *kin(
        "ministral",
        "Ministral",
        (),
        {**BASE, "head_dim": 10},
        plain={"sliding_window": 5},
        mixed={
            "sliding_window": 4,
            "layer_types": ["full_attention", "sliding_attention"],
            "num_labels": 3,
        },
    ),
    *kin(
        "ministral3",
        "Ministral3",
        (),
        {**BASE, "head_dim": 10},
        grown={
            "rope_parameters": {
                **YARN,
                "original_max_position_embeddings": 8,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
                "llama_4_scaling_beta": 0.3,
            }
        },
        window={
            "sliding_window": 5,
            "num_labels": 3,
            "rope_parameters": {**YARN, "llama_4_scaling_beta": 0.1},
        },
    ),
    *kin(
        "seed_oss",
        "SeedOss",
        (),
        {**BASE, "head_dim": 10},
        plain={},
        odd={"attention_bias": False, "attention_out_bias": True, "mlp_bias": True},
    ),
    *kin(
        "arcee",
        "Arcee",
        (),
        WIDE,
        plain={},
        biased={"attention_bias": True, "mlp_bias": True, "hidden_act": "gelu", "num_labels": 3},
    ),
    *kin(
        "helium",
        "Helium",
        NO_QA,
        {**BASE, "head_dim": 7},
        plain={"hidden_size": 60, "head_dim": 10},
        biased={"hidden_size": 60, "head_dim": 10, "attention_bias": True, "num_labels": 3},
    ),
    *kin(
        "bitnet",
        "BitNet",
        ONLY_LM,
        WIDE,
        plain={},
        tied={"tie_word_embeddings": True, "attention_bias": True, "hidden_act": "silu"},
    ),
    *kin(
        "nanochat",
        "NanoChat",
        ONLY_LM,
        WIDE,
        plain={},
        odd={"final_logit_softcapping": 3.0, "attention_bias": True, "hidden_act": "gelu"},
    ),
]
