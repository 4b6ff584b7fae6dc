"""onnxruntime on optimum's export of an encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.workers.protocol import median_of, serve, token_ids


class Encoder:
    """One model on the CPU provider."""

    def __init__(self, model: Path, threads: int) -> None:
        self.version = onnxruntime.__version__
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )

    def encode(self, batch: int, tokens: int, times: int) -> float:
        """Median seconds of a call."""
        ids = np.asarray([token_ids(tokens)] * batch, np.int64)
        given = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        return median_of(lambda: self._session.run(None, given), times)


if __name__ == "__main__":
    serve(Encoder)
