"""Beam search over any engine: the beams of `transformers`, greedy or drawn.

Each prompt has ``num_beams`` rows of the batch. A step takes the log-probabilities of all of them,
shaped by processors (and samplers where it draws), adds what the beams have so far, and keeps the
best ``max(2, 1 + ends) * num_beams`` continuations. Those that end and are among the first
``num_beams`` compete, by score / new_tokens ** length_penalty, for the results; the best of the
others are the next beams. ``NEVER`` is far below any score, and keeps the first step to one beam.

A prompt ends when no beam could still win (measured at the present length, or at the longest with
``early_stopping="never"``), when its results are full with ``early_stopping=True``, or when every
continuation ends. Each prompt is on its own: the rest of its batch changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from smelt.runtime.engine import Engine
from smelt.runtime.feed import Feed
from smelt.runtime.generate import Completion, Finish, Piece, Progress, prefill
from smelt.runtime.metrics import Metrics, Stopwatch
from smelt.runtime.processors import F32, Row, mark, process
from smelt.runtime.random import uniform
from smelt.runtime.sampling import candidates, check, draw, spread
from smelt.runtime.scores import TokenScore, largest, log_softmax, score
from smelt.runtime.settings import Options
from smelt.runtime.text import Text

NEVER = np.float32(-1e9)


@dataclass
class _Beam:
    """A beginning that goes on: its row, the sum of its log-probabilities, and its scores."""

    row: Row
    total: np.float32
    scores: list[TokenScore] = field(default_factory=list)

    def grown(self, token: int, total: np.float32, scored: TokenScore | None) -> _Beam:
        """This beam and one more token."""
        return _Beam(
            self.row.grown(token), total, self.scores if scored is None else [*self.scores, scored]
        )


@dataclass(frozen=True)
class _Result:
    """A place among the results: what holds it, and whether that has ended."""

    score: np.float32
    beam: _Beam | None
    ended: bool


class _Search:
    """The beams and results of one prompt."""

    def __init__(self, row: Row, options: Options, text: Text | None) -> None:
        self._options = options
        self._text = text
        self._count = options.num_beams
        first = [np.float32(0.0), *[NEVER] * (self._count - 1)]
        self.beams = [_Beam(row, t) for t in first]
        self.results = [_Result(NEVER, None, ended=False)] * self._count
        self._open = True
        self.ended = False

    def step(self, logits: F32, *, late: bool) -> list[int]:
        """Take one more token; gives, for each beam of the next step, the beam that it was."""
        options = self._options
        logprobs = log_softmax(logits).astype(np.float32)
        shaped = np.stack(
            [self._shape(p, b.row) for p, b in zip(logprobs, self.beams, strict=True)]
        )
        totals = (shaped + np.array([b.total for b in self.beams])[:, None]).reshape(-1)
        check(totals, self.beams[0].row)
        parents, tokens = np.divmod(self._continuations(totals), logits.shape[1])
        grown = []
        for parent, token in zip(parents.tolist(), tokens.tolist(), strict=True):
            scored = None
            if options.logprobs is not None:
                scored = score(logits[parent], token, options.logprobs)
            total = totals[parent * logits.shape[1] + token]
            grown.append(self.beams[parent].grown(token, total, scored))
        new = grown[0].row.new
        full = late or new >= options.max_new_tokens
        ends = np.array([full or self._ends(beam.row) for beam in grown])
        reached = np.array([beam.total for beam in grown])
        self._keep_results(grown, reached, ends, new)
        left = reached + ends.astype(np.float32) * NEVER
        chosen = largest(left, self._count).tolist()
        self.beams = [_Beam(grown[i].row, left[i], grown[i].scores) for i in chosen]
        self._decide(new, every=bool(ends.all()))
        return [int(parents[i]) for i in chosen]

    def _ends(self, row: Row) -> bool:
        if row.tokens[-1] in self._options.eos:
            return True
        if self._text is None or not self._options.stop:
            return False
        said = self._text.decode(row.tokens[len(row.tokens) - row.new :])
        return any(stop in said for stop in self._options.stop)

    def _shape(self, logprobs: F32, row: Row) -> F32:
        options = self._options
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

    def _continuations(self, totals: F32) -> NDArray[np.int64]:
        """Places of the best continuations, or of as many that are drawn without return."""
        wanted = max(2, 1 + len(self._options.eos)) * self._count
        if self._options.greedy:
            return largest(totals, wanted)
        row, ids = self.beams[0].row, np.arange(totals.size)
        weights = np.exp(totals.astype(np.float64) - float(totals.max()))
        drawn: list[int] = []
        while len(drawn) < wanted and weights.any():
            u = uniform(self._options.seed, row.index, row.new, draw=len(drawn) + 1)
            drawn.append(draw(ids, weights, u))
            weights[drawn[-1]] = 0.0
        rest = totals.copy()
        rest[drawn] = -np.inf
        return np.array([*drawn, *largest(rest, wanted - len(drawn))], np.int64)

    @property
    def _full(self) -> bool:
        """Whether the search ends early: every result has ended, and no better one is wanted."""
        return self._options.early_stopping is True and all(r.ended for r in self.results)

    def _keep_results(
        self, grown: Sequence[_Beam], reached: F32, ends: NDArray[np.bool_], new: int
    ) -> None:
        ended = ends & (np.arange(ends.size) < self._count)
        scores = reached / np.float32(float(new) ** self._options.length_penalty)
        scores = scores + (NEVER if self._full or not self._open else np.float32(0.0))
        scores = scores + (~ended).astype(np.float32) * NEVER
        merged = [*self.results]
        merged += [_Result(s, b, bool(e)) for s, b, e in zip(scores, grown, ended, strict=True)]
        best = largest(np.array([result.score for result in merged]), self._count)
        self.results = [merged[i] for i in best.tolist()]

    def _decide(self, new: int, *, every: bool) -> None:
        options = self._options
        hopeful = options.early_stopping == "never" and options.length_penalty > 0.0
        length = options.max_new_tokens if hopeful else new
        best = self.beams[0].total / np.float32(float(length) ** options.length_penalty)
        worst = min(result.score for result in self.results)
        self._open &= any(best > (worst if r.ended else NEVER) for r in self.results)
        self.ended = not self._open or self._full or every


def search_rows(
    engine: Engine,
    feed: Feed,
    rows: Sequence[Row],
    options: Options,
    *,
    text: Text | None,
    done: Sequence[Completion],
    metrics: Metrics,
    watch: Stopwatch,
    limit: Finish = "length",
) -> Iterator[Piece]:
    """Search one batch to its end, then give the pieces of each result, the best first.

    ``feed`` has ``num_beams`` rows for each of ``rows``, ``done`` as many as come back.
    """
    searches = [_Search(row, options, text) for row in rows]
    count = options.num_beams
    logits = prefill(feed, options, text, metrics, watch)
    while True:
        late = options.max_time is not None and watch.seconds > options.max_time
        parents = np.arange(len(searches) * count)
        for at, search in enumerate(searches):
            if not search.ended:
                own = slice(at * count, (at + 1) * count)
                parents[own] = at * count + np.array(search.step(logits[own], late=late))
        metrics.sampling_seconds += watch.lap()
        if all(search.ended for search in searches):
            break
        feed.reorder(parents)
        logits = feed.step([beam.row.tokens[-1] for s in searches for beam in s.beams])
        metrics.decode_seconds += watch.lap()
        metrics.decode_calls += 1
    metrics.first_token_seconds = metrics.first_token_seconds or watch.seconds
    metrics.bytes = engine.bytes()
    returned = options.num_return_sequences
    for at, search in enumerate(searches):
        own_done = done[at * returned : (at + 1) * returned]
        for place, (result, target) in enumerate(zip(search.results, own_done, strict=False)):
            index = rows[at].index * returned + place
            yield from _pieces(result, index, rows[at], target, text, options, limit, metrics)
    metrics.total_seconds = watch.seconds


def _pieces(
    result: _Result,
    index: int,
    prompt: Row,
    done: Completion,
    text: Text | None,
    options: Options,
    limit: Finish,
    metrics: Metrics,
) -> Iterator[Piece]:
    if result.beam is None:
        return
    tokens = result.beam.row.tokens[len(prompt.tokens) :]
    done.score = float(result.score)
    metrics.new_tokens += len(tokens)
    metrics.first_tokens += 1
    progress = Progress(Row(index, list(prompt.tokens)), done, text, options.stop)
    scores: Sequence[TokenScore | None] = result.beam.scores or [None] * len(tokens)
    for at, (token, scored) in enumerate(zip(tokens, scores, strict=True)):
        yield progress.take(token, options, limit, late=at == len(tokens) - 1, score=scored)
