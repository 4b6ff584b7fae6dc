"""Batches of texts for encoder models: ids, mask and token types, padded at the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.engine import Array, Engine
from smelt.runtime.manifest import Manifest
from smelt.runtime.prompts import pad_right
from smelt.runtime.text import Encoded, Text


def require_task(manifest: Manifest, verb: str, *tasks: str) -> None:
    """UnsupportedError unless the artifact was compiled for one of the tasks."""
    if manifest.task not in tasks:
        raise UnsupportedError(
            f"{verb} wants the task {' or '.join(tasks)}, the artifact's is {manifest.task}",
            hint=f"compile it with --task {tasks[0]}",
        )


def call_encoder(
    engine: Engine, text: Text, batch: Sequence[Encoded]
) -> tuple[dict[str, Array], Array]:
    """Run `main` over encoded texts; gives its outputs and the mask i64[n, longest]."""
    manifest = engine.manifest
    limits = [manifest.context, *(s.max for s in manifest.symbols if s.name == "seq")]
    longest = min((n for n in limits if n is not None), default=None)
    for row in batch:
        if longest is not None and len(row.ids) > longest:
            raise SmeltError(
                f"a text has {len(row.ids)} tokens, the model takes {longest}",
                hint="shorten it",
            )
    pad = text.special_id("pad")
    ids, mask = pad_right([row.ids for row in batch], 0 if pad is None else pad)
    types, _ = pad_right([row.type_ids for row in batch], 0)
    positions = np.tile(np.arange(ids.shape[1], dtype=np.int64), (len(batch), 1))
    inputs = {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": types,
        "position_ids": positions,
    }
    wanted = [spec.name for spec in manifest.function("main").inputs]
    unknown = [name for name in wanted if name not in inputs]
    if unknown:
        raise UnsupportedError(f"text does not give the inputs {', '.join(unknown)} of `main`")
    return engine.call("main", {name: inputs[name] for name in wanted}), mask


def softmax(logits: Array) -> Array:
    """Probabilities over the last axis, in f64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    weights = np.exp(shifted)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))
