"""A GGUF file's metadata as a config.json and a generation_config.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from smelt.errors import CheckpointError, UnsupportedError
from smelt.frontend.checkpoint.gguf_changes import Heads
from smelt.frontend.checkpoint.gguf_models import (
    ARCHITECTURES,
    DERIVED,
    READ_ELSEWHERE,
    Architecture,
)
from smelt.frontend.checkpoint.sizes import short
from smelt.frontend.checkpoint.tensors import Array

SIZE_LIMIT = 1 << 31
SIZES = ("embedding_length", "attention.head_count", "attention.head_count_kv")
MAY_BE_ZERO = frozenset({"leading_dense_block_count", "expert_shared_count"})
IDS = {"bos": "bos_token_id", "eos": "eos_token_id", "padding": "pad_token_id"}

# How far a stored rope factor may be from the formula's: f32 rounding of both.
FACTOR_TOLERANCE = 1e-5


class Metadata:
    """Metadata read with checks: every message names the key and its value."""

    def __init__(self, values: Mapping[str, Any], place: str) -> None:
        self.values = values
        self.place = place
        name = values.get("general.architecture")
        if not isinstance(name, str):
            raise CheckpointError("the file has no `general.architecture`", place=place)
        self.prefix = name

    def get(self, key: str) -> Any:
        """The value under the architecture's prefix; a list that repeats one value counts as it."""
        value = self.values.get(f"{self.prefix}.{key}")
        if not isinstance(value, list):
            return value
        if not value or any(item != value[0] for item in value):
            raise UnsupportedError(
                f"`{self.prefix}.{key}` differs from layer to layer: {short(value)}",
                place=self.place,
            )
        return value[0]

    def number(self, key: str) -> int | float | None:
        """A positive number, a float as the decimal that its f32 stands for; None when missing."""
        value = self.get(key)
        if value is None:
            return None
        if type(value) is int and 0 < value < SIZE_LIMIT:
            return value
        if type(value) is float and math.isfinite(value) and value > 0:
            return float(str(np.float32(value)))
        raise CheckpointError(
            f"`{self.prefix}.{key}` is {short(value)}, wants a positive number", place=self.place
        )

    def size(self, key: str) -> int | None:
        """A positive integer; None when missing."""
        value = self.number(key)
        if isinstance(value, float):
            raise CheckpointError(
                f"`{self.prefix}.{key}` is {value}, wants an integer", place=self.place
            )
        return value


def architecture_of(values: Mapping[str, Any], place: str) -> Architecture:
    """The row of a file's architecture; UnsupportedError names the ones there are."""
    metadata = Metadata(values, place)
    dense = not metadata.get("expert_count")
    kinds = {
        "experts": not dense,
        "window": metadata.get("attention.sliding_window"),
        "norms": metadata.get("ssm.dt_b_c_rms"),
    }
    names = [f"{metadata.prefix}+{kind}" for kind, is_so in kinds.items() if is_so]
    name = names[0] if names and not dense else metadata.prefix
    row = next((ARCHITECTURES[n] for n in (*names, metadata.prefix) if n in ARCHITECTURES), None)
    if row is None or (not dense and not row.experts):
        raise UnsupportedError(
            f"GGUF architecture {short(name)} is unknown",
            place=place,
            hint=f"known are {', '.join(ARCHITECTURES)}; or compile the Hugging Face directory",
        )
    refuse_unread(metadata, row)
    return row


def refuse_unread(metadata: Metadata, row: Architecture) -> None:
    """A key that no row names may change the meaning: refuse it."""
    start = f"{metadata.prefix}."
    for key in metadata.values:
        if not key.startswith(start):
            continue
        name = key.removeprefix(start)
        value = metadata.values[key]
        if name in row.keys or name in READ_ELSEWHERE or not value or row.wants.get(name) == value:
            continue
        raise UnsupportedError(
            f"`{key}` is {short(metadata.values[key])}, and smelt does not know what it means",
            place=metadata.place,
            hint="compile from the Hugging Face directory instead",
        )


def config_of(
    values: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    rope_factors: Array | None,
    place: str,
) -> dict[str, Any]:
    """config.json of a GGUF file; `shapes` are its tensors by Hugging Face name."""
    row = architecture_of(values, place)
    metadata = Metadata(values, place)
    config: dict[str, Any] = {"architectures": [row.architecture], "model_type": row.type}
    for key, name in row.keys.items():
        if name == "layer_types":
            config[name] = layer_types(metadata, key)
            continue
        value = metadata.get(key) if name else None
        if value is not None:
            is_plain = isinstance(value, bool) or (value == 0 and key in MAY_BE_ZERO)
            config[name] = value if is_plain else metadata.number(key)
    hidden, heads, groups = (row.keys.get(key, "") for key in SIZES)
    require(config, [name for name in (hidden, row.keys["block_count"], heads) if name], place)
    if groups:
        config.setdefault(groups, config[heads])
    heads_of(row, config, place)
    rotated = metadata.size("rope.dimension_count")
    width = metadata.size("attention.key_length")
    if width is None and heads:
        width = rotated if "head_dim" in row.keys.values() else None
        width = width or config[hidden] // config[heads]
    if "head_dim" in row.keys.values():
        config["head_dim"] = width
    if metadata.size("attention.value_length") not in (None, width):
        raise UnsupportedError("keys and values have different widths", place=place)
    config.update(row.fixed)
    config.update(DERIVED[row.derived](config))
    if row.rope:
        config["rope_parameters"] = rope(metadata, row, config, width or 1, rotated, rope_factors)
    words = f"{row.outer['token_embd']}.weight"
    if words not in shapes:
        raise CheckpointError("the file has no `token_embd.weight`", place=place)
    config["vocab_size"] = shapes[words][0]
    config["tie_word_embeddings"] = f"{row.outer['output']}.weight" not in shapes
    config.update({key: name in shapes for key, name in row.flags.items()})
    config.update(token_ids(values))
    return config


def layer_types(metadata: Metadata, key: str) -> list[str]:
    """Which layers see a window, told one by one."""
    told = metadata.values.get(f"{metadata.prefix}.{key}")
    if not isinstance(told, list) or not all(isinstance(item, bool) for item in told):
        raise UnsupportedError(
            f"`{metadata.prefix}.{key}` is {short(told)}, wants one yes or no a layer",
            place=metadata.place,
        )
    return ["sliding_attention" if item else "full_attention" for item in told]


def heads_of(row: Architecture, config: Mapping[str, Any], place: str) -> Heads:
    """The heads of a file; those of keys must share the others evenly."""
    heads = config.get(row.keys.get("attention.head_count", ""), 1)
    groups = config.get(row.keys.get("attention.head_count_kv", ""), heads)
    if type(groups) is not int or heads % groups:
        raise CheckpointError(f"{heads} heads do not share {groups} key heads evenly", place=place)
    return Heads(heads, groups)


def require(config: Mapping[str, Any], names: Sequence[str], place: str) -> None:
    """Refuse a file that lacks a size every model has."""
    for name in names:
        if type(config.get(name)) is not int:
            raise CheckpointError(f"the metadata does not say `{name}`", place=place)


def rope(
    metadata: Metadata,
    row: Architecture,
    config: Mapping[str, Any],
    width: int,
    rotated: int | None,
    factors: Array | None,
) -> dict[str, Any]:
    """`rope_parameters`, flat, or per layer type for the models that have two kinds."""
    theta = metadata.number("rope.freq_base") or 10000.0
    base: dict[str, Any] = {"rope_type": "default", "rope_theta": float(theta)}
    if rotated is not None and rotated != width:
        base["partial_rotary_factor"] = rotated / width
    kind = metadata.get("rope.scaling.type")
    factor = metadata.number("rope.scaling.factor") or metadata.number("rope.scale_linear")
    if kind in (None, "none"):
        kind = "linear" if factor is not None and kind is None and factor != 1 else "none"
    scaled = {**base, **scaling(metadata, kind, factor)}
    if factors is not None:
        if kind != "none":
            raise UnsupportedError(
                f"rope factors and {kind} rope scaling together", place=metadata.place
            )
        scaled.update(llama3(factors, base["rope_theta"], width, metadata.place))
    if row.local is None:
        return scaled
    local = {"rope_type": "default", "rope_theta": float(theta), **row.local}
    return {"full_attention": scaled, "sliding_attention": local}


def scaling(metadata: Metadata, kind: Any, factor: int | float | None) -> dict[str, Any]:
    """The rope scaling of `rope.scaling.*`."""
    if kind == "none":
        return {}
    if kind not in ("linear", "yarn") or factor is None:
        raise UnsupportedError(
            f"rope scaling {short(kind)} with factor {factor} is unknown", place=metadata.place
        )
    if kind == "linear":
        return {"rope_type": "linear", "factor": float(factor)}
    found: dict[str, Any] = {"rope_type": "yarn", "factor": float(factor)}
    original = metadata.size("rope.scaling.original_context_length")
    if original is not None:
        found["original_max_position_embeddings"] = original
    for name in ("beta_fast", "beta_slow"):
        value = metadata.number(f"rope.scaling.yarn_{name}")
        if value is not None:
            found[name] = float(value)
    return found


def llama3(factors: Array, theta: float, width: int, place: str) -> dict[str, Any]:
    """The llama3 rope scaling whose table of factors the file has instead of its parameters.

    Only the factor differs between the released models; the other three are fixed. The table that
    they give must be the file's own, or the file means something else.
    """
    low, high, original = 1.0, 4.0, 8192
    values = np.asarray(factors, np.float64).reshape(-1)
    if len(values) != width // 2 or not np.all(np.isfinite(values)) or values.max() < 1:
        raise CheckpointError(f"{len(values)} rope factors for heads of {width}", place=place)
    factor = float(values.max())
    wavelength = 2 * np.pi * theta ** (np.arange(0, width, 2) / width)
    smooth = np.clip((original / wavelength - low) / (high - low), 0, 1)
    expected = 1 / ((1 - smooth) / factor + smooth)
    if np.max(np.abs(values / expected - 1)) > FACTOR_TOLERANCE:
        raise UnsupportedError("the rope factors are not those of llama3 scaling", place=place)
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }


def token_ids(values: Mapping[str, Any]) -> dict[str, int]:
    """The first, last and padding token, for config.json."""
    found = {}
    for key, name in IDS.items():
        value = values.get(f"tokenizer.ggml.{key}_token_id")
        if type(value) is int:
            found[name] = value
    return found


def generation_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """generation_config.json: the token ids, where the end of a turn ends the answer too."""
    found: dict[str, Any] = dict(token_ids(values))
    turn = values.get("tokenizer.ggml.eot_token_id")
    if type(turn) is int and turn != found.get("eos_token_id"):
        found["eos_token_id"] = [found["eos_token_id"], turn] if "eos_token_id" in found else turn
    return found
