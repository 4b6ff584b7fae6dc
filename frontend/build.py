"""From a config and a spec to a Program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smelt.errors import CheckpointError, SpecError
from smelt.frontend.config import Config
from smelt.frontend.scope import Scope, Shapes
from smelt.frontend.spec.evaluate import Evaluator
from smelt.frontend.spec.library import load, resolve
from smelt.frontend.spec.syntax import Module
from smelt.frontend.tasks import TASKS, Contract, Task, supported
from smelt.ir.program import Bound, Function, Program
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType

#: Bounds of symbols when nothing narrows them.
DEFAULT_BOUNDS = {
    "batch": Bound(1, 64),
    "seq": Bound(1, 131_072),
    "past": Bound(0, 131_072),
    "source": Bound(1, 131_072),
    "choices": Bound(1, 64),
}


def build(
    config: Mapping[str, Any],
    *,
    task: str | None = None,
    spec: Path | None = None,
    shapes: Shapes | None = None,
    dtype: DType = DType.F32,
    context: int | None = None,
) -> Program:
    """Build the program of a task.

    config: the parsed config.json, in the transformers 5 dialect. task: default from `architectures`.
    spec: a spec file instead of the library's for `model_type`. shapes: shapes of the checkpoint's
    tensors; each parameter is then checked against it and named as it is stored. context: the largest
    number of tokens that state holds; default `max_position_embeddings`.
    Raises SpecError, CheckpointError or UnsupportedError.
    """
    model_type = str(config.get("model_type") or "")
    if not model_type and spec is None:
        raise CheckpointError("config has no model_type", place="config.json")
    module = load(model_type, spec)
    view = Config(config)
    scope = Scope(view, dtype, shapes)
    evaluator = Evaluator(resolve(module), view, scope)
    scope.rename = evaluator.value("rename", ())
    chosen = choose_task(evaluator, config, task, module)
    functions = {c.function: _function(evaluator, c) for c in chosen.functions}
    view.refuse_unread(model_type, evaluator.value("ignores", ()))
    longest = context or _context(config)
    bounds = dict(DEFAULT_BOUNDS)
    if longest:
        bounds |= {"seq": Bound(1, longest), "past": Bound(0, longest), "source": Bound(1, longest)}
    used = {s for f in functions.values() for t in f.nodes() for s in _symbols(t)}
    symbols = {name: bound for name, bound in bounds.items() if name in used}
    return Program(model_type or module.source.name, chosen.name, functions, scope.slots, symbols)


def choose_task(
    evaluator: Evaluator, config: Mapping[str, Any], task: str | None, module: Module
) -> Task:
    """The task asked for, or the one that `architectures` names; it must be one that the spec defines."""
    offered = supported(set(evaluator.definitions))
    names = ", ".join(t.name for t in offered) or "none"
    if task is not None:
        if task not in TASKS:
            raise SpecError(f"unknown task `{task}`", hint=f"this spec supports: {names}")
        if TASKS[task] not in offered:
            raise SpecError(
                f"{module.source.name} does not define task `{task}`", hint=f"it supports: {names}"
            )
        return TASKS[task]
    architectures = config.get("architectures") or []
    for architecture in architectures:
        fits = [t for t in offered if any(architecture.endswith(end) for end in t.architectures)]
        if fits:
            return max(fits, key=lambda t: max(len(e) for e in t.architectures if architecture.endswith(e)))
    if not architectures and len(offered) == 1:
        return offered[0]
    raise SpecError(
        f"no task fits architectures {list(architectures)}", hint=f"choose one with --task: {names}"
    )


def _function(evaluator: Evaluator, contract: Contract) -> Function:
    scope = evaluator.scope
    names = {name for port in contract.inputs for size in port.sizes for name in _names(size)}
    sizes = {name: evaluator.value(name) for name in names if name in evaluator.definitions}
    scope.begin(contract, sizes)
    result = evaluator.entry(contract.entry)
    results = result if isinstance(result, tuple) else (result,)
    outputs = tuple((n, t) for n, t in zip(contract.outputs, results, strict=False) if t is not None)
    if len(results) > len(contract.outputs) or not all(isinstance(t, Tensor) for _, t in outputs):
        raise SpecError(
            f"`{contract.entry}` gives {len(results)} results, the task has {', '.join(contract.outputs)}"
        )
    inputs = tuple(t for name, t in scope.inputs.items() if name in scope.used_inputs)
    return Function(contract.function, inputs, outputs, tuple(scope.writes.items()))


def _names(size: str) -> list[str]:
    return [part for part in size.replace("+", " ").split() if part.isidentifier()]


def _symbols(node: Tensor) -> set[str]:
    result = node.result
    types = (result,) if not hasattr(result, "items") else result.items
    return {s for t in types for size in t.shape if not isinstance(size, int) for s in size.symbols()}


def _context(config: Mapping[str, Any]) -> int | None:
    keys = ("max_position_embeddings", "n_positions", "n_ctx", "max_target_positions", "seq_length")
    return next((int(config[k]) for k in keys if config.get(k)), None)


def unread_tensors(program: Program, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """The checkpoint's tensors that the program never reads, by name and shape."""
    used: set[str] = set()
    for name, node in program.parameters().items():
        count = node.type.shape[0] if "*" in name else 1
        assert isinstance(count, int)
        used.update(name.replace("*", str(i)) for i in range(count))
    return {name: shape for name, shape in shapes.items() if name not in used}
