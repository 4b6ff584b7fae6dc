"""ggml's block formats: how many bytes a block takes, and what its numbers are in f32.

Each decoder takes the blocks of a tensor as rows of bytes and returns one row of values a block,
computed in f32 in ggml's own order of operations, so the results are equal to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from smelt.frontend.checkpoint.tensors import Array

CHUNK = 1 << 21  # elements decoded at a time: temporaries stay small beside the result


@dataclass(frozen=True)
class Encoding:
    """One ggml type: `size` elements are stored in `nbytes` bytes; plain types have no decoder."""

    name: str
    size: int
    nbytes: int
    decode: Callable[[Array], Any] | None = None


def decode(encoding: Encoding, data: memoryview, shape: tuple[int, ...]) -> Array:
    """The f32 values of a block-encoded tensor."""
    assert encoding.decode is not None
    blocks = np.frombuffer(data, np.uint8).reshape(-1, encoding.nbytes)
    values = np.empty((len(blocks), encoding.size), np.float32)
    step = max(1, CHUNK // encoding.size)
    # Hostile scales may be infinite; the arithmetic is ggml's, so its infinities are the answer.
    with np.errstate(all="ignore"):
        for at in range(0, len(blocks), step):
            values[at : at + step] = encoding.decode(blocks[at : at + step])
    return values.reshape(shape)


def half(blocks: Array, at: int) -> Any:
    """The f16 number at a byte of each block, as a column of f32."""
    column = np.ascontiguousarray(blocks[:, at : at + 2])
    return column.view(np.float16).astype(np.float32)


def nibbles(packed: Array) -> Array:
    """Low halves of the bytes of a row, then their high halves."""
    return np.concatenate((packed & 15, packed >> 4), axis=-1)


def fifth_bits(blocks: Array, at: int) -> Any:
    """The 32 bits stored in four bytes of each block, moved to bit 4 of a byte each."""
    return np.unpackbits(blocks[:, at : at + 4], axis=1, bitorder="little") << 4


def q4_0(blocks: Array) -> Any:
    codes = nibbles(blocks[:, 2:]).astype(np.int8) - np.int8(8)
    return half(blocks, 0) * codes.astype(np.float32)


def q4_1(blocks: Array) -> Any:
    return half(blocks, 0) * nibbles(blocks[:, 4:]).astype(np.float32) + half(blocks, 2)


def q5_0(blocks: Array) -> Any:
    codes = (nibbles(blocks[:, 6:]) | fifth_bits(blocks, 2)).astype(np.int8) - np.int8(16)
    return half(blocks, 0) * codes.astype(np.float32)


def q5_1(blocks: Array) -> Any:
    codes = nibbles(blocks[:, 8:]) | fifth_bits(blocks, 4)
    return half(blocks, 0) * codes.astype(np.float32) + half(blocks, 2)


def q8_0(blocks: Array) -> Any:
    return half(blocks, 0) * blocks[:, 2:].view(np.int8).astype(np.float32)


def k_scales(packed: Array) -> tuple[Array, Array]:
    """The eight 6-bit scales and eight 6-bit minimums that Q4_K and Q5_K pack in 12 bytes."""
    first, second, rest = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate((first & 63, (rest & 15) | ((first >> 6) << 4)), axis=1)
    minimums = np.concatenate((second & 63, (rest >> 4) | ((second >> 6) << 4)), axis=1)
    return scales.astype(np.float32), minimums.astype(np.float32)


def affine(blocks: Array, codes: Array) -> Any:
    """Q4_K and Q5_K: eight groups of 32 codes, each with a scale and a minimum."""
    scales, minimums = k_scales(blocks[:, 4:16])
    scale, minimum = half(blocks, 0) * scales, half(blocks, 2) * minimums
    values = scale[:, :, None] * codes.astype(np.float32) - minimum[:, :, None]
    return values.reshape(len(blocks), 256)


def q4_k(blocks: Array) -> Any:
    packed = blocks[:, 16:144].reshape(-1, 4, 32)
    return affine(blocks, nibbles(packed).reshape(-1, 8, 32))


def q5_k(blocks: Array) -> Any:
    packed = blocks[:, 48:176].reshape(-1, 4, 32)
    shifts = np.arange(8, dtype=np.uint8)[:, None]
    high = ((blocks[:, None, 16:48] >> shifts) & 1) << 4
    return affine(blocks, nibbles(packed).reshape(-1, 8, 32) | high)


def q6_k(blocks: Array) -> Any:
    low = nibbles(blocks[:, :128].reshape(-1, 2, 64)).reshape(-1, 2, 4, 32)
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    high = (blocks[:, 128:192].reshape(-1, 2, 1, 32) >> shifts) & 3
    codes = (low | high << 4).astype(np.int8).reshape(-1, 16, 16) - np.int8(32)
    scales = half(blocks, 208) * blocks[:, 192:208].view(np.int8).astype(np.float32)
    return (scales[:, :, None] * codes.astype(np.float32)).reshape(len(blocks), 256)


#: By ggml's own number of the type.
ENCODINGS: dict[int, Encoding] = {
    0: Encoding("f32", 1, 4),
    1: Encoding("f16", 1, 2),
    2: Encoding("q4_0", 32, 18, q4_0),
    3: Encoding("q4_1", 32, 20, q4_1),
    6: Encoding("q5_0", 32, 22, q5_0),
    7: Encoding("q5_1", 32, 24, q5_1),
    8: Encoding("q8_0", 32, 34, q8_0),
    12: Encoding("q4_k", 256, 144, q4_k),
    13: Encoding("q5_k", 256, 176, q5_k),
    14: Encoding("q6_k", 256, 210, q6_k),
    24: Encoding("i8", 1, 1),
    25: Encoding("i16", 1, 2),
    26: Encoding("i32", 1, 4),
    27: Encoding("i64", 1, 8),
    28: Encoding("f64", 1, 8),
    30: Encoding("bf16", 1, 2),
}

#: Types that exist and that smelt does not read, for a message that names them.
UNREAD: dict[int, str] = {
    9: "q8_1",
    10: "q2_k",
    11: "q3_k",
    15: "q8_k",
    16: "iq2_xxs",
    17: "iq2_xs",
    18: "iq3_xxs",
    19: "iq1_s",
    20: "iq4_nl",
    21: "iq3_s",
    22: "iq2_s",
    23: "iq4_xs",
    29: "iq1_m",
    34: "tq1_0",
    35: "tq2_0",
    39: "mxfp4",
}
