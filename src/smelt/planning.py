"""`smelt plan`: the memory that an edge artifact will take, from config and headers alone.

There is one arithmetic: the program is built, optimized and lowered as a compile does it, into a
file with a hole in place of the weights, and the runtime measures the session that it would open.
So the numbers are those of the opened artifact, whatever the spec.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from smelt.errors import SmeltError, UnsupportedError
from smelt.frontend.build import build
from smelt.frontend.checkpoint.headers import Headers, read_headers
from smelt.ir.materialize import Weights
from smelt.ir.program import Program
from smelt.passes.options import Options, parse_kv, parse_quant
from smelt.passes.pipeline import run
from smelt.targets import target_named

Progress = Callable[[str, int, int], None]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


@dataclass(frozen=True)
class Plan:
    """Bytes of one session: weights stay in the mapped file, the rest is taken at open."""

    source: str
    model_type: str
    task: str
    parameters: int
    checkpoint_bytes: int
    context: int | None
    batch: int
    threads: int
    weights: int
    state: int
    activations: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.state + self.activations

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {**asdict(self), "total": self.total}


def plan(
    source: str | Path,
    *,
    target: str = "edge",
    quant: str | None = None,
    kv: str | None = None,
    task: str | None = None,
    context: int | None = None,
    batch: int = 1,
    threads: int | None = None,
    max_memory: int | None = None,
    spec: Path | None = None,
    revision: str | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Plan:
    """The memory of an artifact of this checkpoint, opened with this context and batch.

    context: tokens that state holds, or the longest text of a model without state. SmeltError
    with both numbers when it is over ``max_memory``.
    """
    if target != "edge":
        raise UnsupportedError(
            f"the memory of target {target} belongs to its library", hint="--target edge is planned"
        )
    progress("headers", 0, 0)
    headers = read_headers(source, revision=revision)
    beside = Path(source).expanduser() / "smelt.arch"
    spec = spec or (beside if beside.is_file() else None)
    shapes = {name: info.shape for name, info in headers.tensors.items()}
    progress("optimize", 0, 0)
    program = build(headers.config, task=task, spec=spec, shapes=shapes, context=context)
    settings = Options(
        quant=parse_quant(quant) if quant else None,
        kv=parse_kv(kv) if kv else None,
        context=context,
    )
    chosen = target_named(target, None)
    program, _ = run(program, chosen.pipeline, settings, keep=chosen.keep())
    length = chosen.context_for(context, program)
    cores = threads or len(os.sched_getaffinity(0))
    progress("measure", 0, 0)
    use = _measure(program, length, batch, cores)
    found = _plan_of(headers, program, use, length, batch, cores)
    if max_memory is not None and found.total > max_memory:
        raise over(found, max_memory)
    return found


def over(found: Plan, allowed: int) -> SmeltError:
    """The refusal of a plan that is over its budget."""
    parts = f"weights {found.weights}, state {found.state}, activations {found.activations}"
    return SmeltError(
        f"needs {found.total} bytes ({parts}), {allowed} are allowed",
        place=found.source,
        hint="a shorter --context, --kv int8 or --quant int4 needs less",
    )


def parse_size(text: str) -> int:
    """Bytes of `512MB`, `1.5GiB` or `800000`."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?)?b?\s*", text.lower())
    if match is None:
        raise SmeltError(f"`{text}` is not a size", hint="for example 512MB, 1.5GiB or 800000")
    return int(float(match[1]) * _UNITS[match[2] or ""])


def _measure(program: Program, context: int | None, batch: int, threads: int) -> dict[str, int]:
    """What the runtime would take for this program, asked of the runtime itself."""
    from smelt.backends.edge.emit import Options, emit
    from smelt.runtime.artifact import ArtifactWriter
    from smelt.runtime.edge_engine import measure

    with TemporaryDirectory(prefix="smelt-plan-") as folder:
        path = Path(folder) / "hollow.smelt"
        with ArtifactWriter(path, hollow=True) as writer:
            emit(program, Weights(program, _unread), writer, Options(context))
            writer.seal_hollow()
        limits = {"batch": batch}
        if context is not None:
            limits |= {
                name: min(context, bound.high)
                for name, bound in program.symbols.items()
                if name in ("seq", "source") and "past" not in program.symbols
            }
        return measure(path, context=context, threads=threads, limits=limits)


def _unread(name: str) -> Any:
    raise AssertionError(f"a plan reads no weights, but `{name}` was asked for")


def _plan_of(
    headers: Headers,
    program: Program,
    use: dict[str, int],
    context: int | None,
    batch: int,
    threads: int,
) -> Plan:
    parameters = 0
    for info in headers.tensors.values():
        count = 1
        for size in info.shape:
            count *= size
        parameters += count
    return Plan(
        source=headers.source,
        model_type=program.model_type,
        task=program.task,
        parameters=parameters,
        checkpoint_bytes=headers.nbytes,
        context=context,
        batch=batch,
        threads=threads,
        weights=use["weights"],
        state=use["state"],
        activations=use["activations"],
    )
