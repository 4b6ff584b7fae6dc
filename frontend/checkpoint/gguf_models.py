"""What GGUF calls things: the tables of model_specs/gguf.toml, and what they cannot say."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from smelt.frontend.checkpoint.gguf_changes import CHANGES, Change
from smelt.frontend.spec.library import LIBRARY

TABLES = LIBRARY / "gguf.toml"

#: Keys that are read elsewhere (rope, head sizes) or that say nothing about the arithmetic.
READ_ELSEWHERE = frozenset(
    {
        "vocab_size",
        "rope.freq_base",
        "rope.dimension_count",
        "rope.scaling.type",
        "rope.scaling.factor",
        "rope.scaling.original_context_length",
        "rope.scaling.finetuned",
        "rope.scaling.yarn_beta_fast",
        "rope.scaling.yarn_beta_slow",
        "rope.scale_linear",
        "attention.key_length",
        "attention.value_length",
        "attention.causal",
        "tensor_data_layout",
    }
)


@dataclass(frozen=True)
class Architecture:
    """How a GGUF architecture is spelled in Hugging Face's terms; see model_specs/gguf.toml."""

    type: str
    architecture: str
    keys: Mapping[str, str]
    outer: Mapping[str, str]
    path: str
    layer: Mapping[str, str]
    experts: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)
    change: Mapping[str, str] = field(default_factory=dict)
    wants: Mapping[str, Any] = field(default_factory=dict)
    derived: str = ""
    rope: bool = True
    local: Mapping[str, Any] | None = None

    def name(self, layer: str | None, middle: str, kind: str, is_expert: bool) -> str | None:
        """The Hugging Face name of a tensor; {e} is the expert. kind: `.weight`, `.bias` or none;
        a table may name a tensor with its kind, or without.
        """
        table = self.outer if layer is None else self.experts if is_expert else self.layer
        path = "" if layer is None else self.path.replace("{i}", layer)
        if kind and middle + kind in table:
            return path + table[middle + kind]
        return path + table[middle] + kind if middle in table else None

    def changed(self, middle: str, kind: str) -> Change | None:
        """What GGUF changed in a tensor, by its name or by the end of it."""
        ends = ("*_norm",) if middle.endswith("_norm") else ()
        for key in (middle, *ends):
            for name in (f"{key}.{kind}", key):
                if name in self.change:
                    return CHANGES.get(self.change[name])
        return None


def _load() -> dict[str, Architecture]:
    tables = tomllib.loads(TABLES.read_text(encoding="utf-8"))

    def whole(name: str) -> dict[str, Any]:
        """A table with what it extends; inner tables are merged."""
        made: dict[str, Any] = {}
        own = dict(tables[name])
        for part in (*(whole(parent) for parent in own.pop("extends", ())), own):
            for key, value in part.items():
                made[key] = {**made.get(key, {}), **value} if isinstance(value, dict) else value
        return made

    found = {}
    for name in tables:
        if not name.startswith("_"):
            row = whole(name)
            row["architecture"] = row.pop("class")
            row["fixed"] = {**row.get("fixed", {}), **dict.fromkeys(row.pop("unset", ()))}
            found[name] = Architecture(**row)
    return found


def gemma2_scale(config: dict[str, Any]) -> Mapping[str, Any]:
    """27B scales queries by hidden/heads, the others by the head's width; GGUF keeps neither."""
    return alternating(config, 2, large_layers=46)


def gemma3_scale(config: dict[str, Any]) -> Mapping[str, Any]:
    """As gemma2, with one full layer in six."""
    return alternating(config, 6, large_layers=62)


def alternating(config: dict[str, Any], period: int, large_layers: int) -> Mapping[str, Any]:
    """Query scale and layer types where every `period`-th layer attends to everything."""
    layers = config["num_hidden_layers"]
    large = layers == large_layers
    width = config["hidden_size"] // config["num_attention_heads"] if large else config["head_dim"]
    kinds = ["sliding_attention"] * (period - 1) + ["full_attention"]
    return {
        "query_pre_attn_scalar": width,
        "layer_types": [kinds[layer % period] for layer in range(layers)],
    }


def mamba2_heads(config: dict[str, Any]) -> Mapping[str, Any]:
    """The width of a head: GGUF keeps the width of all, and their number."""
    inner, heads = config.get("intermediate_size"), config.get("num_heads")
    if type(inner) is not int or type(heads) is not int:
        return {}
    return {"head_dim": inner // heads}


#: What config.json says that a file's other keys decide, by the name in its table.
DERIVED: dict[str, Callable[[dict[str, Any]], Mapping[str, Any]]] = {
    "": lambda config: {},
    "gemma2_scale": gemma2_scale,
    "gemma3_scale": gemma3_scale,
    "mamba2_heads": mamba2_heads,
}

#: By `general.architecture`; "llama" with experts is the row "llama+experts".
ARCHITECTURES: dict[str, Architecture] = _load()
