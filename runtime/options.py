"""Generation options: what `generation_config.json` says, and what a call may change.

Every key that `transformers` knows is read (``settings.SETTINGS`` and the ids of ``_PLAIN``),
refused (``LACKING``), or changes no token (``WITHOUT_EFFECT``); a test holds the three against it.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from smelt.errors import CheckpointError, SmeltError, UnsupportedError
from smelt.runtime.combinations import check_combinations
from smelt.runtime.manifest import GenerationDefaults
from smelt.runtime.settings import NEUTRAL, SETTINGS, Options, Setting

DEFAULT_NEW_TOKENS = 256
DEFAULT_TOP_K = 50  # candidates of contrastive search, as `transformers` has them

# Keys of generation_config.json that would change the result but are not built, with the value at
# which they change nothing. A model that sets one compiles, and `generate` refuses until told.
LACKING: dict[str, Any] = {
    "constraints": None,
    "assistant_early_exit": None,
    "token_healing": False,
}

# How `transformers` runs a model and what it hands back: no token depends on them. Invalid values
# are an error here; those of an assistant mean nothing without one.
WITHOUT_EFFECT: tuple[str, ...] = (
    "use_cache",
    "low_memory",
    "use_mtp",
    "cache_implementation",
    "cache_config",
    "max_cache_len",
    "prefill_chunk_size",
    "compile_config",
    "disable_compile",
    "continuous_batching_config",
    "remove_invalid_values",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "output_logits",
    "return_dict_in_generate",
    "is_assistant",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "assistant_ensemble_weight",
    "assistant_confidence_threshold",
    "assistant_lookbehind",
    "target_lookbehind",
    "speculation_type",
    "max_matching_ngram_size",
    "_from_model_config",
    "transformers_version",
)

# What the manifest has fields for; ``GenerationDefaults.settings`` keeps the others by name.
_PLAIN = (
    "bos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "max_new_tokens",
    "max_length",
    "min_new_tokens",
    "no_repeat_ngram_size",
    "forced_bos_token_id",
)
# The manifest's fields by option, where the names differ.
_FIELDS = {
    "eos": "eos_token_ids",
    "suppress": "suppress_tokens",
    "begin_suppress": "begin_suppress_tokens",
    "forced_bos": "forced_bos_token_id",
    "forced_eos": "forced_eos_token_ids",
}

CALL_OPTIONS = tuple(name for name, setting in SETTINGS.items() if setting.call)


def generation_defaults(
    generation_config: Mapping[str, Any] | None, config: Mapping[str, Any]
) -> GenerationDefaults:
    """Read generation_config.json, or the same keys of config.json where there is no such file."""
    source = generation_config if generation_config is not None else config
    found: dict[str, Any] = {k: source[k] for k in _PLAIN if source.get(k) is not None}
    for key in ("bos_token_id", "pad_token_id", "decoder_start_token_id"):
        if key not in found and config.get(key) is not None:
            found[key] = config[key]
    for key in ("bos_token_id", "decoder_start_token_id", "pad_token_id"):
        if isinstance(found.get(key), list):  # a few models list several; the first is the one used
            found[key] = found[key][0]
    if found.get("do_sample") and "top_k" not in source:
        found["top_k"] = 50  # what `transformers` does where the file is silent
    eos = source.get("eos_token_id")
    found["eos_token_ids"] = _ids(config.get("eos_token_id") if eos is None else eos)
    found["forced_eos_token_ids"] = _ids(source.get("forced_eos_token_id"))
    for key in ("suppress_tokens", "begin_suppress_tokens"):
        found[key] = _ids(source.get(key))
    pairs = source.get("forced_decoder_ids") or ()
    if any(pair[1] is None for pair in pairs):
        found["unsupported"] = ("forced_decoder_ids with a language to be detected",)
    else:
        found["forced_decoder_ids"] = tuple(tuple(pair) for pair in pairs)
    if generation_config is not None:
        unsupported = (*found.get("unsupported", ()), *_lacking(generation_config))
        found["unsupported"] = unsupported
        found["settings"] = _settings(generation_config)
    try:
        return GenerationDefaults.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(
            f"`{field}` is {first['input']!r}: {first['msg'].lower()}",
            place="generation_config.json",
        ) from None


def resolve(
    defaults: GenerationDefaults,
    *,
    without: tuple[str, ...] = (),
    **given: Any,
) -> Options:
    """The options of one call: given ones over the model's own, checked.

    ``without`` names keys of generation_config.json that smelt lacks and the caller leaves out.
    """
    _check_names(given)
    _check_supported(defaults, without)
    given = {key: value for key, value in given.items() if value is not None}
    own = own_options(defaults, without, sampled=defaults.do_sample)
    contrasts = bool(({"penalty_alpha": own.get("penalty_alpha")} | given)["penalty_alpha"])
    temperature = _temperature(defaults, given, contrasts=contrasts)
    sampled = temperature > 0.0
    if not sampled:
        own = own_options(defaults, without, sampled=False)
    values = own | given
    if contrasts and "top_k" not in given:
        values["top_k"] = defaults.top_k or DEFAULT_TOP_K
    values |= {"temperature": temperature, "seed": _seed(given.get("seed"), sampled)}
    if "max_new_tokens" in values:
        values.pop("max_length", None)
    else:
        values["max_new_tokens"] = values.get("max_length", DEFAULT_NEW_TOKENS)
    values = {name: SETTINGS[name].read(name, value) for name, value in values.items()}
    options = Options(**values)
    check_combinations(options, given)
    return options


def own_options(
    defaults: GenerationDefaults, without: tuple[str, ...] = (), *, sampled: bool
) -> dict[str, Any]:
    """The model's own settings by option, not yet read; those of samplers only where it samples."""
    found = {}
    for name, setting in SETTINGS.items():
        key = _key(name, setting)
        if key is None or key in without or (setting.kind == "sampler" and not sampled):
            continue
        value = getattr(defaults, _FIELDS.get(name, name), None)
        value = defaults.settings.get(key) if value is None else value
        if value is not None:
            found[name] = value
    return found


def _key(name: str, setting: Setting) -> str | None:
    """The key of an option in generation_config.json."""
    return name if setting.own == "" else setting.own


def _settings(source: Mapping[str, Any]) -> dict[str, Any]:
    """What generation_config.json sets beyond the manifest's fields, checked."""
    found = {}
    for name, setting in SETTINGS.items():
        key = _key(name, setting)
        known = GenerationDefaults.model_fields
        if key is None or name in known or key in known or _FIELDS.get(name) in known:
            continue
        value = source.get(key)
        if value is None or value == NEUTRAL[name]:
            continue
        try:
            setting.read(key, value)
        except UnsupportedError:
            pass  # refused when it is used
        except SmeltError as error:
            raise CheckpointError(error.message, place="generation_config.json") from None
        found[key] = value
    return found


def _check_names(given: Mapping[str, Any]) -> None:
    for name in given:
        if name in CALL_OPTIONS:
            continue
        close = difflib.get_close_matches(name, CALL_OPTIONS, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(CALL_OPTIONS)}"
        raise SmeltError(f"generate has no option `{name}`", hint=hint)


def _check_supported(defaults: GenerationDefaults, without: tuple[str, ...]) -> None:
    missing = [s for s in defaults.unsupported if s.split("=")[0].split(" ")[0] not in without]
    if missing:
        names = tuple(s.split("=")[0].split(" ")[0] for s in missing)
        raise UnsupportedError(
            f"generation_config.json asks for {', '.join(missing)}, which smelt lacks",
            hint=f"generate(..., without={names!r}) leaves it out",
        )


def _temperature(
    defaults: GenerationDefaults, given: Mapping[str, Any], *, contrasts: bool
) -> float:
    """Sampling is on when the call says so in any way, else when generation_config.json does.

    ``top_k`` is no sampler where it counts the candidates of contrastive search.
    """
    plain = ("temperature", "top_k") if contrasts else ("temperature",)
    shaping = [key for key in given if SETTINGS[key].kind == "sampler" and key not in plain]
    if "temperature" in given:
        value = SETTINGS["temperature"].read("temperature", given["temperature"])
        if value == 0 and shaping:
            raise SmeltError(
                f"`{shaping[0]}` has no meaning at temperature 0, which is greedy",
                hint="leave it out, or raise the temperature",
            )
        return float(value)
    if defaults.do_sample:
        return defaults.temperature
    return 1.0 if shaping else 0.0


def _seed(value: Any, sampled: bool) -> Any:
    if value is None:
        return int.from_bytes(os.urandom(4), "little") if sampled else 0
    return value


def _ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)


def _lacking(source: Mapping[str, Any]) -> tuple[str, ...]:
    found = []
    for key, neutral in LACKING.items():
        value = source.get(key)
        if value is None or value == neutral:
            continue
        found.append(f"{key}={value}")
    return tuple(found)
