"""Labels for whole texts, from a sequence classification artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smelt.errors import SmeltError
from smelt.runtime.encode import call_encoder, require_task, softmax
from smelt.runtime.engine import Engine
from smelt.runtime.text import Text


@dataclass(frozen=True)
class Label:
    """A class and its probability; with a single class, the raw score of a regression."""

    name: str
    score: float


def classify(
    engine: Engine,
    text: Text,
    texts: str | Sequence[str],
    pair: str | Sequence[str] | None = None,
) -> list[list[Label]]:
    """All labels of each text, or pair of texts, the likeliest first."""
    require_task(engine.manifest, "classify", "sequence_classification", "next_sentence_prediction")
    rows = [texts] if isinstance(texts, str) else list(texts)
    pairs = [pair] * len(rows) if pair is None or isinstance(pair, str) else list(pair)
    if len(pairs) != len(rows):
        raise SmeltError(f"there are {len(rows)} texts and {len(pairs)} second texts")
    encoded = [text.encode_full(a, b) for a, b in zip(rows, pairs, strict=True)]
    outputs, _ = call_encoder(engine, text, encoded)
    logits = outputs["logits"]
    scores = logits.astype(np.float64) if logits.shape[-1] == 1 else softmax(logits)
    names = engine.manifest.labels or tuple(f"LABEL_{i}" for i in range(logits.shape[-1]))
    if len(names) != logits.shape[-1]:
        raise SmeltError(f"the artifact has {len(names)} labels and {logits.shape[-1]} logits")
    return [
        sorted(
            (Label(name, float(score)) for name, score in zip(names, row, strict=True)),
            key=lambda label: -label.score,
        )
        for row in scores
    ]
