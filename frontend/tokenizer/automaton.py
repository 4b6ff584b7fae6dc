"""From an expression to a deterministic automaton that finds what backtracking would find.

A state is the list of threads that backtracking would try, in its order: a match cuts off what
stands behind it. Looking ahead is decided when the next character is known, so matches are
noted on the way out of a state: "what was read before this character is a match".
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from smelt.errors import UnsupportedError
from smelt.frontend.tokenizer.regex import Expression
from smelt.frontend.tokenizer.tables import Tables

Array = np.ndarray[Any, Any]
MATCHED = 0x8000
MOST_STATES = 0x7FFF


def automaton(tables: Tables, expression: Expression) -> int:
    """The table of an expression; UnsupportedError when it can match nothing at all."""
    classes, members = _classes(expression.sets)
    count = members.shape[0]
    if count > 255:
        raise UnsupportedError(
            f"expression tells {count} kinds of characters apart, at most 255 fit",
            place=expression.place,
        )
    rows = _Rows(expression, members)
    start = rows.state(rows.reach([expression.start]))
    done = 0
    while done < len(rows.threads):
        rows.expand(done)
        done += 1
    table = np.array(rows.rows, "<u2")
    if (table[start] & MATCHED).any():
        raise UnsupportedError(
            "expression can match nothing at all", place=f"{expression.place}: {expression.text}"
        )
    head = struct.pack("<IIII", tables.classes(classes), count, len(table), 0)
    return tables.add("automaton", head + table.tobytes())


def _classes(sets: list[Array]) -> tuple[Array, Array]:
    """A class for each code point, and for each class the sets that hold it."""
    stacked = np.stack(sets)
    # Neighbours mostly belong together: look at the first of each run only.
    changes = (stacked[:, 1:] != stacked[:, :-1]).any(axis=0)
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    _, first, runs = np.unique(
        np.packbits(stacked[:, starts], axis=0), axis=1, return_index=True, return_inverse=True
    )
    lengths = np.diff(np.concatenate((starts, [stacked.shape[1]])))
    return np.repeat(runs.reshape(-1), lengths), stacked[:, starts[first]].T


class _Rows:
    def __init__(self, expression: Expression, members: Array) -> None:
        self.nodes = expression.nodes
        self.members = members  # class, set
        self.place = expression.place
        self.threads: list[tuple[int, ...]] = []
        self.rows: list[list[int]] = []
        self._numbers: dict[tuple[int, ...], int] = {}
        self.state(())  # 0: dead

    def state(self, threads: tuple[int, ...]) -> int:
        """The number of a list of threads."""
        if threads not in self._numbers:
            if len(self.threads) >= MOST_STATES:
                raise UnsupportedError("expression needs too many states", place=self.place)
            self._numbers[threads] = len(self.threads)
            self.threads.append(threads)
        return self._numbers[threads]

    def reach(self, nodes: list[int]) -> tuple[int, ...]:
        """The threads behind forks, in order, up to a sure match."""
        found: dict[int, None] = {}
        seen: set[int] = set()
        stack = list(reversed(nodes))
        while stack:
            number = stack.pop()
            if number in seen:
                continue
            seen.add(number)
            node = self.nodes[number]
            if node.chars is None and node.ahead is None and not node.is_match:
                stack.extend(reversed(node.to))
                continue
            found[number] = None
            if node.is_match:
                break
        return tuple(found)

    def expand(self, number: int) -> None:
        """Fill in where each class, and the end of the text, leads from a state."""
        row = []
        for kind in range(self.members.shape[0] + 1):
            matched, characters = self._decide(self.threads[number], kind)
            after = []
            if kind < self.members.shape[0]:
                held = self.members[kind]
                after = [self.nodes[n].to[0] for n in characters if held[self.nodes[n].chars]]
            row.append(self.state(self.reach(after)) | (MATCHED if matched else 0))
        self.rows.append(row)

    def _decide(self, threads: tuple[int, ...], kind: int) -> tuple[bool, list[int]]:
        """Whether what was read is a match, now that the next class is known, and who goes on."""
        at_end = kind == self.members.shape[0]
        characters: list[int] = []
        seen: set[int] = set()
        stack = list(reversed(threads))
        while stack:
            number = stack.pop()
            if number in seen:
                continue
            seen.add(number)
            node = self.nodes[number]
            if node.is_match:
                return True, characters
            if node.chars is not None:
                characters.append(number)
            elif node.ahead is not None:
                holds = node.end if at_end else bool(self.members[kind, node.ahead])
                if holds:
                    stack.extend(reversed(node.to))
            else:
                stack.extend(reversed(node.to))
        return False, characters
