"""Memory of a compile: about the largest tensor, not the model; with its proof, still bounded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import models

MB = 1 << 20


def peak_bytes(*words: object) -> int:
    """The peak resident memory of a command of ours, which must succeed."""
    command = [sys.executable, "-m", "smelt.cli", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    # Linux counts in kB, macOS in bytes.
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.fixture(scope="module")
def smollm2() -> Path:
    try:
        return models.smollm2_hf()
    except models.ModelUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="the system does not tell a child's memory")
@pytest.mark.parametrize("quant", ["int4", "int8", None])
def test_compile_stays_small(
    quant: str | None, smollm2: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    options = ("--target", "edge", *(("--quant", quant) if quant else ()))
    alone = peak_bytes("compile", smollm2, *options, "--no-verify", "-o", tmp_path / "a.smelt")
    proven = peak_bytes("compile", smollm2, *options, "-o", tmp_path / "b.smelt")
    record_property(
        f"figure smollm2 {quant}: peak MB alone, with its proof", (alone // MB, proven // MB)
    )
    assert alone < 600 * MB
    # The proof's weights are f32, as the reference's are.
    checkpoint = sum(p.stat().st_size for p in smollm2.glob("*.safetensors"))
    assert proven < 2 * checkpoint * (1 if quant else 2)
