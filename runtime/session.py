"""A session: one opened artifact, whatever runs it, with arrays or text in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from smelt.errors import SmeltError
from smelt.runtime.beams import search_rows
from smelt.runtime.chat import Chat
from smelt.runtime.classify import Label, classify
from smelt.runtime.embedding import embed
from smelt.runtime.engine import Array, Engine
from smelt.runtime.fill_mask import Candidate, fill_mask
from smelt.runtime.generate import Completion, Piece, generate_rows, within
from smelt.runtime.metrics import Metrics, Stopwatch
from smelt.runtime.options import resolve
from smelt.runtime.prompts import Batch, plan_batches, read_prompts
from smelt.runtime.question_answering import Answer, answer
from smelt.runtime.settings import Options
from smelt.runtime.shapes import check_inputs
from smelt.runtime.text import Text


class Session:
    """An engine and the model's text; not thread-safe, one generation at a time."""

    def __init__(self, engine: Engine, text: Text | None = None) -> None:
        self.engine = engine
        self.manifest = engine.manifest
        self._text = text
        self._held: list[int] = []  # ids of a single row that the engine's state stands for
        self._turn = 0

    @property
    def text(self) -> Text:
        """The tokenizer and chat template; SmeltError where the artifact has none."""
        if self._text is None:
            raise SmeltError("the artifact has no tokenizer", hint="give ids instead of text")
        return self._text

    def run(self, function: str = "main", /, **arrays: object) -> dict[str, Array]:
        """Call a function on arrays; state goes on from the call before until ``reset``.

        An `attention_mask` that is left out is all ones, `position_ids` count the mask,
        `token_type_ids` are zeros; of a time series every value is observed.
        """
        self._turn += 1
        self._held = []
        spec = self.manifest.function(function)
        wanted = {tensor.name for tensor in spec.inputs}
        filled = _with_defaults(arrays, wanted, self.engine.past)
        return self.engine.call(
            function, check_inputs(self.manifest, spec, filled, self.engine.past)
        )

    def reset(self) -> None:
        """Forget all state."""
        self._turn += 1
        self._held = []
        self.engine.reset()

    def generate(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        messages: Sequence[Mapping[str, Any]] | None = None,
        ids: Sequence[int] | Sequence[Sequence[int]] | None = None,
        inputs: Mapping[str, object] | None = None,
        on_token: Callable[[Piece], None] | None = None,
        without: tuple[str, ...] = (),
        reuse: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> Generation:
        """Continue a prompt, prompts, a conversation, ids, or an encoder's ``inputs``.

        The result streams when iterated, and runs to its end when its text is asked for or
        ``on_token`` is given. ``options`` are those of ``options.CALL_OPTIONS``; ``reuse`` keeps
        the state of the longest common beginning with the last single prompt.
        """
        watch = Stopwatch()
        chosen = resolve(self.manifest.generation, without=without, **options)
        prompts = read_prompts(
            self.manifest,
            self._text,
            prompt=prompt,
            messages=messages,
            ids=ids,
            inputs=inputs,
            tools=tools,
        )
        batches = plan_batches(
            self.manifest, prompts, self._text, copies=chosen.copies, beams=chosen.num_beams
        )
        self._turn += 1
        generation = Generation(self, chosen, batches, watch, reuse=reuse)
        if on_token is not None:
            for piece in generation:
                on_token(piece)
        return generation

    def chat(self, system: str | None = None, **options: Any) -> Chat:
        """A conversation that remembers; ``options`` are those of ``generate``."""
        return Chat(self, system, options)

    def embed(self, texts: str | Sequence[str], *, batch_size: int = 32) -> Array:
        """Sentence embeddings f32[n, dim], pooled as the checkpoint says."""
        self.reset()
        return embed(self.engine, self.text, texts, batch_size=batch_size)

    def classify(
        self, texts: str | Sequence[str], pair: str | Sequence[str] | None = None
    ) -> list[list[Label]]:
        """Labels with probabilities for each text, the likeliest first."""
        self.reset()
        return classify(self.engine, self.text, texts, pair)

    def fill_mask(self, text: str, *, top: int = 5) -> list[list[Candidate]]:
        """The likeliest tokens for each mask in the text."""
        self.reset()
        return fill_mask(self.engine, self.text, text, top=top)

    def answer(self, question: str, context: str, *, top: int = 1) -> list[Answer]:
        """The likeliest spans of the context that answer the question."""
        self.reset()
        return answer(self.engine, self.text, question, context, top=top)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.reset()

    def _stream(
        self, generation: Generation, batches: Sequence[Batch], watch: Stopwatch, *, reuse: bool
    ) -> Iterator[Piece]:
        turn = self._turn
        for batch in batches:
            if reuse and len(batches) == 1 and len(batch.rows) == 1:
                generation.metrics.cached_tokens = self._rewind(batch.rows[0].tokens)
            else:
                self.engine.reset()
            beams = generation.options.num_beams
            longest = max(len(row.tokens) for row in batch.rows)
            batch.check(generation.options)
            options, limit = within(generation.options, longest, self.manifest.context)
            done = [c for row in batch.rows for c in generation.of(row.index)]
            run = generate_rows if beams == 1 else search_rows
            pieces = run(
                self.engine,
                batch.feed(self.engine, beams),
                batch.rows,
                options,
                text=self._text,
                done=done,
                metrics=generation.metrics,
                watch=watch,
                limit=limit,
            )
            for piece in pieces:
                # Only one row's tokens can stand for the state; padding would come between.
                row = batch.rows[0]
                single = len(batch.rows) == beams == 1 and not batch.encoded
                self._held = row.tokens[: self.engine.past] if single else []
                yield piece
                if self._turn != turn:
                    raise SmeltError(
                        "the session was used for something else before this generation ended",
                        hint="take all of its text first, or open a second session",
                    )

    def _rewind(self, tokens: Sequence[int]) -> int:
        """Keep the state of the longest common beginning; returns its length."""
        common = 0
        while common < min(len(self._held), len(tokens) - 1) and (
            self._held[common] == tokens[common]
        ):
            common += 1
        if common and self.engine.past == len(self._held):
            try:
                if common < self.engine.past:
                    self.engine.rewind(common)
                return common
            except SmeltError:
                pass  # a ring or recurrent state that cannot go back: feed everything again
        self.engine.reset()
        return 0


class Generation(Iterator[Piece]):
    """One call of ``generate``: iterate for pieces, or ask for ``text``."""

    def __init__(
        self,
        session: Session,
        options: Options,
        batches: Sequence[Batch],
        watch: Stopwatch,
        *,
        reuse: bool,
    ) -> None:
        self.options = options
        self.metrics = Metrics()
        prompts = {row.index: prompt for b in batches for row, prompt in b.prompts()}
        self._of_row = options.num_return_sequences // options.copies
        rows = [index for index in sorted(prompts) for _ in range(self._of_row)]
        self.completions = [Completion(prompt=prompts[index]) for index in rows]
        """The results of each prompt, one after the other, beams the best first."""
        self.metrics.prompt_tokens = sum(len(c.prompt) for c in self.completions)
        self._pieces = session._stream(self, batches, watch, reuse=reuse)

    def __next__(self) -> Piece:
        return next(self._pieces)

    def of(self, row: int) -> list[Completion]:
        """The results of one row of the batches: of beams, ``num_return_sequences``."""
        return self.completions[row * self._of_row : (row + 1) * self._of_row]

    def wait(self) -> Generation:
        """Run to the end."""
        for _ in self._pieces:
            pass
        return self

    @property
    def text(self) -> str:
        """The new text of the only row."""
        return self._only.text

    @property
    def ids(self) -> list[int]:
        """The new tokens of the only row."""
        return self._only.ids

    @property
    def finish(self) -> str | None:
        """Why the only row ended: eos, stop, length, context or time."""
        return self._only.finish

    @property
    def texts(self) -> list[str]:
        """The new text of each row."""
        return [c.text for c in self.wait().completions]

    def __str__(self) -> str:
        return self.text

    @property
    def _only(self) -> Completion:
        if len(self.completions) != 1:
            raise SmeltError(f"there are {len(self.completions)} rows, ask for `texts`")
        return self.wait().completions[0]


#: Of a time series: what each value is taken for where nothing is said.
_OF_VALUES = {"past_observed_mask": 1.0, "observed_mask": 1.0, "past_values_padding": 0}


def _with_defaults(arrays: Mapping[str, object], wanted: set[str], past: int) -> dict[str, object]:
    filled = dict(arrays)
    if "past_values" in filled:
        values = np.shape(np.asarray(filled["past_values"]))
        for name in wanted & _OF_VALUES.keys():
            kind = np.float32 if isinstance(_OF_VALUES[name], float) else np.int64
            filled.setdefault(name, np.full(values, _OF_VALUES[name], kind))
        if "freq" in wanted:
            filled.setdefault("freq", np.zeros((values[0], 1), np.int64))
    ids = filled.get("input_ids")
    if ids is None:
        return filled
    shape = np.shape(np.asarray(ids))
    if len(shape) != 2:
        return filled
    if "attention_mask" in wanted:
        filled.setdefault(
            "attention_mask",
            np.ones((shape[0], shape[1] + (past if "position_ids" in wanted else 0)), np.int64),
        )
    if "position_ids" in wanted and "position_ids" not in filled:
        mask = np.asarray(filled.get("attention_mask"))
        if mask.ndim == 2 and mask.shape[1] >= shape[1]:
            places = np.maximum(np.cumsum(mask, axis=1) - 1, 0).astype(np.int64)
            filled["position_ids"] = places[:, mask.shape[1] - shape[1] :]
    if "token_type_ids" in wanted:
        filled.setdefault("token_type_ids", np.zeros(shape, np.int64))
    return filled
