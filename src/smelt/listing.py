"""`smelt specs`: the architectures that come with smelt, and what is proven of each."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import smelt.ir.ops  # noqa: F401 - defines the ops that specs call
from smelt.frontend.checkpoint.gguf_models import ARCHITECTURES
from smelt.frontend.layers.registry import LAYERS
from smelt.frontend.spec.library import LIBRARY, builtin, names, resolve
from smelt.frontend.spec.syntax import Definition
from smelt.frontend.tasks import supported
from smelt.ir.op import OPS

#: What the tests prove of each type; they write this file, and fail when it is not what they prove.
PROVEN = LIBRARY / "proven.toml"
#: Types that people may look for and that have no spec, with the reason.
ABSENT = LIBRARY / "absent.toml"

#: What each level means, the strongest first.
LEVELS = {
    "real weights": "published weights give what `transformers` gives, on every target named",
    "tiny parity": "tiny random models agree with `transformers` on every target named: outputs of "
    "a padded batch, 32 further tokens, and the state at the end",
    "builds": "published configs build, and have the published number of parameters",
    "unproven": "the spec is there and no test compares it with anything",
}

NOTES = """\
Targets in brackets: an artifact was built and not run. State: `full` keeps every token,
`sliding` the newest of a window, `latent` a compressed form from which keys and values are made,
`cross` what an encoder left, `tail` the newest inputs, `recurrent` a summary. Types without state
see their whole input in one call.
"""


@dataclass(frozen=True)
class Listed:
    """One type: what it is, what it can be asked, what state it keeps, and how much is proven.

    rows: tiny random models compared. targets: where they ran. built: targets for which an artifact
    was made and not run. real: published models compared.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    caches: tuple[str, ...]
    targets: tuple[str, ...]
    built: tuple[str, ...]
    level: str
    rows: int
    real: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain data for ``--json``."""
        return asdict(self)

    @property
    def reach(self) -> str:
        """The targets, those only built in brackets."""
        return ", ".join((*self.targets, *(f"({name})" for name in self.built)))


@cache
def known_specs() -> tuple[Listed, ...]:
    """Each spec that can be built; not those only extended."""
    proven = _table(PROVEN)
    found = []
    for name in names():
        module = builtin(name)
        definitions = resolve(module)
        tasks = tuple(task.name for task in supported(set(definitions)))
        if tasks and not _left_to_children(definitions):
            title = " ".join((module.doc or "").split()).split(". ")[0].removesuffix(".")
            found.append(_listed(name, title, tasks, proven.get(name) or {}))
    return tuple(found)


def absent() -> dict[str, str]:
    """Types without a spec, and why."""
    return {name: str(reason) for name, reason in _table(ABSENT).items()}


def markdown() -> str:
    """The page `docs/models.md`."""
    return "\n".join(_page(known_specs(), absent())) + "\n"


def _page(found: tuple[Listed, ...], missing: Mapping[str, str]) -> Iterator[str]:
    counts = {level: sum(spec.level == level for spec in found) for level in LEVELS}
    said = ", ".join(f"{count} {level}" for level, count in counts.items() if count)
    yield "# Models"
    yield ""
    yield "Written by `make models` (`smelt specs --markdown`); a test says when it is not current."
    yield f"{len(found)} types: {said}. What the levels mean:"
    yield ""
    yield from (f"- **{level}**: {text}." for level, text in LEVELS.items() if counts[level])
    yield ""
    yield from NOTES.splitlines()
    yield ""
    yield "| type | what it is | tasks | state | targets | proven |"
    yield "|---|---|---|---|---|---|"
    for spec in found:
        proven = f"{spec.level}, {spec.rows} rows" if spec.rows else spec.level
        if spec.real:
            proven += f": {', '.join(spec.real)}"
        cells = (", ".join(spec.tasks), ", ".join(spec.caches), spec.reach, proven)
        yield f"| `{spec.name}` | {spec.title} | {' | '.join(cells)} |"
    yield ""
    yield "## GGUF"
    yield ""
    yield "Files of these architectures of llama.cpp are read as the checkpoints of these types;"
    yield "a file whose metadata or tensors say more than smelt knows is refused."
    yield ""
    pairs = sorted((name, row.type) for name, row in ARCHITECTURES.items())
    yield ", ".join(f"{name} → `{model_type}`" for name, model_type in pairs) + "."
    if missing:
        yield ""
        yield "## Not here"
        yield ""
        yield "| type | why |"
        yield "|---|---|"
        yield from (f"| `{name}` | {reason} |" for name, reason in sorted(missing.items()))


def _listed(name: str, title: str, tasks: tuple[str, ...], proven: Mapping[str, object]) -> Listed:
    def some(key: str) -> tuple[str, ...]:
        value = proven.get(key, ())
        return tuple(str(item) for item in value) if isinstance(value, list) else ()

    rows = proven.get("rows", 0)
    count = rows if isinstance(rows, int) else 0
    levels = {"real weights": some("real"), "tiny parity": count, "builds": some("published")}
    level = next((level for level, shown in levels.items() if shown), "unproven")
    caches, targets, built = some("caches"), some("targets"), some("built")
    return Listed(name, title, tasks, caches, targets, built, level, count, some("real"))


def _table(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _left_to_children(definitions: Mapping[str, Definition]) -> set[str]:
    """Functions that a spec calls and nobody defines: its children do."""
    called: set[str] = set()
    for definition in definitions.values():
        local = {n.arg for n in ast.walk(definition.node) if isinstance(n, ast.arg)}
        for node in ast.walk(definition.node):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                called |= {node.func.id} - local
    python = {"abs", "min", "max", "round", "int", "len"}
    return called - definitions.keys() - LAYERS.keys() - OPS.keys() - python
