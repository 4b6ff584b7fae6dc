"""Text to text where the source may be long: words see their neighbours, blocks, some see all."""

from __future__ import annotations

from typing import Any

from tests.parity.case import table
from tests.parity.cases.text_pairs import BASE, HEADS

PAIR: dict[str, Any] = {"tasks": ("seq2seq_lm", "seq2seq_features")}
LM: dict[str, Any] = {"tasks": ("seq2seq_lm",)}

LED = table(
    "led",
    {
        "seq2seq_lm": "LEDForConditionalGeneration",
        "seq2seq_features": "LEDModel",
        "question_answering": "LEDForQuestionAnswering",
    },
    {
        **{key: value for key, value in BASE.items() if key != "max_position_embeddings"},
        "max_encoder_position_embeddings": 50,
        "max_decoder_position_embeddings": 48,
        "attention_window": 4,
    },
    {
        "plain": PAIR,
        "odd-heads": {
            **LM,
            "encoder_attention_heads": 7,
            "decoder_attention_heads": 2,
            "attention_window": [8, 4],
            "activation_function": "relu",
            "tie_word_embeddings": False,
            "pads": (0, 6, 1),
        },
        "read": {**HEADS, "tasks": ("question_answering",)},
    },
)

PEGASUS_X = table(
    "pegasus_x",
    {
        "seq2seq_lm": "PegasusXForConditionalGeneration",
        "seq2seq_features": "PegasusXModel",
    },
    {**BASE, "num_global_tokens": 3, "block_size": 4},
    {
        "plain": PAIR,
        "one-block": {
            **LM,
            "encoder_attention_heads": 7,
            "decoder_attention_heads": 2,
            "block_size": 16,
            "num_global_tokens": 5,
            "scale_embedding": False,
            "pads": (0, 6, 1),
        },
        "in-line": {
            **LM,
            "block_size": 5,
            "stagger_local_blocks": False,
            "activation_function": "relu",
            "tie_word_embeddings": False,
        },
    },
)

BIGBIRD_PEGASUS = table(
    "bigbird_pegasus",
    {
        "seq2seq_lm": "BigBirdPegasusForConditionalGeneration",
        "seq2seq_features": "BigBirdPegasusModel",
        "causal_lm": "BigBirdPegasusForCausalLM",
        "sequence_classification": "BigBirdPegasusForSequenceClassification",
        "question_answering": "BigBirdPegasusForQuestionAnswering",
    },
    BASE,
    {
        "short": PAIR,
        "full": {**LM, "attention_type": "original_full", "use_bias": True, "decoder_layers": 3},
        "sparse": {
            **LM,
            "block_size": 2,
            "num_random_blocks": 1,
            "encoder_attention_heads": 7,
            "decoder_attention_heads": 2,
            "scale_embedding": False,
            "prompt": 23,
            "pads": (0, 3, 7),
        },
        "alone": {"tasks": ("causal_lm",)},
        "alone-odd": {"tasks": ("causal_lm",), "decoder_attention_heads": 7, "use_bias": True},
        "read": {**HEADS, "num_labels": 3},
    },
)

CASES = [*LED, *PEGASUS_X, *BIGBIRD_PEGASUS]
