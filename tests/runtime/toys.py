"""Toy engines in numpy: small, deterministic, and sensitive to masks, positions and order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from smelt.errors import ArtifactError
from smelt.runtime.engine import Array
from smelt.runtime.manifest import Manifest

VOCAB = 64
DIM = 16


def manifest(**changes: Any) -> Manifest:
    """The manifest of the toy decoder."""
    fields: dict[str, Any] = {
        "smelt": "0",
        "target": "torch",
        "task": "causal_lm",
        "model_type": "toy",
        "source": {"fingerprint": "0" * 64},
        "functions": [
            {
                "name": "main",
                "inputs": [
                    {"name": "input_ids", "dtype": "i64", "shape": ["batch", "seq"]},
                    {"name": "attention_mask", "dtype": "i64", "shape": ["batch", "past + seq"]},
                    {"name": "position_ids", "dtype": "i64", "shape": ["batch", "seq"]},
                ],
                "outputs": [{"name": "logits", "dtype": "f32", "shape": ["batch", "seq", VOCAB]}],
                "reads": ["kv"],
                "writes": ["kv"],
            }
        ],
        "state": [
            {"name": "kv", "kind": "append", "dtype": "f32", "shape": ["batch", 1, "past", DIM]}
        ],
        "symbols": [{"name": "batch", "min": 1}, {"name": "seq", "min": 1}, {"name": "past"}],
        "context": 128,
        "vocab_size": VOCAB,
        "generation": {"eos_token_ids": [0], "pad_token_id": 1},
    }
    fields.update(changes)
    return Manifest.model_validate(fields)


class ToyDecoder:
    """A one-layer attention model over [batch, 1, past, dim] state."""

    def __init__(self, told: Manifest | None = None, seed: int = 0) -> None:
        self.manifest = told or manifest()
        random = np.random.default_rng(seed)
        self._table = random.normal(size=(VOCAB, DIM)).astype(np.float32)
        self._out = random.normal(size=(DIM, VOCAB)).astype(np.float32)
        self._state = np.zeros((0, 1, 0, DIM), np.float32)
        self.calls: list[tuple[int, int]] = []

    def call(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        ids, mask, places = (
            inputs[name] for name in ("input_ids", "attention_mask", "position_ids")
        )
        batch, seq = ids.shape
        self.calls.append((batch, seq))
        wave = np.sin(places[..., None] / np.arange(1, DIM + 1)).astype(np.float32)
        new = (self._table[ids] + wave)[:, None]
        if self._state.shape[0] != batch:
            self._state = np.zeros((batch, 1, 0, DIM), np.float32)
        keys = np.concatenate([self._state, new], axis=2)
        total = keys.shape[2]
        assert mask.shape == (batch, total), (mask.shape, total)
        self._state = keys
        scores = np.einsum("bqd,bkd->bqk", new[:, 0], keys[:, 0])
        causal = np.arange(total)[None, :] <= np.arange(total - seq, total)[:, None]
        scores = np.where(causal[None] & (mask[:, None] != 0), scores, -1e9)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = np.einsum("bqk,bkd->bqd", weights, keys[:, 0])
        return {"logits": (np.tanh(mixed) @ self._out).astype(np.float32)}

    def reset(self) -> None:
        self._state = np.zeros((0, 1, 0, DIM), np.float32)

    @property
    def past(self) -> int:
        return int(self._state.shape[2])

    def rewind(self, past: int) -> None:
        if past > self.past:
            raise ArtifactError("cannot go forward")
        self._state = self._state[:, :, :past]

    def reorder(self, rows: Array) -> None:
        self._state = self._state[rows]

    def read_state(self) -> dict[str, Array]:
        return {"kv": self._state.copy()}

    def bytes(self) -> dict[str, int]:
        return {"weights": 8, "state": self._state.nbytes, "activations": 4}


class ScriptedDecoder(ToyDecoder):
    """Says a fixed sequence of tokens, whatever it is asked."""

    def __init__(self, script: list[int], told: Manifest, vocab: int) -> None:
        super().__init__(told)
        self._script = script
        self._vocab = vocab
        self._said = 0
        self._fed = 0

    def call(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        ids = inputs["input_ids"]
        self._fed += ids.shape[1]
        logits = np.zeros((*ids.shape, self._vocab), np.float32)
        logits[:, -1, self._script[self._said]] = 9.0
        self._said += 1
        return {"logits": logits}

    def reset(self) -> None:
        self._said = self._fed = 0

    @property
    def past(self) -> int:
        return self._fed


class ToyTranslator:
    """An encoder that keeps the sum of its ids, and a decoder that counts on from it."""

    def __init__(self) -> None:
        self.manifest = manifest(
            task="seq2seq_lm",
            functions=[
                {
                    "name": "encoder",
                    "inputs": [
                        {"name": "input_ids", "dtype": "i64", "shape": ["batch", "source"]},
                        {"name": "attention_mask", "dtype": "i64", "shape": ["batch", "source"]},
                    ],
                    "outputs": [],
                    "writes": ["sum"],
                },
                {
                    "name": "decoder",
                    "inputs": [
                        {"name": "decoder_input_ids", "dtype": "i64", "shape": ["batch", "seq"]},
                        {"name": "attention_mask", "dtype": "i64", "shape": ["batch", "source"]},
                    ],
                    "outputs": [],
                    "reads": ["sum"],
                },
            ],
            state=[{"name": "sum", "kind": "replace", "dtype": "i64", "shape": ["batch"]}],
            generation={
                "eos_token_ids": [0],
                "decoder_start_token_id": 2,
                "forced_decoder_ids": [(1, 7)],
            },
        )
        self._sum: Any = None
        self.seen: list[Array] = []
        self._past = 0

    def call(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if function == "encoder":
            self._sum = (inputs["input_ids"] * inputs["attention_mask"]).sum(axis=1)
            return {}
        ids = inputs["decoder_input_ids"]
        self.seen.append(ids.copy())
        self._past += ids.shape[1]
        logits = np.zeros((*ids.shape, VOCAB), np.float32)
        for row in range(ids.shape[0]):
            logits[row, -1, (self._sum[row] + self._past) % VOCAB] = 5.0
        return {"logits": logits}

    def reset(self) -> None:
        self._sum, self._past = None, 0

    @property
    def past(self) -> int:
        return self._past

    def rewind(self, past: int) -> None:
        raise ArtifactError("replace-state cannot go back")

    def reorder(self, rows: Array) -> None:
        self._sum = self._sum[rows]

    def read_state(self) -> dict[str, Array]:
        return {"sum": self._sum}

    def bytes(self) -> dict[str, int]:
        return {"weights": 0, "state": 0, "activations": 0}
