"""The beams of a prompt, and what may follow them: what every kind of beam search has in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from smelt.runtime.processors import F32, Row, mark, process
from smelt.runtime.random import uniform
from smelt.runtime.sampling import candidates, check, draw, spread
from smelt.runtime.scores import TokenScore, largest, log_softmax, score
from smelt.runtime.settings import Options
from smelt.runtime.text import Text

NEVER = np.float32(-1e9)
"""Far below any score: a beam that has not begun, or a place that nothing holds."""


@dataclass
class Beam:
    """A beginning that goes on: its row, the sum of its log-probabilities, and its scores."""

    row: Row
    total: np.float32
    scores: list[TokenScore] = field(default_factory=list)

    def grown(self, token: int, total: np.float32, scored: TokenScore | None) -> Beam:
        """This beam and one more token."""
        return Beam(
            self.row.grown(token), total, self.scores if scored is None else [*self.scores, scored]
        )


@dataclass(frozen=True)
class Result:
    """A place among the results: what holds it, and whether that has ended."""

    score: np.float32
    beam: Beam | None
    ended: bool


class Continuations:
    """Every token after every beam, with the totals f32 [beams, vocab] that these would have."""

    def __init__(self, beams: Sequence[Beam], logits: F32, options: Options) -> None:
        self._beams = beams
        self._logits = logits
        self._options = options
        logprobs = log_softmax(logits).astype(np.float32)
        shaped = np.stack([_shape(p, b.row, options) for p, b in zip(logprobs, beams, strict=True)])
        self.totals: F32 = shaped + np.array([b.total for b in beams])[:, None]
        check(self.totals.reshape(-1), beams[0].row)

    def best(self) -> tuple[list[int], list[Beam]]:
        """The best ones, the best first: enough that not all of them end; and what beam each was.

        With a temperature they are drawn without return.
        """
        count = max(2, 1 + len(self._options.eos)) * len(self._beams)
        parents, tokens = np.divmod(self._places(count), self._logits.shape[1])
        pairs = zip(parents.tolist(), tokens.tolist(), strict=True)
        return parents.tolist(), [self.grow(parent, token) for parent, token in pairs]

    def grow(self, parent: int, token: int) -> Beam:
        """A beam and one more token."""
        scored = None
        if self._options.logprobs is not None:
            scored = score(self._logits[parent], token, self._options.logprobs)
        return self._beams[parent].grown(token, self.totals[parent, token], scored)

    def _places(self, wanted: int) -> NDArray[np.int64]:
        totals = self.totals.reshape(-1)
        if self._options.greedy:
            return largest(totals, wanted)
        row, ids = self._beams[0].row, np.arange(totals.size)
        weights = np.exp(totals.astype(np.float64) - float(totals.max()))
        drawn: list[int] = []
        while len(drawn) < wanted and weights.any():
            u = uniform(self._options.seed, row.index, row.new, draw=len(drawn) + 1)
            drawn.append(draw(ids, weights, u))
            weights[drawn[-1]] = 0.0
        rest = totals.copy()
        rest[drawn] = -np.inf
        return np.array([*drawn, *largest(rest, wanted - len(drawn))], np.int64)


def _shape(logprobs: F32, row: Row, options: Options) -> F32:
    shaped = process(logprobs, row, options)
    if not options.greedy and shaped.max() > -np.inf:
        keep = len(options.eos) + 1 if options.eos else 2
        ids, weights = candidates(shaped, options, keep)
        top = shaped.max() / np.float32(options.temperature)
        shaped = spread(ids, weights, shaped.size) + top
    shaped = mark(shaped, row, options)
    if options.renormalize_logits and shaped.max() > -np.inf:
        shaped = log_softmax(shaped).astype(np.float32)
    return shaped


def ends(row: Row, options: Options, text: Text | None) -> bool:
    """Whether a row has said an end token, or a stop string."""
    if row.tokens[-1] in options.eos:
        return True
    if text is None or not options.stop:
        return False
    said = text.decode(row.tokens[len(row.tokens) - row.new :])
    return any(stop in said for stop in options.stop)
