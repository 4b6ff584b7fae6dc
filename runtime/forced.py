"""Beam search that forces words into the result, each whole, or one of several.

A beam's bank is how far it has come: the tokens of the words that it has said, and of the one that
it is saying. Beside the best continuations of a step, each beam proposes the tokens that bring it
further; the next beams are taken from the banks in turn, the fullest first, the best of each. A
beam that ends before it has said every word is dropped. Words in the prompt count as said.

Source: Hokamp and Liu, "Lexically Constrained Decoding", 2017; Hu et al., "Improved Lexically
Constrained Decoding", 2019; the order of the banks is that of `transformers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from smelt.runtime.continuations import NEVER, Beam, Continuations, Result, ends
from smelt.runtime.hypotheses import Hypotheses, ranked
from smelt.runtime.processors import F32, Row
from smelt.runtime.settings import Options
from smelt.runtime.text import Text

Word = tuple[tuple[int, ...], ...]
"""The sequences of which one must be said."""


@dataclass(frozen=True)
class Said:
    """How far a row has come with its words."""

    pending: tuple[Word, ...]
    longest: int
    done: int = 0
    current: Word | None = None
    begun: tuple[int, ...] = ()
    """What has been said of ``current``."""

    @property
    def every(self) -> bool:
        """Whether nothing is left to say."""
        return not self.pending and self.current is None

    @property
    def bank(self) -> int:
        """Tokens said; a finished word counts as much as the longest."""
        own = 0 if self.current is None else max(map(len, self.current))
        left = own - len(self.begun)
        return self.done * self.longest + (self.longest - left if own else 0)

    def wanted(self) -> Iterator[int]:
        """The tokens that bring the row further."""
        for word in self.pending if self.current is None else (self.current,):
            yield from dict.fromkeys(_next(word, self.begun))

    def after(self, token: int) -> Said:
        """One token later; a word that breaks off begins again, after the others."""
        if self.current is not None:
            if token in _next(self.current, self.begun):
                return self._said(self.current, (*self.begun, token))
            return replace(self, pending=(*self.pending, self.current), current=None, begun=())
        for at, word in enumerate(self.pending):
            if token in _next(word, ()):
                rest = (*self.pending[:at], *self.pending[at + 1 :])
                return replace(self, pending=rest)._said(word, (token,))
        return self

    def _said(self, word: Word, begun: tuple[int, ...]) -> Said:
        if begun in word:
            return replace(self, done=self.done + 1, current=None, begun=())
        return replace(self, current=word, begun=begun)


def _next(word: Word, begun: tuple[int, ...]) -> list[int]:
    size = len(begun)
    return [ids[size] for ids in word if len(ids) > size and ids[:size] == begun]


@dataclass
class _Candidate:
    """A beam that may come next: what beam it was, and how far it has come."""

    parent: int
    beam: Beam
    said: Said


class ForcedSearch:
    """The beams of one prompt, and how far each has come."""

    def __init__(self, row: Row, options: Options, text: Text | None) -> None:
        self._options = options
        self._text = text
        self._count = options.num_beams
        words = options.force_words_ids
        said = Said(words, max(len(ids) for word in words for ids in word))
        for token in row.tokens:
            said = said.after(token)
        self.beams = [Beam(row, np.float32(0.0) if at == 0 else NEVER) for at in range(self._count)]
        self._said = [said] * self._count
        self._found = Hypotheses(self._count, options)
        self.ended = False

    @property
    def results(self) -> list[Result]:
        """The results, the best first."""
        return ranked(self._found.results())

    def step(self, logits: F32, *, late: bool) -> list[int]:
        """Take one more token; gives, for each beam of the next step, the beam that it was."""
        after = Continuations(self.beams, logits, self._options)
        parents, grown = after.best()
        best = grown[0]
        likely, over = [], []
        for rank, (parent, beam) in enumerate(zip(parents, grown, strict=True)):
            said = self._said[parent].after(beam.row.tokens[-1])
            if not ends(beam.row, self._options, self._text):
                likely.append(_Candidate(parent, beam, said))
                continue
            if rank < self._count and said.every:
                self._found.add(beam)
            over.append(_Candidate(parent, beam, said))
        self.ended = self._found.settled(float(best.total), best.row.new)
        for candidate in over:  # stop strings can end more beams than end tokens do
            candidate.beam.total += NEVER
        chosen = self._share([*likely, *over][: self._count], after)
        self.beams = [candidate.beam for candidate in chosen]
        self._said = [candidate.said for candidate in chosen]
        if not self.ended and (late or best.row.new >= self._options.max_new_tokens):
            self._close()
        return [candidate.parent for candidate in chosen]

    def _share(self, likely: list[_Candidate], after: Continuations) -> list[_Candidate]:
        """Of the likely ones and those that bring beams further, so many from each bank."""
        proposed = self._proposals(likely, after)
        if not proposed:
            return likely
        every = [*likely, *proposed]
        banks = np.array([candidate.said.bank for candidate in every])
        totals = np.array([candidate.beam.total for candidate in every], np.float32)
        order = np.argsort(-(banks.astype(np.float32) * np.float32(100) + totals), kind="stable")
        turns = _turns(banks[order].tolist())
        order = order[np.argsort(turns, kind="stable")]
        return [every[i] for i in order[: self._count].tolist()]

    def _proposals(self, likely: list[_Candidate], after: Continuations) -> list[_Candidate]:
        seen = {tuple(candidate.beam.row.tokens) for candidate in likely}
        proposed = []
        for parent, (beam, said) in enumerate(zip(self.beams, self._said, strict=True)):
            for token in said.wanted():
                tokens = (*beam.row.tokens, token)
                if tokens in seen or after.totals[parent, token] == -np.inf:
                    continue
                seen.add(tokens)
                proposed.append(_Candidate(parent, after.grow(parent, token), said.after(token)))
        return proposed

    def _close(self) -> None:
        """Let beams that go on compete, those that lack words only where too few have all."""
        self.ended = True
        complete = sum(said.every for said in self._said)
        enough = complete >= self._options.num_return_sequences
        for wanted in (True,) if enough else (True, False):
            for beam, said in zip(self.beams, self._said, strict=True):
                if said.every is wanted:
                    self._found.add(beam)


def _turns(banks: Sequence[int]) -> list[int]:
    """For each place of a sorted list, how many of the same value are right before it."""
    turns: list[int] = []
    for at, bank in enumerate(banks):
        turns.append(turns[-1] + 1 if at and banks[at - 1] == bank else 0)
    return turns
