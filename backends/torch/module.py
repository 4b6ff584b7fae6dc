"""A Program as an ``nn.Module`` whose parameters carry the checkpoint's own names."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smelt.backends.torch.rows import COARSE, fused, primitives, torch_dtype
from smelt.backends.torch.state import State
from smelt.backends.torch.stored import Stored, run
from smelt.errors import ArtifactError, UnsupportedError
from smelt.ir import ops
from smelt.ir.dims import Dim, Size, evaluate
from smelt.ir.materialize import Weights, const_array
from smelt.ir.program import Function, Program
from smelt.ir.tensor import Tensor as Node
from smelt.ir.types import DType, TupleType, Type

if TYPE_CHECKING:
    from torch import Tensor


def build_module(
    program: Program,
    weights: Weights,
    *,
    use_fused: bool = True,
    device: str = "cpu",
    is_resident: bool = True,
) -> Any:
    """An ``nn.Module`` that runs the program.

    ``forward(function="main", state=None, **inputs)`` gives a dict of outputs. Parameters are the
    checkpoint's (``state_dict`` has its keys); weights that the compiler derived are buffers. With
    ``use_fused=False`` every composite but those in `COARSE` is computed by its meaning: that is
    the reference. With ``is_resident=False`` nothing is registered: each weight is read where it is
    used and let go, so memory stays at about the largest tensor.
    """
    from torch import nn

    kept = {n: row for n, row in fused().items() if use_fused or n in COARSE}
    composites = {n.op.name for n in program.nodes() if n.op.is_composite} - kept.keys()
    if composites:
        raise UnsupportedError(f"expand these composites first: {', '.join(sorted(composites))}")

    class Module(nn.Module):
        """The compiled model; see ``build_module``."""

        def __init__(self) -> None:
            super().__init__()
            self.program = program
            self._plans = {n: _plan(f, kept) for n, f in program.functions.items()}
            self._derived: dict[str, str] = {}
            self._moved: dict[str, str] = {}
            self.lazy = None if is_resident else weights
            #: Hears the node of each tensor of a call, and the tensor; what it answers, if not
            #: None, takes the tensor's place.
            self.listener: Callable[[Node, Any], Any] | None = None
            if is_resident:
                _register(self, program, weights, device)

        def forward(
            self, function: str = "main", state: State | None = None, **inputs: Tensor
        ) -> dict[str, Tensor]:
            return _run(self, self._plans[function], state or State(program), inputs)

    return Module()


@dataclass(frozen=True)
class _Step:
    node: Node
    row: Callable[..., Any] | None
    operands: tuple[int | None, ...]
    attrs: dict[str, Any]
    is_symbolic: bool
    dead: tuple[int, ...]


@dataclass(frozen=True)
class _Plan:
    function: Function
    uses_past: bool
    steps: tuple[_Step, ...]
    outputs: tuple[tuple[str, int], ...]
    writes: tuple[tuple[str, int], ...]


def _plan(function: Function, kept: Mapping[str, Callable[..., Any]]) -> _Plan:
    nodes = list(function.nodes())
    number = {id(node): i for i, node in enumerate(nodes)}
    last = {number[id(t)]: i for i, node in enumerate(nodes) for t in node.inputs}
    roots = {number[id(t)] for t in function.roots}
    dies: dict[int, list[int]] = {}
    for index, at in last.items():
        if index not in roots:
            dies.setdefault(at, []).append(index)
    rows = primitives() | dict(kept)
    steps = tuple(
        _Step(
            node,
            rows.get(node.op.name),
            tuple(None if t is None else number[id(t)] for t in node.operands),
            dict(node.attrs),
            any(_is_symbolic(value) for _, value in node.attrs),
            tuple(dies.get(i, ())),
        )
        for i, node in enumerate(nodes)
    )
    outputs = tuple((name, number[id(t)]) for name, t in function.outputs)
    writes = tuple((name, number[id(t)]) for name, t in function.writes)
    return _Plan(function, any(map(_mentions_past, nodes)), steps, outputs, writes)


def _run(module: Any, plan: _Plan, state: State, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    symbols = _bind(plan.function, inputs, state, module.program)
    values: dict[int, Any] = {}
    device = next(iter(inputs.values())).device
    for index, step in enumerate(plan.steps):
        if step.row is None:
            values[index] = _leaf(module, step, values, symbols, state, inputs, device)
        else:
            operands = [None if i is None else values[i] for i in step.operands]
            if step.node.op.name != "grouped_linear":
                operands = [_stacked(value) for value in operands]
            attrs = step.attrs
            if step.is_symbolic:
                attrs = {name: _resolve(value, symbols) for name, value in attrs.items()}
            if any(isinstance(operand, Stored) for operand in operands):
                values[index] = run(step.node.op.name, step.row, operands, attrs)
            else:
                values[index] = step.row(*operands, **attrs)
            if module.listener is not None:
                instead = module.listener(step.node, values[index])
                values[index] = values[index] if instead is None else instead
        for dead in step.dead:
            del values[dead]
    for slot, index in plan.writes:
        state.write(slot, _plain(values[index]))
    if plan.uses_past:
        state.advance(symbols["seq"])
    return {name: _plain(values[index]) for name, index in plan.outputs}


def _bind(
    function: Function, inputs: Mapping[str, Tensor], state: State, program: Program
) -> dict[str, int]:
    """The value of every symbol, from the shapes of inputs and of replaced state."""
    known: dict[str, int] = {"past": state.past}
    shapes: list[tuple[str, Type, tuple[int, ...]]] = []
    for node in function.inputs:
        name = node.attr("name")
        if name not in inputs:
            raise ArtifactError(f"input `{name}` is missing", hint=f"it is {node.type}")
        shapes.append((name, node.type, tuple(inputs[name].shape)))
    for slot in program.slots.values():
        shape = state.shape(slot.name)
        if slot.kind == "replace" and shape is not None:
            shapes.append((slot.name, slot.type, shape))
    for name, kind, shape in shapes:
        if len(shape) != kind.rank:
            raise ArtifactError(f"`{name}` has shape {list(shape)}, wants {kind}")
        for size, actual in zip(kind.shape, shape, strict=True):
            _bind_size(size, actual, known)
    for name, kind, shape in shapes:
        wanted = [evaluate(size, known) for size in kind.shape]
        if wanted != list(shape):
            raise ArtifactError(f"`{name}` has shape {list(shape)}, wants {wanted} ({kind})")
    return known


def _bind_size(size: Size, actual: int, known: dict[str, int]) -> None:
    if isinstance(size, Dim) and len(size.terms) == 1:
        (monomial, coefficient) = size.terms[0]
        if len(monomial) == 1 and isinstance(monomial[0], str) and coefficient == 1:
            known.setdefault(monomial[0], actual)


def _leaf(
    module: Any,
    step: _Step,
    values: Mapping[int, Any],
    symbols: Mapping[str, int],
    state: State,
    inputs: Mapping[str, Tensor],
    device: Any,
) -> Any:
    import torch

    attrs = {name: _resolve(value, symbols) for name, value in step.attrs.items()}
    match step.node.op.name:
        case "input":
            return inputs[attrs["name"]]
        case "param" if module.lazy is not None and "*" not in attrs["name"]:
            array, wanted = module.lazy.stored(step.node), step.node.dtype
            if array.dtype not in (DType.BF16.numpy, DType.F16.numpy):
                return _borrowed(array.astype(wanted.numpy, copy=False), wanted, device)
            return Stored(_borrowed(array, DType.of(array.dtype), device), wanted)
        case "param" | "weight" if module.lazy is not None:
            return _borrowed(module.lazy.array(step.node), step.node.dtype, device)
        case "param":
            return _parameter(module, attrs["name"], step.node)
        case "weight":
            return module.get_buffer(module._derived[attrs["name"]])
        case "const":
            array = np.ascontiguousarray(const_array(step.node).astype(np.float64))
            return torch.from_numpy(array).to(torch_dtype(attrs["dtype"])).to(device)
        case "arange":
            return torch.arange(attrs["start"], attrs["stop"], device=device)
        case "full":
            kind = torch_dtype(attrs["dtype"])
            return torch.full(attrs["shape"], attrs["value"], dtype=kind, device=device)
        case "cache":
            operand = step.operands[0]
            assert operand is not None
            return state.append(module.program.slots[attrs["slot"]], _plain(values[operand]))
        case "read":
            return state.read(module.program.slots[attrs["slot"]], symbols, device)
    raise UnsupportedError(f"the torch backend has no row for `{step.node.op.name}`")


class _Experts(list[Any]):
    """One matrix for each expert, stacked only when an op needs them together."""


def _stacked(value: Any) -> Any:
    import torch

    return torch.stack(list(value)) if isinstance(value, _Experts) else value


def _plain(value: Any) -> Any:
    return value.whole() if isinstance(value, Stored) else _stacked(value)


def _parameter(module: Any, name: str, node: Node) -> Any:
    if "*" not in name:
        return module.get_parameter(module._moved.get(name, name))
    count = node.shape[0]
    assert isinstance(count, int)
    return _Experts(module.get_parameter(name.replace("*", str(i))) for i in range(count))


def _register(module: Any, program: Program, weights: Weights, device: str) -> None:
    """Put every weight where its dotted name says."""
    from torch import nn

    # A parameter that only derived weights use is not one of the module's own.
    used = {n.attr("name"): n for n in program.nodes() if n.op.name == "param"}
    for name, node in used.items():
        array = weights.array(node)
        names = [name.replace("*", str(i)) for i in range(len(array))] if "*" in name else [name]
        arrays = list(array) if "*" in name else [array]
        for full, part in zip(names, arrays, strict=True):
            if (above := full.rpartition(".")[0]) in used:
                # Derived from a tensor and named after it: a module has no room for both.
                module._moved[full] = full = f"{above}_.{full.rpartition('.')[2]}"
            home, leaf = _home(module, full)
            tensor = _tensor(part, node.dtype, device)
            home.register_parameter(leaf, nn.Parameter(tensor, requires_grad=node.dtype.is_float))
    for name, expression in program.weights.items():
        leaf = f"derived_{len(module._derived)}"
        array = weights.array(ops.weight(name=name, type=expression.type))
        module.register_buffer(leaf, _tensor(array, expression.dtype, device), persistent=False)
        module._derived[name] = leaf


def _home(module: Any, name: str) -> tuple[Any, str]:
    from torch import nn

    *path, leaf = name.split(".")
    for part in path:
        if part not in module._modules:
            module.add_module(part, nn.Module())
        module = module._modules[part]
    return module, leaf


def _tensor(array: np.ndarray[Any, Any], dtype: DType, device: str) -> Any:
    return _borrowed(np.array(array), dtype, device)


def _borrowed(array: np.ndarray[Any, Any], dtype: DType, device: Any) -> Any:
    """A tensor over the array's own memory, which may be a read-only map: for reading only."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        if dtype is DType.BF16:
            # numpy has no bfloat16 that torch knows; the bits are the same.
            bits = torch.from_numpy(np.ascontiguousarray(array).view(np.int16))
            return bits.view(torch.bfloat16).to(device)
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def _mentions_past(node: Node) -> bool:
    types = node.result.items if isinstance(node.result, TupleType) else (node.result,)
    return any(
        isinstance(size, Dim) and "past" in size.symbols() for kind in types for size in kind.shape
    )


def _is_symbolic(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(_is_symbolic(v) for v in value)
    return isinstance(value, Dim)


def _resolve(value: Any, symbols: Mapping[str, int]) -> Any:
    if isinstance(value, Dim):
        return evaluate(value, symbols)
    if isinstance(value, tuple):
        return tuple(_resolve(v, symbols) for v in value)
    return value
