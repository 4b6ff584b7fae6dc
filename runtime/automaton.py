"""Patterns as tables over bytes: what may still come after what was said.

Characters become their UTF-8 bytes, so that a token may hold half of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.regex import ANY, Node, Parser

_MOST_STATES = 20_000


@dataclass(frozen=True)
class Automaton:
    """States by bytes: 0 is where nothing matches any more, 1 the beginning."""

    table: NDArray[np.int32]
    accepts: NDArray[np.bool_]

    def after(self, state: int, data: bytes) -> int:
        """The state after more bytes."""
        for byte in data:
            state = int(self.table[state, byte])
        return state


@lru_cache(maxsize=8)
def compile_pattern(pattern: str) -> Automaton:
    """The automaton of a pattern; every state but 0 can still become a match."""
    nfa = _Nfa()
    end = nfa.build(Parser(pattern).parse(), nfa.new())
    return _determine(nfa, end, pattern)


class _Nfa:
    def __init__(self) -> None:
        self.silent: list[list[int]] = []
        self.moves: list[list[tuple[int, int, int]]] = []

    def new(self) -> int:
        if len(self.moves) > 50 * _MOST_STATES:
            raise UnsupportedError("the pattern is too large", hint="smaller repeats")
        self.silent.append([])
        self.moves.append([])
        return len(self.moves) - 1

    def build(self, node: Node, start: int) -> int:
        """Add what matches the node from ``start`` on; gives where it ends."""
        return {"set": self._set, "cat": self._cat, "alt": self._alt, "rep": self._rep}[
            str(node[0])
        ](node, start)

    def _set(self, node: Node, start: int) -> int:
        end = self.new()
        clipped = [(max(a, x), min(b, y)) for a, b in node[1] for x, y in ANY]  # type: ignore[attr-defined]
        for low, high in [pair for pair in clipped if pair[0] <= pair[1]]:
            for sequence in _utf8(low, high):
                at = start
                for place, (first, last) in enumerate(sequence):
                    target = end if place == len(sequence) - 1 else self.new()
                    self.moves[at].append((first, last, target))
                    at = target
        return end

    def _cat(self, node: Node, start: int) -> int:
        for part in node[1:]:
            start = self.build(part, start)  # type: ignore[arg-type]
        return start

    def _alt(self, node: Node, start: int) -> int:
        end = self.new()
        for branch in node[1:]:
            begin = self.new()
            self.silent[start].append(begin)
            self.silent[self.build(branch, begin)].append(end)  # type: ignore[arg-type]
        return end

    def _rep(self, node: Node, start: int) -> int:
        _, inner, least, most = node
        for _ in range(least):  # type: ignore[call-overload]
            start = self.build(inner, start)  # type: ignore[arg-type]
        end = self.new()
        self.silent[start].append(end)
        if most is None:
            begin = self.new()
            self.silent[end].append(begin)
            self.silent[self.build(inner, begin)].append(end)  # type: ignore[arg-type]
            return end
        for _ in range(most - least):  # type: ignore[operator]
            begin = self.new()
            self.silent[start].append(begin)
            start = self.build(inner, begin)  # type: ignore[arg-type]
            self.silent[start].append(end)
        return end


def _utf8(low: int, high: int) -> Iterator[list[tuple[int, int]]]:
    """Code points from low to high as sequences of byte ranges."""
    for edge in (0x7F, 0x7FF, 0xFFFF):
        if low <= edge < high:
            yield from _utf8(low, edge)
            yield from _utf8(edge + 1, high)
            return
    for size in (1, 2, 3):  # split until all but the first bytes that differ are full ranges
        mask = (1 << (6 * size)) - 1
        if high > 0x7F and (low & ~mask) != (high & ~mask):
            if low & mask:
                yield from _utf8(low, low | mask)
                yield from _utf8((low | mask) + 1, high)
                return
            if (high & mask) != mask:
                yield from _utf8(low, (high & ~mask) - 1)
                yield from _utf8(high & ~mask, high)
                return
    # Ranges never begin or end among surrogates, which have no UTF-8.
    yield list(zip(chr(low).encode(), chr(high).encode(), strict=True))


def _determine(nfa: _Nfa, end: int, pattern: str) -> Automaton:
    closed: dict[frozenset[int], frozenset[int]] = {}

    def close(states: frozenset[int]) -> frozenset[int]:
        if states not in closed:
            found, todo = set(states), list(states)
            while todo:
                for state in nfa.silent[todo.pop()]:
                    if state not in found:
                        found.add(state)
                        todo.append(state)
            closed[states] = frozenset(found)
        return closed[states]

    names = {frozenset(): 0, close(frozenset([0])): 1}
    queue, rows = [close(frozenset([0]))], [[0] * 256]
    for states in queue:
        targets: list[set[int]] = [set() for _ in range(256)]
        for state in states:
            for first, last, target in nfa.moves[state]:
                for byte in range(first, last + 1):
                    targets[byte].add(target)
        row = []
        for reached in targets:
            closure = close(frozenset(reached)) if reached else frozenset()
            if closure not in names:
                names[closure] = len(names)
                queue.append(closure)
                if len(names) > _MOST_STATES:
                    raise UnsupportedError(
                        f"the pattern needs more than {_MOST_STATES} states",
                        place=pattern[:60],
                        hint="smaller repeats",
                    )
            row.append(names[closure])
        rows.append(row)
    accepts = np.array([end in states for states in names])
    return _trimmed(np.array(rows, np.int32), accepts, pattern)


def _trimmed(table: NDArray[np.int32], accepts: NDArray[np.bool_], pattern: str) -> Automaton:
    """Send what can no longer match to state 0."""
    alive, before = accepts.copy(), -1
    while before != int(alive.sum()):
        before = int(alive.sum())
        alive |= alive[table].any(axis=1)
    if not alive[1]:
        raise SmeltError("the pattern matches nothing", place=pattern[:60])
    return Automaton(np.where(alive[table], table, 0).astype(np.int32), accepts)
