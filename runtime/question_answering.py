"""The span of a context that answers a question."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smelt.runtime.encode import call_encoder, require_task, softmax
from smelt.runtime.engine import Engine
from smelt.runtime.text import Text

MAX_TOKENS = 15  # of an answer, as `transformers`' pipeline has it


@dataclass(frozen=True)
class Answer:
    """A span of the context, in characters, and its probability."""

    text: str
    start: int
    end: int
    score: float


def answer(
    engine: Engine, text: Text, question: str, context: str, *, top: int = 1
) -> list[Answer]:
    """The likeliest spans of at most 15 tokens, best first."""
    require_task(engine.manifest, "answer", "question_answering")
    encoded = text.encode_full(question, context)
    outputs, _ = call_encoder(engine, text, [encoded])
    inside = np.array([s == 1 for s in encoded.sequence])
    starts = np.where(inside, outputs["start_logits"][0], -np.inf)
    ends = np.where(inside, outputs["end_logits"][0], -np.inf)
    scores = np.triu(np.outer(softmax(starts), softmax(ends)))
    scores = np.tril(scores, MAX_TOKENS - 1)
    best = np.argsort(-scores, axis=None, kind="stable")[:top]
    answers = []
    for flat in best:
        first, last = divmod(int(flat), scores.shape[1])
        start, end = encoded.offsets[first][0], encoded.offsets[last][1]
        answers.append(Answer(context[start:end], start, end, float(scores[first, last])))
    return answers
