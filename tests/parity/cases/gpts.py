"""The first generations of decoders: learned, rotated, sinusoidal and sloped positions."""

from __future__ import annotations

from typing import Any

from tests.parity.case import table
from tests.parity.cases.decoders import heads

LM = ("causal_lm",)
IDS = {"vocab_size": 99, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GPT: dict[str, Any] = {"n_embd": 40, "n_layer": 2, "n_head": 5, "n_positions": 71, **IDS}

GPT_NEO = table(
    "gpt_neo",
    heads("GPTNeo"),
    {
        "hidden_size": 40,
        "num_layers": 2,
        "attention_types": [[["global", "local"], 1]],
        "num_heads": 5,
        "window_size": 5,
        "max_position_embeddings": 71,
        **IDS,
    },
    {
        "plain": {},
        "two-groups": {
            "num_layers": 3,
            "attention_types": [[["local"], 2], [["global"], 1]],
            "intermediate_size": 57,
            "activation_function": "relu",
            "num_labels": 3,
            "tie_word_embeddings": False,
        },
    },
)

GPT_NEOX = table(
    "gpt_neox",
    heads("GPTNeoX"),
    {
        "hidden_size": 42,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 57,
        "max_position_embeddings": 71,
        "rope_parameters": {
            "rope_type": "default",
            "partial_rotary_factor": 0.3,
            "rope_theta": 500.0,
        },
        **IDS,
    },
    {
        "plain": {},
        "in-turn": {"use_parallel_residual": False, "attention_bias": False, "num_labels": 3},
        "stretched": {
            "tasks": LM,
            "tie_word_embeddings": True,
            "hidden_act": "gelu_new",
            "rope_parameters": {
                "rope_type": "linear",
                "factor": 3.0,
                "rope_theta": 90.0,
                "partial_rotary_factor": 1.0,
            },
        },
    },
)

GPTJ = table(
    "gptj",
    heads("GPTJ", "token_classification"),
    {**GPT, "rotary_dim": 6},
    {
        "plain": {},
        "whole-heads": {"rotary_dim": 8, "n_inner": 57, "num_labels": 3, "pads": (0, 6, 1)},
        "odd": {"rotary_dim": 2, "activation_function": "gelu", "n_head": 4, "vocab_size": 57},
    },
)

CODEGEN = table(
    "codegen",
    {"causal_lm": "CodeGenForCausalLM", "feature_extraction": "CodeGenModel"},
    {**GPT, "n_head": 4, "n_ctx": 71, "rotary_dim": 6},
    {
        "plain": {},
        "eight-heads": {
            "n_embd": 48,
            "n_head": 8,
            "rotary_dim": 4,
            "n_inner": 57,
            "vocab_size": 57,
        },
    },
)

GPT_BIGCODE = table(
    "gpt_bigcode",
    heads("GPTBigCode", "question_answering"),
    GPT,
    {
        "shared": {},
        "own": {"multi_query": False, "n_inner": 57, "num_labels": 3, "tie_word_embeddings": False},
        "unscaled": {"scale_attn_weights": False, "n_head": 4, "activation_function": "relu"},
    },
)

GPT1 = table(
    "openai-gpt",
    {
        "causal_lm": "OpenAIGPTLMHeadModel",
        "feature_extraction": "OpenAIGPTModel",
        "sequence_classification": "OpenAIGPTForSequenceClassification",
    },
    GPT,
    {
        "plain": {},
        "relu": {"afn": "relu", "n_head": 4, "vocab_size": 57, "num_labels": 3},
        "untied": {"tasks": LM, "afn": "silu", "tie_word_embeddings": False, "pads": (0, 6, 1)},
    },
)

CTRL = table(
    "ctrl",
    {
        "causal_lm": "CTRLLMHeadModel",
        "feature_extraction": "CTRLModel",
        "sequence_classification": "CTRLForSequenceClassification",
    },
    {**GPT, "dff": 57},
    {
        "plain": {},
        "odd": {
            "n_head": 4,
            "dff": 33,
            "vocab_size": 57,
            "num_labels": 3,
            "layer_norm_epsilon": 1e-3,
        },
        "untied": {"tasks": LM, "tie_word_embeddings": False},
    },
)

BLOOM = table(
    "bloom",
    heads("Bloom"),
    {"hidden_size": 40, "n_layer": 2, "n_head": 5, **IDS},
    {
        "plain": {},
        "normed-residual": {
            "apply_residual_connection_post_layernorm": True,
            "n_head": 8,
            "num_labels": 3,
            "tie_word_embeddings": False,
        },
        "odd": {"hidden_size": 42, "n_head": 3, "vocab_size": 57, "pads": (0, 6, 1)},
    },
)

CASES = [*GPT_NEO, *GPT_NEOX, *GPTJ, *CODEGEN, *GPT_BIGCODE, *GPT1, *CTRL, *BLOOM]
