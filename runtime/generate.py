"""Generation, defined once for every engine: feed, choose, decode, stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from smelt.errors import SmeltError
from smelt.runtime.engine import Engine
from smelt.runtime.feed import Feed
from smelt.runtime.metrics import Metrics, Stopwatch
from smelt.runtime.processors import F32, Row, check_ids
from smelt.runtime.sampling import choose
from smelt.runtime.scores import TokenScore, score
from smelt.runtime.settings import Options
from smelt.runtime.text import StopStrings, Text, TextStream

Finish = Literal["eos", "stop", "length", "context", "time"]


@dataclass(frozen=True)
class Piece:
    """What one step gave one row; ``text`` can be empty while a character is incomplete."""

    row: int
    token: int | None
    """None for text that was held back and comes at the end."""
    text: str
    finish: Finish | None = None
    score: TokenScore | None = None
    """Where ``logprobs`` asks for it."""

    def __str__(self) -> str:
        return self.text


@dataclass
class Completion:
    """One row's result."""

    prompt: list[int]
    ids: list[int] = field(default_factory=list)
    """New tokens; the end-of-sequence token is the last one when it ended the row."""
    text: str = ""
    finish: Finish | None = None
    logprobs: list[TokenScore] = field(default_factory=list)
    """One for each new token, where ``logprobs`` asks for them."""
    score: float | None = None
    """Of beams: the sum of log-probabilities over length ** length_penalty."""


class Progress:
    """One row while it is generated."""

    def __init__(self, row: Row, done: Completion, text: Text | None, stops: Sequence[str]) -> None:
        self.row = row
        self.done = done
        self._stream: TextStream | None = None if text is None else text.stream(row.tokens)
        self._stop = StopStrings(stops)

    def take(
        self,
        token: int,
        options: Options,
        limit: Finish,
        *,
        late: bool = False,
        score: TokenScore | None = None,
    ) -> Piece:
        """Append a token, decide whether the row ends, and give the text that is safe to show."""
        self.row.tokens.append(token)
        self.row.new += 1
        self.done.ids.append(token)
        if score is not None:
            self.done.logprobs.append(score)
        text = ""
        if token in options.eos:
            self.done.finish = "eos"
        else:
            text = self._stop.push(self._stream.push(token)) if self._stream else ""
            if self._stop.found is not None:
                self.done.finish = "stop"
            elif self.row.new >= options.max_new_tokens:
                self.done.finish = limit
            elif late:
                self.done.finish = "time"
        if self.done.finish is not None:
            text += self._rest()
        self.done.text += text
        return Piece(self.row.index, token, text, self.done.finish, score)

    def _rest(self) -> str:
        if self._stream is None:
            return ""
        text = self._stop.push(self._stream.flush())
        if self._stop.found is not None:
            self.done.finish = "stop"
        return text + self._stop.flush()


def prefill(
    feed: Feed, options: Options, text: Text | None, metrics: Metrics, watch: Stopwatch
) -> F32:
    """The logits after the prompts, f32 [rows, vocab], timed; SmeltError for options that need
    what is not there.
    """
    if text is None and options.stop:
        raise SmeltError("stop strings need a tokenizer, the artifact has none")
    watch.lap()
    logits = feed.prefill()
    metrics.prefill_seconds += watch.lap()
    check_ids(options, logits.shape[-1])
    return logits


def generate_rows(
    engine: Engine,
    feed: Feed,
    rows: Sequence[Row],
    options: Options,
    *,
    text: Text | None,
    done: Sequence[Completion],
    metrics: Metrics,
    watch: Stopwatch,
    limit: Finish = "length",
) -> Iterator[Piece]:
    """Generate one batch to its end; fills ``done`` and ``metrics`` as it goes.

    A row that has ended keeps its place in the batch, fed with its last token, and is not read.
    """
    progress = [Progress(r, d, text, options.stop) for r, d in zip(rows, done, strict=True)]
    first = True
    logits = prefill(feed, options, text, metrics, watch)
    while True:
        pieces = []
        late = options.max_time is not None and watch.seconds > options.max_time
        for state, row_logits in zip(progress, logits, strict=True):
            if state.done.finish is None:
                token = choose(row_logits, state.row, options)
                scored = None
                if options.logprobs is not None:
                    scored = score(row_logits, token, options.logprobs)
                pieces.append(state.take(token, options, limit, late=late, score=scored))
        metrics.sampling_seconds += watch.lap()
        metrics.new_tokens += len(pieces)
        metrics.total_seconds = watch.seconds
        if first:
            metrics.first_tokens += len(pieces)
            metrics.first_token_seconds = metrics.first_token_seconds or watch.seconds
            first = False
        yield from pieces
        if all(state.done.finish is not None for state in progress):
            break
        watch.lap()  # time that the caller spent between pieces is not ours
        logits = feed.step([state.row.tokens[-1] for state in progress])
        metrics.decode_seconds += watch.lap()
        metrics.decode_calls += 1
    metrics.bytes = engine.bytes()
    metrics.total_seconds = watch.seconds


def within(options: Options, tokens: int, context: int | None) -> tuple[Options, Finish]:
    """The options cut to what fits after so many tokens, and why a row would end there."""
    limit: Finish = "length"
    if options.max_length is not None:
        most = max(1, options.max_length - tokens)
        options = replace(options, max_new_tokens=min(options.max_new_tokens, most))
    if context is not None and options.max_new_tokens > context - tokens:
        options, limit = replace(options, max_new_tokens=context - tokens), "context"
    return options, limit
