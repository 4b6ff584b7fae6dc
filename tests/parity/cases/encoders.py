"""Encoders of text and images."""

from __future__ import annotations

from tests.parity.case import table

BERT = table(
    "bert",
    {
        "feature_extraction": "BertModel",
        "masked_lm": "BertForMaskedLM",
        "pretraining": "BertForPreTraining",
        "sequence_classification": "BertForSequenceClassification",
        "token_classification": "BertForTokenClassification",
        "question_answering": "BertForQuestionAnswering",
        "next_sentence_prediction": "BertForNextSentencePrediction",
        "multiple_choice": "BertForMultipleChoice",
    },
    {
        "hidden_size": 42,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 55,
        "vocab_size": 99,
        "max_position_embeddings": 37,
    },
    {
        "plain": {},
        "three-segments": {"type_vocab_size": 3, "num_attention_heads": 7, "num_labels": 3},
        "untied": {"tie_word_embeddings": False, "hidden_act": "relu", "vocab_size": 61},
        "rough": {
            "layer_norm_eps": 0.1,
            "hidden_act": "gelu_new",
            "num_labels": 1,
            "pads": (0, 5, 12),
        },
    },
)

VIT = table(
    "vit",
    {"image_classification": "ViTForImageClassification", "image_features": "ViTModel"},
    {
        "hidden_size": 42,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 55,
        "image_size": 15,
        "patch_size": 5,
    },
    {
        "plain": {},
        "odd-border": {"image_size": 17, "num_channels": 1, "num_labels": 5},
        "oblong": {"image_size": [12, 18], "patch_size": [4, 6], "qkv_bias": False},
        "pooled": {
            "pooler_act": "gelu",
            "pooler_output_size": 27,
            "hidden_act": "gelu_pytorch_tanh",
            "num_attention_heads": 7,
            "pads": (0, 0, 0),
        },
    },
)

CASES = [*BERT, *VIT]
