"""A compiled tokenizer beside the `tokenizers` library, which is right by definition."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from smelt.runtime import _edge
from smelt.text_samples import Bag, broken, strings

Item = TypeVar("Item")
_BATCH = 500
_WORDS = 1000  # texts made of the tokenizer's own words
_SHOWN = 12  # values of a list around the first that differs


@dataclass
class Outcome:
    """What was compared, and the first differences, each in a sentence of ASCII."""

    strings: int = 0
    """Texts, broken ones too, whose ids and offsets were compared, and the text they decode to."""
    sequences: int = 0
    """Random ids whose text was compared."""
    differences: list[str] = field(default_factory=list)


def compare_tokenizer(library: Any, compiled: Any, count: int, seed: int, most: int = 1) -> Outcome:
    """Compare ``count`` strings, and stop at ``most`` differences.

    Ids, offsets in characters, the decoded text, and the pieces of a stream; of ten strings one is
    not UTF-8. A quarter as many sequences of random ids are decoded.
    library: a `tokenizers.Tokenizer`; compiled: its `_edge.Tokenizer`.
    """
    comparison = _Comparison(library, compiled)
    rng = random.Random(seed)
    bag = _bag(library, compiled.vocab_size, rng)
    steps = [
        comparison.texts(strings(count - count // 10, seed, bag)),
        comparison.broken(broken(count // 10, seed, bag)),
        comparison.ids(_sequences(count // 4, compiled.vocab_size + 2, rng)),
    ]
    for step in steps:
        for _ in step:
            if len(comparison.outcome.differences) >= most:
                return comparison.outcome
    return comparison.outcome


def _bag(library: Any, vocab: int, rng: random.Random) -> Bag:
    added = sorted({token.content for token in library.get_added_tokens_decoder().values()})
    words = library.decode_batch(list(_sequences(_WORDS, vocab, rng)), skip_special_tokens=True)
    return Bag(added, words)


def _sequences(count: int, vocab: int, rng: random.Random) -> Iterator[list[int]]:
    for _ in range(count):
        yield [int(rng.random() * vocab) for _ in range(rng.choice((1, 2, 5, 12)))]


class _Comparison:
    """Each method compares as it is walked; it pauses between batches."""

    def __init__(self, library: Any, compiled: Any) -> None:
        self.library, self.compiled = library, compiled
        self.outcome = Outcome()
        # A stream cannot know that a byte to come makes no text of a whole run of bytes.
        self.streams_any = b"ByteFallback" not in (
            library.decoder.__getstate__() if library.decoder is not None else b""
        )

    def texts(self, texts: Iterator[str]) -> Iterator[None]:
        for number, batch in enumerate(_batches(texts)):
            frame, skip = number % 2 == 0, number % 4 < 2
            wanted = self.library.encode_batch(batch, add_special_tokens=frame)
            backs = self.library.decode_batch([w.ids for w in wanted], skip_special_tokens=skip)
            for text, expected, back in zip(batch, wanted, backs, strict=True):
                self._encoded(text, text.encode(), expected, frame)
                self._decoded(expected.ids, back, skip, text)
            yield

    def broken(self, texts: Iterator[bytes]) -> Iterator[None]:
        for batch in _batches(texts):
            wanted = self.library.encode_batch([raw.decode("utf-8", "replace") for raw in batch])
            for raw, expected in zip(batch, wanted, strict=True):
                self._encoded(raw, raw, expected, True)
            yield

    def ids(self, sequences: Iterator[list[int]]) -> Iterator[None]:
        for number, batch in enumerate(_batches(sequences)):
            skip = number % 2 == 0
            backs = self.library.decode_batch(batch, skip_special_tokens=skip)
            for ids, back in zip(batch, backs, strict=True):
                self._decoded(ids, back, skip, None)
                self.outcome.sequences += 1
            yield

    def _encoded(self, text: str | bytes, raw: bytes, wanted: Any, frame: bool) -> None:
        ids, offsets = self.compiled.encode(raw, frame, True)
        self.outcome.strings += 1
        self._expect("ids", text, ids, wanted.ids)
        self._expect("offsets", text, offsets, wanted.offsets)

    def _decoded(self, ids: Sequence[int], back: str, skip: bool, text: str | None) -> None:
        """``text``: what the ids were made of; None where they are random."""
        whole = self.compiled.decode(ids, skip)
        shown = text if text is not None else list(ids)
        self._expect("decoded text", shown, whole.decode(), back)
        if text is None and not self.streams_any:
            return
        stream = _edge.TokenStream(self.compiled, skip)
        pieces = [*map(stream.push, ids), stream.flush()]
        self._expect("streamed text", shown, b"".join(pieces).decode(), whole.decode())

    def _expect(self, what: str, of: object, found: Any, wanted: Any) -> None:
        if found != wanted:
            at = next(
                (i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b),
                min(len(found), len(wanted)),
            )
            ours, theirs = (_around(values, at) for values in (found, wanted))
            self.outcome.differences.append(
                f"{what} of {of!a}: compiled {ours}, `tokenizers` {theirs}"
            )


def _around(values: Sequence[Any], at: int) -> str:
    first = max(0, at - _SHOWN // 3)
    shown = ascii(values[first : first + _SHOWN])
    return shown if first == 0 and len(values) <= _SHOWN else f"{shown} from place {first}"


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    walk = iter(items)
    while batch := list(islice(walk, _BATCH)):
        yield batch
