"""Encoders of text for small machines, other alphabets and other languages."""

from __future__ import annotations

from tests.parity.case import table
from tests.parity.cases.bert_like import BASE, CAUSAL, PLAIN, family

ESM = family(
    "esm",
    "Esm",
    {
        "plain": {},
        "rotary": {
            "position_embedding_type": "rotary",
            "token_dropout": True,
            "emb_layer_norm_before": True,
            "num_labels": 3,
            "layer_norm_eps": 0.1,
            "pads": (0, 5, 12),
        },
    },
    {**BASE, "pad_token_id": 0, "mask_token_id": 3, "vocab_size": 33},
    without=("question_answering", "multiple_choice"),
)

MOBILE = {**BASE, "embedding_size": 26, "intra_bottleneck_size": 30}
MOBILEBERT = family(
    "mobilebert",
    "MobileBert",
    {
        "plain": {},
        "normed": {
            "normalization_type": "layer_norm",
            "num_feedforward_networks": 1,
            "use_bottleneck_attention": True,
            "key_query_shared_bottleneck": False,
            "num_labels": 3,
            "layer_norm_eps": 0.1,
            "hidden_act": "gelu",
            "pads": (0, 5, 12),
        },
        "unsqueezed": {
            "use_bottleneck": False,
            "intra_bottleneck_size": 42,
            "trigram_input": False,
            "num_feedforward_networks": 2,
            "classifier_activation": False,
        },
    },
    MOBILE,
    pretraining="MobileBertForPreTraining",
    next_sentence_prediction="MobileBertForNextSentencePrediction",
)

SQUEEZEBERT = family(
    "squeezebert",
    "SqueezeBert",
    {
        "plain": {},
        "odd": {
            **PLAIN["odd"],
            "q_groups": 7,
            "k_groups": 3,
            "v_groups": 1,
            "post_attention_groups": 2,
            "intermediate_groups": 1,
            "output_groups": 3,
        },
    },
    {**BASE, "embedding_size": 42, "intermediate_size": 54}
    | {f"{name}_groups": 2 for name in ("q", "k", "v", "intermediate", "output")},
)

GENERATION = [
    case
    for task, architecture, name, config in (
        ("feature_extraction", "BertGenerationEncoder", "plain", {}),
        ("feature_extraction", "BertGenerationEncoder", "odd", {"hidden_act": "relu"}),
        ("causal_lm", "BertGenerationDecoder", "plain", {"is_decoder": True}),
        (
            "causal_lm",
            "BertGenerationDecoder",
            "odd",
            {"is_decoder": True, "tie_word_embeddings": False, "num_attention_heads": 7},
        ),
    )
    for case in table("bert-generation", {task: architecture}, BASE, {name: config})
]

XMOD = family(
    "xmod",
    "Xmod",
    {
        **PLAIN,
        **CAUSAL,
        "early": {
            "pre_norm": True,
            "adapter_layer_norm": True,
            "ln_before_adapter": False,
            "adapter_reduction_factor": 3,
            "default_language": "de_DE",
        },
        "bare": {"adapter_reuse_layer_norm": False, "tasks": ("feature_extraction",)},
    },
    {**BASE, "languages": ["en_XX", "de_DE"], "default_language": "en_XX"},
    causal_lm="XmodForCausalLM",
)

ROC = {**BASE, "shape_embed_dim": 17, "pronunciation_embed_dim": 13}
ROC |= {"shape_vocab_size": 23, "pronunciation_vocab_size": 19}
ROC_BERT = family(
    "roc_bert",
    "RoCBert",
    {
        **PLAIN,
        **CAUSAL,
        "blended": {
            "concat_input": False,
            "shape_embed_dim": 42,
            "pronunciation_embed_dim": 42,
        },
        "silent": {"enable_pronunciation": False, "num_labels": 3},
    },
    ROC,
    causal_lm="RoCBertForCausalLM",
)

FLAUBERT = family(
    "flaubert",
    "Flaubert",
    {
        "plain": {},
        "odd": {
            "n_heads": 7,
            "num_labels": 3,
            "gelu_activation": False,
            "summary_type": "mean",
            "pads": (0, 5, 12),
        },
    },
    {"emb_dim": 42, "n_layers": 2, "n_heads": 3, "vocab_size": 99, "max_position_embeddings": 53},
    masked_lm="FlaubertWithLMHeadModel",
    question_answering="FlaubertForQuestionAnsweringSimple",
)

CASES = [
    *(*ESM, *MOBILEBERT, *SQUEEZEBERT, *GENERATION, *XMOD, *ROC_BERT, *FLAUBERT),
]
