"""Decoding by contrasting layers (DoLa): what the last layer says beyond what an early one did.

The early layer is the candidate whose distribution is furthest from the last one's, for each row by
itself. Tokens below a tenth of the likeliest are left out. Source: Chuang et al., "DoLa", 2023; the
candidates that ``low`` and ``high`` mean, and the way distances are averaged, are those of
`transformers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from smelt.errors import SmeltError
from smelt.runtime.engine import Array, Engine
from smelt.runtime.feed import Feed
from smelt.runtime.manifest import HiddenStates
from smelt.runtime.processors import F32
from smelt.runtime.scores import log_softmax

_RELATIVE_TOP = np.float32(np.log(0.1))


def candidate_layers(asked: str | tuple[int, ...], told: HiddenStates) -> list[int]:
    """The layers whose results are compared; 0 is what the first block reads."""
    last = told.layers
    if not isinstance(asked, str):
        wrong = [layer for layer in asked if layer >= last]
        if wrong:
            raise SmeltError(f"`dola_layers` has {wrong[0]}, the early layers are 0 to {last - 1}")
        return list(asked)
    # What a shared table says of its own rows is those rows.
    first = 0 if not told.tied else min(2, max(last - 1, 0))
    if asked == "high":
        return list(range(last // 2 if last <= 40 else last - 20, last, 2))
    if first == last // 2:
        return [first]
    return list(range(first, last // 2 if last <= 40 else 20, 2))


class ContrastedFeed:
    """A feed whose logits are the last layer's against an early one's, as log-probabilities."""

    def __init__(self, engine: Engine, feed: Feed, layers: Sequence[int]) -> None:
        self._engine = engine
        self._feed = feed
        self._kept = feed.keep()
        self._layers = list(layers)
        assert engine.manifest.hidden is not None
        self._count = engine.manifest.hidden.layers

    def prefill(self) -> F32:
        """Feed the prompts."""
        return self._contrasted(self._feed.prefill())

    def step(self, tokens: Sequence[int]) -> F32:
        """Append one token to each row."""
        return self._contrasted(self._feed.step(tokens))

    def reorder(self, rows: Array) -> None:
        """Row ``i`` goes on from what row ``rows[i]`` was."""
        self._feed.reorder(rows)

    def keep(self) -> Mapping[str, list[Array]]:
        """What the calls gave beside logits."""
        return self._kept

    def _contrasted(self, logits: F32) -> F32:
        states = self._kept["layers"][-1][:, -1]
        states = states.reshape(states.shape[0], self._count, -1)[:, self._layers]
        found = self._engine.call("head", {"hidden": np.ascontiguousarray(states)})["logits"]
        early = np.asarray(found, np.float32)
        return np.stack([_contrast(row, own) for row, own in zip(logits, early, strict=True)])


def _contrast(final: F32, early: F32) -> F32:
    """Scores f32 [vocab] of the last layer's logits [vocab] against early ones [layers, vocab]."""
    last = log_softmax(final).astype(np.float32)
    others = log_softmax(early).astype(np.float32)
    other = others[int(_distances(last, others).argmax())]
    found: F32 = np.where(last < last.max() + _RELATIVE_TOP, np.float32(-np.inf), last - other)
    return found


def _distances(last: F32, others: F32) -> F32:
    """Half the divergence of the mean distribution from each of the two, over the vocabulary."""
    mean = np.float32(0.5) * (np.exp(last) + np.exp(others))
    logs = np.log(np.maximum(mean, np.finfo(np.float32).tiny))
    both = (mean * (logs - last)).mean(-1) + (mean * (logs - others)).mean(-1)
    found: F32 = np.float32(0.5) * both
    return found
