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


#: A small process of its own: a child's peak starts at what its parent has.
ASK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_bytes(*words: object) -> int:
    """The peak resident memory of a command of ours, which must succeed."""
    command = [sys.executable, "-c", ASK, sys.executable, "-m", "smelt.cli", *map(str, words)]
    peak = int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    # Linux counts in kB, macOS in bytes.
    return peak * (1 if sys.platform == "darwin" else 1024)


@pytest.fixture(scope="module")
def smollm2() -> Path:
    try:
        return models.smollm2_hf()
    except models.ModelUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.skipif(os.name == "nt", reason="the system does not tell a child's memory")
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
