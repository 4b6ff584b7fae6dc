"""ExecuTorch with XNNPACK on its own exporter's file, called from Python, greedy."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import torch
from executorch.extension.pybindings import portable_lib

from benchmarks.workers.protocol import serve, timed, token_ids

# isort: split
# Both register kernels with the library above, so they come after it.
from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401
from executorch.kernels import quantized  # noqa: F401


class Decoder:
    """One `.pte` file."""

    def __init__(self, model: Path, threads: int) -> None:
        portable_lib._unsafe_reset_threadpool(threads)
        self.version = version("executorch")
        self._module = portable_lib._load_for_executorch(str(model))

    def prefill(self, tokens: int) -> float:
        """Seconds until the logits of a prompt's last token are there."""
        with timed() as seconds:
            self._forward(token_ids(tokens), 0)
        return seconds()

    def decode(self, past: int, tokens: int) -> float:
        """Seconds for so many greedy tokens after a prompt."""
        token = self._forward(token_ids(past), 0)
        with timed() as seconds:
            for position in range(past, past + tokens):
                token = self._forward([token], position)
        return seconds()

    def _forward(self, ids: list[int], position: int) -> int:
        given = (torch.tensor([ids]), torch.tensor([position]))
        (logits,) = self._module.forward(given)
        return int(logits[..., -1, :].argmax())


if __name__ == "__main__":
    serve(Decoder)
