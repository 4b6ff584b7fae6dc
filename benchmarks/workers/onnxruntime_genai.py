"""onnxruntime-genai on a folder of its own model builder, greedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnxruntime_genai as genai

from benchmarks.workers.protocol import serve, timed, token_ids


class Decoder:
    """One model on the CPU provider."""

    def __init__(self, model: Path, threads: int) -> None:
        self.version = genai.__version__
        config = genai.Config(str(model))
        options = {"intra_op_num_threads": threads, "inter_op_num_threads": 1}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
        self._model = genai.Model(config)

    def prefill(self, tokens: int) -> float:
        """Seconds until the logits of a prompt's last token are there."""
        generator = self._generator(tokens + 1)
        with timed() as seconds:
            generator.append_tokens(token_ids(tokens))
        return seconds()

    def decode(self, past: int, tokens: int) -> float:
        """Seconds for so many greedy tokens after a prompt."""
        generator = self._generator(past + tokens + 1)
        generator.append_tokens(token_ids(past))
        generator.generate_next_token()
        with timed() as seconds:
            for _ in range(tokens):
                generator.generate_next_token()
        if generator.token_count() != past + tokens + 1:
            raise RuntimeError(f"stopped at {generator.token_count()} tokens")
        return seconds()

    def _generator(self, length: int) -> Any:
        params = genai.GeneratorParams(self._model)
        params.set_search_options(min_length=length, max_length=length, do_sample=False)
        return genai.Generator(self._model, params)


if __name__ == "__main__":
    serve(Decoder)
