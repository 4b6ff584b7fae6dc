"""Generation options: what `generation_config.json` says, and what a call may change."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from smelt.errors import CheckpointError, SmeltError, UnsupportedError
from smelt.runtime.manifest import GenerationDefaults
from smelt.runtime.sampling import Options

DEFAULT_NEW_TOKENS = 256

# Keys of generation_config.json that would change the result but are not built yet, with the value
# at which they change nothing. A model that sets one compiles, and `generate` refuses until told.
NEUTRAL: dict[str, Any] = {
    "num_beams": 1,
    "num_beam_groups": 1,
    "num_return_sequences": 1,
    "diversity_penalty": 0.0,
    "length_penalty": 1.0,
    "early_stopping": False,
    "penalty_alpha": 0.0,
    "typical_p": 1.0,
    "top_h": None,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "encoder_repetition_penalty": 1.0,
    "encoder_no_repeat_ngram_size": 0,
    "min_length": 0,
    "bad_words_ids": None,
    "sequence_bias": None,
    "force_words_ids": None,
    "constraints": None,
    "guidance_scale": 1.0,
    "exponential_decay_length_penalty": None,
    "watermarking_config": None,
    "stop_strings": None,
    "renormalize_logits": False,
    "dola_layers": None,
    "max_time": None,
    "prompt_lookup_num_tokens": None,
    "assistant_early_exit": None,
}
# These matter only to beam search, so they mean nothing without it.
_BEAMS_ONLY = ("length_penalty", "early_stopping", "diversity_penalty", "num_beam_groups")

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
        unsupported = (*found.get("unsupported", ()), *_unsupported(generation_config))
        found["unsupported"] = unsupported
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
    missing = [s for s in defaults.unsupported if s.split("=")[0].split(" ")[0] not in without]
    if missing:
        names = tuple(s.split("=")[0].split(" ")[0] for s in missing)
        raise UnsupportedError(
            f"generation_config.json asks for {', '.join(missing)}, which smelt lacks",
            hint=f"generate(..., without={names!r}) leaves it out",
        )
    given = {key: value for key, value in given.items() if value is not None}
    temperature = _temperature(defaults, given)
    sampled = temperature > 0.0
    own = defaults if defaults.do_sample and sampled else None
    limit = given.get("max_new_tokens", defaults.max_new_tokens)
    max_length = defaults.max_length if limit is None else None
    if limit is None:
        limit = DEFAULT_NEW_TOKENS if max_length is None else max_length
    _check_number("max_new_tokens", limit, 1, 2**31, whole=True)
    options = Options(
        max_new_tokens=limit,
        max_length=max_length,
        temperature=temperature,
        top_k=given.get("top_k", (own and own.top_k) or 0),
        top_p=given.get("top_p", (own and own.top_p) or 1.0),
        min_p=given.get("min_p", (own and own.min_p) or 0.0),
        repetition_penalty=given.get("repetition_penalty", defaults.repetition_penalty),
        no_repeat_ngram_size=given.get("no_repeat_ngram_size", defaults.no_repeat_ngram_size or 0),
        min_new_tokens=given.get("min_new_tokens", defaults.min_new_tokens or 0),
        eos=_ids(given.get("eos", defaults.eos_token_ids)),
        suppress=defaults.suppress_tokens,
        begin_suppress=defaults.begin_suppress_tokens,
        forced_bos=defaults.forced_bos_token_id,
        forced_eos=defaults.forced_eos_token_ids,
        stop=_stops(given.get("stop", ())),
        seed=_seed(given.get("seed"), sampled),
    )
    _check_number("top_k", options.top_k, 0, 2**31, whole=True)
    _check_number("top_p", options.top_p, 0.0, 1.0, above=True)
    _check_number("min_p", options.min_p, 0.0, 1.0)
    _check_number("repetition_penalty", options.repetition_penalty, 0.0, 1e6, above=True)
    _check_number("no_repeat_ngram_size", options.no_repeat_ngram_size, 0, 2**31, whole=True)
    _check_number("min_new_tokens", options.min_new_tokens, 0, 2**31, whole=True)
    return options


CALL_OPTIONS = (
    "max_new_tokens",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "min_new_tokens",
    "eos",
    "stop",
    "seed",
)


def _check_names(given: Mapping[str, Any]) -> None:
    for name in given:
        if name in CALL_OPTIONS:
            continue
        close = difflib.get_close_matches(name, CALL_OPTIONS, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(CALL_OPTIONS)}"
        raise SmeltError(f"generate has no option `{name}`", hint=hint)


def _temperature(defaults: GenerationDefaults, given: Mapping[str, Any]) -> float:
    """Sampling is on when the call says so in any way, else when generation_config.json does."""
    shaping = [key for key in ("top_k", "top_p", "min_p") if key in given]
    if "temperature" in given:
        value = given["temperature"]
        _check_number("temperature", value, 0.0, 1e6)
        if value == 0 and shaping:
            raise SmeltError(
                f"`{shaping[0]}` has no meaning at temperature 0, which is greedy",
                hint="leave it out, or raise the temperature",
            )
        return float(value)
    if defaults.do_sample:
        return defaults.temperature
    return 1.0 if shaping else 0.0


def _check_number(
    name: str, value: Any, low: float, high: float, *, whole: bool = False, above: bool = False
) -> None:
    kind = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise SmeltError(f"`{name}` is {value!r}, wants {kind}")
    if not low <= value <= high or (above and value == low):
        edge = "(" if above else "["
        raise SmeltError(f"`{name}` is {value}, wants {kind} in {edge}{low}, {high}]")


def _seed(value: Any, sampled: bool) -> int:
    if value is None:
        return int.from_bytes(os.urandom(4), "little") if sampled else 0
    _check_number("seed", value, 0, 2**64 - 1, whole=True)
    return int(value)


def _stops(value: Any) -> tuple[str, ...]:
    stops = (value,) if isinstance(value, str) else tuple(value)
    if any(not isinstance(s, str) or not s for s in stops):
        raise SmeltError("`stop` wants strings that are not empty")
    return stops


def _ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)


def _unsupported(source: Mapping[str, Any]) -> tuple[str, ...]:
    beams = source.get("num_beams") not in (None, 1)
    found = []
    for key, neutral in NEUTRAL.items():
        value = source.get(key)
        if value is None or value == neutral or (key in _BEAMS_ONLY and not beams):
            continue
        found.append(f"{key}={value}")
    return tuple(found)
