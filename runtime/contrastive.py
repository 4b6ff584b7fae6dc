"""Contrastive search: of the likeliest tokens, the one whose state is least like those before it.

Each row takes ``top_k`` rows of the batch, one for each candidate. A candidate counts
(1 - alpha) * its probability - alpha * the largest cosine between its hidden state and those of the
row so far, prompt included. Source: Su et al., "A Contrastive Framework for Neural Text
Generation", 2022. The rest of its batch changes nothing for a row.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from smelt.errors import SmeltError
from smelt.runtime.generate import Piece, Progress, Run
from smelt.runtime.processors import F32, mark, process
from smelt.runtime.sampling import check
from smelt.runtime.scores import largest, log_softmax
from smelt.runtime.settings import Options


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


def contrast_rows(run: Run) -> Iterator[Piece]:
    """Generate a batch to its end; ``run.feed`` has ``top_k`` rows for each of ``run.rows``."""
    options, feed = run.options, run.feed
    count = options.top_k
    kept = feed.keep()
    logits = run.prefill()[::count]
    if logits.shape[1] < count:
        raise SmeltError(f"`top_k` is {count}, the vocabulary has {logits.shape[1]}")
    states = np.concatenate(kept["hidden"], axis=1)[::count].astype(np.float32)
    all_rows = []
    for at, (row, done) in enumerate(zip(run.rows, run.done, strict=True)):
        own = states[at, states.shape[1] - len(row.tokens) :]
        all_rows.append(_Contrast(run.progress(row, done), logits[at], own))
    first = len(all_rows)
    while True:
        tokens = [token for row in all_rows for token in row.candidates(options)]
        run.metrics.sampling_seconds += run.watch.lap()
        after = feed.step(tokens)
        found = kept["hidden"][-1][:, -1].astype(np.float32)
        run.decoded()
        late = run.is_late
        pieces, parents = [], []
        for at, state in enumerate(all_rows):
            start, chosen = at * count, 0
            if state.progress.done.finish is None:
                chosen = state.choose(found[start : start + count], options)
                token = state.tokens[chosen]
                pieces.append(run.take(state.progress, token, state.logits, late=late))
                state.logits = after[start + chosen]
            parents += [start + chosen] * count
        yield from run.chosen(pieces, first)
        first = 0
        if all(state.progress.done.finish is not None for state in all_rows):
            break
        feed.reorder(np.array(parents))
    run.end()


def _directions(states: F32) -> F32:
    found: F32 = states / np.linalg.norm(states, axis=-1, keepdims=True)
    return found
