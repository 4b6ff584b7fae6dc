"""OpenVINO on optimum-intel's export of an encoder; it computes in bf16 where the CPU can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov

from benchmarks.workers.protocol import median_of, serve, token_ids


class Encoder:
    """One compiled model on the CPU device."""

    def __init__(self, model: Path, threads: int) -> None:
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        compiled = ov.Core().compile_model(str(model), "CPU", settings)
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.version = f"{ov.__version__} in {precision}"
        self._names = {port.get_any_name() for port in compiled.inputs}
        self._request = compiled.create_infer_request()

    def encode(self, batch: int, tokens: int, times: int) -> float:
        """Median seconds of a call."""
        ids = np.asarray([token_ids(tokens)] * batch, np.int64)
        every = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        given = {name: value for name, value in every.items() if name in self._names}
        return median_of(lambda: self._request.infer(given), times)


if __name__ == "__main__":
    serve(Encoder)
