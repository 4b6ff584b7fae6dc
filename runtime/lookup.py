"""Guesses of the next tokens, which the model then checks all at once: from the text, or a draft.

A guess changes speed, never a token: what is taken is what the model itself chooses, greedy or
drawn, at every place up to the first that was guessed wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.engine import Engine
from smelt.runtime.feed import DecoderFeed
from smelt.runtime.manifest import Manifest
from smelt.runtime.processors import Row
from smelt.runtime.sampling import choose
from smelt.runtime.settings import Options


class Proposer(Protocol):
    """Where guesses come from, and the most that come at once."""

    count: int

    def propose(self, row: Row, most: int) -> list[int]:
        """At most so many tokens that may follow those of the row."""
        ...


class PromptLookup:
    """What followed the last tokens where the row had them before, the earliest place first."""

    def __init__(self, options: Options) -> None:
        self.count = options.prompt_lookup_num_tokens or 0
        self._longest = options.max_matching_ngram_size
        self._ends = options.eos

    def propose(self, row: Row, most: int) -> list[int]:
        """The continuation of the longest gram that matches, up to an end."""
        tokens = np.asarray(row.tokens, np.int64)
        for size in range(min(self._longest, tokens.size - 1), 0, -1):
            grams = np.lib.stride_tricks.sliding_window_view(tokens, size)[:-1]
            found = np.flatnonzero((grams == tokens[-size:]).all(axis=1))
            if found.size:
                start = int(found[0]) + size
                guessed = tokens[start : start + min(self.count, most)].tolist()
                return before(guessed, self._ends)
        return []


class Draft:
    """A smaller model with the same vocabulary, which keeps its own state beside the row."""

    def __init__(self, engine: Engine, options: Options, vocab: int | None) -> None:
        self._engine = engine
        self._options = options
        self._vocab = vocab
        self.count = options.num_assistant_tokens
        self._held: list[int] = []
        engine.reset()

    def propose(self, row: Row, most: int) -> list[int]:
        """What the draft would say, with the random numbers of the row's own places."""
        context = self._engine.manifest.context
        most = min(most, self.count)
        if context is not None:
            most = min(most, context - len(row.tokens))
        if most <= 0:
            return []
        self._go_back(row.tokens)
        feed = DecoderFeed(self._engine, [row.tokens], pad=0)
        guess = row
        logits = feed.prefill()
        while True:
            token = choose(logits[0], guess, self._options)
            if self._vocab is not None and token >= self._vocab:
                break
            guess = guess.grown(token)
            if token in self._options.eos or len(guess.tokens) - len(row.tokens) == most:
                break
            logits = feed.step([token])
        self._held = guess.tokens[: self._engine.past]
        return before(guess.tokens[len(row.tokens) :], self._options.eos)

    def _go_back(self, tokens: Sequence[int]) -> None:
        common = 0
        while common < min(len(self._held), len(tokens) - 1) and (
            self._held[common] == tokens[common]
        ):
            common += 1
        if common < self._engine.past:
            self._engine.rewind(common)


def before(tokens: list[int], ends: Sequence[int]) -> list[int]:
    """Tokens up to the first end: nothing can follow that."""
    for at, token in enumerate(tokens):
        if token in ends:
            return tokens[:at]
    return tokens


def check_rewinds(manifest: Manifest, what: str) -> None:
    """UnsupportedError where a wrong guess could not be taken back."""
    if manifest.task != "causal_lm":
        raise UnsupportedError(
            f"{what} is for decoders alone, the artifact's task is {manifest.task}"
        )
    for slot in manifest.state:
        if slot.kind == "replace":
            raise UnsupportedError(
                f"{what} needs state that can go back, `{slot.name}` is recurrent",
                hint="generate without it",
            )
        if slot.layout == "ring":
            raise UnsupportedError(
                f"{what} needs state that can go back, `{slot.name}` keeps a window of "
                f"{slot.window} tokens",
                hint="generate without it",
            )


def check_draft(manifest: Manifest, draft: Manifest) -> None:
    """Refuse a draft that speaks other tokens, or that cannot take back a guess."""
    check_rewinds(manifest, "a draft")
    check_rewinds(draft, "as a draft, a model")
    if manifest.vocab_size != draft.vocab_size:
        raise SmeltError(
            f"the draft has a vocabulary of {draft.vocab_size}, the model of {manifest.vocab_size}",
            hint="a smaller model of the same family",
        )
