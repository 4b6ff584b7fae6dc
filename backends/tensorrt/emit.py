"""From ONNX graphs in the standard dialect to TensorRT engines."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, Literal

from smelt.backends.tensorrt.profiles import Range, profiles
from smelt.errors import UnsupportedError
from smelt.runtime.manifest import FunctionSpec, Symbol

# What tensorrt_rtx is asked to build for: its fp32 matrix products need Ampere or later.
PORTABLE = ("SM80", "SM86", "SM89", "SM120")
SHOWN = 20  # unsupported nodes listed in one message


@dataclass(frozen=True)
class Options:
    """How to build: which library, for which GPUs, and the bounds that the model does not give."""

    library: Literal["auto", "tensorrt", "tensorrt_rtx"] = "auto"
    compute: tuple[str, ...] = PORTABLE
    context: int | None = None
    max_batch: int = 4
    chunk: int = 512


@dataclass(frozen=True)
class Emitted:
    """What the manifest says about the engines."""

    functions: tuple[FunctionSpec, ...]
    symbols: tuple[Symbol, ...]
    options: dict[str, str]
    requires: tuple[str, ...]
    engine_bytes: int


def check(graphs: Mapping[str, Path], options: Options = Options()) -> str:
    """The library that covers all graphs; UnsupportedError names each node that none covers."""
    result = _work(graphs, {}, [], options, check_only=True)
    return f"{result['library']} {result['version']}"


def emit(
    source: Path,
    functions: Sequence[FunctionSpec],
    symbols: Sequence[Symbol],
    out: Path,
    options: Options = Options(),
) -> Emitted:
    """Build one engine in ``out`` for each function, from standard-dialect graphs in ``source``.

    Coverage of all graphs is decided before anything is built; UnsupportedError names what is
    missing. ``symbols`` bound the sizes of the profiles.
    """
    graphs = {f.name: source / (f.file or f"{f.name}.onnx") for f in functions}
    files = {name: f"{name}.engine" for name in graphs}
    engines = {name: out / file for name, file in files.items()}
    ranges = profiles(symbols, options.context, max_batch=options.max_batch, chunk=options.chunk)
    result = _work(graphs, engines, ranges, options, check_only=False)
    portable = result["library"] == "tensorrt_rtx"
    kept = {
        "library": result["library"],
        "version": result["version"],
        "compute": ",".join(options.compute) if portable else "the GPU it was built on",
        "chunk": str(ranges[0]["seq"].high if len(ranges) > 1 else 0),
        "profiles": json.dumps([{n: astuple(r) for n, r in p.items()} for p in ranges]),
    }
    return Emitted(
        tuple(f.model_copy(update={"file": files[f.name]}) for f in functions),
        tuple(
            s.model_copy(update={"max": ranges[0]["batch"].high}) if s.name == "batch" else s
            for s in symbols
        ),
        kept,
        (result["library"],),
        sum(engine["bytes"] for engine in result["engines"].values()),
    )


def _work(
    graphs: Mapping[str, Path],
    engines: Mapping[str, Path],
    ranges: list[dict[str, Range]],
    options: Options,
    *,
    check_only: bool,
) -> dict[str, Any]:
    """Run the worker process on one job; its result, or the error that it reports."""
    job = {
        **asdict(options),
        "graphs": {name: str(path.absolute()) for name, path in graphs.items()},
        "engines": {name: str(path.absolute()) for name, path in engines.items()},
        "profiles": [{n: astuple(r) for n, r in p.items()} for p in ranges],
        "check_only": check_only,
    }
    with tempfile.TemporaryDirectory(prefix="smelt-tensorrt-") as scratch:
        path = Path(scratch) / "job.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "smelt.backends.tensorrt.worker", str(path)],
            capture_output=True,
            text=True,
            errors="replace",
        )
        answer = path.with_name("result.json")
        if not answer.is_file():
            raise UnsupportedError(
                f"tensorrt: the build process ended with code {done.returncode} and no result",
                place=_last_line(done.stderr),
            )
        result: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    if "reasons" in result:
        raise UnsupportedError(
            "tensorrt: no library can build an engine on this machine",
            place="; ".join(f"{name}: {why}" for name, why in result["reasons"].items()),
            hint="pip install 'smelt[tensorrt]' builds without a GPU on x86-64 Linux and Windows",
        )
    if "error" in result:
        raise UnsupportedError(f"tensorrt: {result['error']}", place=result["place"])
    if result["uncovered"]:
        raise UnsupportedError(
            f"tensorrt: {result['library']} {result['version']} lacks "
            f"{len(result['uncovered'])} of the things that the graph needs",
            excerpt=_table(result["uncovered"]),
            hint="compile with --target onnx, which runs everything",
        )
    return result


def _table(rows: list[dict[str, str]]) -> str:
    lines = [
        f"{row['graph']}: "
        + (f"`{row['node']}` ({row['op']}): " if row["node"] else "")
        + row["reason"]
        for row in rows[:SHOWN]
    ]
    if len(rows) > SHOWN:
        lines.append(f"… and {len(rows) - SHOWN} more")
    return "\n".join(lines)


def _last_line(text: str) -> str | None:
    lines = text.strip().splitlines()
    return lines[-1] if lines else None
