"""smelt's edge runtime on an encoder of text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

import smelt
from benchmarks.workers.protocol import median_of, serve, token_ids
from smelt.runtime import edge_engine
from smelt.runtime.engine import Engine


class Encoder:
    """One artifact, from Python."""

    def __init__(
        self,
        model: Path,
        threads: int,
        open_engine: Callable[..., Engine] = edge_engine.open_engine,
    ) -> None:
        self.version = smelt.__version__
        self._engine = open_engine(model, threads=threads)

    def encode(self, batch: int, tokens: int, times: int) -> float:
        """Median seconds of a call."""
        ids = np.asarray([token_ids(tokens)] * batch, np.int64)
        given = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        return median_of(lambda: self._engine.call("main", given), times)


if __name__ == "__main__":
    serve(Encoder)
