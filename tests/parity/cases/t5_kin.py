"""mT5 and UMT5: what differs from T5."""

from __future__ import annotations

from typing import Any

from tests.parity.case import Case, table

BASE: dict[str, Any] = {
    "d_model": 42,
    "d_kv": 10,
    "d_ff": 55,
    "num_layers": 2,
    "num_heads": 3,
    "vocab_size": 99,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
    "decoder_start_token_id": 0,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deep-decoder": {"num_decoder_layers": 3, "feed_forward_proj": "relu", "num_labels": 3},
    "many-buckets": {
        "relative_attention_num_buckets": 13,
        "relative_attention_max_distance": 64,
        "num_heads": 5,
        "vocab_size": 57,
        "pads": (0, 6, 1),
    },
}


def kin(model_type: str, name: str) -> list[Case]:
    """Every variant for the tasks of T5."""
    classes = {
        "seq2seq_lm": f"{name}ForConditionalGeneration",
        "seq2seq_features": f"{name}Model",
        "feature_extraction": f"{name}EncoderModel",
        "token_classification": f"{name}ForTokenClassification",
    }
    return table(model_type, classes, BASE, VARIANTS)


CASES = [*kin("mt5", "MT5"), *kin("umt5", "UMT5")]
