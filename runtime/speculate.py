"""Generation that checks guesses: several tokens go in at once, and the wrong ones come out again.

Each place of a call gives the logits that the row would see there, and the token is chosen from
them as ever; so the tokens, drawn ones too, are those of generation one by one.
"""

from __future__ import annotations

from collections.abc import Iterator

from smelt.runtime.engine import Reserves
from smelt.runtime.feed import DecoderFeed, limit_of
from smelt.runtime.generate import Piece, Progress, Run
from smelt.runtime.lookup import Proposer
from smelt.runtime.processors import F32
from smelt.runtime.sampling import choose


def speculate_row(run: Run, feed: DecoderFeed, proposer: Proposer) -> Iterator[Piece]:
    """Generate the one row of a batch to its end; ``feed`` is that of the run."""
    (row,), (done,) = run.rows, run.done
    options, metrics = run.options, run.metrics
    progress = run.progress(row, done)
    longest = limit_of(run.engine.manifest, "seq") or options.max_new_tokens
    if isinstance(run.engine, Reserves):
        run.engine.reserve(min(proposer.count + 1, longest))
    logits = run.prefill()
    first = 1
    guessed: list[int] = []
    while True:
        pieces = _take(run, progress, logits, guessed)
        right = len(pieces) - 1
        feed.drop(len(guessed) - right)
        metrics.guessed_tokens += len(guessed)
        metrics.right_tokens += right
        yield from run.chosen(pieces, first)
        first = 0
        if done.finish is not None:
            break
        most = min(options.max_new_tokens - row.new, longest) - 1
        guessed = proposer.propose(row, most) if most > 0 else []
        logits = feed.extend([row.tokens[-1], *guessed])
        run.decoded()
    run.end()


def _take(run: Run, progress: Progress, logits: F32, guessed: list[int]) -> list[Piece]:
    """Choose at each place, up to and with the first token that was not guessed."""
    late = run.is_late
    pieces: list[Piece] = []
    for at, place in enumerate(logits):
        token = choose(place, progress.row, run.options)
        pieces.append(run.take(progress, token, place, late=late))
        if progress.done.finish is not None or at == len(guessed) or token != guessed[at]:
            break
    return pieces
