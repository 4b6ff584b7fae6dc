"""xLSTM: weights apart and joined, biases, widths of heads, caps."""

from __future__ import annotations

from tests.parity.case import table

CASES = table(
    "xlstm",
    {"causal_lm": "xLSTMForCausalLM", "feature_extraction": "xLSTMModel"},
    {
        # The cache of transformers wants keys and values of whole sixty-fours.
        "hidden_size": 64,
        "qk_dim_factor": 1.0,
        "num_hidden_layers": 2,
        "num_heads": 4,
        "vocab_size": 99,
        "ffn_round_up_to_multiple_of": 10,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    },
    {
        "plain": {},
        # transformers fails to make new weights of mode "fused", so none are here.
        "biased": {
            "use_bias": True,
            "v_dim_factor": 2.0,
            "num_heads": 2,
            "gate_soft_cap": 2.0,
            "output_logit_soft_cap": 3.0,
            "ffn_proj_factor": 1.3,
            "tasks": ("causal_lm",),
            "prompt": 1,
            "pads": (0, 0, 0),
        },
    },
)
