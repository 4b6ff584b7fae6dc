"""One op with operands for it, which each backend's tests run against the reference.

``build`` makes a program of that one op with an output for each result, and ``runs`` generates
inputs for several values of the symbols, the second run with the state that the first one left.
Nothing here knows a backend.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smelt.ir import ops
from smelt.ir.dims import Size, evaluate, parse_size, symbol
from smelt.ir.materialize import Weights
from smelt.ir.op import OPS
from smelt.ir.program import Bound, Function, Program, Slot
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, Type, parse_type
from smelt.passes.lift_weights import lift_weights
from smelt.passes.options import Scheme
from smelt.passes.quantize import quantized

Array = np.ndarray[Any, Any]
Inputs = dict[str, Array]

#: Values of the symbols in the two runs of a case; ``past`` is what the state holds.
RUNS: tuple[Mapping[str, int], ...] = (
    {"batch": 2, "seq": 5, "past": 0, "source": 7},
    {"batch": 2, "seq": 1, "past": 5, "source": 3},
)


@dataclass(frozen=True)
class In:
    """An operand given at run time: random in [low, high], or one of ``values``."""

    type: str
    low: float = -2.0
    high: float = 2.0
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Par:
    """A parameter of the checkpoint."""

    type: str
    low: float = -1.0
    high: float = 1.0


@dataclass(frozen=True)
class Const:
    """A constant: one number, or all elements."""

    value: float | tuple[float, ...]
    dtype: DType = DType.F32
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Quant:
    """Codes, scales and zeros of a quantized parameter: three operands."""

    type: str
    bits: int
    group: int
    symmetric: bool = True


@dataclass(frozen=True)
class Bf16:
    """A parameter stored as bf16."""

    type: str


@dataclass(frozen=True)
class Cached:
    """An operand appended to a state slot: what the op sees is past and new."""

    type: str
    slot: str
    axis: int = 2
    window: int | None = None


Operand = In | Par | Const | Quant | Bf16 | Cached | None


@dataclass(frozen=True)
class Case:
    """One op on some operands."""

    op: str
    operands: tuple[Operand, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    slots: tuple[Slot, ...] = ()
    #: Applied to the result and the operands ``more``, for what the bare op cannot show.
    then: Callable[..., Any] | None = None
    more: tuple[Operand, ...] = ()
    #: Which elements of the first result have a value that matters; None: all.
    matters: Callable[[Inputs], Array] | None = None

    def __str__(self) -> str:
        return f"{self.op}-{self.note}" if self.note else self.op

    def build(self, prefix: str = "") -> tuple[Program, Callable[[str], Array]]:
        """The program of the op, and what reads its parameters; ``prefix``: of their names."""
        maker = _Maker(self, prefix)
        operands = [tensor for operand in self.operands for tensor in maker.make(operand)]
        result = OPS[self.op](*operands, **self.attrs)
        if self.then is not None:
            result = self.then(result, *(t for o in self.more for t in maker.make(o)))
        writes: tuple[tuple[str, Tensor], ...] = ()
        if isinstance(result, dict):
            writes, result = tuple(result["writes"].items()), result["outputs"]
        results = result if isinstance(result, tuple) else (result,)
        outputs = tuple((f"y{i}", tensor) for i, tensor in enumerate(results))
        function = Function("main", tuple(maker.inputs), outputs, writes)
        bounds = {
            "batch": Bound(1, 8),
            "seq": Bound(1, 64),
            "past": Bound(0, 64),
            "source": Bound(1, 64),
        }
        slots = {slot.name: slot for slot in (*self.slots, *maker.slots)}
        program = Program("case", "case", {"main": function}, slots, bounds)
        arrays = maker.arrays
        return lift_weights(program), lambda name: arrays[name]

    def weights(self, program: Program, read: Callable[[str], Array]) -> Weights:
        return Weights(program, read)

    def runs(self, program: Program) -> Iterator[Inputs]:
        """Inputs for each run; only one where no size is symbolic and there is no state."""
        rng = np.random.default_rng(zlib.crc32(str(self).encode()))
        function = program.functions["main"]
        specs = [o for o in (*self.operands, *self.more) if isinstance(o, (In, Cached))]
        is_fixed = not program.slots and all(
            isinstance(size, int) for node in function.inputs for size in node.shape
        )
        for symbols in RUNS[:1] if is_fixed else RUNS:
            yield {
                node.attr("name"): _random(
                    node.type, symbols, rng, spec if isinstance(spec, In) else In(spec.type)
                )
                for node, spec in zip(function.inputs, specs, strict=True)
            }


class _Maker:
    """Turns operand descriptions into leaves."""

    def __init__(self, case: Case, prefix: str = "") -> None:
        self.case = case
        self.prefix = prefix
        self.inputs: list[Tensor] = []
        self.slots: list[Slot] = []
        self.arrays: dict[str, Array] = {}

    def make(self, operand: Operand) -> tuple[Tensor | None, ...]:
        match operand:
            case None:
                return (None,)
            case In(type=text):
                return (self._input(parse_type(text)),)
            case Par(type=text, low=low, high=high):
                return (self._param(parse_type(text), low, high),)
            case Const(value=value, dtype=dtype, shape=shape):
                return (ops.const(value=value, dtype=dtype, shape=shape),)
            case Quant(type=text, bits=bits, group=group, symmetric=symmetric):
                weight = self._param(parse_type(text), -1.0, 1.0)
                return quantized(weight, Scheme(bits, group, symmetric))[:3]
            case Bf16(type=text):
                weight = self._param(parse_type(text), -1.0, 1.0)
                return (ops.cast(weight, dtype=DType.BF16),)
            case Cached(type=text, slot=slot, axis=axis, window=window):
                kind = parse_type(text)
                past = Type(
                    (*kind.shape[:axis], symbol("past"), *kind.shape[axis + 1 :]), kind.dtype
                )
                self.slots.append(Slot(slot, "append", past, axis, window, dtype=kind.dtype))
                new = self._input(kind)
                return (ops.cache(new, slot=slot, axis=axis, window=window),)

    def _input(self, kind: Type) -> Tensor:
        node: Tensor = ops.input(name=f"{self.prefix}x{len(self.inputs)}", type=kind)
        self.inputs.append(node)
        return node

    def _param(self, kind: Type, low: float, high: float) -> Tensor:
        name = f"{self.prefix}w{len(self.arrays)}"
        rng = np.random.default_rng(zlib.crc32(f"{self.case} {name}".encode()))
        self.arrays[name] = _random(kind, {}, rng, In("", low, high))
        node: Tensor = ops.param(name=name, type=kind)
        return node


def _random(kind: Type, symbols: Mapping[str, int], rng: np.random.Generator, spec: In) -> Array:
    shape = [evaluate(size, symbols) for size in kind.shape]
    if spec.values:
        return rng.choice(np.array(spec.values), size=shape).astype(kind.dtype.numpy)
    if kind.dtype is DType.BOOL:
        return rng.integers(0, 2, size=shape).astype(np.bool_)
    if not kind.dtype.is_float:
        return rng.integers(int(spec.low), int(spec.high) + 1, size=shape).astype(kind.dtype.numpy)
    return rng.uniform(spec.low, spec.high, size=shape).astype(kind.dtype.numpy)


def case_of(op: str, *operands: Operand | str, note: str = "", **attrs: Any) -> Case:
    described = tuple(In(o) if isinstance(o, str) else o for o in operands)
    return Case(op, described, attrs, note)


def sizes_of(text: str) -> tuple[Size, ...]:
    return tuple(parse_size(part) for part in text.split(","))
