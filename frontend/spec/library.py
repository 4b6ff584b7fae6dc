"""Finding specs: by file name in `model_specs`, beside a checkpoint, or given by path."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from smelt.errors import SpecError
from smelt.frontend.spec.syntax import Definition, Module, parse_file

#: `model_specs` stands beside `frontend`, in the source tree and in an installed package.
LIBRARY = Path(__file__).resolve().parents[2] / "model_specs"
#: What specs of model types extend and no config names.
BASES = LIBRARY / "base"
MAX_PARENTS = 16


@cache
def builtin(model_type: str) -> Module:
    """The spec of a model type; SpecError naming the nearest when there is none."""
    is_name = len(model_type) < 80 and model_type.replace("_", "").replace("-", "").isalnum()
    paths = (LIBRARY / f"{model_type}.arch", BASES / f"{model_type}.arch")
    path = next((p for p in paths if is_name and p.is_file()), None)
    if path is None:
        near = difflib.get_close_matches(model_type, names(), 1)
        hint = f"did you mean `{near[0]}`?" if near else "write a spec and pass it with --spec FILE"
        raise SpecError(
            f"no spec for model type `{model_type[:80]}`", place=str(LIBRARY.name), hint=hint
        )
    return parse_file(path)


def names() -> list[str]:
    """All model types with a spec of their own."""
    return sorted(p.stem for p in LIBRARY.glob("*.arch"))


def load(model_type: str, spec: Path | None = None) -> Module:
    """The spec at a path when one is given, else that of the model type."""
    return parse_file(spec) if spec is not None else builtin(model_type)


def resolve(module: Module) -> dict[str, Definition]:
    """All definitions that hold for a spec: its parents' in order, then its own, later ones
    winning.
    """
    merged: dict[str, Definition] = {}
    for parent in _lineage(module, ()):
        merged |= parent.definitions
    return merged


def keys_named(definitions: Mapping[str, Definition], entries: Iterable[str]) -> set[str]:
    """The keys of config.json's top level that the equations behind some entries name.

    A key counts in a branch not taken too: to decide about a key is to have considered it.
    """
    keys: set[str] = set()
    seen: set[str] = set()
    left = [name for name in entries if name in definitions]
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in ast.walk(definitions[name].node):
            match node:
                case ast.Attribute(value=ast.Name(id="config"), attr=key):
                    keys.add(key)
                case ast.Name(id=other) if other in definitions:
                    left.append(other)
    return keys


def _lineage(module: Module, seen: tuple[str, ...]) -> list[Module]:
    name = module.source.name
    if name in seen or len(seen) >= MAX_PARENTS:
        raise SpecError(f"extends goes in a circle: {' → '.join((*seen, name))}", place=name)
    line: list[Module] = []
    for parent in module.parents:
        line += _lineage(builtin(parent), (*seen, name))
    return [*line, module]
