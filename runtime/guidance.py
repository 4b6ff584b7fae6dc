"""Classifier-free guidance: each row beside a twin with another prompt, and their difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from smelt.runtime.engine import Array, Engine
from smelt.runtime.feed import DecoderFeed
from smelt.runtime.processors import F32
from smelt.runtime.scores import log_softmax


class GuidedFeed:
    """Rows and their twins in one batch; gives twin + scale * (row - twin), in log-probabilities.

    Without other prompts, a twin begins with the last token of its row's prompt.
    """

    def __init__(
        self,
        engine: Engine,
        prompts: Sequence[Sequence[int]],
        negative: Sequence[int],
        *,
        pad: int,
        scale: float,
    ) -> None:
        twins = [list(negative) if negative else [prompt[-1]] for prompt in prompts]
        self._feed = DecoderFeed(engine, [*prompts, *twins], pad=pad)
        self._scale = np.float32(scale)

    def prefill(self) -> F32:
        """Feed prompts and twins."""
        return self._guided(self._feed.prefill())

    def step(self, tokens: Sequence[int]) -> F32:
        """Append one token to each row and to its twin."""
        return self._guided(self._feed.step([*tokens, *tokens]))

    def reorder(self, rows: Array) -> None:
        """Row ``i`` and its twin go on from what row ``rows[i]`` and its twin were."""
        self._feed.reorder(np.concatenate([rows, rows + rows.size]))

    def keep(self) -> Mapping[str, list[Array]]:
        """From now on, what calls gave beside logits, rows before twins."""
        return self._feed.keep()

    def _guided(self, logits: F32) -> F32:
        rows, twins = np.split(log_softmax(logits).astype(np.float32), 2)
        return self._scale * (rows - twins) + twins
