"""Options that cannot go together: each pair is refused by name, never resolved in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.settings import NEUTRAL, SETTINGS, Options


@dataclass(frozen=True)
class Refusal:
    """When two options collide, what to say (with their values), and what to do."""

    when: Callable[[Options], bool]
    message: str
    hint: str
    error: type[SmeltError] = UnsupportedError


#: Options that decide by themselves how rows are generated.
_WAYS = ("num_beams", "guidance_scale", "prompt_lookup_num_tokens")


def _alone(name: str, other: str) -> Refusal:
    """That an option does not go with another one, where both are on."""
    return Refusal(
        lambda o: is_on(o, name) and is_on(o, other),
        f"`{name}` is {{{name}}}, `{other}` is {{{other}}}: they do not go together",
        "one of the two",
    )


def is_on(options: Options, name: str) -> bool:
    """Whether an option differs from the value at which it changes nothing."""
    return bool(getattr(options, name) != NEUTRAL[name])


REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        lambda o: o.num_beams > 1 and o.prompt_lookup_num_tokens is not None,
        "`prompt_lookup_num_tokens` is {prompt_lookup_num_tokens}, `num_beams` is {num_beams}: "
        "guesses are checked one row at a time",
        "one of the two",
    ),
    Refusal(
        lambda o: o.guidance_scale != 1.0 and o.num_beams > 1,
        "`guidance_scale` is {guidance_scale}, `num_beams` is {num_beams}: beams are not guided",
        "one of the two",
    ),
    Refusal(
        lambda o: o.guidance_scale != 1.0 and o.prompt_lookup_num_tokens is not None,
        "`guidance_scale` is {guidance_scale}, `prompt_lookup_num_tokens` is "
        "{prompt_lookup_num_tokens}: guesses are checked without guidance",
        "one of the two",
    ),
    Refusal(
        lambda o: o.penalty_alpha > 0.0 and not o.greedy,
        "`penalty_alpha` is {penalty_alpha}, `temperature` is {temperature}: contrastive search "
        "draws nothing",
        "temperature=0",
    ),
    Refusal(
        lambda o: o.penalty_alpha > 0.0 and o.top_k < 2,
        "`penalty_alpha` is {penalty_alpha}, `top_k` is {top_k}: contrastive search wants two "
        "candidates or more",
        "top_k=4",
        SmeltError,
    ),
    *(_alone("penalty_alpha", name) for name in _WAYS),
    *(_alone("dola_layers", name) for name in (*_WAYS, "penalty_alpha")),
    # The contrast leaves few tokens, of which a pattern would often allow none.
    *(_alone("dola_layers", name) for name in ("pattern", "json_schema")),
    Refusal(
        lambda o: o.pattern is not None and o.json_schema is not None,
        "`pattern` and `json_schema` are both given",
        "one of the two",
        SmeltError,
    ),
    Refusal(
        lambda o: bool(o.pattern is not None or o.json_schema) and not o.eos,
        "a `pattern` or `json_schema` needs an end token, `eos` has none",
        "eos=...",
        SmeltError,
    ),
    Refusal(
        lambda o: 1 < o.num_beams < o.num_return_sequences,
        "`num_return_sequences` is {num_return_sequences}, `num_beams` is {num_beams}",
        "as many beams as results",
        SmeltError,
    ),
    Refusal(
        lambda o: o.num_beams > 1 and o.num_beams % o.num_beam_groups != 0,
        "`num_beams` is {num_beams}, which {num_beam_groups} groups (`num_beam_groups`) do not "
        "share evenly",
        "a multiple of the groups",
        SmeltError,
    ),
    Refusal(
        lambda o: o.num_beams > 1 and o.num_beam_groups > 1 and o.diversity_penalty == 0.0,
        "`num_beam_groups` is {num_beam_groups}, and without a `diversity_penalty` all of them "
        "say the same",
        "diversity_penalty=1.0",
        SmeltError,
    ),
    Refusal(
        lambda o: o.num_beams > 1 and o.num_beam_groups == 1 and o.diversity_penalty != 0.0,
        "`diversity_penalty` is {diversity_penalty}, and there is one group",
        "num_beam_groups=2, or leave it out",
        SmeltError,
    ),
    Refusal(
        lambda o: o.num_beams > 1 and o.num_beam_groups > 1 and not o.greedy,
        "`num_beam_groups` is {num_beam_groups}, `temperature` is {temperature}: groups are not "
        "drawn",
        "temperature=0",
    ),
    Refusal(
        lambda o: o.num_beams > 1 and bool(o.force_words_ids) and not o.greedy,
        "`force_words_ids` does not go with drawn beams, `temperature` is {temperature}",
        "temperature=0",
    ),
    Refusal(
        lambda o: o.num_beams > 1 and bool(o.force_words_ids) and o.num_beam_groups > 1,
        "`force_words_ids` does not go with groups, `num_beam_groups` is {num_beam_groups}",
        "one of the two",
    ),
    Refusal(
        lambda o: bool(o.force_words_ids) and o.num_beams == 1,
        "`force_words_ids` is {force_words_ids}, and there is one beam",
        "num_beams=4 searches for them; leave it out otherwise",
        SmeltError,
    ),
    Refusal(
        lambda o: any(set(ids) & set(o.eos) for word in o.force_words_ids for ids in word),
        "`force_words_ids` has an end token, `eos` is {eos}",
        "a word cannot go on after the end",
        SmeltError,
    ),
    Refusal(
        lambda o: o.num_beams == 1 and o.greedy and o.num_return_sequences > 1,
        "`num_return_sequences` is {num_return_sequences}, and greedy gives the same each time",
        "a temperature, or num_beams",
        SmeltError,
    ),
)


def check_combinations(options: Options, given: Mapping[str, Any]) -> None:
    """Raise where options collide, or where one that is ``given`` means nothing."""
    for refusal in REFUSALS:
        if refusal.when(options):
            values = {name: getattr(options, name) for name in SETTINGS}
            raise refusal.error(refusal.message.format(**values), hint=refusal.hint)
    lookup = options.prompt_lookup_num_tokens is not None
    if "max_matching_ngram_size" in given and not lookup:
        raise SmeltError(
            "`max_matching_ngram_size` means nothing without `prompt_lookup_num_tokens`"
        )
    for name in given:
        if SETTINGS[name].kind == "beams" and options.num_beams == 1:
            raise SmeltError(
                f"`{name}` is {given[name]!r}, and there is one beam",
                hint="num_beams=4 searches; leave it out otherwise",
            )


def check_call(options: Options, *, draft: bool, negative: bool, given: Mapping[str, Any]) -> None:
    """Raise where a draft or another prompt collides with an option, or lacks one."""
    if draft:
        taken = {
            "prompt_lookup_num_tokens": options.prompt_lookup_num_tokens is not None,
            "num_beams": options.num_beams > 1,
            "guidance_scale": options.guidance_scale != 1.0,
            "penalty_alpha": options.penalty_alpha > 0.0,
            "dola_layers": options.dola_layers is not None,
        }
        for name, collides in taken.items():
            if collides:
                raise UnsupportedError(
                    f"`{name}` is {getattr(options, name)}, which does not go with a draft",
                    hint="one of the two",
                )
    elif "num_assistant_tokens" in given:
        raise SmeltError("`num_assistant_tokens` means nothing without a draft")
    if negative and options.guidance_scale == 1.0:
        raise SmeltError("`negative` means nothing without `guidance_scale`")
