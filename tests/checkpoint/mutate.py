"""Damaged files: mutations of a good file, and the rule that only a SmeltError may come of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from smelt.errors import SmeltError
from smelt.frontend.checkpoint import Checkpoint, open_checkpoint

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1)
WIDTHS = (1, 2, 4, 8)


def mutations(data: bytes, header: int, count: int, seed: int = 0) -> Iterator[bytes]:
    """Copies of a file with one to three faults each, mostly in its first `header` bytes."""
    rng = random.Random(seed)
    for _ in range(count):
        found = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(min(header, len(found)) if rng.random() < 0.9 else len(found))
            rng.choice(FAULTS)(rng, found, at)
            if not found:
                break
        yield bytes(found)


def flip(rng: random.Random, data: bytearray, at: int) -> None:
    data[at] ^= 1 << rng.randrange(8)


def replace(rng: random.Random, data: bytearray, at: int) -> None:
    data[at] = rng.randrange(256)


def number(rng: random.Random, data: bytearray, at: int) -> None:
    width = rng.choice(WIDTHS)
    value = rng.choice(NUMBERS) & ((1 << 8 * width) - 1)
    data[at : at + width] = value.to_bytes(width, "little")


def truncate(rng: random.Random, data: bytearray, at: int) -> None:
    del data[at:]


def remove(rng: random.Random, data: bytearray, at: int) -> None:
    del data[at : at + rng.randint(1, 16)]


def repeat(rng: random.Random, data: bytearray, at: int) -> None:
    data[at:at] = data[at : at + rng.randint(1, 64)]


def digits(rng: random.Random, data: bytearray, at: int) -> None:
    data[at : at + 1] = str(rng.choice((*NUMBERS, -1, 10**30))).encode()


FAULTS: tuple[Callable[[random.Random, bytearray, int], None], ...] = (
    flip,
    replace,
    number,
    truncate,
    remove,
    repeat,
    digits,
)


def outcomes(path: Path, name: str, versions: Iterator[bytes]) -> dict[str, int]:
    """Open and read every version in full; counts of opened ones and of refusals.

    Anything but a SmeltError goes through and fails the test.
    """
    counts = {"read": 0, "refused": 0}
    for version in versions:
        (path / name).write_bytes(version)
        try:
            read_all(open_checkpoint(path))
            counts["read"] += 1
        except SmeltError as error:
            assert str(error)
            counts["refused"] += 1
    return counts


def read_all(checkpoint: Checkpoint) -> None:
    """Touch every tensor and tokenizer file: shapes and dtypes must be what the header said."""
    for name, info in checkpoint.tensors.items():
        values = checkpoint.read(name)
        assert values.shape == info.shape
        checkpoint.release(name)
    for name in checkpoint.tokenizer_files:
        checkpoint.tokenizer_file(name)
