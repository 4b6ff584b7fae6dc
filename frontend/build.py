"""From a config and a spec to a Program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from smelt.errors import CheckpointError, SmeltError, SpecError
from smelt.frontend.config import Config
from smelt.frontend.hidden import add_hidden, recorded
from smelt.frontend.positions import refuse_longer
from smelt.frontend.scope import Scope, Shapes
from smelt.frontend.spec.evaluate import Evaluator
from smelt.frontend.spec.library import keys_named, load, resolve
from smelt.frontend.spec.syntax import Module
from smelt.frontend.tasks import TASKS, Contract, Task, supported
from smelt.ir.program import Bound, Function, Program
from smelt.ir.tensor import Tensor, new_program
from smelt.ir.types import DType

#: Bounds of symbols when nothing narrows them.
DEFAULT_BOUNDS = {
    "batch": Bound(1, 64),
    "seq": Bound(1, 131_072),
    "past": Bound(0, 131_072),
    "source": Bound(1, 131_072),
    "choices": Bound(1, 64),
    "future": Bound(1, 131_072),
}


def build(
    config: Mapping[str, Any],
    *,
    task: str | None = None,
    spec: Path | None = None,
    shapes: Shapes | None = None,
    dtype: DType = DType.F32,
    context: int | None = None,
    hidden: str | None = None,
) -> Program:
    """Build the program of a task.

    config: the parsed config.json, in the transformers 5 dialect. task: default from
    `architectures`. spec: a spec file instead of the library's for `model_type`. shapes: shapes of
    the checkpoint's tensors; each parameter is then checked against it and named as it is stored.
    context: the largest number of tokens that state holds; default `max_position_embeddings`.
    hidden: hidden states to give beside the logits, "last" or "all"; see `hidden`.
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
    with new_program():
        functions = {c.function: _function(evaluator, c) for c in chosen.functions}
        if hidden is not None:
            blocks = recorded(scope.blocks, scope.last_block)
            functions = add_hidden(functions, blocks, hidden, config)
    entries = [c.entry for t in TASKS.values() for c in t.functions]
    considered = keys_named(evaluator.definitions, entries)
    required = evaluator.value("requires", ())
    view.refuse_other(required, chosen.name)
    harmless = (*evaluator.value("ignores", ()), *(key for key, *_ in required))
    view.refuse_unread(model_type, (*considered, *harmless))
    own = own_context(config)
    longest = context or own
    bounds = dict(DEFAULT_BOUNDS)
    if longest:
        bounds |= {"seq": Bound(1, longest), "past": Bound(0, longest), "source": Bound(1, longest)}
    if ahead := _positive(config, "prediction_length"):
        bounds["future"] = Bound(1, ahead)
    used = {s for f in functions.values() for t in f.nodes() for s in _symbols(t)}
    symbols = {name: bound for name, bound in bounds.items() if name in used}
    name = model_type or module.source.name.removesuffix(".arch")
    program = Program(name, chosen.name, functions, scope.slots, symbols)
    if context and own:
        refuse_longer(program, context, own)
    if shapes is not None:
        _refuse_unread(program, evaluator, config)
    return program


def choose_task(
    evaluator: Evaluator, config: Mapping[str, Any], task: str | None, module: Module
) -> Task:
    """The task asked for, or the one that `architectures` names; it must be one that the spec
    defines.
    """
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
            return max(
                fits, key=lambda t: max(len(e) for e in t.architectures if architecture.endswith(e))
            )
    if not architectures and len(offered) == 1:
        return offered[0]
    raise SpecError(
        f"no task fits architectures {list(architectures)}", hint=f"choose one with --task: {names}"
    )


def _function(evaluator: Evaluator, contract: Contract) -> Function:
    scope = evaluator.scope
    contract = _settled(contract, evaluator)
    names = {name for port in contract.inputs for size in port.sizes for name in _names(size)}
    sizes = {name: evaluator.value(name) for name in names if name in evaluator.definitions}
    scope.begin(contract, sizes)
    result = evaluator.entry(contract.entry)
    results = result if isinstance(result, tuple) else (result,)
    outputs = tuple(
        (n, t) for n, t in zip(contract.outputs, results, strict=False) if t is not None
    )
    if len(results) > len(contract.outputs) or not all(isinstance(t, Tensor) for _, t in outputs):
        wanted = ", ".join(contract.outputs)
        raise SpecError(f"`{contract.entry}` gives {len(results)} results, the task has {wanted}")
    inputs = tuple(t for name, t in scope.inputs.items() if name in scope.used_inputs)
    return Function(contract.function, inputs, outputs, tuple(scope.writes.items()))


def _settled(contract: Contract, evaluator: Evaluator) -> Contract:
    """The contract without the inputs and axes that this spec lacks."""

    def has(size: str) -> bool:
        return not size.endswith("?") or evaluator.value(size[:-1]) is not None

    ports = (
        replace(port, sizes=tuple(size.rstrip("?") for size in port.sizes if has(size)))
        for port in contract.inputs
        if not port.only or evaluator.value(port.only) is not None
    )
    return replace(contract, inputs=tuple(ports))


def _names(size: str) -> list[str]:
    return [part for part in size.replace("+", " ").split() if part.isidentifier()]


def _symbols(node: Tensor) -> set[str]:
    result = node.result
    types = (result,) if not hasattr(result, "items") else result.items
    return {
        s for t in types for size in t.shape if not isinstance(size, int) for s in size.symbols()
    }


def own_context(config: Mapping[str, Any]) -> int | None:
    """The longest text that config.json is for; None when it does not say."""
    learned = ("max_position_embeddings", "n_positions", "n_ctx", "max_target_positions")
    keys = (*learned, "max_encoder_position_embeddings", "seq_length", "model_max_length")
    key = next((k for k in keys if config.get(k) is not None), None)
    if key is None:
        # That of a pair is its parts' longest.
        parts = [config.get(name) for name in ("encoder", "decoder", "generator")]
        found = [own_context(part) for part in parts if isinstance(part, Mapping)]
        return max((n for n in found if n is not None), default=None)
    return _positive(config, key)


def _positive(config: Mapping[str, Any], key: str) -> int | None:
    """A number of tokens, or of steps in time, where the config tells it."""
    value = config.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or not 0 < value < 2**31:
        raise CheckpointError(f"{key} is {value!r}, wants a number of tokens", place="config.json")
    return value


def _refuse_unread(program: Program, evaluator: Evaluator, config: Mapping[str, Any]) -> None:
    """CheckpointError for tensors that neither this task nor another task of the spec reads."""
    scope = evaluator.scope
    assert scope.shapes is not None
    patterns = (*evaluator.value("ignores_tensors", ()), *scope.left_unread)
    left = {
        name: shape
        for name, shape in unread_tensors(program, scope.shapes).items()
        if not any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    if left:
        elsewhere, lying = _other_heads(program.task, evaluator, config)
        left = {
            name: shape
            for name, shape in left.items()
            if name not in elsewhere and not any(fnmatchcase(name, p) for p in lying)
        }
    if not left:
        return
    shown = [f"`{name}` {list(shape)}" for name, shape in list(left.items())[:8]]
    more = f" and {len(left) - 8} more" if len(left) > 8 else ""
    raise CheckpointError(
        f"the spec of {program.model_type} never reads {', '.join(shown)}{more}",
        hint="a spec reads every tensor, or names it in `ignores_tensors` if it changes nothing",
    )


def _other_heads(
    task: str, evaluator: Evaluator, config: Mapping[str, Any]
) -> tuple[set[str], set[str]]:
    """Names that the spec's other tasks read, and patterns that their parts let lie: a classifier
    is no fault when features are wanted.
    """
    found: set[str] = set()
    lying: set[str] = set()
    for other in supported(set(evaluator.definitions)):
        if other.name == task:
            continue
        here = evaluator.scope
        scope = Scope(Config(config), here.dtype, here.shapes, strict=False, rename=here.rename)
        elsewhere = Evaluator(evaluator.definitions, scope.config, scope)
        try:
            functions = {c.function: _function(elsewhere, c) for c in other.functions}
        except SmeltError:
            continue  # this config lacks what that task needs
        program = Program("", other.name, functions, scope.slots, {})
        found |= _names_read(program)
        lying |= scope.left_unread
    return found, lying


def _names_read(program: Program) -> set[str]:
    """The checkpoint's names of all parameters, each expert's on its own."""
    names: set[str] = set()
    for name, node in program.parameters().items():
        count = node.type.shape[0] if "*" in name else 1
        assert isinstance(count, int)
        names.update(name.replace("*", str(i)) for i in range(count))
    return names


def unread_tensors(program: Program, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """The checkpoint's tensors that the program never reads, by name and shape."""
    used = _names_read(program)
    return {name: shape for name, shape in shapes.items() if name not in used}
