"""What onnxruntime-genai's model makes of a text: its graph, run by onnxruntime as genai does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

Array = np.ndarray[Any, Any]


class Logits:
    """A folder of genai's model builder, which computes the logits of whole texts."""

    def __init__(self, folder: Path) -> None:
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(folder / "model.onnx", providers=providers)
        config = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))
        decoder = config["model"]["decoder"]
        heads, channels = decoder["num_key_value_heads"], decoder["head_size"]
        self._nothing = np.empty((1, heads, 0, channels), np.float32)

    def __call__(self, ids: Sequence[int]) -> Array:
        """Logits [tokens, vocabulary] f32 of ids, after nothing."""
        known = {
            "input_ids": np.asarray([ids], np.int64),
            "attention_mask": np.ones((1, len(ids)), np.int64),
            "position_ids": np.arange(len(ids), dtype=np.int64)[None],
        }
        inputs = {i.name: known.get(i.name, self._nothing) for i in self._session.get_inputs()}
        logits: Array = self._session.run(["logits"], inputs)[0][0]
        if len(logits) != len(ids):
            raise RuntimeError(f"{len(logits)} rows of logits for {len(ids)} tokens")
        return logits
