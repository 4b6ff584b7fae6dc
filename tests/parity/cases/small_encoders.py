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
        # Without norms, values would grow beyond what f32 keeps to four digits in more MLPs.
        "plain": {"num_feedforward_networks": 2},
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

LUKE = family("luke", "Luke", PLAIN, {**BASE, "entity_vocab_size": 11, "entity_emb_size": 13})

SPLINTER = family(
    "splinter",
    "Splinter",
    {
        "plain": {"question_token_id": 104},
        "odd": {"question_token_id": 7, "vocab_size": 9, "num_attention_heads": 7, "prompt": 29},
    },
    without=("masked_lm", "sequence_classification", "token_classification", "multiple_choice"),
)

IBERT = family("ibert", "IBert", {"plain": {}, "odd": {**PLAIN["odd"], "hidden_act": "gelu"}})

NYSTROMFORMER = family(
    "nystromformer",
    "Nystromformer",
    {
        "plain": {"conv_kernel_size": 5},
        "odd": {**PLAIN["odd"], "conv_kernel_size": 3, "num_landmarks": 7}
        | {"segment_means_seq_len": 7},
    },
)

BOXED = {**BASE, "max_2d_position_embeddings": 31}
LILT = family(
    "lilt",
    "Lilt",
    {
        "plain": {},
        "odd": {"num_attention_heads": 6, "channel_shrink_ratio": 2, "hidden_act": "relu"}
        | {"num_labels": 3, "pads": (0, 5, 12)},
    },
    {**BOXED, "hidden_size": 48, "intermediate_size": 56},
    without=("masked_lm", "multiple_choice"),
)
LAYOUTLM = family("layoutlm", "LayoutLM", PLAIN, BOXED, without=("multiple_choice",))

MARKUP = {**BASE, "max_xpath_tag_unit_embeddings": 17, "max_xpath_subs_unit_embeddings": 19}
MARKUP |= {"max_depth": 4, "xpath_unit_hidden_size": 5, "tag_pad_id": 16, "subs_pad_id": 18}
MARKUPLM = family(
    "markuplm",
    "MarkupLM",
    {
        "plain": {},
        "odd": {"num_attention_heads": 7, "num_labels": 3, "hidden_act": "relu", "max_depth": 3},
    },
    MARKUP,
    without=("masked_lm", "multiple_choice"),
)

CANINE = family(
    "canine",
    "Canine",
    {
        "plain": {"vocab_size": 3000},
        "chunks": {
            "vocab_size": 70000,
            "local_transformer_stride": 5,
            "downsampling_rate": 3,
            "upsampling_kernel_size": 5,
            "num_hash_functions": 7,
            "num_labels": 3,
            "prompt": 29,
            "pads": (0, 5, 17),
            "hidden_act": "relu",
        },
    },
    {**BASE, "num_hash_functions": 6, "num_hash_buckets": 97},
    without=("masked_lm",),
)

BIG_BIRD = family(
    "big_bird",
    "BigBird",
    {
        "plain": {"attention_type": "original_full"},
        "short": {"use_bias": False, "rescale_embeddings": True, "num_labels": 3},
        "sparse": {
            "block_size": 2,
            "num_random_blocks": 1,
            "prompt": 23,
            "hidden_act": "relu",
            "pads": (0, 3, 7),
        },
        "sparse-more": {"block_size": 2, "num_random_blocks": 2, "prompt": 26, "num_labels": 3},
        "causal": {
            "is_decoder": True,
            "attention_type": "original_full",
            "tasks": ("causal_lm",),
        },
    },
    causal_lm="BigBirdForCausalLM",
    pretraining="BigBirdForPreTraining",
)

LONGFORMER = family(
    "longformer",
    "Longformer",
    {
        "plain": {"attention_window": [4, 6], "prompt": 23},
        "odd": {
            **PLAIN["odd"],
            "attention_window": [8, 4],
            "prompt": 29,
            "pad_token_id": 0,
            "pads": (0, 5, 12),
        },
    },
    without=("question_answering", "multiple_choice"),
)

CASES = [
    *(*ESM, *MOBILEBERT, *SQUEEZEBERT, *GENERATION, *XMOD, *ROC_BERT, *FLAUBERT),
    *(*LUKE, *SPLINTER, *IBERT, *NYSTROMFORMER, *LILT, *LAYOUTLM, *MARKUPLM, *CANINE),
    *(*BIG_BIRD, *LONGFORMER),
]
