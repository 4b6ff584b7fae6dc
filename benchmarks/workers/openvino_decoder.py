"""OpenVINO GenAI on a folder of optimum-intel's export, greedy; its own counters give the times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai

from benchmarks.workers.protocol import serve, token_ids


class Decoder:
    """One pipeline on the CPU device."""

    def __init__(self, model: Path, threads: int) -> None:
        self.version = genai.__version__
        self._pipeline = genai.LLMPipeline(
            str(model), "CPU", INFERENCE_NUM_THREADS=threads, PERFORMANCE_HINT="LATENCY"
        )
        self._calls = 0

    def prefill(self, tokens: int) -> float:
        """Seconds until a prompt's first new token."""
        return float(self._generate(tokens, 1).get_ttft().mean) / 1e3

    def decode(self, past: int, tokens: int) -> float:
        """Seconds for so many greedy tokens after the first one."""
        return float(self._generate(past, tokens + 1).get_tpot().mean) / 1e3 * tokens

    def _generate(self, prompt: int, new: int) -> Any:
        # Another first token each time: the pipeline keeps what a prompt begins with.
        self._calls += 1
        ids = np.asarray([token_ids(prompt)], np.int64)
        ids[0, 0] += self._calls
        result = self._pipeline.generate(
            ov.Tensor(ids), max_new_tokens=new, ignore_eos=True, do_sample=False
        )
        made = result.perf_metrics.get_num_generated_tokens()
        if made != new:
            raise RuntimeError(f"made {made} tokens, wants {new}")
        return result.perf_metrics


if __name__ == "__main__":
    serve(Decoder)
