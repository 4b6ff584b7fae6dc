"""What a request asks of generation, as options of the engine.

A request that says nothing gets what `smelt run` gets: the model's generation_config.json, else
greedy. A value that changes nothing (`top_p` 1) does not turn sampling on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from smelt.errors import SmeltError
from smelt.runtime.manifest import GenerationDefaults, Manifest
from smelt.runtime.options import DEFAULT_NEW_TOKENS, resolve
from smelt.runtime.serve.errors import refused, too_long
from smelt.runtime.serve.protocol import Sampling
from smelt.runtime.serve.service import check_ids
from smelt.runtime.settings import NEUTRAL, Options

#: Seeds that the engine takes; the one above asks it for any.
_SEEDS = 2**64 - 1
_SAMPLERS = ("top_p", "top_k", "min_p")
_SAME = ("presence_penalty", "frequency_penalty", "repetition_penalty")


def options_for(
    request: Sampling,
    manifest: Manifest,
    *,
    prompt_tokens: int,
    context: int | None,
    asked: int | None,
    fallback: int | None,
    logprobs: int | None,
) -> Options:
    """The options of the first choice for a prompt of so many tokens.

    ``asked`` is the request's bound of new tokens; without it ``fallback``, and without that the
    model's own, or else the rest of the context.
    """
    defaults = manifest.generation
    given: dict[str, Any] = {name: getattr(request, name) for name in _SAME}
    given |= _samplers(request, defaults)
    if context is not None and prompt_tokens >= context:
        param = "prompt" if "prompt" in type(request).model_fields else "messages"
        raise too_long(prompt_tokens, context, param=param)
    given["max_new_tokens"] = _new_tokens(defaults, prompt_tokens, context, asked, fallback)
    given["logprobs"] = logprobs
    given["stop"] = request.stop or None
    if request.seed is not None:
        given["seed"] = request.seed % _SEEDS
    if request.logit_bias:
        check_ids(list(request.logit_bias), manifest, "logit_bias")
        given["sequence_bias"] = [((token,), bias) for token, bias in request.logit_bias.items()]
    try:
        return resolve(defaults, **given)
    except SmeltError as error:
        raise refused(error, params=type(request).model_fields) from None


def choice_of(options: Options, index: int) -> Options:
    """The options of another choice: the next seed."""
    return replace(options, seed=(options.seed + index) % _SEEDS)


def _samplers(request: Sampling, defaults: GenerationDefaults) -> dict[str, Any]:
    found: dict[str, Any] = {"temperature": request.temperature}
    if request.temperature == 0:
        return found  # the likeliest token, whatever else would have been kept
    for name in _SAMPLERS:
        value = getattr(request, name)
        if value is not None and (defaults.do_sample or value != NEUTRAL[name]):
            found[name] = value
    return found


def _new_tokens(
    defaults: GenerationDefaults,
    prompt_tokens: int,
    context: int | None,
    asked: int | None,
    fallback: int | None,
) -> int:
    if context is None:
        return asked or fallback or defaults.max_new_tokens or DEFAULT_NEW_TOKENS
    room = context - prompt_tokens
    if asked is not None:
        if asked > room:
            raise too_long(prompt_tokens, context, param="max_tokens", new=asked)
        return asked
    return min(room, fallback or defaults.max_new_tokens or room)
