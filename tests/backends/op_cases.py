"""Operands for every op: one table that each backend's tests run against the reference.

A case is an op, its operands and attributes. ``build`` makes a program of that one op with an
output for each result, and ``runs`` generates inputs for several values of the symbols, the second
run with the state that the first one left. Nothing here knows a backend.
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


def _case(op: str, *operands: Operand | str, note: str = "", **attrs: Any) -> Case:
    described = tuple(In(o) if isinstance(o, str) else o for o in operands)
    return Case(op, described, attrs, note)


def _sizes(text: str) -> tuple[Size, ...]:
    return tuple(parse_size(part) for part in text.split(","))


X = "f32[batch, seq, 6]"
IDS = "i64[batch, seq]"
ODD = "f32[3, 1, 7]"


def _arithmetic() -> Iterator[Case]:
    for op in ("add", "sub", "mul", "maximum", "minimum"):
        yield _case(op, X, X)
        yield _case(op, X, "f32[6]", note="row")
        yield _case(op, ODD, "f32[5, 1]", note="both")
        yield _case(op, "f32[]", X, note="scalar")
        yield _case(op, "i64[batch, seq]", "i64[seq]", note="integers")
    yield _case("div", X, In("f32[6]", 0.5, 2))
    yield _case("div", In(IDS, -9, 9), In("i64[seq]", values=(-4, -3, 1, 2, 7)), note="integers")
    yield _case("mod", X, In("f32[6]", values=(-1.5, -0.7, 0.4, 3.0)))
    yield _case("mod", In(IDS, -9, 9), In("i64[seq]", values=(-4, -3, 1, 2, 7)), note="integers")
    yield _case("pow", In(X, 0.1, 3), "f32[6]")
    yield _case("pow", X, Const(2.0), note="square")
    for op in ("neg", "abs", "sign"):
        yield _case(op, X)
        yield _case(op, In(IDS, -3, 3), note="integers")
    for op in ("floor", "round", "exp", "sin", "cos", "tanh", "erf", "sigmoid"):
        yield _case(op, In(X, -4, 4))
    yield _case("round", In(X, values=(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)), note="halves")
    for op in ("sqrt", "rsqrt", "log"):
        yield _case(op, In(X, 0.1, 9))


def _logic() -> Iterator[Case]:
    few = (-1.0, 0.0, 1.0)
    for op in ("equal", "less", "less_equal"):
        yield _case(op, In(X, values=few), In("f32[6]", values=few))
        yield _case(op, In(IDS, -2, 2), In("i64[batch, 1]", -2, 2), note="integers")
    yield _case("equal", "bool[batch, seq]", "bool[seq]", note="bools")
    yield _case("logical_and", "bool[batch, seq]", "bool[seq]")
    yield _case("logical_or", "bool[batch, 1]", "bool[seq]")
    yield _case("logical_not", "bool[batch, seq]")
    yield _case("where", "bool[batch, seq, 1]", X, "f32[]")
    yield _case("where", "bool[seq, 1]", In(X), In("f32[batch, 1, 6]"), note="broadcast")
    yield _case("where", "bool[batch, seq]", IDS, "i64[]", note="integers")
    yield _case("cast", In(X, -3, 3), dtype=DType.I64, note="to i64")
    yield _case("cast", In(X, -3, 3), dtype=DType.I32, note="to i32")
    yield _case("cast", In(X, values=(0.0, 0.5, -1.0)), dtype=DType.BOOL, note="to bool")
    yield _case("cast", IDS, dtype=DType.F32, note="to f32")
    yield _case("cast", "bool[batch, seq]", dtype=DType.I64, note="from bool")
    yield _case("cast", X, dtype=DType.F16, note="to f16")
    yield Case("cast", (In(X),), {"dtype": DType.BF16}, "to bf16", then=_widen)
    yield _case("cast", In("i64[7]", -9, 9), dtype=DType.I8, note="to i8")


def _shapes() -> Iterator[Case]:
    yield _case("reshape", X, shape=_sizes("batch,seq,2,3"), note="split")
    yield _case("reshape", X, shape=_sizes("batch*seq,6"), note="flatten")
    yield _case("reshape", X, shape=_sizes("seq,batch,6"), note="swap")
    yield Case(
        "reshape", (In(X),), {"shape": _sizes("batch*seq,6")}, "product", then=_split_product
    )
    yield _case("reshape", "f32[]", shape=(1, 1), note="scalar")
    yield _case("reshape", ODD, shape=(21,), note="fixed")
    yield _case("permute", "f32[batch, seq, 2, 3]", axes=(2, 0, 3, 1))
    yield _case("expand", "f32[batch, 1, 6]", shape=_sizes("batch,4,6"))
    yield _case("expand", In("f32[6]"), shape=(3, 2, 6), note="new axes")
    yield _case("expand", "i64[1, seq]", shape=_sizes("4,seq"), note="symbolic")
    yield _case("concat", X, "f32[batch, seq, 3]", "f32[batch, seq, 1]", axis=-1)
    yield _case("concat", X, X, axis=1, note="symbolic")
    yield _case("slice", X, axis=-1, start=1, stop=6, step=2)
    yield _case("slice", X, axis=1, start=0, stop=symbol("seq"), step=3, note="symbolic")
    yield _case("slice", X, axis=1, start=symbol("seq") - 1, stop=symbol("seq"), note="last")
    yield _case("slice", X, axis=2, start=2, stop=2, note="empty")
    yield _case("flip", X, axis=1)
    yield _case("pad", X, axis=1, before=2, after=1, value=-1.5)
    yield _case("pad", X, axis=-1, before=symbol("seq"), after=0, note="symbolic")
    yield _case("pad", IDS, axis=1, before=0, after=3, value=1, note="integers")
    yield _case("gather", Par("f32[11, 6]"), In(IDS, 0, 10))
    yield _case("gather", X, In("i64[4]", 0, 5), axis=-1, note="columns")
    yield _case("gather", X, In("i64[2, 2]", 0, 0), axis=1, note="middle")
    yield _case("gather_elements", X, In("i64[batch, seq, 6]", 0, 5), axis=2)
    yield Case("neg", (In(IDS),), {}, "arange", then=_plus_arange)
    sizes = {"seq": symbol("seq"), "past": symbol("past")}
    kept = Cached("f32[batch, 2, seq, 3]", "layers.0.key")
    yield Case("is_further_token", (), sizes, then=_kept, more=(In(X), kept))
    yield Case("neg", (In(IDS),), {}, "full", then=_plus_full)


def _widen(x: Tensor) -> Tensor:
    # numpy has no bfloat16 of its own, so runtimes do not give one.
    return ops.cast(x, dtype=DType.F32)  # type: ignore[no-any-return]


def _split_product(x: Tensor) -> Tensor:
    return ops.reshape(x, shape=(x.shape[0], 3, 2))  # type: ignore[no-any-return]


def _plus_arange(x: Tensor) -> Tensor:
    ramp = ops.arange(stop=3 * symbol("seq") + 1, start=2 * symbol("seq") + 1)
    return x + ramp  # type: ignore[no-any-return]


def _kept(is_kept: Tensor, x: Tensor, keys: Tensor) -> tuple[Tensor, ...]:
    return ops.where(is_kept, x, 0.0), -keys


def _plus_full(x: Tensor) -> tuple[Tensor, ...]:
    batch, seq = x.shape
    table = ops.full(shape=(seq, batch, 2), value=0.25, dtype=DType.F32)
    return x, table, ops.full(shape=(seq,), value=3, dtype=DType.I64)


def _reductions() -> Iterator[Case]:
    for op in ("sum", "mean", "max", "min"):
        yield _case(op, X)
        yield _case(op, X, axes=(0, 2), keepdims=False, note="two")
        yield _case(op, "f32[3, 1, 1]", axes=(1,), keepdims=False, note="one element")
    yield _case("sum", IDS, axes=(1,), note="integers")
    yield _case("max", IDS, axes=(1,), note="integers")
    yield _case("argmax", In(X, values=(0.0, 1.0, 2.0)))
    yield _case("argmax", X, axis=1, note="middle")
    yield _case("cumsum", X, axis=1)
    yield _case("cumsum", IDS, axis=-1, note="integers")
    yield _case("topk", In(X, values=(0.0, 1.0, 2.0, 3.0)), k=3, note="ties")
    yield _case("topk", X, k=6, note="all")


def _matrices() -> Iterator[Case]:
    yield _case("matmul", X, "f32[6, 5]")
    yield _case("matmul", "f32[batch, 2, seq, 3]", "f32[batch, 1, 3, 4]", note="broadcast")
    yield _case("matmul", "f32[seq, 6]", "f32[6, seq]", note="plain")
    yield _case("linear", X, Par("f32[5, 6]"))
    yield _case("linear", X, Par("f32[5, 6]"), Par("f32[5]"), note="bias")
    yield _case("linear", "f32[seq, 6]", Par("f32[1, 6]"), Par("f32[1]"), note="one column")
    yield _case("linear", "f32[batch, 2, seq, 6]", Par("f32[5, 6]"), note="four axes")
    yield _case("linear", X, "f32[5, 6]", note="matrix at run time")
    chosen = In("i64[batch, seq, 2]", 0, 3)
    yield _case("grouped_linear", "f32[batch, seq, 1, 6]", Par("f32[4, 5, 6]"), chosen)
    yield _case(
        "grouped_linear",
        "f32[batch, seq, 2, 6]",
        Par("f32[4, 5, 6]"),
        chosen,
        Par("f32[4, 5]"),
        note="bias",
    )
    yield _case(
        "grouped_linear", "f32[seq, 6]", Par("f32[3, 5, 6]"), In("i64[seq]", 0, 2), note="rows"
    )
    line: dict[str, Any] = {"stride": (1,), "padding": (1, 1), "dilation": (1,)}
    yield _case("conv", "f32[batch, 3, 9]", Par("f32[4, 3, 3]"), Par("f32[4]"), **line)
    yield _case(
        "conv",
        "f32[batch, 4, seq]",
        Par("f32[4, 1, 4]"),
        stride=(1,),
        padding=(3, 0),
        dilation=(1,),
        groups=4,
        note="depthwise",
    )
    yield _case(
        "conv",
        "f32[batch, 4, 9]",
        Par("f32[6, 2, 3]"),
        stride=(2,),
        padding=(3, 0),
        dilation=(2,),
        groups=2,
        note="uneven",
    )
    yield _case(
        "conv",
        "f32[batch, 3, 10, 13]",
        Par("f32[5, 3, 4, 3]"),
        Par("f32[5]"),
        stride=(4, 3),
        padding=(0, 1, 2, 0),
        dilation=(1, 1),
        note="two axes",
    )
    inner, state = "f32[batch, seq, 4]", "f32[batch, seq, 3]"
    steps, rates = In(inner, 0.1, 1), Par("f32[4, 3]", -2, -0.1)
    yield _case("selective_scan", inner, steps, rates, state, state, "f32[batch, 4, 3]")
    for kind in ("sum", "max"):
        yield _case("recurrence", X, In(X, -1, 1), "f32[batch, 6]", kind=kind, note=kind)
    deep = "f32[batch, seq, 2, 3]"
    yield _case("recurrence", deep, In(deep, -1, 1), "f32[batch, 2, 3]", note="deep")
    for dim, width, seq, note in (
        (3, 5, "seq", ""),
        (18, 37, "seq", " wide"),
        (3, 5, 150, " chunks"),
    ):
        key, value = In(f"f32[2, {seq}, 2, {dim}]", -0.5, 0.5), f"f32[2, {seq}, 4, {width}]"
        beta, before = In(f"f32[2, {seq}, 4]", 0, 1), f"f32[2, 4, {dim}, {width}]"
        for each, learned, kind in ((1, None, "plain"), (1, beta, "delta"), (dim, beta, "rows")):
            decay = In(f"f32[2, {seq}, 4, {each}]", -1, 0)
            operands = (key, key, value, decay, learned, before)
            yield _case("linear_attention", *operands, note=kind + note)


def _activations() -> Iterator[Case]:
    wide = In(X, -6, 6)
    for op in ("softmax", "relu", "silu", "gelu", "gelu_tanh", "gelu_sigmoid", "softplus"):
        yield _case(op, wide)
    yield _case("softplus", In(X, -200, 200), note="large")
    yield _case("acos", In(X, -1, 1))
    yield _case("softmax", In(X, -1e4, 1e4), note="large")
    yield _case("softmax", In(X, values=(-3.0e38,)), note="all forbidden")
    yield _case("softcap", wide, limit=2.5)
    yield _case("clamp", wide, low=-1.0, high=2.0)
    for act in ("silu", "gelu", "gelu_tanh", "gelu_sigmoid", "relu", "sigmoid", "tanh"):
        yield _case("gated", wide, act=act, note=act)
        yield _case("linear_activation", X, Par("f32[5, 6]"), Par("f32[5]"), act=act, note=act)
    yield _case("linear_activation", X, Par("f32[5, 6]"), act="gelu", note="no bias")


def _norms() -> Iterator[Case]:
    scale, shift = Par("f32[6]"), Par("f32[6]")
    yield _case("rms_norm", X, scale, eps=1e-5)
    yield _case("rms_norm", X, scale, eps=1e-6, offset=1.0, note="offset")
    yield _case("rms_norm", X, None, eps=1e-6, note="no weight")
    yield _case("rms_norm", In(X, -1e-3, 1e-3), scale, eps=1e-5, note="small")
    yield _case("rms_norm", "f32[batch, 3, seq, 6]", scale, eps=1e-6, note="heads")
    yield _case("layer_norm", X, scale, shift, eps=1e-5)
    yield _case("layer_norm", In(X, 1, 2), scale, None, eps=1e-12, note="no bias")
    yield _case("layer_norm", X, None, None, eps=1e-6, note="plain")
    yield _case("add_rms_norm", X, X, scale, eps=1e-5)
    yield _case("add_rms_norm", X, X, scale, eps=1e-5, offset=1.0, note="offset")
    yield _case("add_rms_norm", X, X, None, eps=1e-5, note="no weight")
    yield _case("add_layer_norm", X, X, scale, shift, eps=1e-5)
    yield _case("add_layer_norm", X, X, scale, None, eps=1e-5, note="no bias")
    yield _case("add_layer_norm", X, "f32[6]", scale, shift, eps=1e-5, note="broadcast")


def _attention() -> Iterator[Case]:
    angles = "f32[batch, seq, 4]"
    yield _case("rope_table", In(IDS, 0, 50), Par("f32[4]"), scale=1.25)
    yield _case("rope", "f32[batch, 3, seq, 8]", angles, angles)
    yield _case("rope", "f32[batch, 3, seq, 8]", angles, angles, interleaved=True, note="pairs")
    yield _case("rope", "f32[batch, 3, seq, 11]", angles, angles, note="partial")
    shared = "f32[1, seq, 4]"
    yield _case("rope", "f32[batch, 3, seq, 8]", shared, shared, note="shared")
    yield _case("relative_shift", "f32[batch, 3, seq, 2*seq]", keys=symbol("seq"))
    yield _case("split_heads", "f32[batch, seq, 12]", heads=3)
    yield _case("merge_heads", "f32[batch, 3, seq, 4]")
    q, k = "f32[batch, 4, seq, 8]", "f32[batch, 2, source, 8]"
    yield _case("attention", q, k, k, scale=0.3, note="cross")
    yield _case("attention", q, k, "f32[batch, 2, source, 5]", scale=0.3, note="other values")
    mask = In("i64[batch, source]", values=(1, 1, 0))
    yield _case("attention", q, k, k, mask, scale=0.3, note="cross mask")
    own = "f32[batch, 4, seq, 8]"
    real = In("i64[batch, seq]", values=(1, 1, 0))
    attrs = {"scale": 0.3}
    matters = _sees_something(None, causal=False)
    yield Case("attention", (In(q), In(own), In(own), real), attrs, "encoder", matters=matters)
    yield _case("attention", q, own, own, scale=0.3, window=2, note="near")
    attrs, matters = {"scale": 1.0, "causal": True}, _sees_something(None)
    yield Case("attention", (In(q), In(own), In(own), real), attrs, "no cache", matters=matters)
    bias = "f32[1, 4, seq, seq]"
    yield _case("attention", q, own, own, real, bias, scale=1.0, note="bias")
    for heads, group in ((4, 4), (4, 2), (3, 1)):
        yield from _cached_attention(heads, group)


def _cached_attention(heads: int, kv_heads: int) -> Iterator[Case]:
    q = In(f"f32[batch, {heads}, seq, 8]")
    k = Cached(f"f32[batch, {kv_heads}, seq, 8]", "layers.0.key")
    v = Cached(f"f32[batch, {kv_heads}, seq, 8]", "layers.0.value")
    # Columns of padding stand on the left of real tokens, and anywhere in this test.
    mask = In("i64[batch, past + seq]", values=(1, 1, 1, 0))
    name = f"{heads} over {kv_heads}"
    plain = {"scale": 0.4, "causal": True}

    def case(note: str, *operands: Operand, window: int | None = None, **attrs: Any) -> Case:
        return Case(
            "attention",
            (q, k, v, *operands),
            plain | attrs | {"window": window},
            f"{name} {note}",
            # A query that sees nothing but padding is padding itself.
            matters=_sees_something(window) if mask in operands else None,
        )

    yield case("plain")
    yield case("mask", mask)
    yield case("window", mask, window=3)
    yield case("softcap", mask, softcap=1.5)
    yield case("sinks", mask, None, Par(f"f32[{heads}]"))
    bias = In(f"f32[1, {heads}, seq, past + seq]")
    yield case("bias", mask, bias)
    narrow = Cached(f"f32[batch, {kv_heads}, seq, 5]", "layers.0.value")
    yield Case(
        "attention",
        (q, k, narrow, mask),
        plain,
        f"{name} other values",
        matters=_sees_something(None),
    )


def _sees_something(window: int | None, causal: bool = True) -> Callable[[Inputs], Array]:
    """Queries [batch, 1, seq, 1] that may see a key, where the mask is the first with two axes."""

    def matters(inputs: Inputs) -> Array:
        mask = next(a for a in inputs.values() if a.ndim == 2) != 0
        seq, keys = inputs["x0"].shape[2], mask.shape[1]
        distance = np.arange(keys - seq, keys)[:, None] - np.arange(keys)[None]
        allowed = ((distance >= 0) | (not causal)) & (distance < (window or keys))
        seen: Array = (allowed[None] & mask[:, None, :]).any(axis=-1)
        return seen[:, None, :, None]

    return matters


def _state() -> Iterator[Case]:
    new = Cached("f32[batch, 2, seq, 3]", "layers.0.key")
    yield Case("mul", (new, Const(2.0)), {}, "cache")
    flat = Cached("f32[batch, seq, 3]", "layers.0.key", axis=1, window=4)
    yield Case("mul", (flat, Const(2.0)), {}, "cache axis 1")
    kind = parse_type("f32[batch, 4, 3]")
    slot = Slot("layers.0.conv", "replace", kind, dtype=DType.F32)

    def remember(x: Tensor) -> dict[str, Any]:
        before = ops.read(slot=slot.name, type=kind)
        now = before * 0.5 + ops.sum(x, axes=(1,), keepdims=True)
        return {"outputs": now * 2.0, "writes": {slot.name: now}}

    yield Case(
        "mul", (In("f32[batch, seq, 3]"), Const(1.5)), {}, "read", slots=(slot,), then=remember
    )


def _quantized() -> Iterator[Case]:
    for bits in (4, 8):
        for symmetric in (True, False):
            kind = f"int{bits} {'sym' if symmetric else 'asym'}"
            # 130 columns have no group, so they are padded.
            for out, width, group in ((24, 64, 32), (16, 128, 64), (17, 130, 64)):
                weight = Quant(f"f32[{out}, {width}]", bits, group, symmetric)
                attrs = {"group": group, "size": width}
                note = f"{kind} {out}x{width}"
                ids, x = In(IDS, 0, out - 1), In(f"f32[batch, seq, {width}]")
                yield Case("dequantize", (weight,), attrs, note, (), _rows, (ids,))
                yield Case("quantized_gather", (weight, ids), attrs, note)
                yield Case("dequantize", (weight,), attrs, f"linear {note}", (), _times, (x,))
            experts = Quant("f32[3, 24, 64]", bits, 32, symmetric)
            rows, chosen = In("f32[batch, seq, 2, 64]"), In("i64[batch, seq, 2]", 0, 2)
            attrs = {"group": 32, "size": 64}
            more = (rows, chosen)
            yield Case("dequantize", (experts,), attrs, f"experts {kind}", (), _chosen, more)
            for terms in (1, 2):
                attrs = {"group": 32, "terms": terms}
                for width in (64, 50):
                    x = In(f"f32[batch, seq, {width}]")
                    weight = Quant(f"f32[24, {width}]", bits, 32, symmetric)
                    note = f"{kind} {width} in {terms}"
                    yield Case("quantized_linear", (x, weight), attrs, note)
                    biased = (x, weight, Par("f32[24]"))
                    yield Case("quantized_linear", biased, attrs, f"{note} bias")
                yield Case(
                    "quantized_grouped_linear",
                    (rows, experts, chosen, Par("f32[3, 24]")),
                    attrs,
                    f"{kind} in {terms}",
                )
    yield _case("quantize_activation", "f32[batch, seq, 64]", group=32)
    yield _case("quantize_activation", "f32[batch, seq, 50]", group=32, note="padded")
    yield _case("quantize_activation", In("f32[3, 64]", 0, 0), group=32, note="zeros")
    yield _case("round_to_int8", "f32[batch, 2, seq, 8]")


def _bf16() -> Iterator[Case]:
    # Columns that fill no pair or vector, rows that fill no panel.
    for out, width in ((24, 64), (17, 51), (40, 3)):
        weight, note = Bf16(f"f32[{out}, {width}]"), f"{out}x{width}"
        x, ids = In(f"f32[batch, seq, {width}]"), In(IDS, 0, out - 1)
        yield Case("bf16_linear", (x, weight), {}, note)
        yield Case("bf16_linear", (x, weight, Par(f"f32[{out}]")), {}, f"{note} bias")
        yield Case("bf16_gather", (weight, ids), {}, note)
        widened = {"dtype": DType.F32}
        yield Case("cast", (weight,), widened, f"bf16 linear {note}", (), _times, (x,))
        yield Case(
            "cast", (weight,), widened, f"bf16 sum {note}", (), _plus, (In(f"f32[{width}]"),)
        )
    experts = Bf16("f32[3, 24, 50]")
    rows, chosen = In("f32[batch, seq, 2, 50]"), In("i64[batch, seq, 2]", 0, 2)
    yield Case("bf16_grouped_linear", (rows, experts, chosen), {})
    yield Case("bf16_grouped_linear", (rows, experts, chosen, Par("f32[3, 24]")), {}, "bias")


def _plus(weight: Tensor, x: Tensor) -> Tensor:
    return weight + x


def _chosen(weight: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    return ops.grouped_linear(x, weight, indices)  # type: ignore[no-any-return]


def _rows(weight: Tensor, ids: Tensor) -> Tensor:
    return ops.gather(weight, ids)  # type: ignore[no-any-return]


def _times(weight: Tensor, x: Tensor) -> Tensor:
    return ops.linear(x, weight)  # type: ignore[no-any-return]


_PLAIN = (_arithmetic, _logic, _shapes, _reductions, _matrices)
_LAYERS = (_activations, _norms, _attention, _state, _quantized, _bf16)
CASES: tuple[Case, ...] = tuple(case for each in (*_PLAIN, *_LAYERS) for case in each())
