"""The seeds of the C++ tests are what this emitter writes, and hold every opcode."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.backends.edge_seeds import FOLDER, LARGEST, NUMBERS, SEEDS, opcodes


@pytest.mark.parametrize("name", SEEDS)
def test_seed_is_current(name: str, tmp_path: Path) -> None:
    made = SEEDS[name](tmp_path / name).read_bytes()
    assert len(made) <= LARGEST
    hint = "run python -m tests.backends.edge_seeds"
    assert (FOLDER / name).read_bytes() == made, hint


def test_seeds_hold_every_opcode() -> None:
    assert set().union(*(opcodes(FOLDER / name) for name in SEEDS)) == NUMBERS
