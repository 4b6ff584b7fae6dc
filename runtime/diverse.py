"""Diverse beam search: groups of beams, each kept from the tokens that those before it take.

Source: Vijayakumar et al., "Diverse Beam Search", 2016, with its Hamming diversity.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from smelt.runtime.continuations import NEVER, Beam, Continuations, Result, ends
from smelt.runtime.hypotheses import Hypotheses, ranked
from smelt.runtime.processors import F32, Row
from smelt.runtime.settings import Options
from smelt.runtime.text import Text


class _Group:
    """One group: a search of its own."""

    def __init__(self, row: Row, count: int, options: Options) -> None:
        first = [np.float32(0.0), *[NEVER] * (count - 1)]
        self.beams = [Beam(row, total) for total in first]
        self.found = Hypotheses(count, options)
        self.ended = False


class DiverseSearch:
    """The groups of one prompt; a group that has ended takes no token and penalizes none."""

    def __init__(self, row: Row, options: Options, text: Text | None) -> None:
        self._options = options
        self._text = text
        self._size = options.num_beams // options.num_beam_groups
        self._groups = [_Group(row, self._size, options) for _ in range(options.num_beam_groups)]
        self.ended = False

    @property
    def beams(self) -> list[Beam]:
        """All beams, group after group."""
        return [beam for group in self._groups for beam in group.beams]

    @property
    def results(self) -> list[Result]:
        """The results of all groups, the best first."""
        return ranked([result for group in self._groups for result in group.found.results()])

    def step(self, logits: F32, *, late: bool) -> list[int]:
        """Take one more token; gives, for each beam of the next step, the beam that it was."""
        parents: list[int] = []
        taken: list[int] = []
        for at, group in enumerate(self._groups):
            start = at * self._size
            if group.ended:
                parents += range(start, start + self._size)
                continue
            own = logits[start : start + self._size]
            parents += [start + parent for parent in self._step(group, own, taken)]
            taken += [beam.row.tokens[-1] for beam in group.beams]
        new = max(beam.row.new for beam in self.beams)
        if late or new >= self._options.max_new_tokens:
            self._close()
        self.ended = all(group.ended for group in self._groups)
        return parents

    def _step(self, group: _Group, logits: F32, taken: list[int]) -> list[int]:
        told = tuple(taken)
        beams = [replace(beam, row=replace(beam.row, taken=told)) for beam in group.beams]
        parents, grown = Continuations(beams, logits, self._options).best()
        ended = [ends(beam.row, self._options, self._text) for beam in grown]
        for beam, over in zip(grown[: self._size], ended, strict=False):
            if over:
                group.found.add(beam)
        group.ended = group.found.settled(float(grown[0].total), grown[0].row.new)
        chosen = sorted(range(len(grown)), key=lambda i: ended[i])[: self._size]
        for i in chosen:
            if ended[i]:  # stop strings can end more beams than end tokens do
                grown[i].total += NEVER
        group.beams = [grown[i] for i in chosen]
        return [parents[i] for i in chosen]

    def _close(self) -> None:
        """Let the beams that go on compete: there is no more room."""
        for group in self._groups:
            if not group.ended:
                for beam in group.beams:
                    group.found.add(beam)
            group.ended = True
