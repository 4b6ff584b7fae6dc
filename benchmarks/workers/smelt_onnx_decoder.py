"""smelt's ONNX artifact of a decoder, in onnxruntime."""

from __future__ import annotations

from pathlib import Path

# Before the time to open begins, as in the peers' workers.
import onnxruntime

from benchmarks.workers import smelt_decoder
from benchmarks.workers.protocol import serve
from smelt.runtime.onnx_engine import open_engine


class Decoder(smelt_decoder.Decoder):
    """One folder, from Python."""

    def __init__(self, model: Path, threads: int) -> None:
        super().__init__(model, threads, open_engine)
        self.version += f" on onnxruntime {onnxruntime.__version__}"


if __name__ == "__main__":
    serve(Decoder)
