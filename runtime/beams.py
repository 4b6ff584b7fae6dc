"""Beam search over any engine: the beams of `transformers`, greedy or drawn.

Each prompt has ``num_beams`` rows of the batch. A step takes the log-probabilities of all of them,
shaped by processors (and samplers where it draws), adds what the beams have so far, and keeps the
best ``max(2, 1 + ends) * num_beams`` continuations. Those that end and are among the first
``num_beams`` compete, by score / new_tokens ** length_penalty, for the results; the best of the
others are the next beams. ``NEVER`` is far below any score, and keeps the first step to one beam.

A prompt ends when no beam could still win (measured at the present length, or at the longest with
``early_stopping="never"``), when its results are full with ``early_stopping=True``, or when every
continuation ends. Each prompt is on its own: the rest of its batch changes nothing.
`diverse` and `forced` have the searches that are not this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smelt.runtime.continuations import NEVER, Beam, Continuations, Result, ends
from smelt.runtime.diverse import DiverseSearch
from smelt.runtime.forced import ForcedSearch
from smelt.runtime.generate import Completion, Piece, Run
from smelt.runtime.processors import F32, Row
from smelt.runtime.scores import TokenScore, largest
from smelt.runtime.settings import Options
from smelt.runtime.text import Text


class Search(Protocol):
    """The beams and results of one prompt, the best result first."""

    ended: bool

    @property
    def beams(self) -> list[Beam]: ...
    @property
    def results(self) -> list[Result]: ...
    def step(self, logits: F32, *, late: bool) -> list[int]:
        """Take one more token; gives, for each beam of the next step, the beam that it was."""
        ...


class _Search:
    """Plain beams."""

    def __init__(self, row: Row, options: Options, text: Text | None) -> None:
        self._options = options
        self._text = text
        self._count = options.num_beams
        first = [np.float32(0.0), *[NEVER] * (self._count - 1)]
        self.beams = [Beam(row, t) for t in first]
        self.results = [Result(NEVER, None, ended=False)] * self._count
        self._open = True
        self.ended = False

    def step(self, logits: F32, *, late: bool) -> list[int]:
        options = self._options
        parents, grown = Continuations(self.beams, logits, options).best()
        new = grown[0].row.new
        full = late or new >= options.max_new_tokens
        over = np.array([full or ends(beam.row, options, self._text) for beam in grown])
        reached = np.array([beam.total for beam in grown])
        self._keep_results(grown, reached, over, new)
        left = reached + over.astype(np.float32) * NEVER
        chosen = largest(left, self._count).tolist()
        self.beams = [Beam(grown[i].row, left[i], grown[i].scores) for i in chosen]
        self._decide(new, every=bool(over.all()))
        return [parents[i] for i in chosen]

    @property
    def _full(self) -> bool:
        """Whether the search ends early: every result has ended, and no better one is wanted."""
        return self._options.early_stopping is True and all(r.ended for r in self.results)

    def _keep_results(
        self, grown: Sequence[Beam], reached: F32, over: NDArray[np.bool_], new: int
    ) -> None:
        ended = over & (np.arange(over.size) < self._count)
        scores = reached / np.float32(float(new) ** self._options.length_penalty)
        scores = scores + (NEVER if self._full or not self._open else np.float32(0.0))
        scores = scores + (~ended).astype(np.float32) * NEVER
        merged = [*self.results]
        merged += [Result(s, b, bool(e)) for s, b, e in zip(scores, grown, ended, strict=True)]
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


def _search(row: Row, options: Options, text: Text | None) -> Search:
    if options.force_words_ids:
        return ForcedSearch(row, options, text)
    kind = _Search if options.num_beam_groups == 1 else DiverseSearch
    return kind(row, options, text)


def search_rows(run: Run) -> Iterator[Piece]:
    """Search a batch to its end, then give the pieces of each result, the best first.

    ``run.feed`` has ``num_beams`` rows for each of ``run.rows``, ``run.done`` as many as come back.
    """
    options, metrics, watch = run.options, run.metrics, run.watch
    searches = [_search(row, options, run.text) for row in run.rows]
    count = options.num_beams
    logits = run.prefill()
    while True:
        late = run.is_late
        parents = np.arange(len(searches) * count)
        for at, search in enumerate(searches):
            if not search.ended:
                own = slice(at * count, (at + 1) * count)
                parents[own] = at * count + np.array(search.step(logits[own], late=late))
        metrics.sampling_seconds += watch.lap()
        if all(search.ended for search in searches):
            break
        run.feed.reorder(parents)
        logits = run.feed.step([beam.row.tokens[-1] for s in searches for beam in s.beams])
        run.decoded()
    metrics.first_token_seconds = metrics.first_token_seconds or watch.seconds
    returned = options.num_return_sequences
    for at, search in enumerate(searches):
        own_done = run.done[at * returned : (at + 1) * returned]
        for place, (result, done) in enumerate(zip(search.results, own_done, strict=False)):
            yield from _pieces(run, result, run.rows[at], place, done)
    run.end()


def _pieces(run: Run, result: Result, prompt: Row, place: int, done: Completion) -> Iterator[Piece]:
    """A result of a prompt, at this place among those that come back."""
    if result.beam is None:
        return
    tokens = result.beam.row.tokens[len(prompt.tokens) :]
    done.score = float(result.score)
    run.metrics.new_tokens += len(tokens)
    run.metrics.first_tokens += 1
    index = prompt.index * run.options.num_return_sequences + place
    progress = run.progress(Row(index, list(prompt.tokens)), done)
    scores: Sequence[TokenScore | None] = result.beam.scores or [None] * len(tokens)
    for at, (token, scored) in enumerate(zip(tokens, scores, strict=True)):
        late = at == len(tokens) - 1
        yield progress.take(token, run.options, run.limit, late=late, score=scored)
