"""Generation that checks guesses: several tokens go in at once, and the wrong ones come out again.

Each place of a call gives the logits that the row would see there, and the token is chosen from
them as ever; so the tokens, drawn ones too, are those of generation one by one.
"""

from __future__ import annotations

from collections.abc import Iterator

from smelt.runtime.engine import Engine, Reserves
from smelt.runtime.feed import DecoderFeed, limit_of
from smelt.runtime.generate import Completion, Finish, Piece, Progress, prefill
from smelt.runtime.lookup import Proposer
from smelt.runtime.metrics import Metrics, Stopwatch
from smelt.runtime.processors import F32, Row
from smelt.runtime.sampling import choose
from smelt.runtime.scores import score
from smelt.runtime.settings import Options
from smelt.runtime.text import Text


def speculate_row(
    engine: Engine,
    feed: DecoderFeed,
    row: Row,
    options: Options,
    proposer: Proposer,
    *,
    text: Text | None,
    done: Completion,
    metrics: Metrics,
    watch: Stopwatch,
    limit: Finish = "length",
) -> Iterator[Piece]:
    """Generate one row to its end; fills ``done`` and ``metrics`` as it goes."""
    progress = Progress(row, done, text, options.stop)
    longest = limit_of(engine.manifest, "seq") or options.max_new_tokens
    if isinstance(engine, Reserves):
        engine.reserve(min(proposer.count + 1, longest))
    first = True
    logits = prefill(feed, options, text, metrics, watch)
    guessed: list[int] = []
    while True:
        late = options.max_time is not None and watch.seconds > options.max_time
        pieces = _take(progress, logits, guessed, options, limit, late=late)
        right = len(pieces) - 1
        feed.drop(len(guessed) - right)
        metrics.sampling_seconds += watch.lap()
        metrics.new_tokens += len(pieces)
        metrics.guessed_tokens += len(guessed)
        metrics.right_tokens += right
        metrics.total_seconds = watch.seconds
        if first:
            metrics.first_tokens += 1
            metrics.first_token_seconds = metrics.first_token_seconds or watch.seconds
            first = False
        yield from pieces
        if done.finish is not None:
            break
        watch.lap()  # time that the caller spent between pieces is not ours
        most = min(options.max_new_tokens - row.new, longest) - 1
        guessed = proposer.propose(row, most) if most > 0 else []
        logits = feed.extend([row.tokens[-1], *guessed])
        metrics.decode_seconds += watch.lap()
        metrics.decode_calls += 1
    metrics.bytes = engine.bytes()
    metrics.total_seconds = watch.seconds


def _take(
    progress: Progress,
    logits: F32,
    guessed: list[int],
    options: Options,
    limit: Finish,
    *,
    late: bool,
) -> list[Piece]:
    """Choose at each place, up to and with the first token that was not guessed."""
    pieces: list[Piece] = []
    for at, place in enumerate(logits):
        token = choose(place, progress.row, options)
        scored = None if options.logprobs is None else score(place, token, options.logprobs)
        pieces.append(progress.take(token, options, limit, late=late, score=scored))
        if progress.done.finish is not None or at == len(guessed) or token != guessed[at]:
            break
    return pieces
