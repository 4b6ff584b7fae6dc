"""`import smelt` is light: it loads none of the heavy libraries, whatever is installed."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable

import pytest

HEAVY = ("torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "tensorrt", "tensorrt_rtx")
FOLDERS = ("ir", "passes", "frontend", "backends", "runtime")

PROBE = """
import json, sys, time
start = time.perf_counter()
import {module}
print(json.dumps([time.perf_counter() - start, sorted(sys.modules)]))
"""


def probe(module: str) -> tuple[float, set[str]]:
    """Import one module in a fresh process; seconds taken and modules loaded."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(module=module)],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, modules = json.loads(done.stdout)
    return seconds, set(modules)


def test_import_smelt_loads_nothing_heavy(record_property: Callable[[str, object], None]) -> None:
    runs = [probe("smelt") for _ in range(5)]
    loaded = set.union(*(modules for _, modules in runs))
    assert not loaded & {*HEAVY, "transformers"}
    median = statistics.median(seconds for seconds, _ in runs)
    record_property("figure import smelt, median of 5 processes", f"{1000 * median:.0f} ms")


@pytest.mark.parametrize("folder", FOLDERS)
def test_import_folder_loads_nothing_heavy(folder: str) -> None:
    _, loaded = probe(f"smelt.{folder}")
    assert not loaded & {*HEAVY, "transformers"}
