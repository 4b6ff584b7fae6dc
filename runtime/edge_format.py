"""The records of `model.smelt` as numpy dtypes; docs/artifact.md says what they mean."""

from __future__ import annotations

from typing import Final

import numpy as np

MAGIC: Final = b"smelt\r\n\x1a"
VERSION: Final = 1
ALIGN: Final = 64
NONE: Final = 0xFFFFFFFF
MAX_RANK: Final = 6
DENSE: Final = 0xFF

#: In file order; the position is the segment's kind.
SEGMENTS: Final = (
    "strings",
    "features",
    "settings",
    "symbols",
    "dims",
    "slots",
    "buffers",
    "below",
    "tensors",
    "operands",
    "attributes",
    "instructions",
    "ports",
    "binds",
    "functions",
    "weights",
    "weight_data",
    "files",
    "file_data",
)

ELEMENTS: Final = ("f32", "f16", "bf16", "i64", "i32", "i8", "u8", "bool", "packed")
STORAGES: Final = ("arena", "weight", "state", "input")
DIM_OPS: Final = ("const", "symbol", "add", "sub", "mul", "floordiv")
BIND_SOURCES: Final = ("input", "slot", "tokens", "asked")
FORMATS: Final = ("f32", "f16", "bf16", "int8", "int4")

_TEXT = [("offset", "<u4"), ("bytes", "<u4")]
_SIZES = ("<u4", (MAX_RANK,))

HEADER: Final = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<u4"),
        ("segments", "<u4"),
        ("file_bytes", "<u8"),
        ("crc", "<u4"),
        ("zero", "<u4", (9,)),
    ]
)
SEGMENT: Final = np.dtype(
    [("kind", "<u4"), ("crc", "<u4"), ("offset", "<u8"), ("bytes", "<u8"), ("zero", "<u8")]
)
FILE: Final = np.dtype(
    [("name", "S104"), ("offset", "<u8"), ("bytes", "<u8"), ("crc", "<u4"), ("zero", "<u4")]
)

#: The record of each table; `below`, `operands` and `attributes` hold plain words.
RECORDS: Final[dict[str, np.dtype[np.void]]] = {
    "features": np.dtype([("name", _TEXT)]),
    "settings": np.dtype([("key", _TEXT), ("value", "<i8")]),
    "symbols": np.dtype([("name", _TEXT), ("low", "<i8"), ("high", "<i8")]),
    "dims": np.dtype([("op", "<u4"), ("zero", "<u4"), ("a", "<i8"), ("b", "<i8")]),
    "slots": np.dtype(
        [
            ("name", _TEXT),
            ("kind", "u1"),
            ("layout", "u1"),
            ("elem", "u1"),
            ("rank", "u1"),
            ("axis", "<u4"),
            ("dims", *_SIZES),
            ("window", "<u4"),
            ("zero", "<u4"),
        ]
    ),
    "buffers": np.dtype(
        [("bytes", "<u4"), ("first_below", "<u4"), ("below_count", "<u4"), ("zero", "<u4")]
    ),
    "tensors": np.dtype(
        [
            ("name", _TEXT),
            ("elem", "u1"),
            ("rank", "u1"),
            ("storage", "u1"),
            ("strided", "u1"),
            ("index", "<u4"),
            ("offset", "<u4"),
            ("dims", *_SIZES),
            ("strides", *_SIZES),
            ("zero", "<u4"),
        ]
    ),
    "instructions": np.dtype(
        [
            ("opcode", "<u2"),
            ("outputs", "u1"),
            ("inputs", "u1"),
            ("first_operand", "<u4"),
            ("first_attribute", "<u4"),
            ("attributes", "<u4"),
            ("source", _TEXT),
        ]
    ),
    "ports": np.dtype([("name", _TEXT), ("tensor", "<u4"), ("zero", "<u4")]),
    "binds": np.dtype([("symbol", "<u4"), ("source", "<u4"), ("index", "<u4"), ("axis", "<u4")]),
    "functions": np.dtype(
        [
            ("name", _TEXT),
            ("first_buffer", "<u4"),
            ("buffers", "<u4"),
            ("first_tensor", "<u4"),
            ("tensors", "<u4"),
            ("first_instruction", "<u4"),
            ("instructions", "<u4"),
            ("first_input", "<u4"),
            ("inputs", "<u4"),
            ("first_output", "<u4"),
            ("outputs", "<u4"),
            ("first_bind", "<u4"),
            ("binds", "<u4"),
        ]
    ),
    "weights": np.dtype(
        [
            ("name", _TEXT),
            ("format", "u1"),
            ("elem", "u1"),
            ("rank", "u1"),
            ("symmetric", "u1"),
            ("group", "<u4"),
            ("dims", "<i8", (MAX_RANK,)),
            ("offset", "<u8"),
            ("bytes", "<u8"),
            ("crc", "<u4"),
            ("zero", "<u4"),
        ]
    ),
}


def align(offset: int) -> int:
    """The next multiple of 64."""
    return -(-offset // ALIGN) * ALIGN
