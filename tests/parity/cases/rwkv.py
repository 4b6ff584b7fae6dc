"""RWKV: wide attention, rescaled layers, tied heads."""

from __future__ import annotations

from tests.parity.case import table

CASES = table(
    "rwkv",
    {"causal_lm": "RwkvForCausalLM", "feature_extraction": "RwkvModel"},
    {
        "hidden_size": 22,
        "num_hidden_layers": 3,
        "vocab_size": 99,
        "context_length": 64,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    },
    {
        "plain": {"tasks": ("feature_extraction",)},
        # A step of transformers is for one text only.
        "rescaled": {
            "rescale_every": 1,
            "intermediate_size": 37,
            "layer_norm_epsilon": 1e-2,
            "tasks": ("causal_lm",),
            "pads": (4,),
        },
        "whole": {
            "rescale_every": 0,
            "tie_word_embeddings": True,
            "tasks": ("causal_lm",),
            "prompt": 1,
            "pads": (0,),
        },
    },
)
