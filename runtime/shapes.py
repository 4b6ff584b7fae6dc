"""Checks arrays against a function's inputs: names, dtypes, and sizes that depend on symbols."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from functools import lru_cache

import ml_dtypes
import numpy as np

from smelt.errors import ArtifactError, SmeltError
from smelt.runtime.engine import Array
from smelt.runtime.manifest import FunctionSpec, Manifest, TensorSpec

NUMPY: dict[str, np.dtype[np.generic]] = {
    "f64": np.dtype(np.float64),
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "i64": np.dtype(np.int64),
    "i32": np.dtype(np.int32),
    "i16": np.dtype(np.int16),
    "i8": np.dtype(np.int8),
    "u8": np.dtype(np.uint8),
    "u16": np.dtype(np.uint16),
    "u32": np.dtype(np.uint32),
    "u64": np.dtype(np.uint64),
    "bool": np.dtype(np.bool_),
}


def check_inputs(
    manifest: Manifest, function: FunctionSpec, inputs: Mapping[str, object], past: int
) -> dict[str, Array]:
    """The inputs as arrays of the right dtype and shape, in the function's order.

    Integers widen and Python lists become arrays; anything that could lose a bit is an error.
    """
    known = {spec.name for spec in function.inputs}
    for name in inputs:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"inputs: {', '.join(sorted(known))}"
            raise SmeltError(f"`{function.name}` has no input `{name}`", hint=hint)
    arrays: dict[str, Array] = {}
    for spec in function.inputs:
        if spec.name not in inputs:
            raise SmeltError(
                f"`{function.name}` misses its input `{spec.name}`",
                hint=f"it is {describe(spec)}",
            )
        arrays[spec.name] = _typed(inputs[spec.name], spec)
    symbols = bind(function, arrays, {"past": past})
    for symbol in manifest.symbols:
        value = symbols.get(symbol.name)
        if value is None or (symbol.min <= value and (symbol.max is None or value <= symbol.max)):
            continue
        limit = "any" if symbol.max is None else symbol.max
        raise SmeltError(
            f"`{symbol.name}` is {value}, the artifact takes {symbol.min} to {limit}",
            place=f"inputs of `{function.name}`",
        )
    return arrays


def bind(
    function: FunctionSpec, arrays: Mapping[str, Array], known: Mapping[str, int]
) -> dict[str, int]:
    """The value of each symbol; SmeltError where two inputs disagree."""
    values = dict(known)
    source: dict[str, str] = dict.fromkeys(known, "the state so far")
    for spec in function.inputs:
        shape = arrays[spec.name].shape
        if len(shape) != len(spec.shape):
            raise SmeltError(
                f"input `{spec.name}` has {len(shape)} dims {list(shape)}, wants {describe(spec)}"
            )
        for dim, size in zip(spec.shape, shape, strict=True):
            if isinstance(dim, str) and dim.isidentifier() and dim not in values:
                values[dim] = size
                source[dim] = f"input `{spec.name}`"
    for spec in function.inputs:
        for axis, (dim, size) in enumerate(zip(spec.shape, arrays[spec.name].shape, strict=True)):
            wanted = size_of(dim, values)
            if wanted == size:
                continue
            why = f"`{dim}`"
            if isinstance(dim, str):
                terms = [f"{n} = {values[n]} by {source[n]}" for n in _names(dim)]
                why += f" ({', '.join(terms)})"
            raise SmeltError(
                f"input `{spec.name}` has size {size} at axis {axis}, wants {wanted}: {why}",
                hint="reset() forgets the state" if values.get("past") else None,
            )
    return values


def size_of(dim: int | str, values: Mapping[str, int]) -> int:
    """The number that a dim's text means, such as `past + seq` or `(frames - 1)//2 + 1`."""
    if isinstance(dim, int):
        return dim
    return _evaluate(_parsed(dim), values, dim)


def describe(spec: TensorSpec) -> str:
    """`f32[batch, 80, frames]`."""
    return f"{spec.dtype}[{', '.join(map(str, spec.shape))}]"


def _typed(value: object, spec: TensorSpec) -> Array:
    wanted = NUMPY[spec.dtype]
    array: Array = np.asarray(value)
    if array.dtype == wanted:
        return array
    plain = not isinstance(value, np.ndarray)
    both_int = array.dtype.kind in "iu" and wanted.kind in "iu"
    if array.dtype.kind == "O" or not (
        np.can_cast(array.dtype, wanted, "safe")
        or (plain and array.dtype.kind in "iuf" and wanted.kind in "fV")
        or (plain and (both_int or array.dtype.kind == wanted.kind == "b"))
    ):
        raise SmeltError(
            f"input `{spec.name}` is {array.dtype}, wants {wanted.name}",
            hint=None if array.dtype.kind == "O" else f"convert it with astype({wanted.name!r})",
        )
    converted = array.astype(wanted)
    if both_int and not np.array_equal(converted, array):
        raise SmeltError(f"input `{spec.name}` has values that {wanted.name} cannot hold")
    return converted


@lru_cache(maxsize=4096)
def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ArtifactError(f"`{text[:80]}` is not a size") from None


def _evaluate(node: ast.expr, values: Mapping[str, int], text: str) -> int:
    match node:
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            return value
        case ast.Name(id=name):
            if name not in values:
                raise ArtifactError(f"size `{text[:80]}`: the symbol `{name}` has no value")
            return values[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, values, text)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _evaluate(left, values, text), _evaluate(right, values, text)
            if isinstance(op, ast.Add):
                return a + b
            if isinstance(op, ast.Sub):
                return a - b
            if isinstance(op, ast.Mult):
                return a * b
            if isinstance(op, ast.FloorDiv) and b:
                return a // b
    raise ArtifactError(f"`{text[:80]}` is not a size")


def _names(text: str) -> list[str]:
    nodes = [n for n in ast.walk(_parsed(text)) if isinstance(n, ast.Name)]
    return list(dict.fromkeys(node.id for node in nodes))


#: Of a time series: what each value is taken for where nothing is said.
_OF_VALUES = {"past_observed_mask": 1.0, "observed_mask": 1.0, "past_values_padding": 0}


def with_defaults(arrays: Mapping[str, object], wanted: set[str], past: int) -> dict[str, object]:
    """Inputs that follow from the others: masks of ones, positions that count the mask."""
    filled = dict(arrays)
    if "past_values" in filled:
        values = np.shape(np.asarray(filled["past_values"]))
        for name in wanted & _OF_VALUES.keys():
            kind = np.float32 if isinstance(_OF_VALUES[name], float) else np.int64
            filled.setdefault(name, np.full(values, _OF_VALUES[name], kind))
        if "freq" in wanted:
            filled.setdefault("freq", np.zeros((values[0], 1), np.int64))
    ids = filled.get("input_ids")
    if ids is None:
        return filled
    shape = np.shape(np.asarray(ids))
    if len(shape) != 2:
        return filled
    if "attention_mask" in wanted:
        filled.setdefault(
            "attention_mask",
            np.ones((shape[0], shape[1] + (past if "position_ids" in wanted else 0)), np.int64),
        )
    if "position_ids" in wanted and "position_ids" not in filled:
        mask = np.asarray(filled.get("attention_mask"))
        if mask.ndim == 2 and mask.shape[1] >= shape[1]:
            places = np.maximum(np.cumsum(mask, axis=1) - 1, 0).astype(np.int64)
            filled["position_ids"] = places[:, mask.shape[1] - shape[1] :]
    if "token_type_ids" in wanted:
        filled.setdefault("token_type_ids", np.zeros(shape, np.int64))
    return filled
