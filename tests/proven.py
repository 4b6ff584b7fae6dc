"""What the tests prove of each type, for `smelt specs`.

`make models` writes model_specs/proven.toml out of the tables that the tests run over;
tests/test_proven.py fails while the two differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from smelt.frontend.build import build
from smelt.frontend.checkpoint.dialect import normalise
from smelt.frontend.tasks import TASKS
from smelt.ir.program import Program, Slot
from smelt.ir.tensor import Tensor
from smelt.listing import PROVEN
from smelt.targets import TARGETS
from tests.parity import test_real, test_real_encoders
from tests.parity.case import Case, all_cases
from tests.parity.runners import COLUMNS
from tests.parity.test_removed import ROWS, stored
from tests.spec.test_published import PUBLISHED
from tests.tensorrt.test_models import BUILT

HEAD = "# What tests prove of each type. Written by `make models`; do not edit.\n\n"

#: Kinds of state in the order in which they are listed.
KINDS = ("full", "sliding", "latent", "cross", "tail", "recurrent")

#: What moves or joins numbers and computes nothing.
MOVES = frozenset({"reshape", "permute", "concat", "expand", "slice", "squeeze", "cast"})


def proven() -> dict[str, dict[str, Any]]:
    """What is proven of each type, by its name."""
    found: dict[str, dict[str, Any]] = {}

    def about(model_type: str) -> dict[str, Any]:
        return found.setdefault(model_type, {"rows": 0, "caches": set(), "real": set()})

    for case in all_cases():
        entry = about(case.model_type)
        entry["rows"] += 1
        entry["caches"] |= caches(case)
    for kind, name in ROWS:
        config, task = _removed(kind, name)
        entry = about(config["model_type"])
        entry["rows"] += 1
        entry["caches"] |= kinds(build(config, task=task))
    for entry in found.values():
        entry["targets"] = set(_targets())
    for name, (_, case) in test_real.REAL.items():
        about(case.model_type)["real"].add(name)
    for name, (model_type, _) in test_real_encoders.MODELS.items():
        about(model_type)["real"].add(name)
    for name, config in PUBLISHED.items():
        about(config["model_type"]).setdefault("published", set()).add(name)
    for model_type in BUILT:
        about(model_type)["built"] = {"tensorrt"}
    return dict(sorted(found.items()))


def text(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The file's text: a line a type."""
    lines = [f"{name} = {{ {', '.join(_fields(entry))} }}" for name, entry in found.items()]
    return HEAD + "\n".join(lines) + "\n"


def _fields(entry: Mapping[str, Any]) -> Iterator[str]:
    if entry["rows"]:
        yield f"rows = {entry['rows']}"
    for key in ("caches", "targets", "built", "real", "published"):
        if names := entry.get(key):
            order = {"caches": KINDS, "targets": _targets()}.get(key, sorted(names))
            yield f"{key} = {json.dumps([name for name in order if name in names])}"


def _targets() -> tuple[str, ...]:
    """The targets that the columns of the table open."""
    columns = {name.partition("-")[0] for name in COLUMNS}
    return tuple(dict.fromkeys(name for name, _ in TARGETS if name in columns))


def _removed(kind: str, name: str) -> tuple[dict[str, Any], str]:
    about = json.loads(str(stored(kind)[name]["about"]))
    return normalise(about["config"], "config.json"), about["task"]


def caches(case: Case) -> set[str]:
    """The kinds of state that a case's program keeps."""
    if all(contract.state == "none" for contract in TASKS[case.task].functions):
        return set()
    import transformers

    transformers.logging.set_verbosity_error()
    config = transformers.AutoConfig.for_model(case.model_type, **deepcopy(dict(case.config)))
    return kinds(build(normalise(config.to_dict(), "config.json"), task=case.task))


def kinds(program: Program) -> set[str]:
    """The kinds of state that a program keeps, by how it uses them."""
    return {_kind(program, slot) for slot in program.slots.values()}


def _kind(program: Program, slot: Slot) -> str:
    if slot.kind == "append":
        if slot.window is not None:
            return "sliding"
        return "latent" if _is_latent(program, slot) else "full"
    writers = {n: t for n, f in program.functions.items() for s, t in f.writes if s == slot.name}
    readers = {
        name
        for name, function in program.functions.items()
        for node in function.nodes()
        if node.op.name == "read" and node.attr("slot") == slot.name
    }
    if not readers & writers.keys():
        return "cross"
    return "tail" if all(_is_tail(t, slot) for t in writers.values()) else "recurrent"


def _is_tail(written: Tensor, slot: Slot) -> bool:
    """Is it the end of what was there and what came?"""
    if written.op.name != "slice" or written.inputs[0].op.name != "concat":
        return False
    joined = written.inputs[0].inputs
    return any(t.op.name == "read" and t.attr("slot") == slot.name for t in joined)


def _is_latent(program: Program, slot: Slot) -> bool:
    """Does a linear map make keys or values out of what the cache gives?"""
    near: set[Tensor] = set()
    for node in program.nodes():
        is_cache = node.op.name == "cache" and node.attr("slot") == slot.name
        if is_cache or (node.op.name in MOVES and near & set(node.inputs)):
            near.add(node)
        elif node.op.name == "linear" and node.inputs[0] in near:
            return True
    return False


if __name__ == "__main__":
    PROVEN.write_text(text(proven()), encoding="utf-8")
