"""Models with a state instead of a cache."""

from __future__ import annotations

from tests.parity.case import table

CASES = table(
    "mamba",
    {"causal_lm": "MambaForCausalLM", "feature_extraction": "MambaModel"},
    {
        "hidden_size": 22,
        "num_hidden_layers": 2,
        "state_size": 5,
        "vocab_size": 99,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    },
    {
        "plain": {},
        "biased": {"use_bias": True, "use_conv_bias": False, "expand": 3},
        "wide-rank": {"time_step_rank": 7, "conv_kernel": 3, "tie_word_embeddings": False},
        "long-kernel": {"conv_kernel": 6, "hidden_size": 35, "prompt": 4, "pads": (1, 0, 0)},
    },
)
