"""From what a caller gives to batches that an engine can take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.engine import Array, Engine
from smelt.runtime.feed import DecoderFeed, EncoderDecoderFeed, Feed, limit_of, masks
from smelt.runtime.guidance import GuidedFeed
from smelt.runtime.manifest import Manifest
from smelt.runtime.processors import Row
from smelt.runtime.settings import NEUTRAL, Options
from smelt.runtime.shapes import check_inputs
from smelt.runtime.text import Text

GENERATES = ("causal_lm", "seq2seq_lm", "speech_seq2seq")


@dataclass
class Batch:
    """Rows that go through the engine together."""

    rows: list[Row]
    pad: int
    source: dict[str, Array] | None = None
    """An encoder's inputs; none for a decoder alone."""

    @property
    def encoded(self) -> bool:
        """Whether an encoder comes first."""
        return self.source is not None

    def feed(self, engine: Engine, options: Options, negative: Sequence[int] = ()) -> Feed:
        """A fresh feed of these rows, each as often as ``room`` says, or with its twin."""
        count = options.room
        if options.guidance_scale != 1.0:
            prompts = [row.tokens for row in self.rows]
            scale = options.guidance_scale
            return GuidedFeed(engine, prompts, negative, pad=self.pad, scale=scale)
        tokens = [list(row.tokens) for row in self.rows for _ in range(count)]
        if self.source is None:
            return DecoderFeed(engine, tokens, pad=self.pad)
        source = {name: np.repeat(array, count, axis=0) for name, array in self.source.items()}
        return EncoderDecoderFeed(engine, source, tokens)

    def check(self, options: Options) -> None:
        """UnsupportedError for what these rows cannot give an option."""
        if self.source is not None and options.guidance_scale != 1.0:
            raise UnsupportedError(
                f"`guidance_scale` is {options.guidance_scale}, and an encoder comes first",
                hint="guidance is for decoders alone",
            )
        if self.source is None or "input_ids" in self.source:
            return
        for name in ("encoder_repetition_penalty", "encoder_no_repeat_ngram_size"):
            if getattr(options, name) != NEUTRAL[name]:
                raise UnsupportedError(
                    f"`{name}` is {getattr(options, name)}, and the encoder reads no tokens",
                    hint="leave it out",
                )

    def prompts(self) -> Iterator[tuple[Row, list[int]]]:
        """Each row with the ids of its prompt: the encoder's, where there is one."""
        for at, row in enumerate(self.rows):
            if self.source is None:
                yield row, list(row.tokens)
                continue
            ids, mask = self.source.get("input_ids"), self.source.get("attention_mask")
            if ids is None:
                yield row, []
                continue
            kept = ids[at] if mask is None else ids[at][mask[at] != 0]
            yield row, [int(token) for token in kept]


@dataclass(frozen=True)
class Prompts:
    """Token ids of each row, or an encoder's arrays."""

    ids: list[list[int]]
    inputs: Mapping[str, object] | None = None


def read_prompts(
    manifest: Manifest,
    text: Text | None,
    *,
    prompt: str | Sequence[str] | None,
    messages: Sequence[Mapping[str, Any]] | None,
    ids: Sequence[int] | Sequence[Sequence[int]] | None,
    inputs: Mapping[str, object] | None,
    tools: Sequence[Mapping[str, Any]] | None,
) -> Prompts:
    """Check that exactly one kind of prompt is given, and turn it into ids."""
    if manifest.task not in GENERATES:
        raise UnsupportedError(
            f"the artifact's task is {manifest.task}, which does not generate",
            hint=f"generating tasks: {', '.join(GENERATES)}",
        )
    given = {"prompt": prompt, "messages": messages, "ids": ids, "inputs": inputs}
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        raise SmeltError(
            f"generate got {' and '.join(names) or 'nothing'}, wants one of {', '.join(given)}"
        )
    if tools is not None and messages is None:
        raise SmeltError("`tools` go with `messages`")
    if inputs is not None:
        return Prompts([], inputs)
    if ids is not None:
        return Prompts(_rows(ids))
    if text is None:
        raise SmeltError("the artifact has no tokenizer", hint="give ids instead of text")
    if messages is not None:
        return Prompts([text.encode_chat(messages, tools=tools)])
    texts = [prompt] if isinstance(prompt, str) else list(prompt or ())
    if not texts:
        raise SmeltError("generate got no prompt at all")
    return Prompts([text.encode(t) for t in texts])


def plan_batches(
    manifest: Manifest,
    prompts: Prompts,
    text: Text | None,
    options: Options,
    *,
    alone: bool = False,
) -> list[Batch]:
    """Split rows into batches that the artifact takes; rows keep their numbers.

    There are ``options.copies`` rows of each prompt, one after the other, and each takes the
    room of ``options.room`` rows.
    """
    limit = limit_of(manifest, "batch")
    copies, room = options.copies, options.room
    if limit is not None and limit < room:
        takes = {"num_beams": options.num_beams > 1, "penalty_alpha": options.penalty_alpha > 0.0}
        name = next((name for name, is_on in takes.items() if is_on), "guidance_scale")
        raise UnsupportedError(
            f"`{name}` is {getattr(options, name)}, which takes {room} rows, "
            f"the artifact takes {limit} rows",
            hint="an artifact for more rows",
        )
    most = None if limit is None else limit // room
    if options.prompt_lookup_num_tokens is not None or alone:
        most = 1  # guesses are checked a row at a time
    if manifest.task == "causal_lm":
        if prompts.inputs is not None:
            raise SmeltError("`inputs` are for models with an encoder", hint="give ids")
        for index, row in enumerate(prompts.ids):
            _check_row(manifest, index, row, len(prompts.ids))
        return _decoder_batches(manifest, _copied(prompts.ids, copies), text, most)
    return _encoder_batches(manifest, prompts, text, copies, most)


def _copied(rows: list[list[int]], copies: int) -> list[list[int]]:
    return [row for row in rows for _ in range(copies)]


def _decoder_batches(
    manifest: Manifest, ids: list[list[int]], text: Text | None, most: int | None
) -> list[Batch]:
    pad = _pad(manifest, text)
    batches = []
    for group in _groups(ids, most, mixed=masks(manifest)):
        batches.append(Batch([Row(index, list(ids[index])) for index in group], pad))
    return batches


def _check_row(manifest: Manifest, index: int, row: list[int], rows: int) -> None:
    name = "the prompt" if rows == 1 else f"prompt {index}"
    if not row:
        bos = manifest.generation.bos_token_id
        hint = None if bos is None else f"ids=[{bos}] begins with the model's first token"
        raise SmeltError(f"{name} has no tokens", hint=hint)
    if manifest.context is not None and len(row) >= manifest.context:
        raise SmeltError(
            f"{name} has {len(row)} tokens, the context is {manifest.context}",
            hint="shorten it, or compile with a larger --context",
        )
    if manifest.vocab_size is not None:
        for token in row:
            if not 0 <= token < manifest.vocab_size:
                raise SmeltError(
                    f"{name} has token {token}, the vocabulary has {manifest.vocab_size}"
                )


def _encoder_batches(
    manifest: Manifest, prompts: Prompts, text: Text | None, copies: int, most: int | None
) -> list[Batch]:
    pad = _pad(manifest, text)
    prefix = decoder_prefix(manifest)
    encoder = manifest.function("encoder")
    if prompts.inputs is not None:
        source = check_inputs(manifest, encoder, prompts.inputs, 0)
        source = {name: np.repeat(array, copies, axis=0) for name, array in source.items()}
        count = next(iter(source.values())).shape[0]
        return [Batch([Row(i, list(prefix), source=()) for i in range(count)], pad, source)]
    if not any(spec.name == "input_ids" for spec in encoder.inputs):
        names = ", ".join(spec.name for spec in encoder.inputs)
        raise SmeltError(f"the encoder takes {names}, not text", hint="give `inputs`")
    sources = _copied(prompts.ids, copies)
    batches = []
    for group in _groups(sources, most, mixed=True):
        ids, mask = pad_right([sources[index] for index in group], pad)
        given = {"input_ids": ids, "attention_mask": mask}
        source = check_inputs(manifest, encoder, given, 0)
        rows = [Row(i, list(prefix), source=tuple(sources[i])) for i in group]
        batches.append(Batch(rows, pad, source))
    return batches


def decoder_prefix(manifest: Manifest) -> list[int]:
    """The decoder's first tokens: its start token, then those that the model forces."""
    defaults = manifest.generation
    start = defaults.decoder_start_token_id
    if start is None:
        start = defaults.bos_token_id
    if start is None:
        raise SmeltError("the model names no decoder_start_token_id, and no bos_token_id")
    prefix = [start]
    for position, token in sorted(defaults.forced_decoder_ids):
        if position != len(prefix):
            raise UnsupportedError(
                f"forced_decoder_ids has position {position} where {len(prefix)} comes next"
            )
        prefix.append(token)
    return prefix


def pad_right(rows: Sequence[Sequence[int]], pad: int) -> tuple[Array, Array]:
    """Ids and mask i64[n, longest], the padding at the end."""
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), pad, np.int64)
    mask = np.zeros((len(rows), longest), np.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = row
        mask[at, : len(row)] = 1
    return ids, mask


def _pad(manifest: Manifest, text: Text | None) -> int:
    """A token to pad with; the mask hides it, so any will do where the model names none."""
    defaults = manifest.generation
    special = None if text is None else text.special_id("pad")
    told = (defaults.pad_token_id, special, *defaults.eos_token_ids)
    known = (token for token in told if token is not None)
    return next((t for t in known if t < (manifest.vocab_size or t + 1)), 0)


def _groups(ids: Sequence[Sequence[int]], limit: int | None, *, mixed: bool) -> Iterator[list[int]]:
    """Row numbers that can share a batch: at most ``limit``, of one length unless ``mixed``."""
    group: list[int] = []
    for index, row in enumerate(ids):
        full = limit is not None and len(group) >= limit
        if group and (full or (not mixed and len(ids[group[0]]) != len(row))):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def _rows(ids: Sequence[int] | Sequence[Sequence[int]]) -> list[list[int]]:
    array = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
    if not array:
        raise SmeltError("generate got no ids at all")
    nested = not isinstance(array[0], (int, np.integer))
    rows = cast("list[Sequence[int]]", array if nested else [array])
    return [[int(token) for token in row] for row in rows]
