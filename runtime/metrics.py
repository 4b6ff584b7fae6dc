"""What one call cost: times, speeds, bytes, and the process's peak memory."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Metrics:
    """Counters of one generation; speeds are 0 until something was measured."""

    prompt_tokens: int = 0
    """Tokens of the prompts, without padding, over all rows."""
    cached_tokens: int = 0
    """Prompt tokens whose state was already there."""
    new_tokens: int = 0
    """Tokens generated, over all rows."""
    first_tokens: int = 0
    """Tokens that came out of prefill calls."""
    decode_calls: int = 0
    guessed_tokens: int = 0
    """Tokens that a draft or the prompt proposed, and of those the ones that were right."""
    right_tokens: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    """Time inside the engine, after prefill."""
    sampling_seconds: float = 0.0
    first_token_seconds: float = 0.0
    """From the start of the call to the first token, tokenizing included."""
    total_seconds: float = 0.0
    bytes: dict[str, int] = field(default_factory=dict)
    """`weights`, `state`, `activations` of the engine at the end."""

    @property
    def prefill_tokens_per_second(self) -> float:
        """Prompt tokens computed, over the time of prefill."""
        return _rate(self.prompt_tokens - self.cached_tokens, self.prefill_seconds)

    @property
    def decode_tokens_per_second(self) -> float:
        """New tokens after each row's first, over the engine's time for them."""
        return _rate(self.new_tokens - self.first_tokens, self.decode_seconds)

    def to_dict(self) -> dict[str, float | int | dict[str, int]]:
        """Plain values for `--json`."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "new_tokens": self.new_tokens,
            "guessed_tokens": self.guessed_tokens,
            "right_tokens": self.right_tokens,
            "first_token_seconds": self.first_token_seconds,
            "prefill_seconds": self.prefill_seconds,
            "decode_seconds": self.decode_seconds,
            "sampling_seconds": self.sampling_seconds,
            "total_seconds": self.total_seconds,
            "prefill_tokens_per_second": self.prefill_tokens_per_second,
            "decode_tokens_per_second": self.decode_tokens_per_second,
            "bytes": dict(self.bytes),
            "peak_memory_bytes": peak_memory(),
        }


class Stopwatch:
    """Seconds since it was made; ``lap`` returns the seconds since the last lap."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap, or since the start."""
        now = time.perf_counter()
        elapsed, self._last = now - self._last, now
        return elapsed

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start


def peak_memory() -> int:
    """The most resident memory that this process has had, in bytes; 0 where it cannot be told."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss is inherited over exec, VmHWM is not
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_memory() -> bool:
    """Start measuring the peak anew (Linux); False where the system cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 and count > 0 else 0.0
