"""`smelt specs`: the architectures that come with smelt."""

from __future__ import annotations

from typing import Any

from smelt.frontend.spec.library import builtin, names, resolve
from smelt.frontend.tasks import supported


def known_specs() -> list[dict[str, Any]]:
    """Name, first sentence and tasks of each spec that can be built by itself."""
    found = []
    for name in names():
        module = builtin(name)
        tasks = [task.name for task in supported(set(resolve(module)))]
        if tasks:
            title = (module.doc or "").strip().split("\n")[0]
            found.append({"name": name, "title": title, "tasks": tasks})
    return found
