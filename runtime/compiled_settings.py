"""A model's own generation options as settings of `model.smelt`, which C++ reads without JSON.

    generation.do_sample                    1 where the model samples by itself
    generation.KEY                          an option by its key in generation_config.json: whole
                                            numbers as they are, others as the bits of a double;
                                            lists of ids one by one, under the same key
    generation.bad_words_ids                each sequence: its length, then its ids
    generation.sequence_bias                likewise, and the bits of its bias
    generation.stop_strings=TEXT            a string before which rows end
    generation.lacks.KEY=VALUE              what C++ lacks, and refuses by this name

`runtime/cpp/generation/settings.cc` reads them. An option at its neutral value is not written.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from smelt.errors import UnsupportedError
from smelt.runtime.manifest import GenerationDefaults
from smelt.runtime.options import own_options
from smelt.runtime.settings import NEUTRAL, SETTINGS, Watermark

Pair = tuple[str, int]

# What one row at a time cannot do.
_LACKING = (
    "num_beams",
    "num_return_sequences",
    "prompt_lookup_num_tokens",
    "guidance_scale",
    "force_words_ids",
    "penalty_alpha",
    "dola_layers",
)
# Only scores of beams can tell; `num_beams` itself is refused.
_OF_BEAMS = ("renormalize_logits",)


def compiled_settings(defaults: GenerationDefaults) -> list[Pair]:
    """The settings that C++ needs to choose as a model's file says."""
    return [*_settings(defaults)]


def _settings(defaults: GenerationDefaults) -> Iterator[Pair]:
    for text in defaults.unsupported:
        yield f"generation.lacks.{text}", 1
    if defaults.do_sample:
        yield "generation.do_sample", 1
    for name, said in own_options(defaults, sampled=defaults.do_sample).items():
        setting = SETTINGS[name]
        key = name if setting.own == "" else setting.own
        try:
            value = setting.read(name, said)
        except UnsupportedError:
            yield f"generation.lacks.{key}={said}", 1
            continue
        is_neutral = value == NEUTRAL.get(name) and name != "temperature"
        if name == "eos":  # known without a prefix before there were other settings
            yield from (("eos_token_id", token) for token in value)
        elif name in _LACKING and value != NEUTRAL[name]:
            yield f"generation.lacks.{key}={said}", 1
        elif is_neutral or name in _OF_BEAMS or setting.kind == "beams":
            continue
        else:
            yield from _option(f"generation.{key}", value)


def _option(key: str, value: Any) -> Iterator[Pair]:
    name = key.removeprefix("generation.")
    if name == "stop_strings":
        for text in value:
            known = "\0" not in text
            yield (f"{key}={text}" if known else f"generation.lacks.{name}={text!r}"), 1
    elif name == "bad_words_ids":
        for ids in value:
            yield from ((key, number) for number in (len(ids), *ids))
    elif name == "sequence_bias":
        for ids, bias in value:
            yield from ((key, number) for number in (len(ids), *ids, _bits(bias)))
    elif name == "exponential_decay_length_penalty":
        yield key, value[0]
        yield f"{key}.factor", _bits(value[1])
    elif isinstance(value, Watermark):
        yield f"{key}.bias", _bits(value.bias)
        yield f"{key}.greenlist_ratio", _bits(value.greenlist_ratio)
        yield f"{key}.hashing_key", value.hashing_key
        yield f"{key}.context_width", value.context_width
        yield f"{key}.selfhash", int(value.seeding_scheme == "selfhash")
    elif isinstance(value, tuple):
        yield from ((key, token) for token in value)
    else:
        yield key, value if name in _WHOLE else _bits(value)


# Options that are whole numbers; a value such as 1 for a real one is one as well.
_WHOLE = (
    "max_new_tokens",
    "max_length",
    "min_length",
    "min_new_tokens",
    "top_k",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "forced_bos_token_id",
)


def _bits(value: float) -> int:
    (bits,) = struct.unpack("<q", struct.pack("<d", float(value)))
    return int(bits)
