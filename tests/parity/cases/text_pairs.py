"""BART and its kin: text to text, a decoder alone, and heads over a text read twice."""

from __future__ import annotations

from typing import Any

from tests.parity.case import Case, table

BASE: dict[str, Any] = {
    "d_model": 42,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 55,
    "decoder_ffn_dim": 51,
    "max_position_embeddings": 48,
    "vocab_size": 99,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
}

PAIR = {"tasks": ("seq2seq_lm", "seq2seq_features")}
ALONE = {"tasks": ("causal_lm",)}
# Padding is what ends a text here: each row then has as many ends.
HEADS: dict[str, Any] = {
    "tasks": ("sequence_classification", "question_answering"),
    "eos_token_id": 0,
    "pads": (3, 3),
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": PAIR,
    "odd-heads": {
        **PAIR,
        "encoder_attention_heads": 7,
        "decoder_attention_heads": 2,
        "scale_embedding": True,
        "pads": (0, 6, 1),
    },
    "deep-decoder": {
        **PAIR,
        "decoder_layers": 3,
        "encoder_layers": 1,
        "activation_function": "relu",
        "vocab_size": 57,
    },
    "untied": {**PAIR, "tie_word_embeddings": False},
    "alone": ALONE,
    "alone-odd": {**ALONE, "decoder_attention_heads": 7, "scale_embedding": True},
    "read": HEADS,
    "read-odd": {**HEADS, "num_labels": 3, "decoder_attention_heads": 7, "pads": (1, 1, 1)},
}


def kin(model_type: str, name: str, *tasks: str, **base: Any) -> list[Case]:
    """Every variant for the tasks that a type has, its classes called ``name`` and an ending."""
    classes = {
        "seq2seq_lm": f"{name}ForConditionalGeneration",
        "seq2seq_features": f"{name}Model",
        "causal_lm": f"{name}ForCausalLM",
        "sequence_classification": f"{name}ForSequenceClassification",
        "question_answering": f"{name}ForQuestionAnswering",
    }
    offered = ("seq2seq_lm", "seq2seq_features", *tasks)
    variants = {}
    for variant, config in VARIANTS.items():
        if chosen := tuple(task for task in config["tasks"] if task in offered):
            variants[variant] = {**config, "tasks": chosen}
    return table(model_type, classes, {**BASE, **base}, variants)


ALL = ("causal_lm", "sequence_classification", "question_answering")

MARIAN = table(
    "marian",
    {
        "seq2seq_lm": "MarianMTModel",
        "seq2seq_features": "MarianModel",
        "causal_lm": "MarianForCausalLM",
    },
    {**BASE, "decoder_vocab_size": 99, "forced_eos_token_id": None},
    {
        name: variant
        for name, variant in VARIANTS.items()
        if name in ("plain", "odd-heads", "alone", "alone-odd")
    }
    | {
        "two-vocabularies": {
            **PAIR,
            "share_encoder_decoder_embeddings": False,
            "decoder_vocab_size": 117,
        },
    },
)

FSMT = table(
    "fsmt",
    {"seq2seq_lm": "FSMTForConditionalGeneration"},
    {
        **{key: value for key, value in BASE.items() if key != "vocab_size"},
        "langs": ["en", "de"],
        "src_vocab_size": 99,
        "tgt_vocab_size": 87,
        "activation_function": "relu",
    },
    {
        "plain": {},
        "tied": {
            "src_vocab_size": 87,
            "tie_word_embeddings": True,
            "scale_embedding": False,
            "decoder_layers": 3,
            "decoder_attention_heads": 7,
        },
    },
)

CASES = [
    *kin("bart", "Bart", *ALL),
    *kin("mbart", "MBart", *ALL),
    *kin("pegasus", "Pegasus", "causal_lm"),
    *MARIAN,
    *FSMT,
    *kin("m2m_100", "M2M100"),
    *kin("blenderbot", "Blenderbot", "causal_lm"),
    *kin("blenderbot-small", "BlenderbotSmall", "causal_lm"),
    *kin("plbart", "PLBart", "causal_lm", "sequence_classification"),
    *kin("mvp", "Mvp", *ALL),
]
