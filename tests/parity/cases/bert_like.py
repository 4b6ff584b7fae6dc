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

BERT = table(
    "bert",
    {"causal_lm": "BertLMHeadModel"},
    {**BASE, "is_decoder": True, "pad_token_id": 0},
    {
        "causal": {},
        "causal-untied": {"tie_word_embeddings": False, "vocab_size": 61, "pads": (0, 5, 12)},
        "causal-relu": {"hidden_act": "relu", "num_attention_heads": 7, "layer_norm_eps": 0.1},
        "causal-deep": {"num_hidden_layers": 3, "type_vocab_size": 1, "intermediate_size": 31},
    },
)
XLM_ROBERTA = family(
    "xlm-roberta", "XLMRoberta", {**PLAIN, **CAUSAL}, causal_lm="XLMRobertaForCausalLM"
)
CAMEMBERT = family("camembert", "Camembert", {**PLAIN, **CAUSAL}, causal_lm="CamembertForCausalLM")

DISTILBERT = family(
    "distilbert",
    "DistilBert",
    {
        "plain": {},
        "odd": {
            "n_heads": 7,
            "num_labels": 3,
            "activation": "relu",
            "sinusoidal_pos_embds": True,
            "tie_word_embeddings": False,
            "pads": (0, 5, 12),
        },
    },
    {
        "dim": 42,
        "n_layers": 2,
        "n_heads": 3,
        "hidden_dim": 55,
        "vocab_size": 99,
        "max_position_embeddings": 53,
    },
)

ALBERT = family(
    "albert",
    "Albert",
    {
        **PLAIN,
        "groups": {
            "num_hidden_layers": 5,
            "num_hidden_groups": 2,
            "inner_group_num": 2,
            "embedding_size": 42,
            "num_labels": 3,
        },
    },
    {**BASE, "embedding_size": 26},
)

ELECTRA = family(
    "electra",
    "Electra",
    {
        **PLAIN,
        **CAUSAL,
        "wide": {"embedding_size": 42, "summary_type": "mean", "summary_activation": ""},
        "last": {"summary_type": "last", "summary_use_proj": False, "num_labels": 3},
    },
    {**BASE, "embedding_size": 26},
    causal_lm="ElectraForCausalLM",
)

#: A reader looks at many passages at once, and reads no segments.
DPR = [
    case
    for architecture in ("DPRQuestionEncoder", "DPRContextEncoder")
    for case in table(
        "dpr",
        {"feature_extraction": architecture},
        BASE,
        {
            f"{architecture}-plain": {},
            f"{architecture}-odd": {"projection_dim": 17, "num_attention_heads": 7},
        },
    )
]
DPR_READER = table(
    "dpr",
    {"question_answering": "DPRReader"},
    {**BASE, "type_vocab_size": 1},
    {"plain": {}, "odd": {"hidden_act": "relu", "pads": (0, 5, 12)}},
)

DATA2VEC = family(
    "data2vec-text", "Data2VecText", {**PLAIN, **CAUSAL}, causal_lm="Data2VecTextForCausalLM"
)
PRELAYERNORM = family(
    "roberta-prelayernorm",
    "RobertaPreLayerNorm",
    {**PLAIN, **CAUSAL},
    causal_lm="RobertaPreLayerNormForCausalLM",
)
XLM_ROBERTA_XL = family(
    "xlm-roberta-xl",
    "XLMRobertaXL",
    {**PLAIN, **CAUSAL},
    causal_lm="XLMRobertaXLForCausalLM",
)
MEGATRON = family(
    "megatron-bert",
    "MegatronBert",
    {**PLAIN, **CAUSAL},
    causal_lm="MegatronBertForCausalLM",
    pretraining="MegatronBertForPreTraining",
    next_sentence_prediction="MegatronBertForNextSentencePrediction",
)
ERNIE = family(
    "ernie",
    "Ernie",
    {**PLAIN, **CAUSAL, "with-task": {"use_task_id": True, "task_type_vocab_size": 5}},
    causal_lm="ErnieForCausalLM",
    pretraining="ErnieForPreTraining",
    next_sentence_prediction="ErnieForNextSentencePrediction",
)
REMBERT = family(
    "rembert",
    "RemBert",
    {**PLAIN, **CAUSAL},
    {**BASE, "input_embedding_size": 26, "output_embedding_size": 31},
    causal_lm="RemBertForCausalLM",
)
FNET = family(
    "fnet",
    "FNet",
    {
        "plain": {},
        "odd": {
            "num_labels": 3,
            "hidden_act": "relu",
            "layer_norm_eps": 0.1,
            "prompt": 16,
            "tie_word_embeddings": False,
        },
    },
    {key: value for key, value in BASE.items() if key != "num_attention_heads"},
    pretraining="FNetForPreTraining",
    next_sentence_prediction="FNetForNextSentencePrediction",
)

CASES = [
    *(*BERT, *ROBERTA, *XLM_ROBERTA, *CAMEMBERT, *DISTILBERT, *ALBERT, *ELECTRA),
    *(*DPR, *DPR_READER, *DATA2VEC, *PRELAYERNORM, *XLM_ROBERTA_XL, *MEGATRON, *ERNIE),
    *(*REMBERT, *FNET),
]
