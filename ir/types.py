"""Element types, tensor types and quantization schemes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from math import prod

import ml_dtypes
import numpy as np

from smelt.errors import SmeltError
from smelt.ir.dims import Size, parse_size


class DType(Enum):
    """An element type; the value is its name in text."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    I64 = "i64"
    I32 = "i32"
    I8 = "i8"
    U8 = "u8"
    BOOL = "bool"

    @property
    def is_float(self) -> bool:
        return self in (DType.F32, DType.F16, DType.BF16)

    @property
    def bytes(self) -> int:
        """Bytes of one element."""
        return self.numpy.itemsize

    @property
    def numpy(self) -> np.dtype[np.generic]:
        return np.dtype(_NUMPY[self])

    @staticmethod
    def of(array: np.dtype[np.generic]) -> DType:
        """The element type of a numpy array; SmeltError for any other kind."""
        for dtype, kind in _NUMPY.items():
            if np.dtype(kind) == array:
                return dtype
        raise SmeltError(f"element type {array} is not one of {', '.join(d.value for d in DType)}")

    def __repr__(self) -> str:
        return self.value


_NUMPY: dict[DType, type[np.generic]] = {
    DType.F32: np.float32,
    DType.F16: np.float16,
    DType.BF16: ml_dtypes.bfloat16,
    DType.I64: np.int64,
    DType.I32: np.int32,
    DType.I8: np.int8,
    DType.U8: np.uint8,
    DType.BOOL: np.bool_,
}


@dataclass(frozen=True)
class Type:
    """A dtype and a shape, each size an int or a ``Dim``. Text form: ``f32[batch, seq, 64]``."""

    shape: tuple[Size, ...]
    dtype: DType

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Size:
        """The number of elements."""
        return prod(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype.value}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class TupleType:
    """The type of a node with several results; ``item`` takes one."""

    items: tuple[Type, ...]

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.items))})"


_TYPE = re.compile(r"(\w+)\[(.*)\]")


def parse_type(text: str) -> Type:
    """The type whose text form this is."""
    match = _TYPE.fullmatch(text.strip())
    if match is None or match[1] not in {d.value for d in DType}:
        raise SmeltError(f"`{text[:80]}` is not a tensor type", hint="for example f32[batch, 64]")
    sizes = [part for part in match[2].split(",") if part.strip()]
    return Type(tuple(parse_size(part.strip()) for part in sizes), DType(match[1]))
