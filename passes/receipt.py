"""What a step did: node counts, time, where each pattern fired, and why it nearly did.

A pass tells what it does through ``fired``, ``why`` and ``note``; whoever runs it records them.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from smelt.ir.tensor import Tensor


@dataclass(frozen=True)
class Miss:
    """A pattern whose shape matched and whose precondition did not hold."""

    pattern: str
    place: str
    reason: str


@dataclass
class Record:
    """What a pass told while it ran."""

    fired: dict[str, list[str]] = field(default_factory=dict)
    misses: dict[Miss, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True)
class Receipt:
    """One step of a pipeline as it happened."""

    step: str
    nodes_before: int
    nodes_after: int
    seconds: float
    fired: dict[str, tuple[str, ...]]
    misses: tuple[Miss, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """One line: for a list of all steps."""
        counts = ", ".join(f"{name} ×{len(places)}" for name, places in self.fired.items())
        change = f"{self.nodes_before:6d} → {self.nodes_after:<6d}"
        return f"{self.step:22s} {change} {self.seconds * 1e3:8.1f} ms  {counts}".rstrip()

    def explain(self) -> str:
        """Many lines: every place and near miss, those that differ in layer only taken together."""
        lines = [str(self)]
        for name, places in self.fired.items():
            lines += [f"  {name} fired at {text}" for text in _fold(places)]
        reasons: dict[tuple[str, str], list[str]] = {}
        for miss in self.misses:
            reasons.setdefault((miss.pattern, miss.reason), []).append(miss.place)
        for (pattern, reason), found in reasons.items():
            lines += [f"  {pattern} did not fire at {text}: {reason}" for text in _fold(found)]
        return "\n".join([*lines, *(f"  note: {text}" for text in _fold(self.notes))])

    def as_dict(self) -> dict[str, object]:
        """Plain data for ``--json`` and manifests; without the time, so that it is reproducible."""
        return {
            "step": self.step,
            "nodes": [self.nodes_before, self.nodes_after],
            "fired": {name: len(places) for name, places in self.fired.items()},
            "misses": sorted({(m.pattern, m.reason) for m in self.misses}),
            "notes": _fold(self.notes),
        }


_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def _fold(texts: Iterable[str]) -> list[str]:
    """Texts that differ in the layer's number only, once each: ``layers.*.mlp ×30``."""
    counts = Counter(_NUMBER.sub("*", text) or "-" for text in texts)
    return [text if n == 1 else f"{text} ×{n}" for text, n in counts.items()]


_current = threading.local()


@contextmanager
def recording() -> Iterator[Record]:
    """Collect what passes tell inside."""
    before = getattr(_current, "record", None)
    _current.record = record = Record()
    try:
        yield record
    finally:
        _current.record = before


class pattern:
    """Name the pattern that ``why`` and ``fired`` speak of inside."""

    __slots__ = ("_before", "_name")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._before = getattr(_current, "pattern", "")
        _current.pattern = self._name

    def __exit__(self, *_: object) -> None:
        _current.pattern = self._before


def fired(node: Tensor, times: int = 1) -> None:
    """The current pattern replaced this node."""
    if (record := _record()) is not None:
        record.fired.setdefault(_pattern(), []).extend([node.source] * times)


def why(node: Tensor, reason: str) -> None:
    """The current pattern did not fire at this node, since this precondition failed; gives None."""
    record = _record()
    if record is not None:
        record.misses[Miss(_pattern(), node.source, reason)] = None


def note(text: str) -> None:
    """Something about the whole step that a person should know."""
    record = _record()
    if record is not None:
        record.notes[text] = None


def _record() -> Record | None:
    return getattr(_current, "record", None)


def _pattern() -> str:
    return getattr(_current, "pattern", "") or "rule"
