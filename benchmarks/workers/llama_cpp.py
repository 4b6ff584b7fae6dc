"""llama.cpp by its own `llama-bench`: a process for each run, with its own warm-up.

The time to open is that of a process which computes one token, less that token: it contains the
start of the process.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.workers.protocol import serve


class LlamaBench:
    """One GGUF file; `LLAMA_BENCH` names the program."""

    def __init__(self, model: Path, threads: int) -> None:
        self._words = [os.environ["LLAMA_BENCH"], "-m", str(model), "-t", str(threads)]
        start = time.perf_counter()
        first = self._run("-p", "1", "-n", "0", "--no-warmup")
        self.open_seconds = time.perf_counter() - start - first["avg_ns"] / 1e9
        self.version = f"build {first['build_number']} {first['build_commit']}"

    def first(self, tokens: int) -> float:
        """Seconds for the first prompt of a process."""
        return float(self._run("-p", str(tokens), "-n", "0", "--no-warmup")["avg_ns"]) / 1e9

    def prefill(self, tokens: int) -> float:
        """Seconds for a prompt."""
        return float(self._run("-p", str(tokens), "-n", "0")["avg_ns"]) / 1e9

    def decode(self, past: int, tokens: int) -> float:
        """Seconds for so many tokens after a prompt; llama-bench samples none."""
        return float(self._run("-p", "0", "-n", str(tokens), "-d", str(past))["avg_ns"]) / 1e9

    def _run(self, *words: str) -> dict[str, Any]:
        command = [*self._words, *words, "-r", "1", "-o", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
        (result,) = json.loads(done.stdout)
        return dict(result)


if __name__ == "__main__":
    serve(LlamaBench)
