"""Falcon Mamba: odd sizes, biases, kernels."""

from __future__ import annotations

from tests.parity.case import table

CASES = table(
    "falcon_mamba",
    {"causal_lm": "FalconMambaForCausalLM", "feature_extraction": "FalconMambaModel"},
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
        "biased": {"use_bias": True, "use_conv_bias": False, "mixer_rms_eps": 1e-2},
        "wide-rank": {"time_step_rank": 7, "conv_kernel": 3, "tie_word_embeddings": False},
    },
)
