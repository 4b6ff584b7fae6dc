"""Which tokens may come next so that the new text can still match a pattern."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smelt.errors import UnsupportedError
from smelt.runtime.automaton import Automaton, compile_pattern
from smelt.runtime.text import Text

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Constraint:
    """A pattern over a vocabulary; the allowed tokens of a state are found once."""

    def __init__(self, pattern: str, text: Text) -> None:
        self._automaton: Automaton = compile_pattern(pattern)
        self._words = words(text)
        lengths = np.array([len(word) for word in self._words])
        self._order = np.argsort(-lengths, kind="stable")
        self._counts = [int((lengths > at).sum()) for at in range(int(lengths.max(initial=0)))]
        self._bytes = np.zeros((len(self._words), len(self._counts)), np.uint8)
        for row, token in enumerate(self._order.tolist()):
            word = self._words[token]
            self._bytes[row, : len(word)] = np.frombuffer(word, np.uint8)
        self._allowed: dict[int, NDArray[np.bool_]] = {}

    def allowed(self, new: Sequence[int]) -> tuple[NDArray[np.bool_], bool]:
        """By id, whether a token may follow the new ones; and whether the text may end here."""
        state = 1
        for token in new:
            word = self._words[token] if token < len(self._words) else b""
            state = self._automaton.after(state, word)
        if state not in self._allowed:
            self._allowed[state] = self._look(state)
        return self._allowed[state], bool(self._automaton.accepts[state])

    def _look(self, state: int) -> NDArray[np.bool_]:
        states = np.full(len(self._words), state, np.int32)
        for at, count in enumerate(self._counts):  # the longest words come first
            states[:count] = self._automaton.table[states[:count], self._bytes[:count, at]]
        found = np.zeros(len(self._words), bool)
        spoken = self._counts[0] if self._counts else 0
        found[self._order[:spoken]] = states[:spoken] != 0
        return found


@lru_cache(maxsize=4)
def constraint_of(pattern: str, text: Text) -> Constraint:
    """The constraint of a pattern, kept for the next call with it."""
    return Constraint(pattern, text)


@lru_cache(maxsize=2)
def words(text: Text) -> tuple[bytes, ...]:
    """The bytes that each token adds to a text; none for special tokens."""
    told = json.loads(text.tokenizer.to_str())
    kinds = set(_kinds(told.get("decoder")))
    added = {entry["id"]: entry for entry in told.get("added_tokens", ())}
    if "ByteLevel" in kinds:
        signs = _byte_signs()
    elif kinds & {"ByteFallback", "Metaspace"}:
        signs = None
    else:
        raise UnsupportedError(
            f"a pattern needs a tokenizer of bytes, this one decodes with "
            f"{', '.join(sorted(kinds)) or 'nothing'}",
            hint="leave the pattern out",
        )
    found = []
    for token in range(text.vocab_size):
        written = text.tokenizer.id_to_token(token)
        if written is None or (token in added and added[token]["special"]):
            found.append(b"")
        elif token in added:
            found.append(added[token]["content"].encode())
        elif signs is not None:
            found.append(bytes(signs.get(sign, 0) for sign in written))
        elif match := _BYTE.fullmatch(written):
            found.append(bytes([int(match[1], 16)]))
        else:
            found.append(written.replace("\u2581", " ").encode())
    return tuple(found)


def _kinds(decoder: Any) -> list[str]:
    if not isinstance(decoder, dict):
        return []
    return [str(decoder.get("type")), *(k for d in decoder.get("decoders", ()) for k in _kinds(d))]


def _byte_signs() -> dict[str, int]:
    """Byte-level vocabularies write each byte as a sign that can be seen."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {chr(b): b for b in seen} | {chr(256 + at): b for at, b in enumerate(hidden)}
