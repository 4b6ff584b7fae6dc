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


@dataclass(frozen=True)
class Run:
    """A batch while it is generated: its prompts, and what is filled as it goes.

    limit: why a row ends that has all the tokens it may have.
    """

    engine: Engine
    feed: Feed
    rows: Sequence[Row]
    options: Options
    text: Text | None
    done: Sequence[Completion]
    metrics: Metrics
    watch: Stopwatch
    limit: Finish = "length"

    def prefill(self) -> F32:
        """The logits after the prompts, f32 [rows, vocab], timed; SmeltError for options that need
        what is not there.
        """
        if self.text is None and self.options.stop:
            raise SmeltError("stop strings need a tokenizer, the artifact has none")
        self.watch.lap()
        logits = self.feed.prefill()
        self.metrics.prefill_seconds += self.watch.lap()
        check_ids(self.options, logits.shape[-1])
        return logits

    @property
    def is_late(self) -> bool:
        """Whether ``max_time`` is over."""
        most = self.options.max_time
        return most is not None and self.watch.seconds > most

    def progress(self, row: Row, done: Completion) -> Progress:
        """A row at its beginning."""
        return Progress(row, done, self.text, self.options.stop)

    def take(self, progress: Progress, token: int, logits: F32, *, late: bool) -> Piece:
        """Append a token that was chosen from logits f32 [vocab]."""
        wanted = self.options.logprobs
        scored = None if wanted is None else score(logits, token, wanted)
        return progress.take(token, self.options, self.limit, late=late, score=scored)

    def chosen(self, pieces: Sequence[Piece], first: int) -> Iterator[Piece]:
        """Count and give what a step chose, of which so many are first tokens where none were yet;
        time that the caller spends between pieces is not ours.
        """
        metrics, watch = self.metrics, self.watch
        metrics.sampling_seconds += watch.lap()
        metrics.new_tokens += len(pieces)
        metrics.total_seconds = watch.seconds
        metrics.first_tokens += first
        if first:
            metrics.first_token_seconds = metrics.first_token_seconds or watch.seconds
        yield from pieces
        watch.lap()

    def decoded(self) -> None:
        """Count a step of the model."""
        self.metrics.decode_seconds += self.watch.lap()
        self.metrics.decode_calls += 1

    def end(self) -> None:
        """Count what is known at the end."""
        self.metrics.bytes = self.engine.bytes()
        self.metrics.total_seconds = self.watch.seconds


def generate_rows(run: Run) -> Iterator[Piece]:
    """Generate a batch token by token, to its end.

    A row that has ended keeps its place in the batch, fed with its last token, and is not read.
    """
    progress = [run.progress(row, done) for row, done in zip(run.rows, run.done, strict=True)]
    logits = run.prefill()
    first = len(progress)
    while True:
        late = run.is_late
        pieces = [
            run.take(state, choose(row_logits, state.row, run.options), row_logits, late=late)
            for state, row_logits in zip(progress, logits, strict=True)
            if state.done.finish is None
        ]
        yield from run.chosen(pieces, first)
        first = 0
        if all(state.done.finish is not None for state in progress):
            break
        logits = run.feed.step([state.row.tokens[-1] for state in progress])
        run.decoded()
    run.end()


def within(options: Options, tokens: int, context: int | None) -> tuple[Options, Finish]:
    """The options cut to what fits after so many tokens, and why a row would end there."""
    limit: Finish = "length"
    if options.max_length is not None:
        most = max(1, options.max_length - tokens)
        options = replace(options, max_new_tokens=min(options.max_new_tokens, most))
    if context is not None and options.max_new_tokens > context - tokens:
        options, limit = replace(options, max_new_tokens=context - tokens), "context"
    return options, limit
