"""How fast this machine could go at most, and what share of that smelt's figures are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.driver import Job, Track
from benchmarks.figures import spread
from benchmarks.report import FORMATS, table

#: What the products of a format are limited by, among the machine's limits.
_SPEEDS = {"int4": "int8", "int8": "int8", "bf16": "bf16", "f32": "floats"}


def decode_limit(bytes_a_second: float, weight_bytes: int) -> float:
    """Tokens a second when every weight is read once a token, and nothing else takes time."""
    return bytes_a_second / weight_bytes if weight_bytes else 0.0


def prefill_limit(operations_a_second: float, config: Mapping[str, Any], tokens: int) -> float:
    """Tokens a second of a Llama's prompt when its products alone take time."""
    return tokens * operations_a_second / prefill_operations(config, tokens)


def prefill_operations(config: Mapping[str, Any], tokens: int) -> int:
    """Of a Llama's products over a prompt, causal; logits of its last token only."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    queries, keys = heads * head, config["num_key_value_heads"] * head
    layer = hidden * (2 * queries + 2 * keys) + 3 * hidden * config["intermediate_size"]
    attention = 2 * queries * (tokens + 1) // 2
    layers = config["num_hidden_layers"] * tokens * (layer + attention)
    return int(2 * (layers + hidden * config["vocab_size"]))


def chapter(
    found: Mapping[int, Sequence[Track]],
    limits: Mapping[int, Mapping[str, float]],
    jobs: Sequence[Job],
    config: Mapping[str, Any],
) -> str:
    """Our own runtime's prefill and decode beside the machine's limits."""
    prefill, decode = jobs
    rows = []
    for threads, tracks in found.items():
        most = limits[threads]
        for track in tracks:
            if not track.engine.ours or track.engine.against or not track.samples:
                continue
            form = track.engine.format
            speed = most.get(_SPEEDS[form], 0.0)
            row = [track.engine.name, FORMATS[form], str(threads)]
            for job, limit in (
                (prefill, prefill_limit(speed, config, prefill.work)),
                (decode, decode_limit(most["bytes"], track.weight_bytes)),
            ):
                value = spread(track, job)
                share = f"{value.middle / limit:.0%}" if value and limit else "–"
                row += [f"{limit:.0f}" if limit else "–", share]
            rows.append(row)
    head = ["", "format", "threads", "prefill limit", "reached", "decode limit", "reached"]
    title = "Tokens/s beside the machine's limits:"
    return "\n\n".join([title, table(head, rows), _said(limits)])


def _said(limits: Mapping[int, Mapping[str, float]]) -> str:
    lines = []
    for threads, most in limits.items():
        speeds = [
            f"{most['bytes'] / 1e9:.1f} GB/s read",
            f"{most['int8'] / 1e12:.2f} TOP/s of int8",
        ]
        if most.get("bf16"):
            speeds.append(f"{most['bf16'] / 1e12:.2f} TFLOP/s of bf16")
        speeds.append(f"{most['floats'] / 1e12:.2f} TFLOP/s of f32")
        lines.append(f"- {threads} threads: {', '.join(speeds)}")
    return "\n".join(lines)
