"""Which way a batch is generated: one by one, with beams, or by checking guesses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.beams import search_rows
from smelt.runtime.combinations import check_call
from smelt.runtime.constraint import Constraint, constraint_of
from smelt.runtime.contrastive import contrast_rows
from smelt.runtime.early_layers import ContrastedFeed, candidate_layers
from smelt.runtime.engine import Engine
from smelt.runtime.feed import DecoderFeed
from smelt.runtime.generate import Completion, Finish, Piece, Run, generate_rows
from smelt.runtime.lookup import Draft, PromptLookup, Proposer, check_draft, check_rewinds
from smelt.runtime.manifest import Manifest
from smelt.runtime.metrics import Metrics, Stopwatch
from smelt.runtime.prompts import Batch
from smelt.runtime.settings import Options
from smelt.runtime.speculate import speculate_row
from smelt.runtime.text import Text


@dataclass(frozen=True)
class Company:
    """What a call brings besides options: a draft, a prompt to be guided away from, a pattern."""

    draft: Engine | None = None
    negative: tuple[int, ...] = ()
    constraint: Constraint | None = None


def read_company(
    engine: Engine,
    text: Text | None,
    options: Options,
    *,
    draft: Engine | None,
    negative: str | Sequence[int] | None,
    given: Mapping[str, Any],
) -> Company:
    """Check what goes with a call, and what the model must be for it."""
    check_call(options, draft=draft is not None, negative=negative is not None, given=given)
    if draft is engine:
        raise SmeltError("the draft is the session itself", hint="open a smaller model")
    if draft is not None:
        check_draft(engine.manifest, draft.manifest)
    if options.prompt_lookup_num_tokens is not None:
        check_rewinds(engine.manifest, "`prompt_lookup_num_tokens`")
    check_hidden(engine.manifest, options)
    pattern = options.json_schema if options.pattern is None else options.pattern
    if pattern is not None and text is None:
        raise SmeltError("a pattern needs a tokenizer, the artifact has none")
    constraint = None if pattern is None or text is None else constraint_of(pattern, text)
    ids = () if negative is None else _negative(engine.manifest, text, negative)
    return Company(draft, ids, constraint)


def check_hidden(manifest: Manifest, options: Options) -> None:
    """UnsupportedError for options that look at hidden states, where the artifact gives none."""
    found = manifest.hidden
    if options.penalty_alpha > 0.0 and found is None:
        raise UnsupportedError(
            f"`penalty_alpha` is {options.penalty_alpha}, and the artifact gives no hidden states",
            hint="compile it with --hidden last",
        )
    if options.dola_layers is None:
        return
    if found is None or not found.layers:
        raise UnsupportedError(
            f"`dola_layers` is {options.dola_layers}, and the artifact gives no states of layers",
            hint="compile it with --hidden all; decoders alone have them",
        )
    candidate_layers(options.dola_layers, found)


def _negative(
    manifest: Manifest, text: Text | None, negative: str | Sequence[int]
) -> tuple[int, ...]:
    if isinstance(negative, str):
        if text is None:
            raise SmeltError("the artifact has no tokenizer", hint="give `negative` as ids")
        negative = text.encode(negative)
    ids = tuple(int(token) for token in negative)
    vocab, context = manifest.vocab_size, manifest.context
    if not ids or not all(0 <= token < (vocab or token + 1) for token in ids):
        raise SmeltError(f"`negative` is {list(ids)}, wants tokens of a vocabulary of {vocab}")
    if context is not None and len(ids) >= context:
        raise SmeltError(f"`negative` has {len(ids)} tokens, the context is {context}")
    return ids


def generate_batch(
    engine: Engine,
    batch: Batch,
    options: Options,
    company: Company,
    *,
    text: Text | None,
    done: Sequence[Completion],
    metrics: Metrics,
    watch: Stopwatch,
    limit: Finish,
) -> Iterator[Piece]:
    """Generate one batch to its end, whichever way the options ask for."""
    for row in batch.rows:
        row.constraint = company.constraint
    feed = batch.feed(engine, options, company.negative)
    if options.dola_layers is not None and engine.manifest.hidden is not None:
        layers = candidate_layers(options.dola_layers, engine.manifest.hidden)
        feed = ContrastedFeed(engine, feed, layers)
    proposer: Proposer | None = None
    if options.prompt_lookup_num_tokens is not None:
        proposer = PromptLookup(options)
    elif company.draft is not None:
        proposer = Draft(company.draft, options, engine.manifest.vocab_size)
    run = Run(engine, feed, batch.rows, options, text, done, metrics, watch, limit)
    if proposer is not None and isinstance(feed, DecoderFeed):
        yield from speculate_row(run, feed, proposer)
    elif options.penalty_alpha > 0.0:
        yield from contrast_rows(run)
    elif options.num_beams > 1:
        yield from search_rows(run)
    else:
        yield from generate_rows(run)
