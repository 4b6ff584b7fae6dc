"""Sentence embeddings: hidden states, pooled as sentence-transformers' files say or averaged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from smelt.errors import UnsupportedError
from smelt.runtime.encode import call_encoder, require_task
from smelt.runtime.engine import Array, Engine
from smelt.runtime.manifest import Manifest, Pooling
from smelt.runtime.text import Encoded, Text

POOLING_FILES = (
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
)
_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}


def read_pooling(files: Mapping[str, bytes]) -> Pooling | None:
    """What sentence-transformers' files say; None where the checkpoint has none of them."""
    if "modules.json" not in files:
        return None
    kinds = [str(m.get("type", "")).rsplit(".", 1)[-1] for m in json.loads(files["modules.json"])]
    for kind in kinds:
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise UnsupportedError(
                f"the checkpoint embeds through a {kind} module", place="modules.json"
            )
    config = json.loads(files.get("1_Pooling/config.json", b"{}"))
    wanted = [key for key, on in config.items() if key.startswith("pooling_mode") and on is True]
    if isinstance(config.get("pooling_mode"), str):  # newer files name it
        wanted = [f"pooling_mode_{config['pooling_mode']}_tokens"]
    modes = [_MODES.get(key, _MODES.get(key.removesuffix("s"), "")) for key in wanted] or ["mean"]
    if len(modes) != 1 or not modes[0]:
        raise UnsupportedError(
            f"pooling by {', '.join(wanted)}",
            place="1_Pooling/config.json",
            hint="known: one of " + ", ".join(_MODES),
        )
    length = json.loads(files.get("sentence_bert_config.json", b"{}")).get("max_seq_length")
    return Pooling.model_validate(
        {"mode": modes[0], "normalize": "Normalize" in kinds, "max_length": length}
    )


def embed(engine: Engine, text: Text, texts: str | Sequence[str], *, batch_size: int = 32) -> Array:
    """Embeddings f32[n, dim]; a text over the pooling's length is cut, as its own files ask."""
    require_task(engine.manifest, "embed", "feature_extraction")
    pooling = pooling_of(engine.manifest)
    rows = [texts] if isinstance(texts, str) else list(texts)
    encoded = [_cut(text.encode_full(row), pooling.max_length) for row in rows]
    # Texts of like length share a batch, so little is spent on padding.
    order = sorted(range(len(rows)), key=lambda index: len(encoded[index].ids))
    vectors: list[Array] = [np.zeros(0, np.float32)] * len(rows)
    for start in range(0, len(order), batch_size):
        group = order[start : start + batch_size]
        found = embed_batch(engine, text, [encoded[index] for index in group])
        for index, vector in zip(group, found, strict=True):
            vectors[index] = vector
    return np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)


def embed_batch(engine: Engine, text: Text, rows: Sequence[Encoded]) -> Array:
    """Embeddings f32[n, dim] of encoded texts, all in one call."""
    outputs, mask = call_encoder(engine, text, rows)
    engine.reset()
    hidden = np.asarray(outputs["last_hidden_state"], np.float32)
    return pool(hidden, mask, pooling_of(engine.manifest))


def pooling_of(manifest: Manifest) -> Pooling:
    """How the artifact makes one vector; averaged and normalized where nothing says."""
    return manifest.pooling or Pooling(normalize=True)


def pool(hidden: Array, mask: Array, pooling: Pooling) -> Array:
    """One vector a row from hidden states [n, seq, dim] and their mask [n, seq]."""
    weights = mask[..., None].astype(np.float32)
    if pooling.mode == "cls":
        pooled = hidden[:, 0]
    elif pooling.mode == "last":
        pooled = hidden[np.arange(len(hidden)), mask.sum(axis=1) - 1]
    elif pooling.mode == "max":
        pooled = np.where(weights > 0, hidden, -np.inf).max(axis=1)
    else:
        pooled = (hidden * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9)
    if pooling.normalize:
        pooled = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
    return np.asarray(pooled, np.float32)


def _cut(row: Encoded, limit: int | None) -> Encoded:
    """Cut the text, not the special tokens around it."""
    if limit is None or len(row.ids) <= limit:
        return row
    extra = len(row.ids) - limit
    body = [index for index, special in enumerate(row.special) if not special]
    dropped = set(body[-extra:])
    kept = [index for index in range(len(row.ids)) if index not in dropped]
    return replace(
        row,
        ids=[row.ids[i] for i in kept],
        type_ids=[row.type_ids[i] for i in kept],
        special=[row.special[i] for i in kept],
        sequence=[row.sequence[i] for i in kept],
        offsets=[row.offsets[i] for i in kept],
    )
