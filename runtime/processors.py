"""Logits processors in a fixed order: each changes a row's f32 logits before a token is chosen.

The order is that of `transformers`; the penalties of frequency and presence, which it lacks, follow
the repetition penalty. A row's own tokens count, never the padding of its batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smelt.errors import SmeltError
from smelt.runtime.constraint import Constraint
from smelt.runtime.settings import Options
from smelt.runtime.watermark import green

F32 = NDArray[np.float32]


@dataclass
class Row:
    """One sequence while it is generated: its tokens, and how many of them are new."""

    index: int
    tokens: list[int]
    new: int = 0
    source: tuple[int, ...] | None = None
    """What the encoder read; none for a decoder alone, whose source is its prompt."""
    constraint: Constraint | None = None
    taken: tuple[int, ...] = ()
    """Tokens that groups of beams before this one take in the same place."""

    def grown(self, token: int) -> Row:
        """A copy of this row with one more new token."""
        return replace(self, tokens=[*self.tokens, token], new=self.new + 1)

    @property
    def prompt(self) -> list[int]:
        """The tokens that came before the new ones."""
        return self.tokens[: len(self.tokens) - self.new]

    @property
    def read(self) -> Sequence[int]:
        """What the penalties for copying the source look at."""
        return self.prompt if self.source is None else self.source


def process(logits: F32, row: Row, options: Options) -> F32:
    """Run the processors that are on; the result may be the input itself, or a changed copy."""
    active = [apply for wanted, apply in PROCESSORS if wanted(options, row)]
    if not active:
        return logits
    logits = logits.copy()
    for apply in active:
        apply(logits, row, options)
    return logits


def mark(logits: F32, row: Row, options: Options) -> F32:
    """Add the watermark, which comes after the samplers."""
    chosen = options.watermarking_config
    if chosen is None:
        return logits
    likeliest = np.argsort(-logits, kind="stable")[:64].tolist()
    ids = sorted(green(chosen, row.tokens, likeliest, logits.size))
    logits = logits.copy()
    logits[ids] += np.float32(chosen.bias)
    return logits


def _sequence_bias(logits: F32, row: Row, options: Options) -> None:
    bias = np.zeros_like(logits)
    for ids, value in sorted(options.sequence_bias, key=lambda pair: len(pair[0])):
        if _ends_with(row.tokens, ids[:-1]):
            bias[ids[-1]] += np.float32(value)
    logits += bias


def _bad_words(logits: F32, row: Row, options: Options) -> None:
    for ids in options.bad_words_ids:
        ends = len(ids) == 1 and ids[0] in options.eos  # the end is never a bad word
        if not ends and _ends_with(row.tokens, ids[:-1]):
            logits[ids[-1]] = -np.inf


def _diversity(logits: F32, row: Row, options: Options) -> None:
    times = np.bincount(np.asarray(row.taken, np.int64), minlength=logits.size)
    logits -= np.float32(options.diversity_penalty) * times.astype(np.float32)


def _ends_with(tokens: Sequence[int], tail: Sequence[int]) -> bool:
    return not tail or tuple(tokens[-len(tail) :]) == tuple(tail)


def _penalize(logits: F32, ids: Sequence[int], factor: float) -> None:
    seen = np.unique(np.asarray(ids, np.int64))
    penalty = np.float32(factor)
    values = logits[seen]
    logits[seen] = np.where(values < 0, values * penalty, values / penalty)


def _encoder_repetition_penalty(logits: F32, row: Row, options: Options) -> None:
    _penalize(logits, row.read, 1 / options.encoder_repetition_penalty)


def _repetition_penalty(logits: F32, row: Row, options: Options) -> None:
    _penalize(logits, row.tokens, options.repetition_penalty)


def _frequency_and_presence(logits: F32, row: Row, options: Options) -> None:
    counts = Counter(row.tokens[len(row.tokens) - row.new :])
    ids = np.fromiter(counts, np.int64, len(counts))
    times = np.fromiter(counts.values(), np.float32, len(counts))
    logits[ids] -= np.float32(options.frequency_penalty) * times
    logits[ids] -= np.float32(options.presence_penalty)


def _no_repeat_ngram(logits: F32, row: Row, options: Options) -> None:
    _forbid_grams(logits, row.tokens, row.tokens, options.no_repeat_ngram_size)


def _encoder_no_repeat_ngram(logits: F32, row: Row, options: Options) -> None:
    _forbid_grams(logits, row.read, row.tokens, options.encoder_no_repeat_ngram_size)


def _forbid_grams(logits: F32, read: Sequence[int], tokens: Sequence[int], size: int) -> None:
    """Forbid what would complete a gram of ``read`` at the end of ``tokens``."""
    if len(tokens) + 1 < size:
        return
    tail = list(tokens[len(tokens) - size + 1 :])
    for start in range(len(read) - size + 1):
        if list(read[start : start + size - 1]) == tail:
            logits[read[start + size - 1]] = -np.inf


def _forbid_end(logits: F32, row: Row, options: Options) -> None:
    logits[list(options.eos)] = -np.inf


def _constrain(logits: F32, row: Row, options: Options) -> None:
    if row.constraint is None:
        return
    allowed, may_end = row.constraint.allowed(row.tokens[len(row.tokens) - row.new :])
    ends = list(options.eos)
    kept = logits[ends]
    logits[: allowed.size][~allowed[: logits.size]] = -np.inf
    logits[allowed.size :] = -np.inf
    logits[ends] = kept if may_end else -np.inf


def _forced_bos(logits: F32, row: Row, options: Options) -> None:
    _only(logits, [] if options.forced_bos is None else [options.forced_bos])


def _forced_eos(logits: F32, row: Row, options: Options) -> None:
    _only(logits, options.forced_eos)


def _decay(logits: F32, row: Row, options: Options) -> None:
    start, factor = options.exponential_decay_length_penalty or (row.new, 1.0)
    ids = list(dict.fromkeys(options.eos))
    values = logits[ids]
    with np.errstate(invalid="ignore", over="ignore"):
        power = float(np.float64(factor) ** (row.new - start)) - 1
        more = np.abs(values) * np.float32(min(power, float(np.finfo(np.float32).max)))
    logits[ids] = values + np.where(np.isfinite(values), more, np.float32(0))


def _suppress(logits: F32, row: Row, options: Options) -> None:
    logits[list(options.suppress)] = -np.inf


def _begin_suppress(logits: F32, row: Row, options: Options) -> None:
    logits[list(options.begin_suppress)] = -np.inf


def _only(logits: F32, ids: Sequence[int]) -> None:
    logits[:] = -np.inf
    logits[list(ids)] = 0.0


def _begins(options: Options, row: Row) -> bool:
    """Whether this is the first token that is free: a forced one comes before it."""
    forced = options.forced_bos is not None and len(row.tokens) - row.new <= 1
    return row.new == (1 if forced else 0)


def _decays(options: Options, row: Row) -> bool:
    decay = options.exponential_decay_length_penalty
    return decay is not None and bool(options.eos) and row.new > decay[0]


Wanted = Callable[[Options, Row], bool]
Processor = Callable[[F32, Row, Options], None]

PROCESSORS: tuple[tuple[Wanted, Processor], ...] = (
    (lambda o, r: bool(o.sequence_bias), _sequence_bias),
    (lambda o, r: bool(r.taken), _diversity),
    (lambda o, r: o.encoder_repetition_penalty != 1.0, _encoder_repetition_penalty),
    (lambda o, r: o.repetition_penalty != 1.0, _repetition_penalty),
    (
        lambda o, r: bool(r.new and (o.frequency_penalty or o.presence_penalty)),
        _frequency_and_presence,
    ),
    (lambda o, r: o.no_repeat_ngram_size > 0, _no_repeat_ngram),
    (lambda o, r: o.encoder_no_repeat_ngram_size > 0, _encoder_no_repeat_ngram),
    (lambda o, r: bool(o.bad_words_ids), _bad_words),
    (lambda o, r: bool(o.eos) and len(r.tokens) < o.min_length, _forbid_end),
    (lambda o, r: bool(o.eos) and r.new < o.min_new_tokens, _forbid_end),
    (lambda o, r: r.constraint is not None, _constrain),
    (lambda o, r: o.forced_bos is not None and len(r.tokens) == 1, _forced_bos),
    (lambda o, r: bool(o.forced_eos) and r.new == o.max_new_tokens - 1, _forced_eos),
    (_decays, _decay),
    (lambda o, r: bool(o.suppress), _suppress),
    (lambda o, r: bool(o.begin_suppress) and _begins(o, r), _begin_suppress),
)


def check_ids(options: Options, vocab: int) -> None:
    """SmeltError when an option names a token that the vocabulary does not have."""
    named: dict[str, Any] = {
        "eos": options.eos,
        "suppress_tokens": options.suppress,
        "begin_suppress_tokens": options.begin_suppress,
        "forced_bos_token_id": () if options.forced_bos is None else (options.forced_bos,),
        "forced_eos_token_id": options.forced_eos,
        "bad_words_ids": [token for ids in options.bad_words_ids for token in ids],
        "sequence_bias": [token for ids, _ in options.sequence_bias for token in ids],
        "force_words_ids": [t for word in options.force_words_ids for ids in word for t in ids],
    }
    for name, ids in named.items():
        for token in ids:
            if not 0 <= token < vocab:
                raise SmeltError(f"`{name}` has token {token}, the vocabulary has {vocab}")
