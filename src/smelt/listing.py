"""`smelt specs`: the architectures that come with smelt."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import smelt.ir.ops  # noqa: F401 - defines the ops that specs call
from smelt.frontend.layers.registry import LAYERS
from smelt.frontend.spec.library import builtin, names, resolve
from smelt.frontend.spec.syntax import Definition
from smelt.frontend.tasks import supported
from smelt.ir.op import OPS


def known_specs() -> list[dict[str, Any]]:
    """Name, first sentence and tasks of each spec that can be built; not those only extended."""
    found = []
    for name in names():
        module = builtin(name)
        definitions = resolve(module)
        tasks = [task.name for task in supported(set(definitions))]
        if tasks and not _left_to_children(definitions):
            title = (module.doc or "").strip().split("\n")[0]
            found.append({"name": name, "title": title, "tasks": tasks})
    return found


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
