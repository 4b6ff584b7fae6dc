"""Every option of generation, listed once: its name, its check, and where a model may say it.

`options.resolve` makes ``Options`` of what a model and a call say; processors, samplers and beams
read them. A name is that of `transformers`, but for the few with ``own``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.json_schema import schema_pattern

Read = Callable[[str, Any], Any]
Kind = Literal["plain", "sampler", "beams", "guesses"]


def check_number(
    name: str, value: Any, low: float, high: float, *, whole: bool = False, above: bool = False
) -> None:
    """SmeltError unless the value is a number in [low, high], or (low, high] with ``above``."""
    kind = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise SmeltError(f"`{name}` is {value!r}, wants {kind}")
    if not low <= value <= high or (above and value == low):
        edge = "(" if above else "["
        raise SmeltError(f"`{name}` is {value}, wants {kind} in {edge}{low}, {high}]")


def _number(low: float, high: float, *, whole: bool = False, above: bool = False) -> Read:
    def read(name: str, value: Any) -> Any:
        check_number(name, value, low, high, whole=whole, above=above)
        return value

    return read


_COUNT = _number(0, 2**31, whole=True)
_POSITIVE = _number(1, 2**31, whole=True)
_FEW = _number(1, 4096, whole=True)  # rows and guesses take memory before anything is known of them
_FACTOR = _number(0.0, 1e6, above=True)
_SHARE = _number(0.0, 1.0, above=True)
_CUTOFF = _number(0.0, 1.0)
_PENALTY = _number(-1e6, 1e6)


def _temperature(name: str, value: Any) -> Any:
    check_number(name, value, 0.0, 1e6)
    if 0 < value < 1e-6:
        raise SmeltError(f"`{name}` is {value}, wants 0 (greedy) or at least 1e-6")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise SmeltError(f"`{name}` is {value!r}, wants true or false")
    return value


def _early(name: str, value: Any) -> Any:
    return value if value == "never" else _flag(name, value)


def _ids(name: str, value: Any) -> tuple[int, ...]:
    found = (value,) if isinstance(value, int) else value
    if not isinstance(found, (list, tuple, np.ndarray)):
        raise SmeltError(f"`{name}` is {value!r}, wants token ids")
    found = tuple(int(token) if isinstance(token, np.integer) else token for token in found)
    for token in found:
        check_number(name, token, 0, 2**31, whole=True)
    return found


def _id(name: str, value: Any) -> int:
    check_number(name, value, 0, 2**31, whole=True)
    return int(value)


def _sequences(name: str, value: Any) -> tuple[tuple[int, ...], ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise SmeltError(f"`{name}` is {value!r}, wants lists of token ids")
    return tuple(_sequence(name, entry) for entry in value)


def _sequence(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise SmeltError(f"`{name}` has {value!r}, wants a list of token ids that is not empty")
    return _ids(name, value)


def _layers(name: str, value: Any) -> str | tuple[int, ...]:
    if isinstance(value, str) and value in ("low", "high"):
        return value
    if isinstance(value, (str, int)) or not (found := _ids(name, value)):
        raise SmeltError(f"`{name}` is {value!r}, wants low, high or a list of layers")
    return tuple(dict.fromkeys(found))


def _words(name: str, value: Any) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Each word as the sequences of which one is said; a plain list of ids is a single one."""
    if not isinstance(value, (list, tuple)) or not value:
        raise SmeltError(f"`{name}` is {value!r}, wants lists of token ids, or of such lists")
    found = []
    for entry in value:
        nested = isinstance(entry, (list, tuple)) and entry and isinstance(entry[0], (list, tuple))
        word = _sequences(name, entry) if nested else (_sequence(name, entry),)
        for ids in word:
            if sum(other[: len(ids)] == ids for other in word) > 1:
                raise SmeltError(f"`{name}` has {list(ids)} as the beginning of another choice")
        found.append(word)
    return tuple(found)


def _biases(name: str, value: Any) -> tuple[tuple[tuple[int, ...], float], ...]:
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(pairs, (list, tuple)) or not pairs:
        raise SmeltError(f"`{name}` is {value!r}, wants pairs of token ids and a bias")
    found: dict[tuple[int, ...], float] = {}
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise SmeltError(f"`{name}` has {pair!r}, wants a pair of token ids and a bias")
        bias = pair[1]
        if isinstance(bias, bool) or not isinstance(bias, (int, float)) or math.isnan(bias):
            raise SmeltError(f"`{name}` has the bias {bias!r}, wants a number")
        found[_sequence(name, pair[0])] = float(bias)
    return tuple(found.items())


def _decay(name: str, value: Any) -> tuple[int, float]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise SmeltError(f"`{name}` is {value!r}, wants a start and a factor")
    check_number(name, value[0], 0, 2**31, whole=True)
    check_number(name, value[1], 0.0, 1e6, above=True)
    return int(value[0]), float(value[1])


def _stops(name: str, value: Any) -> tuple[str, ...]:
    stops = (value,) if isinstance(value, str) else value
    if not isinstance(stops, (list, tuple)) or any(not isinstance(s, str) or not s for s in stops):
        raise SmeltError(f"`{name}` wants strings that are not empty")
    return tuple(stops)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SmeltError(f"`{name}` is {value!r}, wants a string")
    return value


@dataclass(frozen=True)
class Watermark:
    """A watermark of green tokens, as in "A Watermark for Large Language Models"."""

    greenlist_ratio: float = 0.25
    bias: float = 2.0
    hashing_key: int = 15485863
    seeding_scheme: str = "lefthash"
    context_width: int = 1


def _watermark(name: str, value: Any) -> Watermark:
    if isinstance(value, Watermark):
        return value
    if not isinstance(value, Mapping):
        raise SmeltError(f"`{name}` is {value!r}, wants a table of settings")
    if "ngram_len" in value:
        raise UnsupportedError(f"`{name}` asks for SynthID, smelt has green lists only")
    known = {f.name for f in fields(Watermark)}
    for key in value:
        if key not in known:
            raise SmeltError(f"`{name}` has no `{key}`", hint=f"known: {', '.join(sorted(known))}")
    mark = Watermark(**value)
    check_number(f"{name}.bias", mark.bias, -1e6, 1e6)
    check_number(f"{name}.greenlist_ratio", mark.greenlist_ratio, 0.0, 1.0)
    check_number(f"{name}.hashing_key", mark.hashing_key, 1, 2**40, whole=True)
    check_number(f"{name}.context_width", mark.context_width, 1, 2**16, whole=True)
    if mark.seeding_scheme not in ("lefthash", "selfhash"):
        raise SmeltError(
            f"`{name}.seeding_scheme` is {mark.seeding_scheme!r}, wants lefthash or selfhash"
        )
    return mark


@dataclass(frozen=True)
class Setting:
    """What is known of one option; ``own`` is its key in generation_config.json: "" its name."""

    read: Read
    own: str | None
    call: bool
    kind: Kind


def _option(
    default: Any, read: Read, own: str | None = "", *, call: bool = True, kind: Kind = "plain"
) -> Any:
    return field(default=default, metadata=_told(read, own, call=call, kind=kind))


def _told(
    read: Read, own: str | None = "", *, call: bool = True, kind: Kind = "plain"
) -> dict[str, Setting]:
    return {"setting": Setting(read, own, call, kind)}


@dataclass(frozen=True)
class Options:
    """Everything that decides which token comes next; see ``options.resolve``."""

    max_new_tokens: int = field(metadata=_told(_POSITIVE))
    max_length: int | None = _option(None, _COUNT, call=False)
    """Prompt and new tokens together, where the model sets that and the call sets nothing."""
    max_time: float | None = _option(None, _number(0.0, 1e9, above=True))
    """Seconds; rows end with the token during which they pass."""
    min_length: int = _option(0, _COUNT)
    """Prompt and new tokens of the row together, before the end is allowed."""
    min_new_tokens: int = _option(0, _COUNT)
    eos: tuple[int, ...] = _option((), _ids, "eos_token_id")
    stop: tuple[str, ...] = _option((), _stops, "stop_strings")
    seed: int = _option(0, _number(0, 2**64 - 1, whole=True), None)
    logprobs: int | None = _option(None, _number(0, 1000, whole=True), None)
    """Give each token's log-probability, and those of so many of the likeliest."""
    num_return_sequences: int = _option(1, _FEW)
    """Results for each prompt: so many draws, or so many of the best beams."""
    # ---- beams
    num_beams: int = _option(1, _FEW)
    length_penalty: float = _option(1.0, _number(-6.0, 6.0), kind="beams")
    early_stopping: bool | str = _option(False, _early, kind="beams")
    """True, false or "never"; see ``beams``."""
    num_beam_groups: int = _option(1, _FEW, kind="beams")
    """Groups of beams, each kept from the tokens of those before it; see ``diverse``."""
    diversity_penalty: float = _option(0.0, _number(0.0, 1e6), kind="beams")
    force_words_ids: tuple[tuple[tuple[int, ...], ...], ...] = _option((), _words, kind="beams")
    """Words that the result has, each as the sequences of which one is enough; see ``forced``."""
    # ---- hidden states
    penalty_alpha: float = _option(0.0, _CUTOFF)
    """How much a candidate's likeness to what came before counts; see ``contrastive``."""
    dola_layers: str | tuple[int, ...] | None = _option(None, _layers)
    """Early layers that the last one is contrasted with; see ``early_layers``."""
    # ---- guesses
    prompt_lookup_num_tokens: int | None = _option(None, _FEW)
    """Guess so many tokens by what followed the last ones before."""
    max_matching_ngram_size: int = _option(2, _FEW, None, kind="guesses")
    num_assistant_tokens: int = _option(5, _FEW, None, kind="guesses")
    """Guesses of a draft before the model checks them."""
    # ---- samplers
    temperature: float = _option(0.0, _temperature, kind="sampler")
    """0 is greedy."""
    top_h: float | None = _option(None, _SHARE, kind="sampler")
    top_k: int = _option(0, _COUNT, kind="sampler")
    """0 keeps all."""
    top_p: float = _option(1.0, _SHARE, kind="sampler")
    min_p: float = _option(0.0, _CUTOFF, kind="sampler")
    typical_p: float = _option(1.0, _SHARE, kind="sampler")
    epsilon_cutoff: float = _option(0.0, _CUTOFF, kind="sampler")
    eta_cutoff: float = _option(0.0, _CUTOFF, kind="sampler")
    # ---- processors
    guidance_scale: float = _option(1.0, _PENALTY)
    """1 is off; above it, away from what the other prompt would say."""
    sequence_bias: tuple[tuple[tuple[int, ...], float], ...] = _option((), _biases)
    encoder_repetition_penalty: float = _option(1.0, _FACTOR)
    repetition_penalty: float = _option(1.0, _FACTOR)
    frequency_penalty: float = _option(0.0, _PENALTY, None)
    presence_penalty: float = _option(0.0, _PENALTY, None)
    no_repeat_ngram_size: int = _option(0, _COUNT)
    encoder_no_repeat_ngram_size: int = _option(0, _COUNT)
    bad_words_ids: tuple[tuple[int, ...], ...] = _option((), _sequences)
    forced_bos: int | None = _option(None, _id, "forced_bos_token_id", call=False)
    forced_eos: tuple[int, ...] = _option((), _ids, "forced_eos_token_id", call=False)
    pattern: str | None = _option(None, _text, None)
    """A regular expression that the whole new text matches; see ``regex``."""
    json_schema: str | None = _option(None, lambda _, value: schema_pattern(value), None)
    """A schema whose values the new text writes, kept as their pattern."""
    exponential_decay_length_penalty: tuple[int, float] | None = _option(None, _decay)
    """New tokens after which, and the factor by which, the end becomes likelier."""
    suppress: tuple[int, ...] = _option((), _ids, "suppress_tokens", call=False)
    begin_suppress: tuple[int, ...] = _option((), _ids, "begin_suppress_tokens", call=False)
    watermarking_config: Watermark | None = field(default=None, metadata=_told(_watermark))
    renormalize_logits: bool = _option(False, _flag)
    """Only beam scores can tell."""

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return self.temperature == 0.0

    @property
    def room(self) -> int:
        """Rows of the engine that a row takes: beams, candidates, or itself and its twin."""
        if self.penalty_alpha > 0.0:
            return self.top_k
        return self.num_beams if self.guidance_scale == 1.0 else 2

    @property
    def copies(self) -> int:
        """Rows of each prompt: its draws, which beams share a search for."""
        return self.num_return_sequences if self.num_beams == 1 else 1


SETTINGS: dict[str, Setting] = {f.name: f.metadata["setting"] for f in fields(Options)}
NEUTRAL: dict[str, Any] = {f.name: f.default for f in fields(Options)}
