"""Encoders that approximate attention: by hashes, and by blocks of several sizes."""

from __future__ import annotations

from tests.parity.cases.bert_like import BASE, PLAIN, family

YOSO = family(
    "yoso",
    "Yoso",
    {
        "plain": {"hash_code_len": 5},
        "odd": {**PLAIN["odd"], "conv_window": 3},
    },
)
MRA = family(
    "mra",
    "Mra",
    {
        "plain": {"pads": (40, 0, 7)},
        "sparse": {
            "approx_mode": "sparse",
            "initial_prior_diagonal_n_blocks": 1,
            "pads": (33, 0),
            "tasks": ("feature_extraction",),
        },
        "first": {
            "initial_prior_first_n_blocks": 1,
            "pads": (0,),
            "tasks": ("masked_lm",),
        },
    },
    {**BASE, "max_position_embeddings": 64, "block_per_row": 1, "prompt": 64},
)

CASES = [*YOSO, *MRA]
