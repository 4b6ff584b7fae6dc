"""Recurrent states of models that keep them in their own way, by the ends of our slots' names."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
States = dict[str, tuple[Array, ...]]

#: RWKV's list of states: one tensor of all layers for each.
RWKV = (
    ".feed_forward.previous",
    ".attention.previous",
    ".numerator",
    ".denominator",
    ".peak",
)


def first_cache(model: Any) -> Any:
    """What the first call is given where the model would not give back what it made itself."""
    from transformers import DynamicCache

    gives_none = model.config.model_type == "recurrent_gemma"
    return DynamicCache(config=model.config) if gives_none else None


def own_states(cache: Any, model: Any) -> States:
    """The states that are not those of a cache of transformers."""
    if isinstance(cache, list):
        return {name: _layers(name, tensor) for name, tensor in zip(RWKV, cache, strict=True)}
    if hasattr(cache, "rnn_state"):
        return _matrices(cache.rnn_state.values())
    if hasattr(cache, "linear_cache"):
        return {".state": tuple(t.numpy() for t in cache.linear_cache if len(t))}
    blocks = [m for m in model.modules() if hasattr(m, "conv1d_state")]
    if not blocks:
        return {}
    conv = tuple(block.conv1d_state.numpy() for block in blocks)
    return {".conv": conv, ".state": tuple(b.rg_lru.recurrent_states.numpy() for b in blocks)}


def _layers(name: str, tensor: Any) -> tuple[Array, ...]:
    """[batch, channels, layers] layer by layer."""
    layers = [np.asarray(tensor[:, :, i].numpy()) for i in range(tensor.shape[2])]
    return tuple(x[:, None] if name.endswith(".previous") else x for x in layers)


def _matrices(states: Any) -> States:
    """xLSTM's matrix and normalizer as one matrix with a further column, and its exponent."""
    whole = [np.concatenate([c.numpy(), n.numpy()[..., None]], -1) for c, n, _ in states]
    return {".state": tuple(whole), ".peak": tuple(m.numpy()[..., 0] for _, _, m in states)}
