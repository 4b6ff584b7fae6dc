"""From logits to one token: processors in a fixed order, then greedy choice or a draw.

The exact algorithm, for every implementation (f32 where said, else f64):

1. processors (f32), in the order of ``PROCESSORS``; each sees the row's tokens, prompt included;
2. greedy: the smallest id among the largest logits. Otherwise:
3. x = logits / temperature (f32);
4. top-k: keep x >= the k-th largest x (ties stay);
5. w = exp(x - max x) over what is kept; top-p: in the order of falling w, ties by rising id, keep a
   token while the sum of the w before it is < top_p * (sum of all w);
6. min-p: keep w >= min_p (the largest w is 1);
7. draw: u = ``random.uniform(seed, row, step)``; the smallest kept id, in rising order of id, whose
   running sum of w exceeds u * (sum of kept w).

Sums are in f64 and their order is free: results can differ only if u is within 1e-12 of an edge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smelt.errors import SmeltError
from smelt.runtime.random import uniform

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_HEAD = 2048  # top-p looks at so many candidates before it sorts the whole vocabulary


@dataclass(frozen=True)
class Options:
    """Everything that decides which token comes next; see ``options.resolve``."""

    max_new_tokens: int
    max_length: int | None = None
    """Prompt and new tokens together, where the model sets that and the call sets nothing."""
    temperature: float = 0.0
    """0 is greedy."""
    top_k: int = 0
    """0 keeps all."""
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    min_new_tokens: int = 0
    eos: tuple[int, ...] = ()
    suppress: tuple[int, ...] = ()
    begin_suppress: tuple[int, ...] = ()
    forced_bos: int | None = None
    forced_eos: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()
    seed: int = 0

    @property
    def greedy(self) -> bool:
        """Whether the largest logit is taken."""
        return self.temperature == 0.0


@dataclass
class Row:
    """One sequence while it is generated: its tokens, and how many of them are new."""

    index: int
    tokens: list[int]
    new: int = 0


def process(logits: F32, row: Row, options: Options) -> F32:
    """Run the processors that are on; the result may be the input itself, or a changed copy."""
    active = [apply for wanted, apply in PROCESSORS if wanted(options, row)]
    if not active:
        return logits
    logits = logits.copy()
    for apply in active:
        apply(logits, row, options)
    return logits


def choose(logits: F32, row: Row, options: Options) -> int:
    """The next token of a row from its f32 logits [vocab]."""
    logits = process(logits, row, options)
    top = logits.max()
    if np.isnan(top) or top == np.inf:
        raise SmeltError(f"logits hold {top} at new token {row.new} of row {row.index}")
    if top == -np.inf:
        raise SmeltError(
            f"no token is allowed at new token {row.new} of row {row.index}",
            hint="the options forbid every token: look at stop, suppress and min_new_tokens",
        )
    if options.greedy:
        return int(logits.argmax())
    ids, weights = candidates(logits, options)
    return draw(ids, weights, uniform(options.seed, row.index, row.new))


def candidates(logits: F32, options: Options) -> tuple[I64, F64]:
    """The ids that temperature, top-k, top-p and min-p keep, rising, and their weights (max 1)."""
    scaled = logits / np.float32(options.temperature)
    kept = np.flatnonzero(scaled > -np.inf)
    if 0 < options.top_k < kept.size:
        values = scaled[kept]
        threshold = np.partition(values, kept.size - options.top_k)[kept.size - options.top_k]
        kept = kept[values >= threshold]
    values = scaled[kept].astype(np.float64)
    weights = np.exp(values - values.max())
    if options.top_p < 1.0:
        chosen = _top_p(weights, options.top_p)
        kept, weights = kept[chosen], weights[chosen]
    if options.min_p > 0.0:
        chosen = np.flatnonzero(weights >= options.min_p)
        kept, weights = kept[chosen], weights[chosen]
    return kept, weights


def draw(ids: I64, weights: F64, u: float) -> int:
    """Invert the cumulative distribution at u in [0, 1)."""
    running = np.cumsum(weights)
    at = int(np.searchsorted(running, u * running[-1], side="right"))
    return int(ids[min(at, ids.size - 1)])


def _top_p(weights: F64, top_p: float) -> I64:
    """Positions of the smallest set of largest weights that reaches top_p, rising."""
    goal = top_p * float(weights.sum())
    if weights.size > 2 * _HEAD:
        edge = np.partition(weights, weights.size - _HEAD)[weights.size - _HEAD]
        head = np.flatnonzero(weights >= edge)  # all ties of the edge, so the order is the true one
        if float(weights[head].sum()) >= goal:
            return np.asarray(head[_reach(weights[head], goal)])
    return _reach(weights, goal)


def _reach(weights: F64, goal: float) -> I64:
    order = np.argsort(-weights, kind="stable")
    before = np.concatenate(([0.0], np.cumsum(weights[order])[:-1]))
    count = max(1, int(np.searchsorted(before, goal, side="left")))
    return np.sort(order[:count])


# ---- processors: each changes its copy of the logits in place -------------------------------


def _repetition_penalty(logits: F32, row: Row, options: Options) -> None:
    seen = np.unique(np.asarray(row.tokens, np.int64))
    penalty = np.float32(options.repetition_penalty)
    values = logits[seen]
    logits[seen] = np.where(values < 0, values * penalty, values / penalty)


def _no_repeat_ngram(logits: F32, row: Row, options: Options) -> None:
    size, tokens = options.no_repeat_ngram_size, row.tokens
    if len(tokens) + 1 < size:
        return
    tail = tokens[len(tokens) - size + 1 :]
    for start in range(len(tokens) - size + 1):
        if tokens[start : start + size - 1] == tail:
            logits[tokens[start + size - 1]] = -np.inf


def _min_new_tokens(logits: F32, row: Row, options: Options) -> None:
    logits[list(options.eos)] = -np.inf


def _forced_bos(logits: F32, row: Row, options: Options) -> None:
    _only(logits, [] if options.forced_bos is None else [options.forced_bos])


def _forced_eos(logits: F32, row: Row, options: Options) -> None:
    _only(logits, options.forced_eos)


def _suppress(logits: F32, row: Row, options: Options) -> None:
    logits[list(options.suppress)] = -np.inf


def _begin_suppress(logits: F32, row: Row, options: Options) -> None:
    logits[list(options.begin_suppress)] = -np.inf


def _only(logits: F32, ids: Sequence[int]) -> None:
    logits[:] = -np.inf
    logits[list(ids)] = 0.0


Wanted = Callable[[Options, Row], bool]
Processor = Callable[[F32, Row, Options], None]

# The order is that of `transformers.generate`.
PROCESSORS: tuple[tuple[Wanted, Processor], ...] = (
    (lambda o, r: o.repetition_penalty != 1.0, _repetition_penalty),
    (lambda o, r: o.no_repeat_ngram_size > 0, _no_repeat_ngram),
    (lambda o, r: bool(o.eos) and r.new < o.min_new_tokens, _min_new_tokens),
    (lambda o, r: o.forced_bos is not None and r.new == 0, _forced_bos),
    (lambda o, r: bool(o.forced_eos) and r.new == o.max_new_tokens - 1, _forced_eos),
    (lambda o, r: bool(o.suppress), _suppress),
    (lambda o, r: bool(o.begin_suppress) and r.new == 0, _begin_suppress),
)


def check_ids(options: Options, vocab: int) -> None:
    """SmeltError when an option names a token that the vocabulary does not have."""
    named: dict[str, Any] = {
        "eos": options.eos,
        "suppress_tokens": options.suppress,
        "begin_suppress_tokens": options.begin_suppress,
        "forced_bos_token_id": () if options.forced_bos is None else (options.forced_bos,),
        "forced_eos_token_id": options.forced_eos,
    }
    for name, ids in named.items():
        for token in ids:
            if not 0 <= token < vocab:
                raise SmeltError(f"`{name}` has token {token}, the vocabulary has {vocab}")
