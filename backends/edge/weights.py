"""The weights of an artifact: each stored once, in the form that its readers want."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from smelt.backends.edge.pack import Packing, pack_codes, pack_floats
from smelt.backends.edge.tables import Tables
from smelt.backends.edge.value import Value, dense_strides
from smelt.errors import UnsupportedError
from smelt.ir.materialize import Weights, const_array, fixed_shape
from smelt.ir.program import toposort
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType
from smelt.runtime.artifact import Blob
from smelt.runtime.edge_format import DENSE, ELEMENTS, FORMATS, MAX_RANK, RECORDS

Array = np.ndarray[Any, Any]

LEAVES = ("param", "weight", "const")


def stored_of(weight: Tensor) -> Tensor | None:
    """The leaf of a float matrix as it is stored, f32 or bf16 that is widened; None: computed."""
    if weight.op.name in LEAVES:
        return weight
    if weight.op.name != "cast" or weight.dtype is not DType.F32:
        return None
    (leaf,) = weight.inputs
    return leaf if leaf.op.name in LEAVES and leaf.dtype is DType.BF16 else None


@dataclass(frozen=True)
class Coded:
    """A quantized matrix: its codes, scales and zeros as leaves, and its real number of columns."""

    codes: Tensor
    scales: Tensor
    zeros: Tensor
    group: int
    size: int


class WeightTable:
    """Weight records and how their bytes are made, in the order of first use."""

    def __init__(self, tables: Tables, weights: Weights, expressions: dict[str, Tensor]) -> None:
        self._tables = tables
        self._weights = weights
        self._expressions = expressions
        self._found: dict[tuple[Any, ...], int] = {}
        self._records: list[tuple[Any, ...]] = []
        self._blobs: list[Blob] = []

    def dense(self, leaf: Tensor) -> Value:
        """A leaf as it is: plain row-major elements. One repeated number is stored once."""
        value = leaf.attr("value") if leaf.op.name == "const" else ()
        if leaf.op.name == "const" and not isinstance(value, tuple):
            number = const_array(leaf).reshape(-1)[:1].reshape(())
            stored = self._constant(number)
            strides = (0,) * leaf.type.rank
            return Value("weight", stored, leaf.dtype, leaf.shape, strides)
        shape = fixed_shape(leaf)
        if leaf.op.name == "const":
            index = self._constant(const_array(leaf))
        else:
            kind = leaf.dtype.numpy
            size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
            index = self._add(
                ("dense", id(leaf)),
                leaf.attr("name"),
                (DENSE, ELEMENTS.index(leaf.dtype.value), len(shape), 0, 0, _dims(shape)),
                Blob(size, lambda: [self._weights.array(leaf)]),
            )
        return Value("weight", index, leaf.dtype, shape, dense_strides(shape))

    def floats(self, leaf: Tensor) -> Value:
        """An f32 or bf16 matrix [rows, cols] or [experts, rows, cols] in the kernels' order."""
        shape = fixed_shape(leaf)
        packing = Packing("bf16" if leaf.dtype is DType.BF16 else "f32", shape[-2], shape[-1])
        name = leaf.attr("name") if leaf.op.name != "const" else "constant"

        def make() -> Iterator[Array]:
            array = self._weights.array(leaf)
            for part in array.reshape(-1, *shape[-2:]):
                yield pack_floats(part, packing)

        return self._packed(("packed", id(leaf)), name, packing, shape, make)

    def codes(self, coded: Coded) -> Value:
        """A quantized matrix in the kernels' order."""
        zero = coded.zeros.op.name == "const" and coded.zeros.type.rank == 0
        name = coded.codes.attr("name") if coded.codes.op.name != "const" else "constant"
        for leaf in (coded.codes, coded.scales, coded.zeros):
            if leaf.op.name not in LEAVES:
                raise UnsupportedError(
                    f"edge: codes that are computed at run time ({leaf.op.name})", place=leaf.source
                )
        stored = fixed_shape(coded.codes)
        shape = (*stored[:-1], coded.size)
        bits = 8 if self._is_wide(coded.codes) else 4
        packing = Packing(f"int{bits}", shape[-2], shape[-1], coded.group, zero)
        if packing.padded_cols != stored[-1] or coded.group % 16:
            raise UnsupportedError(
                f"edge: groups of {coded.group} over {coded.size} columns stored as {stored[-1]}",
                place=name,
            )

        def make() -> Iterator[Array]:
            codes = self._weights.array(coded.codes)
            scales = self._weights.array(coded.scales)
            zeros = None if zero else self._weights.array(coded.zeros)
            groups = stored[-1] // coded.group
            codes = codes.reshape(-1, *stored[-2:])
            scales = scales.reshape(-1, stored[-2], groups)
            every = None if zeros is None else zeros.reshape(-1, stored[-2], groups)
            for i in range(len(codes)):
                none = np.zeros(0)
                yield pack_codes(codes[i], scales[i], none if every is None else every[i], packing)

        return self._packed(("codes", id(coded.codes)), name, packing, shape, make)

    def _is_wide(self, codes: Tensor) -> bool:
        """Whether the codes have 8 bits."""
        if codes.dtype is DType.I8 or codes.op.name != "weight":
            return True
        expression = self._expressions[codes.attr("name")]
        bits = [n.attr("bits") for n in toposort([expression]) if n.op.name == "quantize_weight"]
        return max(bits, default=8) == 8

    def _packed(
        self,
        key: tuple[Any, ...],
        name: str,
        packing: Packing,
        shape: tuple[int, ...],
        make: Callable[[], Iterable[Array]],
    ) -> Value:
        if len(shape) not in (2, 3):
            raise UnsupportedError(f"edge: a matrix of rank {len(shape)}", place=name)
        count = shape[0] if len(shape) == 3 else 1
        record = (
            FORMATS.index(packing.format),
            ELEMENTS.index("packed"),
            len(shape),
            int(bool(packing.group) and packing.symmetric),
            packing.group,
            _dims(shape),
        )
        index = self._add(key, name, record, Blob(packing.bytes * count, make))
        return Value("weight", index, DType.F32, shape, dense_strides(shape), opaque=True)

    def _constant(self, array: Array) -> int:
        data = np.ascontiguousarray(array)
        elem = ELEMENTS.index(DType.of(data.dtype).value)
        key = ("constant", elem, data.shape, data.tobytes())
        record = (DENSE, elem, data.ndim, 0, 0, _dims(data.shape))
        return self._add(key, "constant", record, Blob(data.nbytes, lambda: [data]))

    def _add(self, key: tuple[Any, ...], name: str, record: tuple[Any, ...], blob: Blob) -> int:
        if key not in self._found:
            self._found[key] = len(self._records)
            self._records.append((self._tables.text(name), *record, 0, 0, 0, 0))
            self._blobs.append(blob)
        return self._found[key]

    def records(self) -> Array:
        return np.array(self._records, RECORDS["weights"])

    def blobs(self) -> list[Blob]:
        return self._blobs


def _dims(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) > MAX_RANK:
        raise UnsupportedError(f"edge: a tensor of rank {len(shape)}, at most {MAX_RANK}")
    return (*shape, *(0,) * (MAX_RANK - len(shape)))
