"""What `smelt run` and `smelt chat` do with an open session."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from smelt import console
from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.generate import Completion
from smelt.runtime.metrics import Metrics
from smelt.runtime.prompts import GENERATES
from smelt.runtime.session import Generation, Session


def run_texts(
    session: Session,
    texts: Sequence[str],
    options: Mapping[str, Any],
    *,
    system: str | None,
    raw: bool,
    show_metrics: bool,
    as_json: bool,
) -> None:
    """Do what the artifact's task is with the texts, and print the result."""
    task = session.manifest.task
    if task in GENERATES:
        _generate(session, texts, options, system, raw, show_metrics, as_json)
        return
    if options or system is not None or raw:
        name = next(iter(options), "system" if system is not None else "raw")
        raise SmeltError(f"--{name.replace('_', '-')} is for models that generate, not {task}")
    found = _understand(session, texts)
    if as_json:
        console.print_json(found)
    else:
        _show(found)


def _generate(
    session: Session,
    texts: Sequence[str],
    options: Mapping[str, Any],
    system: str | None,
    raw: bool,
    show_metrics: bool,
    as_json: bool,
) -> None:
    results = []
    chats = not raw and session.manifest.task == "causal_lm" and session.text.has_chat
    if system is not None and not chats:
        raise SmeltError("--system is for chat models, and not with --raw")
    for text in texts:
        if chats:
            start = [] if system is None else [{"role": "system", "content": system}]
            messages = [*start, {"role": "user", "content": text}]
            generation = session.generate(messages=messages, **options)
        else:
            generation = session.generate(text, **options)
        if as_json or len(generation.completions) > 1:
            generation.wait()
        else:
            for piece in generation:
                console.write(piece.text)
            console.write("\n")
        if len(generation.completions) > 1 and not as_json:
            for completion in generation.completions:
                score = "" if completion.score is None else f"{completion.score:8.4f}  "
                console.write(f"{score}{completion.text}\n")
        if show_metrics:
            show_speeds(generation.metrics)
        rest = {"seed": generation.options.seed, "metrics": generation.metrics.to_dict()}
        results.append({"prompt": text, **_completions(generation), **rest})
    if as_json:
        console.print_json(results)


def _completions(generation: Generation) -> dict[str, Any]:
    found = [_completion(c) for c in generation.completions]
    return found[0] if len(found) == 1 else {"results": found}


def _completion(done: Completion) -> dict[str, Any]:
    found: dict[str, Any] = {"text": done.text, "ids": done.ids, "finish": done.finish}
    if done.score is not None:
        found["score"] = done.score
    if done.logprobs:
        found["logprobs"] = [asdict(scored) for scored in done.logprobs]
    return found


def read_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Options as NAME=VALUE; a value is JSON, or else a string."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise SmeltError(f"--option has `{pair}`, wants NAME=VALUE")
        try:
            found[name.replace("-", "_")] = json.loads(value)
        except ValueError:
            found[name.replace("-", "_")] = value
    return found


def _understand(session: Session, texts: Sequence[str]) -> Any:
    task = session.manifest.task
    if task == "feature_extraction":
        vectors = session.embed(texts).astype(float)
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return {
            "texts": list(texts),
            "embeddings": vectors.tolist(),
            "cosines": (unit @ unit.T).tolist(),
        }
    if task in ("sequence_classification", "next_sentence_prediction"):
        pair = task == "next_sentence_prediction"
        _count(texts, 2 if pair else None, "two texts")
        found = session.classify(texts[:1], texts[1]) if pair else session.classify(texts)
        return [[asdict(label) for label in labels] for labels in found]
    if task == "masked_lm":
        return [[asdict(c) for c in mask] for text in texts for mask in session.fill_mask(text)]
    if task == "question_answering":
        _count(texts, 2, "a question and a context")
        return [asdict(a) for a in session.answer(texts[0], texts[1])]
    raise UnsupportedError(
        f"the command line does not run the task {task}",
        hint="smelt.open(path).run(...) takes and gives arrays",
    )


def _count(texts: Sequence[str], wanted: int | None, what: str) -> None:
    if wanted is not None and len(texts) != wanted:
        raise SmeltError(f"got {len(texts)} texts, wants {what}")


def _show(found: Any) -> None:
    if isinstance(found, dict) and "cosines" in found:
        names = [t if len(t) <= 40 else t[:39] + "…" for t in found["texts"]]
        rows = [
            [name, *(f"{value:.4f}" for value in row)]
            for name, row in zip(names, found["cosines"], strict=True)
        ]
        numbers = [str(i + 1) for i in range(len(names))]
        console.table("cosines", ["", *numbers], rows)
        return
    for entry in found:
        for row in entry if isinstance(entry, list) else [entry]:
            name = row.get("name") or row.get("text")
            console.write(f"{row['score']:8.4f}  {name}\n")
        if isinstance(entry, list) and entry is not found[-1]:
            console.write("\n")


def converse(session: Session, options: Mapping[str, Any], *, system: str | None) -> None:
    """Read lines, stream replies, until the end of input or /exit."""
    if not session.text.has_chat:
        raise SmeltError("the model has no chat template", hint="smelt run continues a text")
    told = sys.stdin.isatty()
    talk = session.chat(system, **options)
    while True:
        try:
            line = input("> " if told else "")
        except EOFError:
            return
        if line.strip() in ("/exit", "/quit"):
            return
        if line.strip() == "/reset":
            talk = session.chat(system, **options)
            continue
        if not line.strip():
            continue
        try:
            for piece in talk.send(line):
                console.write(piece.text)
        except KeyboardInterrupt:
            console.write(" …")  # the reply ends here, the conversation goes on
        console.write("\n")
        if told:
            show_speeds(talk.metrics)


def show_speeds(m: Metrics) -> None:
    """One line to stderr."""
    cached = f" ({m.cached_tokens} kept)" if m.cached_tokens else ""
    console.say(
        f"prompt {m.prompt_tokens} tokens{cached}, {m.prefill_tokens_per_second:.1f}/s; "
        f"first token {m.first_token_seconds * 1e3:.0f} ms; {m.new_tokens} new, "
        f"{m.decode_tokens_per_second:.1f}/s"
    )
