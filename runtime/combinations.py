"""Options that cannot go together: each pair is refused by name, never resolved in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.settings import SETTINGS, Options


@dataclass(frozen=True)
class Refusal:
    """When two options collide, what to say (with their values), and what to do."""

    when: Callable[[Options], bool]
    message: str
    hint: str
    error: type[SmeltError] = UnsupportedError


REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        lambda o: o.num_beams > 1 and bool(o.stop),
        "`stop` is {stop!r}, and beams do not watch for text (`num_beams` is {num_beams})",
        "num_beams=1, or end at a token: eos",
    ),
    Refusal(
        lambda o: 1 < o.num_beams < o.num_return_sequences,
        "`num_return_sequences` is {num_return_sequences}, `num_beams` is {num_beams}",
        "as many beams as results",
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
    for name in given:
        if SETTINGS[name].kind == "beams" and options.num_beams == 1:
            raise SmeltError(
                f"`{name}` is {given[name]!r}, and there is one beam",
                hint="num_beams=4 searches; leave it out otherwise",
            )
