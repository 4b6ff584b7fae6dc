"""CTranslate2 on its own converter's int8 model of an encoder."""

from __future__ import annotations

from pathlib import Path

import ctranslate2
import numpy as np

from benchmarks.workers.protocol import median_of, serve, token_ids


class Encoder:
    """One model on the CPU."""

    def __init__(self, model: Path, threads: int) -> None:
        self.version = ctranslate2.__version__
        self._encoder = ctranslate2.Encoder(
            str(model), device="cpu", compute_type="int8", intra_threads=threads, inter_threads=1
        )

    def encode(self, batch: int, tokens: int, times: int) -> float:
        """Median seconds of a call."""
        rows = [token_ids(tokens)] * batch

        def call() -> object:
            return np.asarray(self._encoder.forward_batch(rows).last_hidden_state)

        return median_of(call, times)


if __name__ == "__main__":
    serve(Encoder)
