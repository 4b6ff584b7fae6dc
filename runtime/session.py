"""A session: one opened artifact, whatever runs it, with arrays or text in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from smelt.errors import SmeltError
from smelt.runtime.chat import Chat
from smelt.runtime.classify import Label, classify
from smelt.runtime.embedding import embed
from smelt.runtime.engine import Array, Engine
from smelt.runtime.fill_mask import Candidate, fill_mask
from smelt.runtime.generate import Completion, Piece, within
from smelt.runtime.methods import Company, generate_batch, read_company
from smelt.runtime.metrics import Metrics, Stopwatch
from smelt.runtime.options import resolve
from smelt.runtime.prompts import Batch, plan_batches, read_prompts
from smelt.runtime.question_answering import Answer, answer
from smelt.runtime.settings import Options
from smelt.runtime.shapes import check_inputs, with_defaults
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
        filled = with_defaults(arrays, wanted, self.engine.past)
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
        draft: Session | None = None,
        negative: str | Sequence[int] | None = None,
        **options: Any,
    ) -> Generation:
        """Continue a prompt, prompts, a conversation, ids, or an encoder's ``inputs``.

        The result streams when iterated, and runs to its end when its text is asked for or
        ``on_token`` is given. ``options`` are those of ``options.CALL_OPTIONS``; ``reuse`` keeps
        the state of the longest common beginning with the last single prompt. A ``draft`` guesses
        tokens that this model checks; ``negative`` is what ``guidance_scale`` leads away from.
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
        company = read_company(
            self.engine,
            self._text,
            chosen,
            draft=None if draft is None else draft.engine,
            negative=negative,
            given=options,
        )
        alone = draft is not None
        batches = plan_batches(self.manifest, prompts, self._text, chosen, alone=alone)
        self._turn += 1
        if draft is not None:
            draft.reset()
        generation = Generation(self, chosen, company, batches, watch, reuse=reuse)
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
            room = generation.options.room
            if reuse and len(batches) == len(batch.rows) == room == 1:
                generation.metrics.cached_tokens = self._rewind(batch.rows[0].tokens)
            else:
                self.engine.reset()
            lengths = [len(row.tokens) for row in batch.rows]
            longest = max(len(generation.company.negative), *lengths)
            batch.check(generation.options)
            options, limit = within(generation.options, longest, self.manifest.context)
            done = [c for row in batch.rows for c in generation.of(row.index)]
            pieces = generate_batch(
                self.engine,
                batch,
                options,
                generation.company,
                text=self._text,
                done=done,
                metrics=generation.metrics,
                watch=watch,
                limit=limit,
            )
            for piece in pieces:
                # Only one row's tokens can stand for the state; padding would come between.
                row = batch.rows[0]
                single = len(batch.rows) == room == 1 and not batch.encoded
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
        company: Company,
        batches: Sequence[Batch],
        watch: Stopwatch,
        *,
        reuse: bool,
    ) -> None:
        self.options = options
        self.company = company
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
