"""Encoders of text that are BERT, or nearly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.parity.case import Case, table

#: Endings of the transformers classes of a type's tasks.
ENDINGS = {
    "feature_extraction": "Model",
    "masked_lm": "ForMaskedLM",
    "sequence_classification": "ForSequenceClassification",
    "token_classification": "ForTokenClassification",
    "question_answering": "ForQuestionAnswering",
    "multiple_choice": "ForMultipleChoice",
}

BASE: dict[str, Any] = {
    "hidden_size": 42,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 55,
    "vocab_size": 99,
    "max_position_embeddings": 53,
}

#: The two configurations of a type that has no switches of its own.
PLAIN: dict[str, dict[str, Any]] = {
    "plain": {},
    "odd": {
        "num_attention_heads": 7,
        "num_labels": 3,
        "hidden_act": "gelu_new",
        "layer_norm_eps": 0.1,
        "vocab_size": 61,
        "tie_word_embeddings": False,
        "pads": (0, 5, 12),
    },
}

#: As a decoder the type reads from left to right.
CAUSAL = {"causal": {"is_decoder": True, "tasks": ("causal_lm",), "pad_token_id": 0}}


def family(
    model_type: str,
    stem: str,
    variants: Mapping[str, Mapping[str, Any]] = PLAIN,
    base: Mapping[str, Any] = BASE,
    without: tuple[str, ...] = (),
    **others: str,
) -> list[Case]:
    """The rows of a type whose classes are named ``stem`` and an ending; ``others`` have names of
    their own, ``without`` do not exist.
    """
    classes = {t: stem + end for t, end in ENDINGS.items() if t not in without} | others
    tasks = tuple(task for task in classes if task != "causal_lm")
    full = {name: {"tasks": tasks, **variant} for name, variant in variants.items()}
    return table(model_type, classes, base, full)


ROBERTA = family(
    "roberta",
    "Roberta",
    {**PLAIN, **CAUSAL, "padded-with-0": {"pad_token_id": 0, "type_vocab_size": 1}},
    causal_lm="RobertaForCausalLM",
)

BERT = table("bert", {"causal_lm": "BertLMHeadModel"}, BASE, CAUSAL)

CASES = [*BERT, *ROBERTA]
