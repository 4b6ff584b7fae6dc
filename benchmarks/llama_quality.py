"""What llama.cpp's engine makes of a text, by its own `llama-perplexity`, against our reference.

That program compares with the log probabilities in a file, which holds the tokens too. We write it
from the reference's logits, so that both engines are compared with the same numbers on the same
tokens. It scores the second half of each window.
"""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.prepare import Missing

Array = np.ndarray[Any, Any]
#: Log probabilities further below the greatest are written as if they were there.
_SPAN = 16.0
_FIGURES = {
    "perplexity": r"Mean PPL\(Q\) *: *([0-9.]+)",
    "divergence": r"Mean +KLD: *(-?[0-9.]+)",
    "agreement": r"Same top p: *([0-9.]+)",
}


def write_base(path: Path, logits: Sequence[Array], ids: Sequence[Sequence[int]]) -> None:
    """The file of `--kl-divergence-base`: logits [tokens, vocabulary] of windows of one length."""
    window, vocabulary = logits[0].shape
    with path.open("wb") as file:
        file.write(b"_logits_" + struct.pack("<3i", window, vocabulary, len(logits)))
        file.write(np.asarray(ids, "<i4").tobytes())
        for rows in logits:
            file.write(coded(rows[window // 2 : -1]).tobytes())


def coded(logits: Array) -> Array:
    """Rows of log probabilities in 16 bits: scale and least value as f32, then the codes."""
    rows, vocabulary = logits.shape
    most = logits.max(axis=-1, keepdims=True).astype(np.float64)
    total = np.log(np.exp(logits - most).sum(axis=-1, keepdims=True))
    least = np.maximum(logits.min(axis=-1, keepdims=True), most - _SPAN)
    scale = (most - least) / 65535
    made = np.zeros((rows, 4 + 2 * ((vocabulary + 1) // 2)), "<u2")
    made[:, :4] = np.concatenate([scale, least - most - total], axis=1).astype("<f4").view("<u2")
    codes = np.rint((np.maximum(logits, least) - least) / np.where(scale > 0, scale, 1))
    made[:, 4 : 4 + vocabulary] = codes
    return made


def measured(program: Path, model: Path, base: Path, window: int, threads: int) -> dict[str, float]:
    """Perplexity, divergence in nats and agreement as a share; `Missing` where it says nothing."""
    options = ["--kl-divergence", "--kl-divergence-base", str(base), "-t", str(threads)]
    words = [str(program), "-m", str(model), *options, "-c", str(window), "-b", str(window)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=900, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(str(error)) from error
    return parsed(done.stdout + done.stderr)


def parsed(text: str) -> dict[str, float]:
    """The figures that we use among those that the program prints."""
    found = {name: re.search(pattern, text) for name, pattern in _FIGURES.items()}
    for name, match in found.items():
        if match is None:
            last = (text.strip().splitlines() or ["no message"])[-1]
            raise Missing(f"llama-perplexity gives no {name}: {last}")
    values = {name: float(match.group(1)) for name, match in found.items() if match}
    return {**values, "agreement": values["agreement"] / 100}
