"""How likely the model itself found a token: log-probabilities before any option changed them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smelt.runtime.processors import F32


@dataclass(frozen=True)
class TokenScore:
    """One new token's natural log-probability, and those of the likeliest tokens in its place."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


def score(logits: F32, token: int, top: int) -> TokenScore:
    """Score a token by its place's raw logits [vocab]."""
    return _scored(log_softmax(logits), token, top)


def _scored(logprobs: NDArray[np.float64], token: int, top: int) -> TokenScore:
    best = largest(logprobs, top).tolist() if top else []
    return TokenScore(
        token, float(logprobs[token]), tuple((id_, float(logprobs[id_])) for id_ in best)
    )


def log_softmax(logits: F32) -> NDArray[np.float64]:
    """Natural log-probabilities along the last axis, in f64."""
    values = logits.astype(np.float64)
    values -= values.max(axis=-1, keepdims=True)
    found: NDArray[np.float64] = values - np.log(np.exp(values).sum(axis=-1, keepdims=True))
    return found


def largest(values: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Places of the largest values in falling order, ties by rising place."""
    count = min(count, values.size)
    if count == 0:
        return np.zeros(0, np.int64)
    edge = np.partition(values, values.size - count)[values.size - count]
    found = np.flatnonzero(values >= edge)
    return found[np.argsort(-values[found], kind="stable")][:count]
