"""config.json in one dialect: what transformers 4 and 5 write differently is spelled as 5 does.

`rope_theta`, `rope_scaling`, `rope_local_base_freq` and their kin become `rope_parameters`: one
object, or one for each layer type where a model has two kinds of layers. `torch_dtype` becomes
`dtype`. Everything else is left as it is; null stays None.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from smelt.errors import CheckpointError

DEPTH_LIMIT = 16


@dataclass(frozen=True)
class TwoRopes:
    """A model with full and sliding layers: the v4 keys of each base, and their defaults."""

    full_key: str
    local_key: str
    full: float = 1_000_000.0
    local: float = 10_000.0
    scale_local: bool = False  # whether rope_scaling is meant for the sliding layers too


GEMMA3 = TwoRopes("rope_theta", "rope_local_base_freq")
OLMO3 = TwoRopes("rope_theta", "rope_theta", 500_000.0, 500_000.0)
MODERNBERT = TwoRopes("global_rope_theta", "local_rope_theta", 160_000.0, scale_local=True)

TWO_ROPES: dict[str, TwoRopes] = {
    "gemma3_text": GEMMA3,
    "gemma3n_text": GEMMA3,
    "t5gemma2_text": GEMMA3,
    "t5gemma2_decoder": GEMMA3,
    "olmo3": OLMO3,
    "modernbert": MODERNBERT,
    "modernbert-decoder": MODERNBERT,
}

#: Other names of the base and of the rotated share of a head, by model_type.
ROPE_SPELLINGS: dict[str, tuple[str, str]] = {
    "gpt_neox": ("rotary_emb_base", "rotary_pct"),
    "gpt_neox_japanese": ("rotary_emb_base", "rotary_pct"),
    "nomic_bert": ("rotary_emb_base", "rotary_emb_fraction"),
}

#: Old names of rope types; phi3's first files called longrope by two other names.
ROPE_TYPES = {"su": "longrope", "mrope": "default"}
PHI3 = frozenset({"phi3", "phi4_multimodal"})
NO_WORD = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}
STRETCHED = frozenset({"llama3", "yarn", "longrope"})


def normalise(config: Mapping[str, Any], place: str, depth: int = 0) -> dict[str, Any]:
    """One config, and the configs nested in it, in the dialect of transformers 5."""
    if depth > DEPTH_LIMIT:
        raise CheckpointError(f"the config is nested deeper than {DEPTH_LIMIT}", place=place)
    found = {
        key: normalise(value, f"{place}: {key}", depth + 1) if nested(key, value) else plain(value)
        for key, value in deepcopy(dict(config)).items()
    }
    if "torch_dtype" in found:
        dtype = found.pop("torch_dtype")
        found.setdefault("dtype", dtype)
    rope = rope_parameters(found, place)
    for key in ("rope_theta", "rope_scaling", "partial_rotary_factor", *spellings(found)):
        if rope is not None:
            found.pop(key, None)
    if rope is not None:
        found["rope_parameters"] = rope
    elif found.get("rope_scaling", 0) is None:
        del found["rope_scaling"]
    return found


#: Keys of the configs of parts, besides those that end in ``_config``.
PARTS = ("encoder", "decoder", "question_encoder", "generator")


def nested(key: str, value: Any) -> bool:
    """Whether a value is the config of a part of the model."""
    return isinstance(value, dict) and (key.endswith("_config") or key in PARTS)


def plain(value: Any) -> Any:
    """A value; one that JSON has no word for, which transformers 5 writes as an object, or a list
    that holds one, with the number itself.
    """
    if isinstance(value, list):
        return [item if isinstance(item, list) else plain(item) for item in value]
    if isinstance(value, dict) and value.keys() == {"__float__"}:
        return NO_WORD.get(str(value["__float__"]), value)
    return value


def spellings(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys besides the usual ones that this model's rope is spelled with."""
    kind = str(config.get("model_type"))
    two = TWO_ROPES.get(kind)
    return (two.full_key, two.local_key) if two else ROPE_SPELLINGS.get(kind, ())


def rope_parameters(config: Mapping[str, Any], place: str) -> dict[str, Any] | None:
    """`rope_parameters` out of either dialect; None when the config says nothing about rope."""
    kind = str(config.get("model_type"))
    given = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(given, dict):
        raise CheckpointError(f"rope parameters are {given!r}, want an object", place=place)
    two = TWO_ROPES.get(kind)
    if two is not None:
        return both(config, given, two, place)
    theta_key, share_key = ROPE_SPELLINGS.get(kind, ("rope_theta", "partial_rotary_factor"))
    theta, share = config.get(theta_key), config.get(share_key)
    if per_layer(given):
        return {
            key: None if value is None else finished(value, config, theta, share, place)
            for key, value in given.items()
        }
    if not given and theta is None and share is None:
        return None
    return finished(given, config, theta, share, place)


def per_layer(given: Mapping[str, Any]) -> bool:
    """Whether the parameters are nested by layer type: every value is then an object or null."""
    kinds = {type(value) for value in given.values()}
    return dict in kinds and kinds <= {dict, type(None)}


def both(
    config: Mapping[str, Any], given: Mapping[str, Any], two: TwoRopes, place: str
) -> dict[str, Any]:
    """The parameters of full and of sliding layers."""
    flat = {} if per_layer(given) else given
    parts = given if per_layer(given) else {}
    full = {**(parts.get("full_attention") or {}), **flat}
    local = {**(parts.get("sliding_attention") or {}), **(flat if two.scale_local else {})}
    full_theta = config.get(two.full_key) or two.full
    local_theta = config.get(two.local_key) or two.local
    return {
        "full_attention": finished(full, config, full_theta, None, place),
        "sliding_attention": finished(local, config, local_theta, None, place),
    }


def finished(
    given: Mapping[str, Any], config: Mapping[str, Any], theta: Any, share: Any, place: str
) -> dict[str, Any]:
    """One set of parameters, with what older files keep beside it or leave out."""
    found = dict(given)
    spelled = found.pop("type", None)
    kind = found.get("rope_type") or spelled or "default"
    if not isinstance(kind, str):
        raise CheckpointError(f"rope_type is {kind!r}, wants a string", place=place)
    if config.get("model_type") in PHI3 and kind in ("su", "yarn"):
        kind = "longrope"
    found["rope_type"] = ROPE_TYPES.get(kind, kind)
    if found.get("rope_theta") is None and theta is not None:
        found["rope_theta"] = theta
    if share is not None:
        found.setdefault("partial_rotary_factor", share)
    if found["rope_type"] in STRETCHED:
        outside = config.get("original_max_position_embeddings")
        if outside is not None:
            found["original_max_position_embeddings"] = outside
        elif config.get("max_position_embeddings") is not None:
            found.setdefault("original_max_position_embeddings", config["max_position_embeddings"])
    return found
