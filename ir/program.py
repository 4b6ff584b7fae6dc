"""Programs: named functions that share parameters and state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, Type


@dataclass(frozen=True)
class Bound:
    """The range of values that a symbol may take, both ends included."""

    low: int
    high: int


@dataclass(frozen=True)
class Slot:
    """A piece of state that lives between calls.

    kind ``append``: each call adds entries along ``axis`` (a KV cache); ``type`` is that of one
    call's view, with ``past`` entries. kind ``replace``: each call writes the whole (recurrent
    state, cross attention). With a ``window`` only so many newest entries matter. ``layout`` (full
    or ring) and ``dtype`` (how the entries are stored) are decided by ``plan_kv``.
    """

    name: str
    kind: str
    type: Type
    axis: int = 2
    window: int | None = None
    layout: str = "full"
    dtype: DType = DType.F32


@dataclass(frozen=True)
class Function:
    """One entry point: inputs, named outputs, and the tensors written to replaced slots."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[tuple[str, Tensor], ...]
    writes: tuple[tuple[str, Tensor], ...] = ()

    @property
    def roots(self) -> tuple[Tensor, ...]:
        """Every tensor that must be computed."""
        return (*(t for _, t in self.outputs), *(t for _, t in self.writes))

    def nodes(self) -> tuple[Tensor, ...]:
        """All nodes, operands before their users."""
        return self._nodes

    @cached_property
    def _nodes(self) -> tuple[Tensor, ...]:
        return tuple(toposort(self.roots))

    def with_roots(self, roots: tuple[Tensor, ...]) -> Function:
        """The same function with its roots replaced, in order."""
        names = [n for n, _ in self.outputs], [n for n, _ in self.writes]
        count = len(self.outputs)
        return replace(
            self,
            outputs=tuple(zip(names[0], roots[:count], strict=True)),
            writes=tuple(zip(names[1], roots[count:], strict=True)),
        )


@dataclass(frozen=True)
class Program:
    """A model: functions, state slots, bounds of symbols, and weights that the compiler derived.

    ``weights`` maps the name of each ``weight`` leaf to its expression over parameters; the
    parameters themselves are leaves of the graphs and of these expressions.
    """

    model_type: str
    task: str
    functions: Mapping[str, Function]
    slots: Mapping[str, Slot]
    symbols: Mapping[str, Bound]
    weights: Mapping[str, Tensor] = field(default_factory=dict)

    def nodes(self) -> tuple[Tensor, ...]:
        """All nodes of all functions, each once; the expressions of derived weights are not
        included.
        """
        return self._nodes

    @cached_property
    def _nodes(self) -> tuple[Tensor, ...]:
        return tuple(toposort(root for f in self.functions.values() for root in f.roots))

    def parameters(self) -> dict[str, Tensor]:
        """Every parameter by name, in the order in which the graph and derived weights use them."""
        roots = [r for f in self.functions.values() for r in f.roots]
        found: dict[str, Tensor] = {}
        for node in toposort([*roots, *self.weights.values()]):
            if node.op.name == "param":
                found[node.attr("name")] = node
        return found


def toposort(roots: Iterable[Tensor]) -> Iterator[Tensor]:
    """Every node reachable from the roots, operands first; iterative, so depth does not matter."""
    done: set[Tensor] = set()
    stack = list(roots)[::-1]
    while stack:
        node = stack[-1]
        waiting = () if node in done else [t for t in reversed(node.inputs) if t not in done]
        if waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        if node not in done:
            done.add(node)
            yield node
