"""Encoders of text with attention of their own: by distance, by convolution, through a funnel."""

from __future__ import annotations

from typing import Any

from tests.parity.cases.bert_like import BASE, CAUSAL, PLAIN, family

DEBERTA = family(
    "deberta",
    "Deberta",
    {
        **PLAIN,
        "distances": {
            "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"],
            "position_biased_input": False,
            "type_vocab_size": 2,
        },
        "near": {
            "relative_attention": True,
            "pos_att_type": "c2p",
            "max_relative_positions": 5,
            "legacy": False,
            "pooler_hidden_act": "relu",
        },
        "one-way": {
            "relative_attention": True,
            "pos_att_type": ["p2c"],
            "embedding_size": 26,
            "tasks": ("feature_extraction", "token_classification"),
        },
    },
    without=("multiple_choice",),
)

CONVBERT = family(
    "convbert",
    "ConvBert",
    {
        "plain": {},
        "odd": {
            "num_attention_heads": 9,
            "head_ratio": 3,
            "conv_kernel_size": 5,
            "hidden_act": "relu",
            "num_groups": 3,
            "intermediate_size": 57,
            "num_labels": 3,
            "embedding_size": 42,
            "tie_word_embeddings": False,
            "pads": (0, 5, 12),
        },
    },
    {**BASE, "num_attention_heads": 2, "embedding_size": 26},
)

FUNNEL_BASE = {
    "d_model": 42,
    "n_head": 3,
    "d_head": 14,
    "d_inner": 55,
    "block_sizes": [1, 2, 1],
    "num_decoder_layers": 1,
    "vocab_size": 99,
    "type_vocab_size": 3,
}
FUNNEL = family(
    "funnel",
    "Funnel",
    {
        "plain": {},
        "even": {"prompt": 16, "block_repeats": [1, 2, 1], "num_labels": 3, "d_head": 10},
        "untruncated": {"truncate_seq": False, "pool_q_only": False, "pooling_type": "max"},
        "no-cls": {
            "separate_cls": False,
            "attention_type": "factorized",
            "tie_word_embeddings": False,
            "prompt": 15,
            "pads": (0, 5, 12),
        },
    },
    FUNNEL_BASE,
    without=("sequence_classification", "multiple_choice"),
    sequence_classification="FunnelForSequenceClassification",
    multiple_choice="FunnelForMultipleChoice",
)

XLM = family(
    "xlm",
    "XLM",
    {
        "plain": {},
        "odd": {
            "n_heads": 7,
            "num_labels": 3,
            "gelu_activation": False,
            "n_langs": 3,
            "summary_type": "last",
            "tie_word_embeddings": False,
            "pads": (0, 5, 12),
        },
        "causal": {"causal": True, "summary_activation": "tanh"},
    },
    {"emb_dim": 42, "n_layers": 2, "n_heads": 3, "vocab_size": 99, "max_position_embeddings": 53},
    masked_lm="XLMWithLMHeadModel",
    question_answering="XLMForQuestionAnsweringSimple",
)

MPNET = family(
    "mpnet",
    "MPNet",
    {
        **PLAIN,
        "far": {"prompt": 41, "relative_attention_num_buckets": 40, "num_attention_heads": 2},
    },
)

DEBERTA_V2 = family(
    "deberta-v2",
    "DebertaV2",
    {
        **PLAIN,
        "buckets": {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 6,
            "max_relative_positions": 11,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
            "conv_kernel_size": 3,
            "conv_act": "gelu",
            "prompt": 21,
        },
        "odd-buckets": {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 7,
            "prompt": 37,
            "tasks": ("feature_extraction", "masked_lm"),
            "legacy": False,
        },
        "one-way": {"relative_attention": True, "pos_att_type": "c2p", "type_vocab_size": 3},
    },
)

MODERN_BASE = {**BASE, "pad_token_id": 0, "local_attention": 6}
MODERN_BASE |= {"num_hidden_layers": 3, "eos_token_id": 1, "bos_token_id": 2, "cls_token_id": 2}
MODERNBERT = family(
    "modernbert",
    "ModernBert",
    {
        "plain": {},
        "odd": {
            "num_attention_heads": 7,
            "num_labels": 3,
            "hidden_activation": "relu",
            "norm_eps": 0.1,
            "norm_bias": True,
            "attention_bias": True,
            "mlp_bias": True,
            "classifier_bias": True,
            "classifier_pooling": "mean",
            "decoder_bias": False,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "local_attention": 4,
            "pads": (0, 5, 12),
        },
    },
    MODERN_BASE,
)

ROTARY: dict[str, dict[str, Any]] = {
    "plain": {"pad_token_id": 0},
    "odd": {
        "num_attention_heads": 7,
        "num_labels": 3,
        "hidden_act": "gelu_new",
        "layer_norm_eps": 0.1,
        "type_vocab_size": 3,
        "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 300.0},
        "pads": (0, 5, 12),
        "pad_token_id": 0,
    },
}
NO_ANSWERS = ("question_answering", "multiple_choice")
NOMIC = family("nomic_bert", "NomicBert", ROTARY, without=NO_ANSWERS)
GTE = family(
    "gte",
    "Gte",
    {**ROTARY, "no-segments": {"type_vocab_size": 0, "pad_token_id": 0}},
    without=NO_ANSWERS,
)
JINA = family("jina_embeddings_v3", "JinaEmbeddingsV3", ROTARY, without=("multiple_choice",))

EUROBERT = family(
    "eurobert",
    "EuroBert",
    {
        "plain": {},
        "odd": {
            "num_attention_heads": 7,
            "num_key_value_heads": 1,
            "num_labels": 3,
            "mlp_bias": True,
            "attention_bias": True,
            "tie_word_embeddings": True,
            "classifier_pooling": "bos",
            "pads": (0, 5, 12),
        },
        "mean": {"classifier_pooling": "mean", "tasks": ("sequence_classification",)},
    },
    {**BASE, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "mask_token_id": 3},
    without=NO_ANSWERS,
)

ROFORMER = family(
    "roformer",
    "RoFormer",
    {
        **PLAIN,
        **CAUSAL,
        "narrow": {"embedding_size": 26, "rotary_value": True, "num_labels": 3},
    },
    causal_lm="RoFormerForCausalLM",
)

CASES = [
    *(*DEBERTA, *CONVBERT, *FUNNEL, *XLM, *MPNET, *DEBERTA_V2, *MODERNBERT),
    *(*NOMIC, *GTE, *JINA, *EUROBERT, *ROFORMER),
]
