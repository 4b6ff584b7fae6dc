"""Encoders of text with attention of their own: by distance, by convolution, through a funnel."""

from __future__ import annotations

from tests.parity.cases.bert_like import BASE, PLAIN, family

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

CASES = [*DEBERTA, *CONVBERT, *FUNNEL, *XLM]
