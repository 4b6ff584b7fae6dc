"""The likeliest tokens in place of a mask, from a masked language model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smelt.errors import SmeltError
from smelt.runtime.encode import call_encoder, require_task, softmax
from smelt.runtime.engine import Engine
from smelt.runtime.text import Text


@dataclass(frozen=True)
class Candidate:
    """A token for a mask and its probability."""

    token: int
    text: str
    score: float


def fill_mask(engine: Engine, text: Text, masked: str, *, top: int = 5) -> list[list[Candidate]]:
    """For each mask in the text its likeliest tokens, best first."""
    require_task(engine.manifest, "fill_mask", "masked_lm")
    mask = text.special_id("mask")
    if mask is None:
        raise SmeltError("the tokenizer has no mask token")
    encoded = text.encode_full(masked)
    places = [at for at, token in enumerate(encoded.ids) if token == mask]
    if not places:
        raise SmeltError(
            "the text has no mask",
            hint=f"write {text.special['mask_token']} where a word is wanted",
        )
    outputs, _ = call_encoder(engine, text, [encoded])
    found = []
    for place in places:
        scores = softmax(outputs["logits"][0, place])
        best = np.argsort(-scores, kind="stable")[:top]
        found.append([Candidate(int(i), text.decode([int(i)]), float(scores[i])) for i in best])
    return found
