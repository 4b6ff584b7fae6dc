"""Optimization profiles: for which sizes of its symbolic dims an engine is built and tuned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

from smelt.errors import SmeltError, UnsupportedError
from smelt.ir.dims import Dim, Size, evaluate, parse_size
from smelt.runtime.manifest import Symbol

# What an engine is tuned for where the bounds allow it; other symbols are tuned for their maximum.
TUNED = {"batch": 1, "seq": 128, "source": 128, "past": 0}


@dataclass(frozen=True, slots=True)
class Range:
    """The smallest, the tuned and the largest value of a symbol or of an axis."""

    low: int
    best: int
    high: int


Profile = Mapping[str, Range]


def profiles(
    symbols: Iterable[Symbol], context: int | None, *, max_batch: int, chunk: int
) -> list[dict[str, Range]]:
    """Ranges of all symbols: one profile, or prefill and decode where there is a past.

    ``chunk`` is the most new tokens that one call takes when there is a past; a longer prompt
    runs in several calls, so the engine's memory does not grow with the context.
    """
    bounds = {symbol.name: (symbol.min, symbol.max) for symbol in symbols}

    def tuned(name: str, low: int, high: int) -> Range:
        return Range(low, min(max(TUNED.get(name, high), low), high), high)

    ranges: dict[str, Range] = {}
    for name, (low, high) in bounds.items():
        limit = min(size for size in (high, context) if size is not None) if high or context else 0
        if name == "batch":
            limit = min(max_batch, high) if high else max_batch
        elif not limit:
            raise UnsupportedError(
                f"tensorrt: dim `{name}` has no upper bound, an optimization profile needs one",
                hint="give --context, or a bound in the task",
            )
        ranges[name] = tuned(name, max(low, 0 if name == "past" else 1), limit)
    if "past" not in ranges or "seq" not in ranges:
        return [ranges]

    past = Range(0, 0, max(ranges["past"].high - 1, 0))
    seq = tuned("seq", 1, min(chunk, ranges["seq"].high))
    prefill = {**ranges, "past": past, "seq": seq}
    decode = {**ranges, "past": Range(0, past.high // 2, past.high), "seq": Range(1, 1, 1)}
    return [prefill, decode]


def axis_range(text: str, profile: Profile, place: str) -> Range:
    """The range of an axis whose size is given as text over symbols, such as ``past + seq``."""
    size = _size(text, place)
    names = sorted(size.symbols()) if isinstance(size, Dim) else []
    unknown = [name for name in names if name not in profile]
    if unknown:
        raise UnsupportedError(
            f"tensorrt: size `{text}` uses `{unknown[0]}`, bounds are known for: "
            + ", ".join(sorted(profile)),
            place=place,
        )
    corners = [
        evaluate(size, dict(zip(names, values, strict=True)))
        for values in product(*((profile[n].low, profile[n].high) for n in names))
    ]
    best = evaluate(size, {name: profile[name].best for name in names})
    return Range(max(min(corners), 0), best, max(corners))


def _size(text: str, place: str) -> Size:
    try:
        return parse_size(text)
    except SmeltError:
        raise UnsupportedError(
            f"tensorrt: an axis has the size `{text}`, wants a sum or product of named symbols",
            place=place,
        ) from None
