"""`smelt bench`: how fast an artifact opens, reads and generates, and the memory it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from smelt.errors import UnsupportedError
from smelt.runtime.metrics import peak_memory, reset_peak_memory
from smelt.runtime.prompts import GENERATES
from smelt.runtime.session import Session


@dataclass(frozen=True)
class Result:
    """Medians over the repetitions."""

    open_seconds: float
    prompt_tokens: int
    new_tokens: int
    first_token_seconds: float
    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    peak_memory_bytes: int
    engine_bytes: dict[str, int]
    repetitions: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return asdict(self)


def bench(
    path: Path,
    *,
    prompt_tokens: int = 128,
    new_tokens: int = 64,
    repeat: int = 3,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    **options: Any,
) -> Result:
    """Open an artifact and time it on random ids, greedy, without an end token.

    One round warms up and is not counted. Peak memory is that of the whole process.
    """
    import smelt

    reset_peak_memory()
    start = time.perf_counter()
    session = smelt.open(path, **options)
    opened = time.perf_counter() - start
    generates = session.manifest.task in GENERATES
    rounds = []
    for index in range(repeat + 1):
        progress("measure", index, repeat + 1)
        if generates:
            rounds.append(_generation(session, prompt_tokens, new_tokens, index))
        else:
            rounds.append(_encoding(session, prompt_tokens, index))
    progress("measure", repeat + 1, repeat + 1)
    kept = rounds[1:]
    return Result(
        open_seconds=opened,
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens if generates else 0,
        first_token_seconds=median(r[0] for r in kept),
        prefill_tokens_per_second=median(r[1] for r in kept),
        decode_tokens_per_second=median(r[2] for r in kept),
        peak_memory_bytes=peak_memory(),
        engine_bytes=session.engine.bytes(),
        repetitions=repeat,
    )


def _generation(session: Session, prompt: int, new: int, seed: int) -> tuple[float, float, float]:
    ids = _ids(session, prompt, seed)
    # An end token would cut the measurement short.
    m = session.generate(ids=ids, max_new_tokens=new, temperature=0.0, eos=()).wait().metrics
    return m.first_token_seconds, m.prefill_tokens_per_second, m.decode_tokens_per_second


def _encoding(session: Session, tokens: int, seed: int) -> tuple[float, float, float]:
    inputs = session.manifest.function("main").inputs
    if not any(spec.name == "input_ids" for spec in inputs):
        raise UnsupportedError(f"bench measures models of text, not {session.manifest.task}")
    ids = _ids(session, tokens, seed)
    session.reset()
    start = time.perf_counter()
    session.run(input_ids=[ids])
    elapsed = time.perf_counter() - start
    return elapsed, tokens / elapsed, 0.0


def _ids(session: Session, count: int, seed: int) -> list[int]:
    vocabulary = session.manifest.vocab_size or 1000
    found = np.random.default_rng(seed).integers(0, vocabulary, count)
    return [int(token) for token in found]
