"""Many requests over one `model.smelt`: they come and go, and share the calls of one session.

What is promised, and what it costs in memory: docs/batching.md.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.artifact import open_artifact
from smelt.runtime.edge_engine import edge_module, told
from smelt.runtime.options import LACKING, resolve
from smelt.runtime.settings import NEUTRAL, SETTINGS, Options

_BUSY = 9

#: Options whose name and meaning in C++ (smelt_generation) are the same.
_SAME = (
    "max_time",
    "min_length",
    "min_new_tokens",
    "logprobs",
    "temperature",
    "encoder_repetition_penalty",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "forced_bos",
    "seed",
    "stop",
    "eos",
    "forced_eos",
    "suppress",
    "begin_suppress",
)
#: Those that mean nothing to a greedy choice.
_SAMPLERS = tuple(name for name, setting in SETTINGS.items() if setting.kind == "sampler")
_OTHERS = (
    "max_new_tokens",
    "max_length",
    "bad_words_ids",
    "sequence_bias",
    "exponential_decay_length_penalty",
    "watermarking_config",
    "renormalize_logits",
)
#: Keys of generation_config.json: the options say all of them, so the file's are left out.
_KEYS = (*LACKING, *(s.own or name for name, s in SETTINGS.items() if name != "max_length"))


class Busy(SmeltError):
    """As many requests wait as may: try again when some have ended."""


@dataclass(frozen=True)
class Event:
    """A new token of a request, or its end without one."""

    request: int
    token: int | None
    text: str
    """Whole characters that this token completes; "" without a compiled tokenizer."""
    logprob: float | None
    """Natural, where `logprobs` asks for it."""
    finish: str | None
    """Of the last event: eos, stop, length, context, time, cancelled or error."""
    error: str | None = None
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens and their log-probabilities, as many as `logprobs` says."""


class Batcher:
    """A model with room for `rows` requests at once; any thread may use it."""

    def __init__(
        self,
        path: Path | str,
        *,
        rows: int = 16,
        context: int | None = None,
        threads: int | None = None,
        waiting: int = 256,
        chunk: int = 64,
        max_memory: int | None = None,
        on_events: Callable[[list[Event]], None],
    ) -> None:
        """Open a model for `rows` requests at once, each of at most `context` tokens.

        waiting: requests that may wait for a row; chunk: tokens of prompts that go in between two
        tokens of the others; on_events: called by the batch's own thread once a step.
        """
        self.manifest = open_artifact(Path(path)).manifest
        edge = edge_module()

        def deliver(found: list[tuple[Any, ...]]) -> None:
            on_events([_event(*values) for values in found])

        with told(str(path)):
            model = edge.Model.open(str(path))
            self._batch = edge.Batch.open(
                model,
                threads or len(os.sched_getaffinity(0)),
                context or 0,
                rows,
                waiting,
                chunk,
                max_memory or 0,
                deliver,
            )
        self._finalizer = weakref.finalize(self, self._batch.close, False)

    def submit(self, ids: Sequence[int], options: Options | Mapping[str, Any] | None = None) -> int:
        """Queue a prompt; the number by which events and `cancel` know it.

        Busy when as many wait as may; UnsupportedError names an option that needs an engine alone.
        """
        if not isinstance(options, Options):
            options = resolve(self.manifest.generation, **(options or {}))
        how = _generation(options)
        with told("batch"):
            try:
                return int(self._batch.submit(list(ids), how))
            except RuntimeError as error:
                if error.args[:1] == (_BUSY,):
                    raise Busy(
                        error.args[1], hint="submit again when a request has ended"
                    ) from None
                raise

    def cancel(self, request: int) -> None:
        """End a request; its last event says `cancelled`, unless it has ended already."""
        self._batch.cancel(request)

    def close(self, drain: bool = True) -> None:
        """Take no more requests; end those there are, or with `drain` let them end by themselves.

        Returns when the last event has been delivered.
        """
        self._finalizer.detach()
        with told("batch"):
            self._batch.close(drain)

    def stats(self) -> dict[str, int]:
        """Requests running, waiting, ended; tokens new, of prompts, reused; steps and rows."""
        return dict(self._batch.stats())

    def bytes(self) -> dict[str, int]:
        """Bytes of mapped weights, of state, and of activations with scratch."""
        return dict(self._batch.memory())

    @property
    def context(self) -> int:
        """Tokens that a request may have, prompt and new ones."""
        return int(self._batch.context)

    @property
    def has_text(self) -> bool:
        """Whether events carry text: the artifact holds a compiled tokenizer."""
        return bool(self._batch.has_text)


def _event(
    request: int,
    token: int | None,
    text: str,
    logprob: float | None,
    top: list[tuple[int, float]],
    finish: str | None,
    error: str | None,
) -> Event:
    return Event(request, token, text, logprob, finish, error, tuple(top))


def _generation(options: Options) -> dict[str, Any]:
    """The fields of a smelt_generation; UnsupportedError for what it has none for."""
    known = {*_SAME, *_SAMPLERS, *_OTHERS}
    for name, setting in SETTINGS.items():
        value = getattr(options, name)
        if setting.kind == "plain" and name not in known and value != NEUTRAL[name]:
            raise UnsupportedError(
                f"`{name}` is {value!r}, which a batch of requests lacks",
                hint="a session of its own (smelt.open) has it",
            )
    names = _SAME if options.greedy else (*_SAME, *_SAMPLERS)
    found = {name: getattr(options, name) for name in names}
    found = {name: value for name, value in found.items() if value is not None}
    found["without"] = _KEYS
    if options.max_length is None:
        found["max_new_tokens"] = options.max_new_tokens
    if options.bad_words_ids:
        found["bad_words"] = options.bad_words_ids
    if options.sequence_bias:
        found["biased"] = [words for words, _ in options.sequence_bias]
        found["biases"] = [bias for _, bias in options.sequence_bias]
    if options.exponential_decay_length_penalty is not None:
        found["decay_start"], found["decay_factor"] = options.exponential_decay_length_penalty
    if options.watermarking_config is not None:
        mark = options.watermarking_config
        found["watermark_bias"] = mark.bias
        found["watermark_ratio"] = mark.greenlist_ratio
        found["watermark_key"] = mark.hashing_key
        found["watermark_width"] = mark.context_width
        found["watermark_self"] = int(mark.seeding_scheme == "selfhash")
    return found
