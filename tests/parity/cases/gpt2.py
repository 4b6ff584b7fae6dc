"""GPT-2: transposed linears, one matrix for q, k and v, learned positions."""

from __future__ import annotations

from tests.parity.case import table

CASES = table(
    "gpt2",
    {
        "causal_lm": "GPT2LMHeadModel",
        "feature_extraction": "GPT2Model",
        "sequence_classification": "GPT2ForSequenceClassification",
        "token_classification": "GPT2ForTokenClassification",
        "question_answering": "GPT2ForQuestionAnswering",
    },
    {
        "n_embd": 42,
        "n_layer": 2,
        "n_head": 3,
        "vocab_size": 101,
        "n_positions": 71,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    {
        "plain": {},
        "scaled-by-layer": {"scale_attn_by_inverse_layer_idx": True, "n_layer": 3, "num_labels": 3},
        "unscaled": {"scale_attn_weights": False, "n_inner": 55, "activation_function": "relu"},
        "untied": {"tie_word_embeddings": False, "n_head": 7, "vocab_size": 57, "pads": (0, 6, 1)},
    },
)
