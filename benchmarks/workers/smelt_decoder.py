"""smelt's edge runtime on a decoder: the engine's calls, with an argmax between two of them.

Another engine of ours takes its place where one is named.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import smelt
from benchmarks.workers.protocol import serve, timed, token_ids
from smelt.runtime import edge_engine
from smelt.runtime.engine import Engine
from smelt.runtime.feed import DecoderFeed


class Decoder:
    """One artifact, from Python."""

    def __init__(
        self,
        model: Path,
        threads: int,
        open_engine: Callable[..., Engine] = edge_engine.open_engine,
    ) -> None:
        self.version = smelt.__version__
        self._engine = open_engine(model, threads=threads)
        self.weight_bytes = self._engine.bytes()["weights"]

    def prefill(self, tokens: int) -> float:
        """Seconds until the logits of a prompt's last token are there."""
        feed = self._feed(tokens)
        with timed() as seconds:
            feed.prefill()
        return seconds()

    def decode(self, past: int, tokens: int) -> float:
        """Seconds for so many greedy tokens after a prompt."""
        feed = self._feed(past)
        token = int(feed.prefill().argmax())
        with timed() as seconds:
            for _ in range(tokens):
                token = int(feed.step([token]).argmax())
        return seconds()

    def _feed(self, tokens: int) -> DecoderFeed:
        self._engine.reset()
        return DecoderFeed(self._engine, [token_ids(tokens)], pad=0)


if __name__ == "__main__":
    serve(Decoder)
