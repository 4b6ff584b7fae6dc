"""XLNet: both kinds of attention, segments, clamped distances."""

from __future__ import annotations

from tests.parity.case import table

CASES = table(
    "xlnet",
    {
        "feature_extraction": "XLNetModel",
        "masked_lm": "XLNetLMHeadModel",
        "sequence_classification": "XLNetForSequenceClassification",
        "token_classification": "XLNetForTokenClassification",
        "question_answering": "XLNetForQuestionAnsweringSimple",
        "multiple_choice": "XLNetForMultipleChoice",
    },
    {
        "d_model": 40,
        "n_layer": 2,
        "n_head": 5,
        "d_inner": 57,
        "vocab_size": 99,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    {
        "both-ways": {},
        # In transformers it takes one text at a time.
        "one-way": {
            "tasks": ("feature_extraction", "masked_lm", "token_classification"),
            "attn_type": "uni",
            "n_head": 4,
            "num_labels": 3,
            "ff_activation": "relu",
            "pads": (0,),
        },
        "clamped": {
            "clamp_len": 5,
            "vocab_size": 57,
            "summary_type": "mean",
            "tie_word_embeddings": False,
            "pads": (0, 6, 1),
        },
    },
)
