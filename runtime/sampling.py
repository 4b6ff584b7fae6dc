"""From logits to one token: processors in a fixed order, then greedy choice or a draw.

The exact algorithm, for every implementation (f32 where said, else f64):

1. processors (f32), in the order of ``processors.PROCESSORS``; each sees the row's own tokens;
2. greedy: the smallest id among the largest logits, watermark added. Otherwise:
3. x = logits / temperature (f32), w = exp(x - max x), p = w / sum w over what is still kept;
4. the samplers of ``SAMPLERS`` in their order, each keeps some of what the one before kept:
   top-h: of the 100 largest, in falling order, while the running entropy <= top_h * their entropy;
   top-k: x >= the k-th largest x (ties stay);
   top-p: in the order of falling w, ties by rising id, while the sum of the w before it is
   < top_p * (sum of all w);
   min-p: w >= min_p * max w;
   typical: in the order of rising d = |-log p - entropy|, up to and with the first token at which
   the running p reaches typical_p, and all that tie with its d;
   epsilon: p >= epsilon_cutoff; eta: p >= min(eta, sqrt(eta) * exp(-entropy)); both keep the best;
5. the watermark multiplies the w of green tokens by exp(bias);
6. draw: u = ``random.uniform(seed, row, step)``; the smallest kept id, in rising order of id, whose
   running sum of w exceeds u * (sum of kept w).

Sums are in f64 and their order is free: results can differ only if u is within 1e-12 of an edge.
Beams keep at least ``keep`` tokens in each sampler, so that not all of them can end.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from smelt.errors import SmeltError
from smelt.runtime.processors import F32, Row, mark, process
from smelt.runtime.random import uniform
from smelt.runtime.settings import Options

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_HEAD = 2048  # top-p looks at so many candidates before it sorts the whole vocabulary
_ENTROPY_HEAD = 100  # top-h looks at so many, as its authors do


def choose(logits: F32, row: Row, options: Options) -> int:
    """The next token of a row from its f32 logits [vocab]."""
    logits = process(logits, row, options)
    check(logits, row)
    if options.greedy:
        return int(mark(logits, row, options).argmax())
    ids, weights = candidates(logits, options)
    if options.watermarking_config is not None:
        marked = mark(spread(ids, weights, logits.size), row, options)
        weights = np.exp(marked[ids].astype(np.float64))
    return draw(ids, weights, uniform(options.seed, row.index, row.new))


def check(logits: F32, row: Row) -> None:
    """SmeltError where processed logits leave no token, or are no numbers."""
    top = logits.max()
    if np.isnan(top) or top == np.inf:
        raise SmeltError(f"logits hold {top} at new token {row.new} of row {row.index}")
    if top == -np.inf:
        raise SmeltError(
            f"no token is allowed at new token {row.new} of row {row.index}",
            hint="the options forbid every token: look at stop, suppress and min_new_tokens",
        )


def candidates(logits: F32, options: Options, keep: int = 1) -> tuple[I64, F64]:
    """The ids that temperature and the samplers keep, rising, and their weights (max 1)."""
    scaled = logits / np.float32(options.temperature)
    kept = np.flatnonzero(scaled > -np.inf)
    if options.top_h is None:
        kept = kept[_top_k(scaled[kept], options, keep)]  # first, and cheap: exp of the rest only
    values = scaled[kept].astype(np.float64)
    weights = np.exp(values - values.max())
    for wanted, sampler in SAMPLERS:
        if wanted(options):
            chosen = sampler(weights, options, keep)
            kept, weights = kept[chosen], weights[chosen]
    return kept, weights


def spread(ids: I64, weights: F64, vocab: int) -> F32:
    """The logarithms of weights at their ids, minus infinity elsewhere."""
    found = np.full(vocab, -np.inf, np.float32)
    with np.errstate(divide="ignore"):
        found[ids] = np.log(weights)
    return found


def draw(ids: I64, weights: F64, u: float) -> int:
    """Invert the cumulative distribution at u in [0, 1)."""
    running = np.cumsum(weights)
    at = int(np.searchsorted(running, u * running[-1], side="right"))
    return int(ids[min(at, ids.size - 1)])


# ---- samplers: positions to keep of the weights, rising --------------------------------------


def _top_h(weights: F64, options: Options, keep: int) -> I64:
    order = np.argsort(-weights, kind="stable")[:_ENTROPY_HEAD]
    shares = weights[order] / weights[order].sum()
    terms = np.where(shares > 0, -shares * np.log(np.maximum(shares, 1e-300)), 0.0)
    chosen = np.cumsum(terms) <= (options.top_h or 0.0) * terms.sum()
    chosen[0] = True
    return np.sort(order[chosen])


def _top_k(values: NDArray[np.floating], options: Options, keep: int) -> I64:
    count = max(options.top_k, keep) if options.top_k else values.size
    if count >= values.size:
        return np.arange(values.size)
    return np.flatnonzero(values >= _largest(values, count))


def _top_p(weights: F64, options: Options, keep: int) -> I64:
    goal = options.top_p * float(weights.sum())
    if weights.size > 2 * _HEAD:
        edge = np.partition(weights, weights.size - _HEAD)[weights.size - _HEAD]
        head = np.flatnonzero(weights >= edge)  # all ties of the edge, so the order is the true one
        if float(weights[head].sum()) >= goal:
            return np.asarray(head[_reach(weights[head], goal, keep)])
    return _reach(weights, goal, keep)


def _reach(weights: F64, goal: float, keep: int) -> I64:
    order = np.argsort(-weights, kind="stable")
    before = np.concatenate(([0.0], np.cumsum(weights[order])[:-1]))
    count = max(keep, int(np.searchsorted(before, goal, side="left")))
    return np.sort(order[:count])


def _min_p(weights: F64, options: Options, keep: int) -> I64:
    return _above(weights, options.min_p * float(weights.max()), keep)


def _typical(weights: F64, options: Options, keep: int) -> I64:
    shares = weights / weights.sum()
    bits = -np.log(np.maximum(shares, 1e-300))
    distance = np.abs(bits - float((bits * shares).sum()))
    order = np.argsort(distance, kind="stable")
    reached = int((np.cumsum(shares[order]) < options.typical_p).sum())
    edge = distance[order[min(reached, order.size - 1)]]
    chosen = distance <= edge
    chosen[order[:keep]] = True
    return np.flatnonzero(chosen)


def _epsilon(weights: F64, options: Options, keep: int) -> I64:
    return _above(weights, options.epsilon_cutoff * float(weights.sum()), keep)


def _eta(weights: F64, options: Options, keep: int) -> I64:
    shares = weights / weights.sum()
    entropy = -float((shares * np.log(np.maximum(shares, 1e-300))).sum())
    eta = options.eta_cutoff
    return _above(shares, min(eta, float(np.sqrt(eta) * np.exp(-entropy))), keep)


def _above(weights: F64, edge: float, keep: int) -> I64:
    least = _largest(weights, min(keep, weights.size))
    return np.flatnonzero((weights >= edge) | (weights >= least))


def _largest(values: NDArray[np.floating], count: int) -> float:
    """The ``count``-th largest value."""
    return float(np.partition(values, values.size - count)[values.size - count])


Sampler = Callable[[F64, Options, int], I64]

# The order is that of `transformers`.
SAMPLERS: tuple[tuple[Callable[[Options], bool], Sampler], ...] = (
    (lambda o: o.top_h is not None, _top_h),
    (lambda o: o.top_h is not None and o.top_k > 0, _top_k),
    (lambda o: o.top_p < 1.0, _top_p),
    (lambda o: o.min_p > 0.0, _min_p),
    (lambda o: o.typical_p < 1.0, _typical),
    (lambda o: 0.0 < o.epsilon_cutoff < 1.0, _epsilon),
    (lambda o: 0.0 < o.eta_cutoff < 1.0, _eta),
)
