"""Symbolic sizes: integer polynomials over named symbols, with floor division as an atom.

A size is an ``int`` when it is known and a ``Dim`` when it depends on a symbol such as ``batch``,
``seq`` or ``past``. Equal sizes compare equal: the form is canonical (sorted, like terms joined).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, Union

from smelt.errors import SmeltError

Size: TypeAlias = Union[int, "Dim"]
Atom: TypeAlias = Union[str, "FloorDiv"]
Monomial: TypeAlias = tuple[Atom, ...]


@dataclass(frozen=True)
class FloorDiv:
    """``numerator // divisor`` where the division is not exact term by term."""

    numerator: Dim
    divisor: int

    def __str__(self) -> str:
        return f"({self.numerator})//{self.divisor}"


@dataclass(frozen=True)
class Dim:
    """A sum of integer multiples of products of atoms; build it with ``symbol`` and arithmetic."""

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: Size) -> Size:
        return _collect([*self.terms, *_terms(other)])

    def __sub__(self, other: Size) -> Size:
        return self + _collect([(m, -c) for m, c in _terms(other)])

    def __rsub__(self, other: int) -> Size:
        return _collect([*_terms(other), *((m, -c) for m, c in self.terms)])

    def __mul__(self, other: Size) -> Size:
        pairs = [
            (tuple(sorted((*m, *n), key=str)), c * d)
            for m, c in self.terms
            for n, d in _terms(other)
        ]
        return _collect(pairs)

    __radd__ = __add__
    __rmul__ = __mul__

    def __floordiv__(self, divisor: int) -> Size:
        if all(c % divisor == 0 for _, c in self.terms):
            return _collect([(m, c // divisor) for m, c in self.terms])
        return Dim((((FloorDiv(self, divisor),), 1),))

    def __str__(self) -> str:
        return " + ".join(_term_text(m, c) for m, c in self.terms).replace("+ -", "- ")

    def symbols(self) -> frozenset[str]:
        """The names of all symbols inside."""
        return frozenset(_symbols(self))


def symbol(name: str) -> Dim:
    """A size known only at run time, by name."""
    return Dim((((name,), 1),))


def evaluate(size: Size, values: Mapping[str, int]) -> int:
    """The number that a size has when each symbol has its value."""
    if isinstance(size, int):
        return size
    total = 0
    for monomial, coefficient in size.terms:
        product = coefficient
        for atom in monomial:
            product *= (
                values[atom]
                if isinstance(atom, str)
                else evaluate(atom.numerator, values) // atom.divisor
            )
        total += product
    return total


def substitute(size: Size, values: Mapping[str, Size]) -> Size:
    """The size with some symbols replaced by other sizes."""
    if isinstance(size, int):
        return size
    total: Size = 0
    for monomial, coefficient in size.terms:
        product: Size = coefficient
        for atom in monomial:
            if isinstance(atom, str):
                product = product * values.get(atom, symbol(atom))
            else:
                product = product * (substitute(atom.numerator, values) // atom.divisor)
        total = total + product
    return total


def exact_divide(size: Size, by: Size) -> Size | None:
    """``size / by`` when ``by`` is one term that divides every term of ``size``; otherwise None."""
    divisors = _terms(by)
    if len(divisors) != 1:
        return 1 if size == by else None
    monomial, coefficient = divisors[0]
    result: list[tuple[Monomial, int]] = []
    for m, c in _terms(size):
        rest = list(m)
        for atom in monomial:
            if atom not in rest:
                return None
            rest.remove(atom)
        if coefficient == 0 or c % coefficient:
            return None
        result.append((tuple(rest), c // coefficient))
    return _collect(result)


def parse_size(text: str) -> Size:
    """The size whose text form this is; the inverse of ``str``."""
    try:
        return _from_ast(ast.parse(text, mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise SmeltError(f"`{text[:80]}` is not a size") from error


def _from_ast(node: ast.expr) -> Size:
    match node:
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            return value
        case ast.Name(id=name):
            return symbol(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -1 * _from_ast(operand)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _from_ast(left) + _from_ast(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _from_ast(left) - _from_ast(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _from_ast(left) * _from_ast(right)
        case ast.BinOp(left=left, op=ast.FloorDiv(), right=ast.Constant(value=int() as by)) if by:
            return _from_ast(left) // by
    raise SmeltError(f"`{ast.unparse(node)[:80]}` is not a size")


def _terms(size: Size) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(size, Dim):
        return size.terms
    return (((), size),) if size else ()


def _collect(pairs: list[tuple[Monomial, int]]) -> Size:
    joined: dict[Monomial, int] = {}
    for monomial, coefficient in pairs:
        joined[monomial] = joined.get(monomial, 0) + coefficient
    kept = {m: c for m, c in joined.items() if c}
    if not kept.keys() - {()}:
        return kept.get((), 0)
    # Symbols before the constant, as people write them: "past + seq", "frames - 1".
    order = sorted(kept.items(), key=lambda item: (not item[0], [str(a) for a in item[0]]))
    return Dim(tuple(order))


def _term_text(monomial: Monomial, coefficient: int) -> str:
    if not monomial:
        return str(coefficient)
    if len(monomial) == 1 and coefficient == 1:
        return str(monomial[0])
    # A quotient in a product needs brackets of its own: 2*(n//3) is not 2*n//3.
    product = "*".join(a if isinstance(a, str) else f"({a})" for a in monomial)
    return product if coefficient == 1 else f"{coefficient}*{product}"


def _symbols(size: Size) -> Iterator[str]:
    if isinstance(size, int):
        return
    for monomial, _ in size.terms:
        for atom in monomial:
            if isinstance(atom, str):
                yield atom
            else:
                yield from _symbols(atom.numerator)
