"""Parts of a model that are models of their own, each with a config and a spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smelt.errors import SpecError
from smelt.frontend.config import Config
from smelt.frontend.layers.registry import layer
from smelt.frontend.tasks import TASKS
from smelt.ir.tensor import Tensor

if TYPE_CHECKING:
    from smelt.frontend.spec.evaluate import Evaluator


@layer
def part(e: Evaluator, config: Config, entry: str, **inputs: Tensor) -> Any:
    """What the function ``entry`` gives in the spec of the model type that a nested ``config``
    names, with weights and state under the path here.

    ``inputs`` are all the inputs it has, by name. Its ``batch`` and ``seq`` are the sizes of the
    first one.
    """
    from smelt.frontend.spec.evaluate import Evaluator
    from smelt.frontend.spec.library import keys_named, load, resolve

    if not isinstance(config, Config) or not inputs:
        raise SpecError(f"part wants a nested config and inputs, gets {config!r}")
    kind = str(config.get("model_type") or "")
    definitions = resolve(load(kind))
    shape = next(iter(inputs.values())).shape
    sizes = dict(zip(("batch", "seq"), shape, strict=False))
    inner = Evaluator(definitions, config, e.scope, sizes)
    with e.scope.within(inputs, inner.value("rename", ())):
        result = e.part(entry, inner)
        required = inner.value("requires", ())
        config.refuse_other(required, entry)
        entries = [c.entry for task in TASKS.values() for c in task.functions]
        known = (*keys_named(definitions, (*entries, entry)), *(key for key, *_ in required))
        config.refuse_unread(kind, (*known, *inner.value("ignores", ())))
        before = f"{e.scope.path}." if e.scope.path else ""
        unread = inner.value("ignores_tensors", ())
        e.scope.left_unread.update(before + pattern for pattern in unread)
    return result
