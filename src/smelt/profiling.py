"""`smelt bench --profile`: where the time of an edge artifact goes, and what the machine allows.

Bytes are those that an instruction reads and writes as they are stored, each once; operations are
those of ``ir.cost``. The limit of an instruction is the longer of two times: its weights and state
at the bandwidth of memory (activations stay in the caches), its operations at the speed of its kind
of product, both measured here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from smelt import console
from smelt.errors import UnsupportedError
from smelt.inspecting import human
from smelt.ir.cost import operations
from smelt.ir.types import DType, Type
from smelt.runtime.edge_engine import EdgeEngine, Operand, Step, open_engine
from smelt.runtime.shapes import size_of

#: Opcodes that are an op of the IR under another name: its operations are counted.
_NAMED = {"activate": "silu", "embedding": "gather", "copy": "cast"}
#: What moves values and computes nothing.
_FREE = frozenset(("append", "write_state", "load_cache", "unpack"))
#: Operands of which only the rows that indices name are read: the table, and the indices.
_TABLES = {"embedding": (0, 1), "gather": (0, 1), "grouped_linear": (1, 2)}
STORAGES = ("arena", "weight", "state", "input")
_CODES = frozenset(("int4", "int8"))


@dataclass(frozen=True)
class Row:
    """One kind of layer, every place of it together; seconds are the median over the rounds."""

    layer: str
    op: str
    count: int
    seconds: float
    bytes: int
    flops: int
    limit_seconds: float

    @property
    def share_of_limit(self) -> float:
        """1.0: as fast as memory and arithmetic allow."""
        return self.limit_seconds / self.seconds if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {**asdict(self), "share_of_limit": self.share_of_limit}


@dataclass(frozen=True)
class Phase:
    """The profile of one kind of call."""

    name: str
    tokens: int
    past: int
    rows: tuple[Row, ...]

    @property
    def total(self) -> Row:
        """All instructions together."""
        return _sum("total", "", self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        rows = [row.to_dict() for row in self.rows]
        return {**asdict(self), "rows": rows, "total": self.total.to_dict()}


@dataclass(frozen=True)
class Profile:
    """Prefill and decode of a model that generates, or one call of another."""

    threads: int
    limits: dict[str, float]
    phases: tuple[Phase, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        phases = [phase.to_dict() for phase in self.phases]
        return {"threads": self.threads, "limits": self.limits, "phases": phases}


def profile(
    path: Path,
    *,
    prompt_tokens: int = 128,
    repeat: int = 3,
    context: int | None = None,
    threads: int | None = None,
) -> Profile:
    """Profile an edge artifact on random inputs; one round warms up and is not counted."""
    from smelt.runtime.edge_engine import limits

    if not path.is_file():
        raise UnsupportedError(
            "only the edge runtime says what each instruction takes", place=str(path)
        )
    engine = open_engine(path, context=context, threads=threads)
    found = limits(engine.threads)
    phases = [
        Phase(
            name,
            sizes["seq"],
            sizes["past"],
            rows_of(_rounds(engine, function, sizes, repeat), found),
        )
        for name, function, sizes in _calls(engine, prompt_tokens)
    ]
    return Profile(engine.threads, found, tuple(phases))


def _calls(engine: EdgeEngine, prompt: int) -> Iterable[tuple[str, str, dict[str, int]]]:
    """Name, function and sizes of the calls that are measured."""
    manifest = engine.manifest
    bounds = {s.name: s for s in manifest.symbols}
    most = min(
        (b.max for n, b in bounds.items() if n in ("seq", "source") and b.max), default=prompt
    )
    prompt = min(prompt, most, engine.chunk or prompt)
    sizes = {name: max(bound.min, 1) for name, bound in bounds.items()} | {"past": 0, "seq": prompt}
    if any(f.name == "encoder" for f in manifest.functions):
        sizes["source"] = prompt
        yield f"encode {prompt}", "encoder", sizes
        yield "decode", "decoder", sizes | {"seq": 1}
    elif "past" in bounds:
        yield f"prefill {prompt}", "main", sizes
        yield f"decode after {prompt}", "main", sizes | {"seq": 1, "past": prompt}
    else:
        yield f"call of {prompt}", "main", sizes


def _rounds(
    engine: EdgeEngine, function: str, sizes: Mapping[str, int], repeat: int
) -> list[list[Step]]:
    rounds = []
    for _ in range(repeat + 1):
        if function != "decoder":
            engine.reset()
        elif engine.past:
            engine.rewind(0)
        if sizes["past"]:
            before = {**sizes, "seq": sizes["past"], "past": 0}
            engine.call_last(function, _inputs(engine, function, before))
        rounds.append(engine.profile(function, _inputs(engine, function, sizes)))
    return rounds[1:]


def _inputs(engine: EdgeEngine, function: str, sizes: Mapping[str, int]) -> dict[str, Any]:
    manifest = engine.manifest
    past, stop = sizes["past"], sizes["past"] + sizes["seq"]
    random = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for spec in manifest.function(function).inputs:
        shape = tuple(size_of(size, sizes) for size in spec.shape)
        if spec.dtype != "i64":
            found[spec.name] = random.standard_normal(shape).astype(np.float32)
        elif spec.name.endswith("input_ids"):
            found[spec.name] = random.integers(0, manifest.vocab_size or 2, shape)
        elif spec.name == "position_ids":
            found[spec.name] = np.broadcast_to(np.arange(past, stop), shape)
        else:
            found[spec.name] = np.full(shape, int("mask" in spec.name), np.int64)
    return found


def rows_of(rounds: Sequence[Sequence[Step]], limits: Mapping[str, float]) -> tuple[Row, ...]:
    """The steps of several rounds by kind of layer, the slowest kind first."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for index, step in enumerate(rounds[0]):
        seconds = median(steps[index].seconds for steps in rounds)
        row = _row(step, seconds, limits)
        groups.setdefault((row.layer, row.op), []).append(row)
    rows = [_sum(layer, op, found) for (layer, op), found in groups.items()]
    return tuple(sorted(rows, key=lambda row: -row.seconds))


def _sum(layer: str, op: str, rows: Sequence[Row]) -> Row:
    return Row(
        layer,
        op,
        sum(row.count for row in rows),
        sum(row.seconds for row in rows),
        sum(row.bytes for row in rows),
        sum(row.flops for row in rows),
        sum(row.limit_seconds for row in rows),
    )


def _row(step: Step, seconds: float, limits: Mapping[str, float]) -> Row:
    size, flops = bytes_of(step), flops_of(step)
    elements = {o.element for o in step.operands[1:2] if o is not None}
    kind = "int8" if elements & _CODES else "bf16" if "bf16" in elements else "floats"
    speed = limits[kind]
    far = bytes_of(step, ("weight", "state"))
    limit = max(far / limits["bytes"] if limits["bytes"] else 0.0, flops / speed if speed else 0.0)
    layer = re.sub(r"(?<=\.)\d+(?=\.|$)", "*", step.source)
    return Row(layer, step.op, 1, seconds, size, flops, limit)


def bytes_of(step: Step, storages: Collection[str] = STORAGES) -> int:
    """Bytes that an instruction reads and writes, as they are stored, in these kinds of memory."""
    total = sum(result.bytes for result in step.results if result.storage in storages)
    table, indices = _TABLES.get(step.op, (-1, -1))
    for index, operand in enumerate(step.operands):
        if operand is None or operand.storage not in storages:
            continue
        named = step.operands[indices] if index == table else None
        if named is None:
            total += operand.bytes
        else:
            rows = max(operand.dims[0], 1)
            total += operand.bytes * min(prod(named.dims), rows) // rows
    return total


def flops_of(step: Step) -> int:
    """The operations that an instruction's meaning asks for."""
    if step.op in _FREE or not step.results:
        return 0
    out = _type(step.results[0])
    operands = [None if o is None else _type(o) for o in step.operands]
    gate = operations("silu", out, [out]) + prod(step.results[0].dims)
    if step.op == "gated_activate":
        return gate
    if step.op == "gated_linear":  # two products of this width
        return gate + 2 * operations("linear", out, operands[:2])
    return operations(_NAMED.get(step.op, step.op), out, operands)


def _type(operand: Operand) -> Type:
    return Type(operand.dims, DType.F32)


def show(found: Profile, least: float = 0.002) -> None:
    """A table for each phase; kinds of layers below this share of the time are added up."""
    speeds = {name: f"{value / 1e9:.0f}" for name, value in found.limits.items()}
    console.write(
        f"limits of this machine with {found.threads} threads: memory {speeds['bytes']} GB/s, "
        f"int8 {speeds['int8']} GOP/s, bf16 {speeds['bf16']} GFLOP/s, "
        f"floats {speeds['floats']} GFLOP/s\n\n"
    )
    heads = ["×", "ms", "time", "bytes", "GB/s", "GFLOP", "GFLOP/s", "of limit"]
    for phase in found.phases:
        total = phase.total
        large = [row for row in phase.rows if row.seconds >= least * total.seconds]
        rest = [row for row in phase.rows if row.seconds < least * total.seconds]
        rows = [*large, *([_sum("everything else", "", rest)] if rest else []), total]
        lines = [[f"{row.layer} {row.op}".strip(), *_cells(row, total)] for row in rows]
        console.table("", [phase.name, *heads], lines)
        console.write("\n")


def _cells(row: Row, total: Row) -> list[str]:
    seconds = max(row.seconds, 1e-12)
    return [
        f"{row.count}",
        f"{row.seconds * 1e3:.3f}",
        f"{row.seconds / max(total.seconds, 1e-12):.1%}",
        human(row.bytes),
        f"{row.bytes / seconds / 1e9:.1f}",
        f"{row.flops / 1e9:.3f}",
        f"{row.flops / seconds / 1e9:.1f}",
        f"{row.share_of_limit:.0%}",
    ]
