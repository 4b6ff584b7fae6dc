"""The results of a search so far, and whether a better one can still come."""

from __future__ import annotations

import numpy as np

from smelt.runtime.continuations import Beam, Result
from smelt.runtime.settings import Options


class Hypotheses:
    """The best ``count`` beams that have ended, by score / new_tokens ** length_penalty.

    This is the older rule of `transformers`, which diverse and forced beams keep: beams that go on
    compete only when the search is over, and the best score to come is judged by the best
    continuation of a step, also if that ends.
    """

    def __init__(self, count: int, options: Options) -> None:
        self._count = count
        self._options = options
        self._held: list[tuple[float, Beam]] = []

    def add(self, beam: Beam) -> None:
        """Keep a beam if it is among the best."""
        score = float(beam.total) / beam.row.new**self._options.length_penalty
        self._held.append((score, beam))
        if len(self._held) > self._count:
            self._held.remove(min(self._held, key=lambda held: held[0]))

    def settled(self, best: float, new: int) -> bool:
        """Whether nothing better can follow a step of ``new`` tokens and its best total."""
        options = self._options
        if len(self._held) < self._count:
            return False
        if options.early_stopping is True:
            return True
        hopeful = options.early_stopping == "never" and options.length_penalty > 0.0
        length = options.max_new_tokens if hopeful else new
        worst = min(score for score, _ in self._held)
        return bool(worst >= best / length**options.length_penalty)

    def results(self) -> list[Result]:
        """What is held, in the order in which it came."""
        return [Result(np.float32(score), beam, ended=True) for score, beam in self._held]


def ranked(results: list[Result]) -> list[Result]:
    """The best first; of equal ones the last."""
    return sorted(results, key=lambda result: result.score)[::-1]
