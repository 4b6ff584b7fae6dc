"""OPT and what came of it, MPT and Falcon: learned, sinusoidal and sloped positions."""

from __future__ import annotations

from typing import Any

from tests.parity.case import table
from tests.parity.cases.decoders import heads

LM = ("causal_lm",)
IDS = {"vocab_size": 99, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BASE: dict[str, Any] = {
    "hidden_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 5,
    "max_position_embeddings": 71,
    **IDS,
}

OPT = table(
    "opt",
    heads("OPT", "token_classification"),
    {**BASE, "ffn_dim": 57},
    {
        "before": {},
        "after": {
            "do_layer_norm_before": False,
            "word_embed_proj_dim": 24,
            "activation_function": "gelu",
            "num_labels": 3,
        },
        "bare": {
            "enable_bias": False,
            "layer_norm_elementwise_affine": False,
            "tie_word_embeddings": False,
        },
    },
)
BIOGPT = table(
    "biogpt",
    heads("BioGpt", "question_answering"),
    {**BASE, "intermediate_size": 57},
    {"plain": {}, "unscaled": {"scale_embedding": False, "hidden_act": "relu", "num_labels": 3}},
)
XGLM = table(
    "xglm",
    {"causal_lm": "XGLMForCausalLM", "feature_extraction": "XGLMModel"},
    {
        "d_model": 40,
        "ffn_dim": 57,
        "num_layers": 2,
        "attention_heads": 5,
        "max_position_embeddings": 71,
        **IDS,
        "pad_token_id": 1,
        "bos_token_id": 0,
    },
    {
        "plain": {},
        "unscaled": {"scale_embedding": False, "attention_heads": 4, "tie_word_embeddings": False},
    },
)
MPT = table(
    "mpt",
    heads("Mpt"),
    {"d_model": 40, "n_heads": 5, "n_layers": 2, "max_seq_len": 71, **IDS},
    {
        "plain": {},
        "clipped": {
            "n_heads": 8,
            "num_labels": 3,
            "attn_config": {"clip_qkv": 0.7, "softmax_scale": 0.3},
            "tie_word_embeddings": False,
        },
    },
)
FALCON = table(
    "falcon",
    heads("Falcon"),
    {**BASE, "num_attention_heads": 4},
    {
        "shared": {},
        "grouped": {
            "new_decoder_architecture": True,
            "num_kv_heads": 2,
            "bias": True,
            "num_labels": 3,
        },
        "one-norm": {
            "new_decoder_architecture": True,
            "num_kv_heads": 2,
            "num_ln_in_parallel_attn": 1,
            "tie_word_embeddings": False,
        },
        "alibi": {
            "alibi": True,
            "multi_query": False,
            "parallel_attn": False,
            "bias": True,
            "num_attention_heads": 5,
            "ffn_hidden_size": 57,
        },
    },
)

CASES = [*OPT, *BIOGPT, *XGLM, *MPT, *FALCON]
