"""Regular expressions as trees, of which ``automaton`` makes tables.

A pattern means the whole text, as `re.fullmatch` with ASCII classes. Read are literals, escapes,
classes, `.`, groups, `|`, `*`, `+`, `?`, `{m,n}`, and `^` and `$` at the very ends; anything else
is refused by name.
"""

from __future__ import annotations

from typing import NoReturn

from smelt.errors import UnsupportedError

Ranges = list[tuple[int, int]]
ANY: Ranges = [(0, 0xD7FF), (0xE000, 0x10FFFF)]
_CLASSES: dict[str, Ranges] = {
    "d": [(48, 57)],
    "w": [(48, 57), (65, 90), (95, 95), (97, 122)],
    "s": [(9, 13), (32, 32)],
}
_CONTROLS = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11, "0": 0}
_MOST_REPEATS = 10_000


# ---- a pattern as a tree: ("set", ranges), ("cat", …), ("alt", …), ("rep", node, least, most) ----

Node = tuple[object, ...]


class Parser:
    """Reads one pattern."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0

    def parse(self) -> Node:
        """The pattern as a tree."""
        node = self._alternatives()
        if self._at < len(self._text):
            self._refuse("a `)` without its `(`")
        return node

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        self._at += 1
        return self._text[self._at - 1 : self._at]

    def _refuse(self, what: str) -> NoReturn:
        raise UnsupportedError(
            f"the pattern has {what}", place=f"character {self._at} of {self._text!r}"
        )

    def _alternatives(self) -> Node:
        branches = [self._sequence()]
        while self._peek() == "|":
            self._next()
            branches.append(self._sequence())
        return branches[0] if len(branches) == 1 else ("alt", *branches)

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._peek() not in ("", "|", ")"):
            if (self._peek() == "^" and self._at == 0) or (
                self._peek() == "$" and self._at == len(self._text) - 1
            ):
                self._next()
                continue
            parts.append(self._repeated(self._atom()))
        return ("cat", *parts)

    def _repeated(self, node: Node) -> Node:
        while self._peek() in ("*", "+", "?", "{") and self._peek():
            sign = self._next()
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(sign) or self._counts()
            node = ("rep", node, least, most)
            if self._peek() == "?":
                self._next()  # lazy: the same texts
            elif self._peek() == "+":
                self._refuse("a possessive repeat")
        return node

    def _counts(self) -> tuple[int, int | None]:
        end = self._text.find("}", self._at)
        least, comma, most = self._text[self._at : max(end, 0)].partition(",")
        if end < 0 or not least.isdecimal() or not (most.isdecimal() or most == ""):
            self._refuse("a `{` that is no repeat")
        self._at = end + 1
        low = int(least)
        high = (int(most) if most else None) if comma else low
        if max(low, high or 0) > _MOST_REPEATS or (high is not None and high < low):
            self._refuse(f"a repeat of {least}{comma}{most}")
        return low, high

    def _atom(self) -> Node:
        sign = self._next()
        if sign == "(":
            if self._peek() == "?":
                if self._text[self._at : self._at + 2] != "?:":
                    self._refuse(f"`({self._text[self._at : self._at + 2]}`")
                self._at += 2
            node = self._alternatives()
            if self._next() != ")":
                self._refuse("a `(` without its `)`")
            return node
        if sign == "[":
            return ("set", self._class())
        if sign == ".":
            return ("set", _without([(10, 10)]))
        if sign == "\\":
            return ("set", self._escape())
        if sign in "*+?{^$":
            self._refuse(f"`{sign}` where it means nothing")
        return ("set", [(ord(sign), ord(sign))])

    def _escape(self) -> Ranges:
        sign = self._next()
        if sign.lower() in _CLASSES and sign:
            ranges = _CLASSES[sign.lower()]
            return ranges if sign.islower() else _without(ranges)
        if sign in _CONTROLS and sign:
            return [(_CONTROLS[sign], _CONTROLS[sign])]
        if sign in ("x", "u"):
            size = 2 if sign == "x" else 4
            digits = self._text[self._at : self._at + size]
            if len(digits) == size and all(d in "0123456789abcdefABCDEF" for d in digits):
                self._at += size
                return [(int(digits, 16), int(digits, 16))]
        if not sign or sign.isalnum():
            self._refuse(f"`\\{sign}`")
        return [(ord(sign), ord(sign))]

    def _class(self) -> Ranges:
        negated = self._peek() == "^"
        self._at += negated
        ranges: Ranges = []
        first = True
        while first or self._peek() != "]":
            first = False
            low = self._member()
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._next()
                high = self._member()
                if len(low) > 1 or len(high) > 1 or high[0][0] < low[0][0]:
                    self._refuse("a range that is none")
                low = [(low[0][0], high[0][1])]
            ranges += low
        self._next()
        return _without(ranges) if negated else ranges

    def _member(self) -> Ranges:
        sign = self._next()
        if not sign:
            self._refuse("a `[` without its `]`")
        return self._escape() if sign == "\\" else [(ord(sign), ord(sign))]


def _without(ranges: Ranges) -> Ranges:
    """Every character but these."""
    found: Ranges = []
    for low, high in ANY:
        for first, last in sorted(ranges):
            if first > low:
                found.append((low, min(high, first - 1)))
            low = max(low, last + 1)
            if low > high:
                break
        if low <= high:
            found.append((low, high))
    return [(low, high) for low, high in found if low <= high]
