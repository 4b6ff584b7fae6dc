"""How a batch of sequences goes into an engine: prefill once, then one token a row.

Two ways: a decoder alone (left-padded prompts, one mask over past and new tokens), and an encoder
whose cross-attention state the decoder reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from smelt.errors import ArtifactError, SmeltError
from smelt.runtime.engine import Array, Engine, LastRows
from smelt.runtime.manifest import FunctionSpec, Manifest
from smelt.runtime.processors import F32

# Logits of a whole prompt are large (tokens × vocabulary): a long prompt goes in by parts.
CHUNK, LEAST_CHUNK = 512, 32
CHUNK_LOGITS_BYTES = 128 << 20


class Feed(Protocol):
    """Prefill gives the logits [batch, vocab] of each row's first new token, step of the next."""

    def prefill(self) -> F32: ...
    def step(self, tokens: Sequence[int]) -> F32: ...
    def reorder(self, rows: Array) -> None: ...
    def keep(self) -> Mapping[str, list[Array]]:
        """From now on, what the calls of the newest prefill or step gave beside logits, by name."""
        ...


class _Kept:
    """The other outputs of an engine's calls, where somebody wants them."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Array]] | None = None

    def keep(self) -> Mapping[str, list[Array]]:
        """From now on, what the calls of the newest prefill or step gave beside logits, by name."""
        self._kept = {}
        return self._kept

    def _begin(self) -> None:
        if self._kept is not None:
            self._kept.clear()


class DecoderFeed(_Kept):
    """A decoder-only model over prompts of any lengths."""

    def __init__(self, engine: Engine, prompts: Sequence[Sequence[int]], *, pad: int) -> None:
        super().__init__()
        self._engine = engine
        self._spec = engine.manifest.function("main")
        self._names = {spec.name for spec in self._spec.inputs}
        longest = max(map(len, prompts))
        self._ids = np.full((len(prompts), longest), pad, np.int64)
        self._mask = np.zeros((len(prompts), longest), np.int64)
        for row, prompt in enumerate(prompts):
            self._ids[row, longest - len(prompt) :] = prompt
            self._mask[row, longest - len(prompt) :] = 1
        if not self._mask.all() and not masks(engine.manifest):
            raise ArtifactError("prompts of several lengths need a model with an attention mask")

    def prefill(self) -> F32:
        """Feed what the engine does not hold yet; ``engine.past`` tokens are taken as fed."""
        self._begin()
        length = self._ids.shape[1]
        chunk = self._chunk()
        logits: F32 | None = None
        for start in range(self._engine.past, length, chunk):
            logits = self._call(start, min(start + chunk, length))
        if logits is None:
            raise SmeltError("nothing to feed: the engine holds the whole prompt already")
        return logits

    def step(self, tokens: Sequence[int]) -> F32:
        """Append one token to each row."""
        self._begin()
        column = np.asarray(tokens, np.int64)[:, None]
        self._ids = np.concatenate([self._ids, column], axis=1)
        self._mask = np.concatenate([self._mask, np.ones_like(column)], axis=1)
        return self._call(self._ids.shape[1] - 1, self._ids.shape[1])

    def extend(self, tokens: Sequence[int]) -> F32:
        """Append several tokens to the only row; logits [tokens, vocab] of each place."""
        if len(tokens) == 1:
            return self.step(tokens)
        new = np.asarray([tokens], np.int64)
        start = self._ids.shape[1]
        self._ids = np.concatenate([self._ids, new], axis=1)
        self._mask = np.concatenate([self._mask, np.ones_like(new)], axis=1)
        logits = self._engine.call(self._spec.name, self._inputs(start, self._ids.shape[1]))
        return np.asarray(logits["logits"][0], np.float32)

    def drop(self, count: int) -> None:
        """Take back the newest tokens."""
        if count:
            kept = self._ids.shape[1] - count
            self._engine.rewind(kept)
            self._ids, self._mask = self._ids[:, :kept], self._mask[:, :kept]

    def reorder(self, rows: Array) -> None:
        """Row ``i`` goes on from what row ``rows[i]`` was."""
        if (rows != np.arange(rows.size)).any():
            self._engine.reorder(rows)
            self._ids, self._mask = self._ids[rows], self._mask[rows]

    def _call(self, start: int, stop: int) -> F32:
        return last_logits(self._engine, self._spec, self._inputs(start, stop), self._kept)

    def _inputs(self, start: int, stop: int) -> dict[str, Array]:
        positions = np.maximum(np.cumsum(self._mask[:, :stop], axis=1) - 1, 0)
        inputs = {
            "input_ids": self._ids[:, start:stop],
            "attention_mask": self._mask[:, :stop],
            "position_ids": positions[:, start:stop],
        }
        return {name: value for name, value in inputs.items() if name in self._names}

    def _chunk(self) -> int:
        chunk = CHUNK
        vocab = self._engine.manifest.vocab_size
        if vocab and (self._kept is not None or not isinstance(self._engine, LastRows)):
            row_bytes = 4 * vocab * self._ids.shape[0]
            chunk = min(chunk, max(LEAST_CHUNK, CHUNK_LOGITS_BYTES // row_bytes))
        limit = limit_of(self._engine.manifest, "seq")
        return chunk if limit is None else max(1, min(chunk, limit))


class EncoderDecoderFeed(_Kept):
    """An encoder run once, then its decoder from the same first tokens in each row."""

    def __init__(
        self, engine: Engine, source: Mapping[str, Array], prefix: Sequence[Sequence[int]]
    ) -> None:
        super().__init__()
        self._engine = engine
        self._source = source
        self._spec = engine.manifest.function("decoder")
        self._names = {spec.name for spec in self._spec.inputs}
        self._prefix = np.asarray(prefix, np.int64)

    def prefill(self) -> F32:
        """Run the encoder, which fills the cross state, and the decoder's first tokens."""
        encoder = self._engine.manifest.function("encoder")
        wanted = {spec.name for spec in encoder.inputs}
        self._engine.call("encoder", {n: a for n, a in self._source.items() if n in wanted})
        self._begin()
        return self._decode(self._prefix)

    def step(self, tokens: Sequence[int]) -> F32:
        """Append one token to each row."""
        self._begin()
        return self._decode(np.asarray(tokens, np.int64)[:, None])

    def reorder(self, rows: Array) -> None:
        """Row ``i`` goes on from what row ``rows[i]`` was, which had the same source."""
        if (rows != np.arange(rows.size)).any():
            self._engine.reorder(rows)

    def _decode(self, ids: Array) -> F32:
        inputs: dict[str, Array] = {"decoder_input_ids": ids}
        if "attention_mask" in self._names:
            inputs["attention_mask"] = self._source["attention_mask"]
        if "position_ids" in self._names:
            past = self._engine.past
            places = np.arange(past, past + ids.shape[1], dtype=np.int64)
            inputs["position_ids"] = np.tile(places, (ids.shape[0], 1))
        return last_logits(self._engine, self._spec, inputs, self._kept)


def last_logits(
    engine: Engine,
    spec: FunctionSpec,
    inputs: Mapping[str, Array],
    kept: dict[str, list[Array]] | None = None,
) -> F32:
    """Call a function and take the f32 logits [batch, vocab] of the last position.

    ``kept`` gets the other outputs, of every position.
    """
    missing = [s.name for s in spec.inputs if s.name not in inputs]
    if missing:
        raise ArtifactError(
            f"generation does not know the inputs {', '.join(missing)} of `{spec.name}`"
        )
    only_last = kept is None and isinstance(engine, LastRows)
    run = engine.call_last if only_last else engine.call  # type: ignore[attr-defined]
    outputs = run(spec.name, inputs)
    if "logits" not in outputs:
        raise SmeltError(f"`{spec.name}` gives {', '.join(outputs)}, generation wants logits")
    if kept is not None:
        for name, array in outputs.items():
            kept.setdefault(name, []).append(array)
    return np.asarray(outputs["logits"][:, -1, :], np.float32)


def limit_of(manifest: Manifest, symbol: str) -> int | None:
    """The largest value of a symbol, if it has one."""
    for entry in manifest.symbols:
        if entry.name == symbol:
            return entry.max
    return None


def masks(manifest: Manifest) -> bool:
    """Whether rows of several lengths can share a batch: a mask, no state that padding enters."""
    main = manifest.function("main")
    replaced = any(manifest.slot(name).kind == "replace" for name in main.writes)
    return not replaced and any(spec.name == "attention_mask" for spec in main.inputs)
