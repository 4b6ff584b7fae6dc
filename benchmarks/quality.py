"""What a format costs: perplexity, and divergence from the f32 model, on one text.

smelt's rows are what its edge engine computes. A peer's file is read and computed in f32 by
smelt's reference, so its rows are its weights alone, without what its engine rounds on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import smelt
from benchmarks.engines import Engine, step
from benchmarks.prepare import Missing, Preparer
from benchmarks.report import table
from smelt.runtime.session import Session

Array = np.ndarray[Any, Any]
WINDOW = 512
_ROWS = 128  # of logits at once: a vocabulary of f64 a token is large


@dataclass(frozen=True)
class Quality:
    """Means over every token of the text but the first of each window."""

    perplexity: float
    divergence: float
    """KL from the reference's distribution, in nats."""
    agreement: float
    """Share of tokens whose likeliest next one is the reference's."""


def chapter(
    engines: Sequence[Engine],
    preparer: Preparer,
    text: str,
    windows: int,
    say: Callable[[str], None],
) -> str:
    """The table, for every engine whose weights can be read."""
    reference = smelt.open(preparer.prepare(_reference("smollm2", "{smollm2}")))
    ids = reference.text.encode(text)[: WINDOW * windows]
    parts = [ids[start : start + WINDOW] for start in range(0, len(ids), WINDOW)]
    wanted = [_logits(reference, part) for part in parts]
    base = compare(wanted, wanted, parts).perplexity
    rows = []
    # Two builds of an engine have one file.
    files = {engine.artifact: engine for engine in reversed(engines)}
    for engine in reversed(files.values()):
        source = engine.name.startswith("llama.cpp")
        if not (source or engine.ours):
            continue
        try:
            artifact = preparer.prepare(engine)
            if source:
                artifact = preparer.prepare(_reference(artifact.stem, str(artifact)))
        except Missing as error:
            rows.append([engine.name, f"missing: {error}", "", ""])
            continue
        say(f"quality of {engine.name}")
        session = smelt.open(artifact)
        found = compare((_logits(session, part) for part in parts), wanted, parts)
        change = found.perplexity / base - 1
        rows.append(
            [
                f"{engine.name}, {'weights' if source else 'engine'}",
                f"{found.perplexity:.3f} ({change:+.2%})",
                f"{found.divergence:.5f}",
                f"{found.agreement:.2%}",
            ]
        )
    head = ["SmolLM2-135M", "perplexity (against f32)", "KL, nats a token", "same likeliest token"]
    return f"### Quality, {len(ids)} tokens in windows of {WINDOW}\n\n{table(head, rows)}"


def compare(
    found: Sequence[Array] | Iterator[Array], wanted: Sequence[Array], ids: Sequence[Sequence[int]]
) -> Quality:
    """Logits [tokens, vocabulary] of each window beside the reference's."""
    losses, divergences, agreed = [], [], []
    for here, there, tokens in zip(found, wanted, ids, strict=True):
        for start in range(0, len(tokens) - 1, _ROWS):
            stop = min(start + _ROWS, len(tokens) - 1)
            actual, expected = _log_softmax(here[start:stop]), _log_softmax(there[start:stop])
            following = np.asarray(tokens[start + 1 : stop + 1])
            losses.append(-actual[np.arange(stop - start), following])
            divergences.append((np.exp(expected) * (expected - actual)).sum(axis=-1))
            agreed.append(actual.argmax(axis=-1) == expected.argmax(axis=-1))
    return Quality(
        float(np.exp(np.concatenate(losses).mean())),
        float(np.concatenate(divergences).mean()),
        float(np.concatenate(agreed).mean()),
    )


def text_of(root: Path) -> str:
    """This project's own pages: text that no model was trained on."""
    pages = [root / "CONTRIBUTING.md", *sorted((root / "docs" / "adr").glob("*.md"))]
    return "\n\n".join(page.read_text(encoding="utf-8") for page in pages)


def _reference(name: str, source: str) -> Engine:
    made = f"quality/{name}"
    command = f"{{python}} -m smelt.cli compile {source} --target torch --no-verify -o {made}"
    return Engine(f"reference {name}", "float", name, "", made, (step(made, command),))


def _logits(session: Session, ids: Sequence[int]) -> Array:
    session.reset()
    logits: Array = session.run(input_ids=[list(ids)])["logits"][0]
    return logits


def _log_softmax(logits: Array) -> Array:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    result: Array = wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return result
