"""The expressions that tokenizers split with, as nondeterministic automata over code points.

Read: literals, escapes, `.`, bracket classes, groups `(…)` `(?:…)` `(?i:…)`, `(?i)` at the start,
`|`, the quantifiers `* + ? {m} {m,} {m,n}` greedy or lazy, possessive ones of one character, `$`
(before a newline or at the end), `\\z`, and looking ahead at one character `(?=C)` `(?!C)`.
Anything else is an UnsupportedError that names it. What a class holds is asked of the library.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smelt.errors import UnsupportedError
from smelt.frontend.tokenizer.unicode import ALL, SURROGATES, matching

Array = np.ndarray[Any, Any]
MOST_NODES = 20_000


@dataclass
class Node:
    """A state: a character set, a look ahead (``ahead``), a fork, or the match (none of them)."""

    chars: int | None = None
    ahead: int | None = None
    end: bool = False  # looking ahead: whether the end of the text will do
    to: list[int] = field(default_factory=list)  # forks: in order of preference
    is_match: bool = False


class Expression:
    """A parsed expression: its nodes, and the character sets that they name."""

    def __init__(self, text: str, place: str) -> None:
        self.text, self.place = text, place
        self.nodes: list[Node] = []
        self.sets: list[Array] = []
        self._numbers: dict[bytes, int] = {}
        self._at = 0
        self._fold = False
        self.match = self._node(Node(is_match=True))
        self.start = self.match

    @classmethod
    def parse(cls, text: str, place: str) -> Expression:
        """Read an expression."""
        made = cls(text, place)
        if text.startswith("(?i)"):
            made._at, made._fold = 4, True
        build = made._alternatives()
        if made._at != len(text):
            raise made._refuse(f"`{text[made._at]}`")
        made.start = build(made.match)
        return made

    @classmethod
    def literal(cls, text: str, place: str) -> Expression:
        """A plain text."""
        made = cls(text, place)
        start = made.match
        for char in reversed(text):
            start = made.chars(_only(ord(char)))(start)
        made.start = start
        return made

    @classmethod
    def of_sets(cls, sets: list[Array], place: str, *, runs: bool = False) -> Expression:
        """Any character of one of the sets, or a run of characters of the same set."""
        made = cls("", place)
        starts = []
        for members in sets:
            one = made.chars(members)
            starts.append((repeat(made, one, 1, None) if runs else one)(made.match))
        made.start = made.fork(starts)
        return made

    # A part is a function from the state that follows it to its own first state.

    def _alternatives(self) -> Callable[[int], int]:
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        if len(parts) == 1:
            return parts[0]
        return lambda after: self.fork([part(after) for part in parts])

    def _sequence(self) -> Callable[[int], int]:
        parts: list[Callable[[int], int]] = []
        while self._at < len(self.text) and self.text[self._at] not in "|)":
            parts.append(self._quantified())

        def build(after: int) -> int:
            for part in reversed(parts):
                after = part(after)
            return after

        return build

    def _quantified(self) -> Callable[[int], int]:
        atom, members = self._atom()
        found = re.compile(r"([*+?]|\{(\d*)(,?)(\d*)\})").match(self.text, self._at)
        if found is None or (found[1][0] == "{" and not (found[2] or found[4])):
            return atom
        self._at = found.end()
        low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(found[1], (0, None))
        counted = found[1][0] == "{"
        if counted:
            low = int(found[2] or 0)
            high = int(found[4]) if found[4] else None if found[3] else low
        if (high or low) > 1000:
            raise self._refuse(f"repeating {high or low} times")
        lazy = self._take("?")
        possessive = not lazy and not counted and self._take("+")
        if possessive:
            if members is None:
                raise self._refuse("a possessive quantifier of more than one character")
            return self._possessive(atom, members, low, high)
        again = repeat(self, atom, low, high, lazy=lazy)
        if counted and self._take("+"):  # in this dialect {m,n}+ repeats the repetition
            return repeat(self, again, 1, None)
        if self.text[self._at : self._at + 1] in ("*", "+", "?"):
            raise self._refuse("a quantifier of a quantifier")
        return again

    def _possessive(
        self, atom: Callable[[int], int], members: Array, low: int, high: int | None
    ) -> Callable[[int], int]:
        """Never gives back: what follows is not one more of the same, unless it is full."""
        stop = self._look(~members, end=True)
        if high is None:
            return lambda after: repeat(self, atom, low, None)(stop(after))
        return lambda after: self.fork([atom(after), stop(after)])

    def _atom(self) -> tuple[Callable[[int], int], Array | None]:
        text, at = self.text, self._at
        char = text[at]
        if char == "(":
            return self._group(), None
        if char == "[":
            end = _class_end(text, at)
            if end is None:
                raise self._refuse("a class without end")
            self._at = end
            return self._known(text[at:end])
        if char == "$":
            self._at += 1
            return self._look(_only(10), end=True), None
        if char == ".":
            self._at += 1
            return self._known(".")
        if char in "^*+?":
            raise self._refuse(f"`{char}` here")
        if char == "\\":
            return self._escape()
        self._at += 1
        return self._letter(char)

    def _escape(self) -> tuple[Callable[[int], int], Array | None]:
        found = re.compile(
            r"\\(?:[pP]\{\^?[\w ]+\}|x\{[0-9A-Fa-f]+\}|x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{4}|.)", re.S
        ).match(self.text, self._at)
        assert found is not None or self._at + 1 == len(self.text)
        if found is None:
            raise self._refuse("`\\` at the end")
        escape = found[0]
        self._at = found.end()
        if escape == "\\z":
            return self._look(np.zeros(ALL, bool), end=True), None
        is_known = escape[1] in "sSdDwWpPxutnrfv" or not escape[1].isalnum()
        if not is_known:
            raise self._refuse(f"`{escape}`")
        return self._known(escape)

    def _group(self) -> Callable[[int], int]:
        text, at = self.text, self._at
        folds = self._fold
        for opening in ("(?:", "(?i:", "(?=", "(?!", "(?"):
            if text.startswith(opening, at):
                break
        else:
            opening = "("
        if opening == "(?":
            raise self._refuse(f"`{text[at : at + 4]}`")
        self._at += len(opening)
        if opening in ("(?=", "(?!"):
            _, members = self._atom()
            if members is None or not self._take(")"):
                raise self._refuse("looking ahead at more than one character")
            negated = opening == "(?!"
            return self._look(~members if negated else members, end=negated)
        self._fold = folds or opening == "(?i:"
        inner = self._alternatives()
        self._fold = folds
        if not self._take(")"):
            raise self._refuse("a group without end")
        return inner

    def _letter(self, char: str) -> tuple[Callable[[int], int], Array]:
        if not self._fold or char.lower() == char.upper():
            members = _only(ord(char))
            return self.chars(members), members
        around = self.text[max(0, self._at - 2) : self._at + 1].lower()
        if any(pair in around for pair in ("ss", "ff", "fi", "fl", "st")):
            raise self._refuse(f"`{around}` in any case")
        return self._known(char)

    def _known(self, atom: str) -> tuple[Callable[[int], int], Array]:
        members = matching(f"(?i:{atom})" if self._fold else atom)
        return self.chars(members), members

    def chars(self, members: Array) -> Callable[[int], int]:
        """One character of a set."""
        number = self._number(members)
        return lambda after: self._node(Node(chars=number, to=[after]))

    def _look(self, members: Array, *, end: bool) -> Callable[[int], int]:
        number = self._number(members)
        return lambda after: self._node(Node(ahead=number, end=end, to=[after]))

    def fork(self, to: list[int]) -> int:
        """A state that goes on in several ways, the first preferred."""
        return self._node(Node(to=to))

    def _node(self, node: Node) -> int:
        if len(self.nodes) >= MOST_NODES:
            raise self._refuse(f"more than {MOST_NODES} states")
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _number(self, members: Array) -> int:
        members = members.copy()
        members[SURROGATES.start : SURROGATES.stop] = False
        key = np.packbits(members).tobytes()
        if key not in self._numbers:
            self._numbers[key] = len(self.sets)
            self.sets.append(members)
        return self._numbers[key]

    def _take(self, char: str) -> bool:
        if self.text.startswith(char, self._at):
            self._at += len(char)
            return True
        return False

    def _refuse(self, what: str) -> UnsupportedError:
        return UnsupportedError(f"expression has {what}", place=f"{self.place}: {self.text[:60]}")


def _only(code: int) -> Array:
    members = np.zeros(ALL, bool)
    members[code] = True
    return members


def repeat(
    made: Expression,
    part: Callable[[int], int],
    low: int,
    high: int | None,
    *,
    lazy: bool = False,
) -> Callable[[int], int]:
    """A part from ``low`` to ``high`` times, without bound when that is None."""

    def order(more: int, after: int) -> list[int]:
        return [after, more] if lazy else [more, after]

    def build(after: int) -> int:
        if high is None:
            loop = made.fork([])
            made.nodes[loop].to = order(part(loop), after)
            tail = loop
        else:
            tail = after
            for _ in range(high - low):
                tail = made.fork(order(part(tail), after))
        for _ in range(low):
            tail = part(tail)
        return tail

    return build


def _class_end(text: str, at: int) -> int | None:
    """Where a bracket class ends; classes may hold classes."""
    depth, start = 0, at
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == "[":
            depth += 1
            start = at
        elif text[at] == "]" and at > start + 1 + (text[start + 1 : start + 2] == "^"):
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return None
