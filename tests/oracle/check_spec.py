"""Tiers 0 to 3 of one spec: what `smelt specs check` runs in a clone.

`python -m tests.oracle.check_spec FILE [--type TYPE] [--task TASK]
[-k WORD] [--config FILE] [--checkpoint DIR]`
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smelt.errors import ParityError, SmeltError, SpecError, UnsupportedError
from smelt.frontend.build import build
from smelt.frontend.checkpoint.dialect import normalise
from smelt.frontend.spec.library import load, resolve
from smelt.frontend.tasks import supported
from smelt.ir.parser import parse_program
from smelt.ir.printer import print_program
from tests.oracle.trace import Place, Recorder, Traced
from tests.parity.case import Case, all_cases
from tests.parity.checkpoints import make
from tests.parity.reference import DRIVERS, Asked, Step
from tests.parity.test_parity import check, check_state

Array = np.ndarray[Any, Any]

#: A random model may have this many parameters; larger ones are for ``--checkpoint``.
MAX_RANDOM = 300_000_000


@dataclass(frozen=True)
class Question:
    """A case, and the checkpoint whose weights it has; None: random ones."""

    case: Case
    checkpoint: Path | None = None


def main(words: list[str]) -> None:
    """Run the tiers; prints a line for each, and raises the first error."""
    parser = argparse.ArgumentParser(prog="smelt specs check")
    parser.add_argument("file", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--type", dest="model_type")
    parser.add_argument("--task")
    parser.add_argument("-k", dest="word", default="")
    given = parser.parse_args(words)
    quiet()
    spec: Path = given.file
    module = load("", spec)
    definitions = resolve(module)
    offered = [task.name for task in supported(set(definitions))]
    parents = f", extends {', '.join(module.parents)}" if module.parents else ""
    say(0, f"{spec.name} parses{parents}; tasks: {', '.join(offered) or 'none'}")
    if given.config is None and given.checkpoint is None:
        found = rows(given.model_type or spec.stem, given.task, given.word)
    else:
        config = given.config or given.checkpoint / "config.json"
        found = [Question(_case_of(config, given.task, offered), given.checkpoint)]
    for question in found:
        building(question.case, spec)
    say(1, f"{len(found)} configs build, and the programs survive printing and parsing")
    pairs = {(q.case.task, q.case.architecture): q.case for q in found}
    for case in pairs.values():
        names_and_shapes(case, spec)
    say(2, f"names and shapes are those of {', '.join(a for _, a in pairs)}")
    for question in found:
        calls = agreement(question, spec)
        say(3, f"{question.case.id}: {calls}")


def quiet() -> None:
    """transformers' warnings about odd configs say nothing here."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def say(tier: int, text: str) -> None:
    print(f"tier {tier}  {text}", flush=True)


def rows(model_type: str, task: str | None, word: str) -> list[Question]:
    """The rows of a type."""
    found = [c for c in all_cases() if c.model_type == model_type and word in c.id]
    found = [c for c in found if task in (None, c.task)]
    if not found:
        raise SpecError(
            f"no rows of tests/parity/cases are for `{model_type}`",
            hint="add rows (docs/add-a-model.md), or give --config config.json of a tiny model, "
            "or --type where the file's name is not the type",
        )
    return [Question(case) for case in found]


def _case_of(path: Path, task: str | None, offered: list[str]) -> Case:
    """The case that a config.json describes."""
    import transformers

    from smelt.frontend.tasks import TASKS

    config = json.loads(path.read_text(encoding="utf-8"))
    model_type, architectures = config.get("model_type"), config.get("architectures") or []
    if model_type not in transformers.CONFIG_MAPPING or not architectures:
        raise SpecError(
            f"transformers has no model type `{model_type}`, or architectures is missing",
            place=str(path),
            hint="the reference is a class of transformers, named by architectures",
        )
    endings = {e: t for t in offered for e in TASKS[t].architectures}
    fits = [e for e in endings if architectures[0].endswith(e)]
    if task is None and not fits:
        raise SpecError(f"no task fits {architectures[0]}", hint="choose one with --task")
    chosen = task or endings[max(fits, key=len)]
    about = ("model_type", "architectures", "transformers_version", "torch_dtype", "dtype")
    kept = {key: value for key, value in config.items() if key not in about}
    return Case(model_type, chosen, architectures[0], path.stem, kept)


def _config(case: Case) -> Any:
    import transformers

    # Through text, since a config may change the objects it is made of.
    return transformers.AutoConfig.for_model(
        case.model_type, **json.loads(json.dumps(dict(case.config)))
    )


def building(case: Case, spec: Path) -> None:
    """Tier 1: the config alone gives a program, which prints and parses back."""
    config = normalise(_config(case).to_dict(), "config.json")
    text = print_program(build(config, task=case.task, spec=spec))
    if print_program(parse_program(text)) != text:
        raise SmeltError(f"{case.id}: the printed program parses to another one")


def names_and_shapes(case: Case, spec: Path) -> None:
    """Tier 2: every tensor that transformers saves is read, with its shape, and no other."""
    from tests.spec.test_names import saved_shapes

    config, shapes = saved_shapes(case.architecture, _config(case))
    build(normalise(config, "config.json"), task=case.task, spec=spec, shapes=shapes)


def agreement(question: Question, spec: Path) -> str:
    """Tier 3: outputs of every call and the state are those of transformers."""
    case = question.case
    model, directory = _model(question)
    asked = Asked(case, model, np.random.default_rng(7))
    recorder = Recorder(lambda: len(asked.steps))
    recorder.watch(model)
    held = DRIVERS[case.task](asked)
    traced = Traced(directory, case.task, spec)
    for number, step in enumerate(asked.steps):
        actual, values = traced.call(step.function, step.inputs)
        try:
            for name, value in step.outputs.items():
                check(actual[name], value, step.real, f"{name} of call {number}")
        except AssertionError as error:
            heard = recorder.calls.get(number, [])
            place = traced.parting(step.function, values, heard, _real(step))
            raise _parted(case, str(error), place) from None
    state = traced.read_state()
    for one in held:
        try:
            check_state(state, one)
        except AssertionError as error:
            raise ParityError(f"{case.id}: state {error}") from None
    kept = f", and {sum(len(one.values) for one in held)} slots of state" if held else ""
    count = len(asked.steps)
    return f"{count} calls{kept} agree" if count > 1 else "1 call agrees"


def _real(step: Step) -> Array | None:
    """Positions that are words: what padding computes counts in few models."""
    mask = step.inputs.get("attention_mask")
    if step.real is not None or mask is None or mask.ndim != 2:
        return step.real
    width = next((v.shape[1] for k, v in step.inputs.items() if k.endswith("input_ids")), 0)
    return mask[:, -width:] != 0 if width else None


def _model(question: Question) -> tuple[Any, Path]:
    """The model of transformers, and the checkpoint that holds its weights."""
    if question.checkpoint is not None:
        from tests.parity.test_real import load as published

        return published(question.checkpoint, question.case.architecture), question.checkpoint
    _, shapes = _shapes(question.case)
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    if count > MAX_RANDOM:
        raise UnsupportedError(
            f"{question.case.id}: {count:,} parameters are many for random weights",
            hint="give a config of few layers and small widths, or --checkpoint",
        )
    made = make(question.case)
    return made.model, made.directory


def _shapes(case: Case) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    from tests.spec.test_names import saved_shapes

    return saved_shapes(case.architecture, _config(case))


def _parted(case: Case, message: str, place: Place | None) -> ParityError:
    if place is None:
        hint = "every module that could be compared agrees: look at the head, and at padding"
        return ParityError(f"{case.id}: {message}", hint=hint)
    before = f"; {', '.join(place.before)} agree" if place.before else ""
    return ParityError(
        f"{case.id}: {message}",
        place=f"{place.module} ({place.kind})",
        hint=f"first to differ: {place.module}, by {place.error:.3g} where the largest value is "
        f"{place.largest:.3g} (nearest: {place.node}){before}",
    )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SmeltError as error:
        from smelt.console import show_error

        show_error(error, as_json=False)
        raise SystemExit(error.exit_code) from None
