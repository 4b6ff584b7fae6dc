"""T5's kin: what differs from T5."""

from __future__ import annotations

from typing import Any

from tests.parity.case import Case, table

ENDINGS = {
    "seq2seq_lm": "ForConditionalGeneration",
    "seq2seq_features": "Model",
    "feature_extraction": "EncoderModel",
    "token_classification": "ForTokenClassification",
    "sequence_classification": "ForSequenceClassification",
    "question_answering": "ForQuestionAnswering",
}
TASKS = tuple(ENDINGS)
BASE: dict[str, Any] = {
    "d_model": 42,
    "d_kv": 10,
    "d_ff": 55,
    "num_layers": 2,
    "num_heads": 3,
    "vocab_size": 99,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
    "decoder_start_token_id": 0,
}
# Padding is what ends a text here: each row then has as many ends.
READ: dict[str, Any] = {
    "tasks": ("sequence_classification", "question_answering"),
    "eos_token_id": 0,
    "pads": (3, 3),
    "num_labels": 3,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deep-decoder": {"num_decoder_layers": 3, "feed_forward_proj": "relu", "num_labels": 3},
    "many-buckets": {
        "relative_attention_num_buckets": 13,
        "relative_attention_max_distance": 64,
        "num_heads": 5,
        "vocab_size": 57,
        "pads": (0, 6, 1),
    },
}
KIN = {name: {"tasks": TASKS[:4], **variant} for name, variant in VARIANTS.items()}


def kin(model_type: str, name: str, variants: dict[str, dict[str, Any]], **base: Any) -> list[Case]:
    """Variants for the tasks of T5."""
    return table(
        model_type,
        {task: name + ending for task, ending in ENDINGS.items()},
        {**BASE, **base},
        variants,
    )


T5 = kin(
    "t5",
    "T5",
    {
        "read": READ,
        "read-gated": {**READ, "feed_forward_proj": "gated-silu"},
        "read-deep": {**READ, "num_decoder_layers": 3, "num_labels": 2},
        "read-many-buckets": {**READ, **VARIANTS["many-buckets"], "pads": (6, 6)},
    },
)

SWITCH = kin(
    "switch_transformers",
    "SwitchTransformers",
    {
        "plain": {"tasks": TASKS[:3]},
        "every-layer": {
            "num_sparse_encoder_layers": 2,
            "num_sparse_decoder_layers": 3,
            "num_decoder_layers": 3,
            "router_bias": True,
            "expert_capacity": 4,
            "tie_word_embeddings": False,
            "dense_act_fn": "gelu",
            "tasks": ("seq2seq_lm",),
        },
        "dense-source": {
            "num_sparse_encoder_layers": 0,
            "num_heads": 5,
            "d_kv": 6,
            "pads": (0, 6, 1),
            "tasks": ("seq2seq_lm",),
        },
    },
    num_experts=5,
    num_sparse_encoder_layers=1,
    num_sparse_decoder_layers=1,
)

LONG: dict[str, Any] = {"local_radius": 3, "tasks": ("seq2seq_lm",)}
LONGT5 = kin(
    "longt5",
    "LongT5",
    {
        "local": {**LONG, "tasks": TASKS[:3]},
        "local-wide": {**LONG, "local_radius": 16, "feed_forward_proj": "gated-gelu"},
        "global": {
            **LONG,
            "encoder_attention_type": "transient-global",
            "global_block_size": 4,
            "tasks": TASKS[:3],
            "tie_word_embeddings": False,
        },
        "global-thirds": {
            **LONG,
            "encoder_attention_type": "transient-global",
            "global_block_size": 3,
            "num_decoder_layers": 1,
            "prompt": 23,
            "pads": (0, 5, 21),
        },
        "global-short": {
            **LONG,
            "encoder_attention_type": "transient-global",
            "global_block_size": 16,
        },
    },
)

CASES = [
    *T5,
    *kin("mt5", "MT5", {**KIN, "read": READ}),
    *kin("umt5", "UMT5", {**KIN, "read": READ}),
    *SWITCH,
    *LONGT5,
]
