"""A process of its own that fills a session and says what memory it took.

Arguments: a small artifact that warms up the libraries, the artifact, context, threads.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import numpy as np

from smelt.runtime.edge_engine import EdgeEngine, open_engine
from smelt.runtime.metrics import peak_memory, reset_peak_memory


def fill(engine: EdgeEngine, context: int) -> None:
    """Feed random tokens by whole chunks, the last ones singly, until the context is full."""
    vocabulary = engine.manifest.vocab_size or 1
    ids = np.random.default_rng(0).integers(0, vocabulary, (1, context))
    at = 0
    while at < context:
        stop = at + engine.chunk if at + engine.chunk < context else at + 1
        engine.call_last(
            "main",
            {
                "input_ids": ids[:, at:stop],
                "attention_mask": np.ones((1, stop), np.int64),
                "position_ids": np.arange(at, stop)[None],
            },
        )
        at = stop


def resident() -> int:
    """Bytes of this process in memory now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


def main() -> None:
    small, path, context, threads = sys.argv[1:]
    warm = open_engine(Path(small), context=8, threads=int(threads))
    fill(warm, 8)
    del warm
    gc.collect()
    can_measure = reset_peak_memory()
    before = resident()
    engine = open_engine(Path(path), context=int(context), threads=int(threads))
    fill(engine, int(context))
    print(json.dumps({"peak": peak_memory() - before if can_measure else 0, **engine.bytes()}))


if __name__ == "__main__":
    main()
