"""Contrastive search: of the likeliest tokens, the one whose state is least like those before it.

Each row takes ``top_k`` rows of the batch, one for each candidate. A candidate counts
(1 - alpha) * its probability - alpha * the largest cosine between its hidden state and those of the
row so far, prompt included. Source: Su et al., "A Contrastive Framework for Neural Text
Generation", 2022. The rest of its batch changes nothing for a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from smelt.errors import SmeltError
from smelt.runtime.engine import Engine
from smelt.runtime.feed import Feed
from smelt.runtime.generate import Completion, Finish, Piece, Progress, prefill
from smelt.runtime.metrics import Metrics, Stopwatch
from smelt.runtime.processors import F32, Row, mark, process
from smelt.runtime.sampling import check
from smelt.runtime.scores import largest, log_softmax, score
from smelt.runtime.settings import Options
from smelt.runtime.text import Text


class _Contrast:
    """One row: its progress, its logits f32 [vocab], and its states so far, each of length one."""

    def __init__(self, progress: Progress, logits: F32, states: F32) -> None:
        self.progress = progress
        self.logits = logits
        self._states = [_directions(states)]
        self.tokens: list[int] = []
        self._shares: F32 = np.zeros(0, np.float32)

    def candidates(self, options: Options) -> list[int]:
        """The likeliest tokens; of a row that has ended, its last one."""
        row = self.progress.row
        if self.progress.done.finish is not None:
            return [row.tokens[-1]] * options.top_k
        logits = mark(process(self.logits, row, options), row, options)
        check(logits, row)
        self._shares = np.exp(log_softmax(logits)).astype(np.float32)
        self.tokens = largest(self._shares, options.top_k).tolist()
        return self.tokens

    def choose(self, states: F32, options: Options) -> int:
        """Which candidate is taken, by their states f32 [top_k, dim]."""
        directions = _directions(states)
        likeness = (np.concatenate(self._states) @ directions.T).max(axis=0)
        alpha = np.float32(options.penalty_alpha)
        shares = self._shares[self.tokens]
        worth = (np.float32(1) - alpha) * shares - alpha * likeness
        at = int(np.where(shares > 0, worth, -np.inf).argmax())  # what is forbidden has no share
        self._states.append(directions[at : at + 1])
        return at


def contrast_rows(
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
    """Generate one batch to its end; ``feed`` has ``top_k`` rows for each of ``rows``."""
    count = options.top_k
    kept = feed.keep()
    logits = prefill(feed, options, text, metrics, watch)[::count]
    if logits.shape[1] < count:
        raise SmeltError(f"`top_k` is {count}, the vocabulary has {logits.shape[1]}")
    states = np.concatenate(kept["hidden"], axis=1)[::count].astype(np.float32)
    all_rows = []
    for at, (row, completion) in enumerate(zip(rows, done, strict=True)):
        progress = Progress(row, completion, text, options.stop)
        own = states[at, states.shape[1] - len(row.tokens) :]
        all_rows.append(_Contrast(progress, logits[at], own))
    while True:
        tokens = [token for row in all_rows for token in row.candidates(options)]
        metrics.sampling_seconds += watch.lap()
        after = feed.step(tokens)
        found = kept["hidden"][-1][:, -1].astype(np.float32)
        metrics.decode_seconds += watch.lap()
        metrics.decode_calls += 1
        late = options.max_time is not None and watch.seconds > options.max_time
        pieces, parents = [], []
        for at, state in enumerate(all_rows):
            start, chosen = at * count, 0
            if state.progress.done.finish is None:
                chosen = state.choose(found[start : start + count], options)
                token = state.tokens[chosen]
                scored = None
                if options.logprobs is not None:
                    scored = score(state.logits, token, options.logprobs)
                taken = state.progress.take(token, options, limit, late=late, score=scored)
                pieces.append(taken)
                state.logits = after[start + chosen]
            parents += [start + chosen] * count
        metrics.sampling_seconds += watch.lap()
        metrics.new_tokens += len(pieces)
        metrics.total_seconds = watch.seconds
        if not metrics.first_tokens:
            metrics.first_tokens += len(pieces)
            metrics.first_token_seconds = metrics.first_token_seconds or watch.seconds
        yield from pieces
        if all(state.progress.done.finish is not None for state in all_rows):
            break
        watch.lap()  # time that the caller spent between pieces is not ours
        feed.reorder(np.array(parents))
    metrics.bytes = engine.bytes()
    metrics.total_seconds = watch.seconds


def _directions(states: F32) -> F32:
    found: F32 = states / np.linalg.norm(states, axis=-1, keepdims=True)
    return found
