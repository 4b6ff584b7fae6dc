"""The tables of a `model.smelt` that all functions share: strings, sizes, records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from smelt.errors import UnsupportedError
from smelt.ir.dims import Dim, Size
from smelt.ir.program import Bound
from smelt.runtime.edge_format import DIM_OPS, RECORDS

_MAX_SYMBOLS = 63
_CONST, _SYMBOL, _ADD, _SUB, _MUL, _FLOORDIV = range(len(DIM_OPS))


class Tables:
    """Rows of every table, in order; ``data`` gives their bytes."""

    def __init__(self, symbols: Mapping[str, Bound]) -> None:
        self._strings = bytearray()
        self._texts: dict[str, tuple[int, int]] = {}
        self._rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in RECORDS}
        self.words: dict[str, list[int]] = {"below": [], "operands": [], "attributes": []}
        self._dims: dict[tuple[int, int, int], int] = {}
        self._sizes: dict[Size, int] = {}
        self.symbols = {name: i for i, name in enumerate(symbols)}
        if len(symbols) > _MAX_SYMBOLS:
            raise UnsupportedError(f"{len(symbols)} symbols, at most {_MAX_SYMBOLS} are possible")
        self.text("")
        for name, bound in symbols.items():
            self.add("symbols", self.text(name), bound.low, bound.high)

    def text(self, text: str) -> tuple[int, int]:
        """Where a string lies, and its bytes."""
        if text not in self._texts:
            data = text.encode().replace(b"\0", b" ")
            self._texts[text] = (len(self._strings), len(data))
            self._strings += data + b"\0"
        return self._texts[text]

    def add(self, table: str, *row: Any) -> int:
        """Append a record; its index."""
        self._rows[table].append(row)
        return len(self._rows[table]) - 1

    def count(self, table: str) -> int:
        return len(self._rows[table])

    def size(self, size: Size) -> int:
        """The node that computes a size; equal sizes share one."""
        if size not in self._sizes:
            self._sizes[size] = self._constant(size) if isinstance(size, int) else self._sum(size)
        return self._sizes[size]

    def _constant(self, value: int) -> int:
        return self._node(_CONST, value, 0)

    def _sum(self, size: Dim) -> int:
        total: int | None = None
        for monomial, coefficient in size.terms:
            node: int | None = None
            for atom in monomial:
                if isinstance(atom, str):
                    factor = self._node(_SYMBOL, self.symbols[atom], 0)
                else:
                    divisor = self._constant(atom.divisor)
                    factor = self._node(_FLOORDIV, self.size(atom.numerator), divisor)
                node = factor if node is None else self._node(_MUL, node, factor)
            magnitude = abs(coefficient)
            if node is None:
                node = self._constant(magnitude)
            elif magnitude != 1:
                node = self._node(_MUL, node, self._constant(magnitude))
            if total is None and coefficient > 0:
                total = node
            else:
                left = self._constant(0) if total is None else total
                total = self._node(_ADD if coefficient > 0 else _SUB, left, node)
        assert total is not None, "a size without terms is a number"
        return total

    def _node(self, op: int, a: int, b: int) -> int:
        key = (op, a, b)
        if key not in self._dims:
            self._dims[key] = self.add("dims", op, 0, a, b)
        return self._dims[key]

    def data(self) -> dict[str, bytes]:
        """The bytes of every segment but weights and files."""
        found = {name: np.array(rows, RECORDS[name]).tobytes() for name, rows in self._rows.items()}
        found |= {name: np.array(words, "<u4").tobytes() for name, words in self.words.items()}
        found["strings"] = bytes(self._strings)
        return found
