"""Element types under ONNX's names."""

from __future__ import annotations

from functools import cache
from typing import Any

from smelt.ir.types import DType


@cache
def onnx_dtype(dtype: DType) -> Any:
    """onnx-ir's name of an element type."""
    import onnx_ir as ir

    names = {
        DType.F32: ir.DataType.FLOAT,
        DType.F16: ir.DataType.FLOAT16,
        DType.BF16: ir.DataType.BFLOAT16,
        DType.I64: ir.DataType.INT64,
        DType.I32: ir.DataType.INT32,
        DType.I8: ir.DataType.INT8,
        DType.U8: ir.DataType.UINT8,
        DType.BOOL: ir.DataType.BOOL,
    }
    return names[dtype]
