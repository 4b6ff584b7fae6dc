"""Checked arithmetic: every size and offset that comes out of a file passes through here."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence

from smelt.errors import CheckpointError

LIMIT = (
    1 << 60
)  # bytes or elements; larger is nonsense, and numpy's own arithmetic stays exact below
RANK_LIMIT = 16

# Stops at a depth: values that share their parts can print exponentially longer than their file.
BRIEF = reprlib.Repr()
BRIEF.maxstring = BRIEF.maxother = BRIEF.maxlong = 80


def natural(value: object, what: str, place: str) -> int:
    """A non-negative integer below the limit, or a CheckpointError."""
    if type(value) is not int or not 0 <= value <= LIMIT:
        raise CheckpointError(f"{what} is {short(value)}, wants an integer ≥ 0", place=place)
    return value


def product(sizes: Iterable[int], what: str, place: str) -> int:
    """The product of sizes, refused when it passes the limit."""
    total = 1
    for size in sizes:
        total *= natural(size, what, place)
        if total > LIMIT:
            raise CheckpointError(f"{what} is over {LIMIT}", place=place)
    return total


def shape_of(value: object, what: str, place: str) -> tuple[int, ...]:
    """A shape out of a file: a list of few, non-negative sizes with a product in bounds."""
    if not isinstance(value, (list, tuple)) or len(value) > RANK_LIMIT:
        raise CheckpointError(f"{what} has shape {short(value)}", place=place)
    shape = tuple(natural(size, f"a size of {what}", place) for size in value)
    product(shape, f"the element count of {what}", place)
    return shape


def within(start: int, length: int, total: int, what: str, place: str) -> None:
    """Refuse a span of bytes that does not lie inside `total` bytes."""
    if start < 0 or length < 0 or start + length > total:
        raise CheckpointError(
            f"{what} is at bytes {start} to {start + length}, but there are {total}",
            place=place,
            hint="the file is truncated or damaged: fetch it again",
        )


def disjoint(spans: Sequence[tuple[int, int, str]], place: str) -> None:
    """Refuse (start, stop, name) spans of bytes that share a byte."""
    last, owner = 0, ""
    for start, stop, name in sorted(spans):
        if start < last and stop > start:
            raise CheckpointError(f"`{name}` overlaps `{owner}` at byte {start}", place=place)
        if stop > last:
            last, owner = stop, name


def align(offset: int, alignment: int) -> int:
    """The next multiple of an alignment."""
    return -(-offset // alignment) * alignment


def short(value: object) -> str:
    """A value out of a file, short enough for a message."""
    try:
        return BRIEF.repr(value)
    except ValueError:  # Python refuses to print an integer of thousands of digits
        return f"a huge {type(value).__name__}"
