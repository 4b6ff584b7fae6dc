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

NLLB_MOE = table(
    "nllb-moe",
    {"seq2seq_lm": "NllbMoeForConditionalGeneration", "seq2seq_features": "NllbMoeModel"},
    {**BASE, "num_experts": 5, "encoder_sparse_step": 2, "decoder_sparse_step": 2},
    {
        "plain": PAIR,
        "every-layer": {
            **PAIR,
            "tasks": ("seq2seq_lm",),
            "encoder_sparse_step": 1,
            "decoder_sparse_step": 1,
            "decoder_layers": 3,
            "router_bias": True,
            "router_ignore_padding_tokens": True,
            "moe_token_dropout": 0.0,
            "scale_embedding": False,
            "pads": (0, 6, 1),
        },
        "dense-source": {
            "tasks": ("seq2seq_lm",),
            "encoder_sparse_step": 0,
            "activation_function": "gelu",
            "tie_word_embeddings": False,
        },
    },
)

PROPHETNET = table(
    "prophetnet",
    {
        "seq2seq_lm": "ProphetNetForConditionalGeneration",
        "seq2seq_features": "ProphetNetModel",
        "causal_lm": "ProphetNetForCausalLM",
    },
    {
        "hidden_size": 42,
        "num_encoder_layers": 2,
        "num_decoder_layers": 2,
        "num_encoder_attention_heads": 3,
        "num_decoder_attention_heads": 3,
        "encoder_ffn_dim": 55,
        "decoder_ffn_dim": 51,
        "max_position_embeddings": 64,
        "num_buckets": 8,
        "relative_max_distance": 20,
        "vocab_size": 99,
    },
    {
        "plain": PAIR,
        "four-streams": {
            "tasks": ("seq2seq_lm",),
            "ngram": 4,
            "num_encoder_attention_heads": 7,
            "num_decoder_attention_heads": 2,
            "num_encoder_layers": 1,
            "num_decoder_layers": 1,
            "num_buckets": 13,
            "relative_max_distance": 50,
            "activation_function": "relu",
            "tie_word_embeddings": False,
            "pads": (0, 6, 1),
        },
        "alone": {**ALONE, "prompt": 1, "pads": (0, 0)},
        "alone-odd": {
            **ALONE,
            "num_decoder_attention_heads": 7,
            "ngram": 1,
            "add_cross_attention": False,
            "prompt": 1,
            "pads": (0, 0),
        },
    },
)

CASES = [
    *kin("bart", "Bart", *ALL),
    *kin("mbart", "MBart", *ALL),
    *kin("pegasus", "Pegasus", "causal_lm"),
    *MARIAN,
    *FSMT,
    *NLLB_MOE,
    *PROPHETNET,
    *kin("m2m_100", "M2M100"),
    *kin("blenderbot", "Blenderbot", "causal_lm"),
    *kin("blenderbot-small", "BlenderbotSmall", "causal_lm"),
    *kin("plbart", "PLBart", "causal_lm", "sequence_classification"),
    *kin("mvp", "Mvp", *ALL),
]
