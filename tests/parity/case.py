"""What one row of the parity table is, and where the rows come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """One tiny random checkpoint of one task, and the text it is asked about.

    architecture: the transformers class. config: keyword arguments of its config class.
    prompt: tokens of the prompt. pads: padding of each row, and so the batch size; on the left for
    decoders, on the right for encoders.
    """

    model_type: str
    task: str
    architecture: str
    name: str
    config: Mapping[str, Any] = field(hash=False)
    prompt: int = 13
    pads: tuple[int, ...] = (4, 0)

    @property
    def id(self) -> str:
        return f"{self.model_type}-{self.task}-{self.name}"


def table(
    model_type: str,
    architectures: Mapping[str, str],
    base: Mapping[str, Any],
    variants: Mapping[str, Mapping[str, Any]],
    **options: Any,
) -> list[Case]:
    """Every variant of a config (its difference from ``base``) × every task it is meant for.

    A variant may hold ``prompt``, ``pads`` and ``tasks`` (default: all of ``architectures``).
    """
    cases: list[Case] = []
    for name, variant in variants.items():
        config = {**base, **variant}
        tasks = config.pop("tasks", tuple(architectures))
        rest = {key: config.pop(key) for key in ("prompt", "pads") if key in config}
        for task in tasks:
            # An answer has a start and an end, whatever a classifier of this config would have.
            own = {
                k: v for k, v in config.items() if task != "question_answering" or k != "num_labels"
            }
            case = Case(model_type, task, architectures[task], name, own, **(options | rest))
            cases.append(case)
    return cases


@cache
def all_cases() -> tuple[Case, ...]:
    """The rows of every file in ``cases``; a new file joins by being there."""
    found: list[Case] = []
    for path in sorted((Path(__file__).parent / "cases").glob("*.py")):
        found += import_module(f"tests.parity.cases.{path.stem}").CASES
    names = [case.id for case in found]
    assert len(set(names)) == len(names), "two cases have one name"
    return tuple(found)
