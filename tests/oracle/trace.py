"""Where two computations of one model part: outputs of transformers' modules against our nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from smelt.backends.torch.reference import reference_module
from smelt.backends.torch.state import State
from smelt.frontend.build import build
from smelt.frontend.checkpoint import open_checkpoint
from smelt.ir.materialize import Weights
from smelt.ir.program import Function
from smelt.ir.tensor import Tensor
from smelt.ir.types import Type
from tests.parity.runners import context

Array = np.ndarray[Any, Any]

#: What moves or joins numbers and computes nothing.
MOVES = frozenset({"reshape", "permute", "concat", "expand", "slice", "squeeze", "cast"})
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Heard:
    """What one module of transformers gave."""

    module: str
    kind: str
    value: Array


@dataclass
class Recorder:
    """Hears every module of a model; ``calls`` holds what each call gave, in order of completion.

    clock: the number of the call that runs now.
    """

    clock: Callable[[], int]
    calls: dict[int, list[Heard]] = field(default_factory=dict)

    def watch(self, model: Any) -> None:
        """Listen to a model's modules."""
        for name, module in model.named_modules():
            if name:
                module.register_forward_hook(self._hook(name))

    def _hook(self, name: str) -> Callable[[Any, Any, Any], None]:
        def heard(module: Any, _: Any, output: Any) -> None:
            first: Any = output[0] if isinstance(output, (tuple, list)) and output else output
            first = getattr(first, "last_hidden_state", first)
            if hasattr(first, "is_floating_point") and first.is_floating_point():
                value = first.detach().float().numpy().copy()
                found = Heard(name, type(module).__name__, value)
                self.calls.setdefault(self.clock(), []).append(found)

        return heard


@dataclass(frozen=True)
class Place:
    """The first module whose output none of our nodes has.

    error, largest: how far the nearest node is, and the largest value there. node: its op. before:
    modules found right before it.
    """

    module: str
    kind: str
    error: float
    largest: float
    node: str
    before: tuple[str, ...]


class Traced:
    """The reference of a spec, which also gives what its nodes computed."""

    def __init__(self, directory: Path, task: str, spec: Path) -> None:
        checkpoint = open_checkpoint(str(directory))
        shapes = {name: info.shape for name, info in checkpoint.tensors.items()}
        config = checkpoint.config
        program = build(config, task=task, spec=spec, shapes=shapes, context=context(config))
        self.program = program
        self._nodes = {name: _interior(f) for name, f in program.functions.items()}
        functions = {n: self._exposed(n, f) for n, f in program.functions.items()}
        shown = replace(program, functions=functions)
        self._module = reference_module(shown, Weights(shown, checkpoint.read))
        self._state = State(program)
        self._weights = {name: _weights_of(f) for name, f in program.functions.items()}

    def call(
        self, function: str, inputs: Mapping[str, Array]
    ) -> tuple[dict[str, Array], list[Array]]:
        """A function's outputs, and what each interior node computed."""
        import torch

        tensors = {name: torch.from_numpy(np.array(value)) for name, value in inputs.items()}
        with torch.inference_mode():
            outputs = self._module(function, self._state, **tensors)
        arrays = {name: value.numpy() for name, value in outputs.items()}
        values = [arrays.pop(f"#{index}") for index in range(len(self._nodes[function]))]
        return arrays, values

    def read_state(self) -> dict[str, Array]:
        """Every slot, oldest token first."""
        return {name: value.numpy() for name, value in self._state.tensors().items()}

    def parting(
        self, function: str, values: list[Array], heard: list[Heard], real: Array | None
    ) -> Place | None:
        """The first module, in the order in which they end, that computed what no node did.

        One whose parent is right is right too: the spec only writes its inside in another way.
        """
        agree: list[str] = []
        parted: list[Place] = []
        for said in heard:
            found = self._nearest(function, values, said, real)
            if found is None:
                continue
            error, largest, node = found
            if error <= TOLERANCE * max(largest, 1e-3):
                agree.append(said.module)
                parted = [p for p in parted if not p.module.startswith(said.module + ".")]
            else:
                kept = tuple(agree[-3:])
                place = Place(said.module, said.kind, error, largest, node.op.name, kept)
                parted.append(place)
        return parted[0] if parted else None

    def _nearest(
        self, function: str, values: list[Array], said: Heard, real: Array | None
    ) -> tuple[float, float, Tensor] | None:
        """The node nearest to a module's output: one that corresponds to it, or any equal one."""
        near = [
            (*_distance(value, said.value, real), node)
            for node, value in self._candidates(function, values, said.module)
            if value.size == said.value.size
        ]
        if not near:
            return None
        best = min(near, key=lambda found: found[0])
        if best[0] <= TOLERANCE * max(best[1], 1e-3):
            return best
        same = zip(self._nodes[function], values, strict=True)
        for node, value in ((n, v) for n, v in same if v.size == said.value.size):
            error, largest = _distance(value, said.value, real)
            if error <= TOLERANCE * max(largest, 1e-3):
                return error, largest, node
        return best

    def _exposed(self, name: str, function: Function) -> Function:
        inside = tuple((f"#{index}", node) for index, node in enumerate(self._nodes[name]))
        return replace(function, outputs=(*function.outputs, *inside))

    def _candidates(
        self, function: str, values: list[Array], module: str
    ) -> Iterator[tuple[Tensor, Array]]:
        """Nodes that use the module's own weights, and those made under its path."""
        users = self._weights[function]
        path = self._path(function, module)
        for node, value in zip(self._nodes[function], values, strict=True):
            is_under = path is not None and (node.source + ".").startswith(path + ".")
            if is_under or module in users.get(node, ()):
                yield node, value

    def _path(self, function: str, module: str) -> str | None:
        """Our path of a module: its own, or the same below another root."""
        sources = {node.source for node in self._nodes[function]}
        below = module.partition(".")[2]
        roots = sorted({source.partition(".")[0] for source in sources} - {""})
        for path in (module, below, *(f"{r}.{module}" for r in roots), *_joined(roots, below)):
            if path and any((source + ".").startswith(path + ".") for source in sources):
                return path
        return None


def _joined(roots: list[str], below: str) -> list[str]:
    return [f"{root}.{below}" for root in roots] if below else []


def _interior(function: Function) -> tuple[Tensor, ...]:
    """The nodes that compute floats out of the inputs."""
    live: set[Tensor] = set()
    for node in function.nodes():
        if node.op.name in ("input", "read", "cache") or any(t in live for t in node.inputs):
            live.add(node)
    kinds = ((n, n.result) for n in function.nodes() if n in live and n.op.name != "input")
    return tuple(n for n, kind in kinds if isinstance(kind, Type) and kind.dtype.is_float)


def _weights_of(function: Function) -> dict[Tensor, set[str]]:
    """For each node the modules whose parameters it uses, also through moves."""
    names: dict[Tensor, set[str]] = {}
    for node in function.nodes():
        if node.op.name == "param":
            names[node] = {node.attr("name").rpartition(".")[0]}
            continue
        found = {m for t in node.inputs if t.op.name in (*MOVES, "param") for m in names.get(t, ())}
        if found:
            names[node] = found
    return names


def _distance(actual: Array, expected: Array, real: Array | None) -> tuple[float, float]:
    actual = actual.reshape(expected.shape)
    if real is not None and expected.ndim >= 2 and expected.shape[:2] == real.shape:
        actual, expected = actual[real], expected[real]
    if not expected.size:
        return 0.0, 0.0
    error = np.abs(actual - expected).max()
    return float(np.nan_to_num(error, nan=np.inf)), float(np.abs(expected).max())
