"""What a format costs: perplexity, and divergence from the f32 model, on one text.

Every row is what an engine computes, compared with the f32 reference in smelt's torch target. The
second half of each window is scored, as llama.cpp's own program does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import smelt
from benchmarks import genai_quality, llama_quality
from benchmarks.engines import Engine, step
from benchmarks.prepare import Missing, Preparer
from benchmarks.report import FORMATS, GENAI, LLAMA, at_most, table
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


Results = list[tuple[Engine, Quality | str]]


def chapter(
    engines: Sequence[Engine],
    preparer: Preparer,
    text: str,
    windows: int,
    say: Callable[[str], None],
) -> str:
    """The table, for every engine whose logits can be had."""
    reference = smelt.open(preparer.prepare(_reference("smollm2")))
    ids = reference.text.encode(text)
    count = min(windows, len(ids) // WINDOW)
    parts = [ids[start : start + WINDOW] for start in range(0, count * WINDOW, WINDOW)]
    say(f"quality of the reference on {count} windows")
    wanted = [_logits(reference, part) for part in parts]
    base = preparer.folder / "quality" / "smollm2.logits"
    llama_quality.write_base(base, wanted, parts)
    wanted = [rows[WINDOW // 2 :] for rows in wanted]
    scored = [part[WINDOW // 2 :] for part in parts]
    exact = compare(wanted, wanted, scored).perplexity
    results: Results = []
    for engine in engines:
        if not engine.ours and not engine.name.startswith((LLAMA, GENAI)):
            continue
        say(f"quality of {engine.name}")
        try:
            artifact = preparer.prepare(engine)
            if engine.ours:
                session = smelt.open(artifact)
                halves = (_logits(session, part)[WINDOW // 2 :] for part in parts)
                results.append((engine, compare(halves, wanted, scored)))
            elif engine.name.startswith(GENAI):
                logits = genai_quality.Logits(artifact)
                halves = (logits(part)[WINDOW // 2 :] for part in parts)
                results.append((engine, compare(halves, wanted, scored)))
            else:
                program = preparer.folder / dict(engine.variables)["LLAMA_PERPLEXITY"]
                threads = len(os.sched_getaffinity(0))
                found = llama_quality.measured(program, artifact, base, WINDOW, threads)
                results.append((engine, Quality(**found)))
        except Missing as error:
            results.append((engine, str(error)))
    base.unlink()
    title = f"### Quality, SmolLM2-135M: {sum(map(len, scored)) - count} tokens, each after"
    title += f" {WINDOW // 2} or more in windows of {WINDOW}"
    head = ["engine", "format", "perplexity (against f32)", "KL, nats a token"]
    head += ["same likeliest token", "KL ≤ the peer's"]
    return "\n\n".join([title, table(head, [_row(e, q, results, exact) for e, q in results])])


def _row(engine: Engine, found: Quality | str, every: Results, exact: float) -> list[str]:
    if isinstance(found, str):
        return [engine.name, FORMATS[engine.format], f"missing: {found}", "", "", ""]
    rival = GENAI if engine.against else LLAMA
    peers = [
        (other.divergence, peer.name)
        for peer, other in every
        if isinstance(other, Quality)
        and peer.name.startswith(rival)
        and peer.format == engine.format
    ]
    goal = "–"
    if engine.ours and peers:
        best, name = min(peers)
        goal = f"{name}: {at_most(found.divergence, best)}"
    return [
        engine.name,
        FORMATS[engine.format],
        f"{found.perplexity:.3f} ({found.perplexity / exact - 1:+.2%})",
        f"{found.divergence:.5f}",
        f"{found.agreement:.2%}",
        goal,
    ]


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


def _reference(name: str) -> Engine:
    made = f"quality/{name}"
    command = f"{{python}} -m smelt.cli compile {{{name}}} --target torch --no-verify -o {made}"
    return Engine(f"reference {name}", "f32", name, "", made, (step(made, command),))


def _logits(session: Session, ids: Sequence[int]) -> Array:
    session.reset()
    logits: Array = session.run(input_ids=[list(ids)])["logits"][0]
    return logits


def _log_softmax(logits: Array) -> Array:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    result: Array = wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return result
