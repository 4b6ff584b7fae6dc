"""The edge runtime as an Engine: a mapped `model.smelt`, called with numpy arrays.

A session of the C++ runtime takes all its memory when it is opened. A call of more tokens than a
chunk goes in by parts; a call with a larger batch, or longer text for a model without state, opens
a larger session as long as nothing is remembered yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smelt.errors import ArtifactError, SmeltError, UnsupportedError
from smelt.runtime.artifact import open_artifact
from smelt.runtime.manifest import FunctionSpec, Manifest, TensorSpec

Array = np.ndarray[Any, Any]

_DTYPES = {"f32": np.float32, "i64": np.int64, "bool": np.bool_, "i32": np.int32}
#: Error codes of the C++ runtime (core/status.h) that are not about the artifact.
_USAGE = frozenset({1, 6, 7})
_UNSUPPORTED = 3
_MEMORY = 4
#: More rows than any call has.
_EVERY = (1 << 62) - 1


@dataclass(frozen=True)
class Operand:
    """What an instruction read or wrote: its element and place as stored, its sizes, its bytes."""

    element: str
    storage: str
    """arena, weight, state or input"""
    dims: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class Step:
    """One instruction of a profiled call; an operand that is absent is None."""

    source: str
    op: str
    seconds: float
    results: tuple[Operand, ...]
    operands: tuple[Operand | None, ...]


class EdgeEngine:
    """An opened `model.smelt` and the state of one batch of sequences."""

    def __init__(
        self,
        path: Path,
        *,
        context: int | None = None,
        threads: int | None = None,
        max_memory: int | None = None,
    ) -> None:
        edge = edge_module()
        self.manifest: Manifest = open_artifact(path).manifest
        with told(str(path)):
            self._model = edge.Model.open(str(path))
        self._open_session = edge.Session.open
        self._context = context or 0
        self._threads = threads or len(os.sched_getaffinity(0))
        self._max_memory = max_memory or 0
        self._limits: dict[str, int] = {}
        self._chunk = int(self._model.setting("limit.seq", 0))
        if not self._chunk:
            # Without state, memory follows the longest text so far, not the longest possible.
            self._limits = {s.name: max(s.min, 1) for s in self.manifest.symbols}
        #: Rows of logits at the end that a session has room for; 0: it gives what it gives.
        self._last = int(self._model.setting("limit.last", 0))
        self._session = self._reopen()
        if self.manifest.context is not None and self._session.context:
            bounds = [s.max for s in self.manifest.symbols if s.name == "past" and s.max]
            opened = min([int(self._session.context), *bounds])
            self.manifest = self.manifest.model_copy(update={"context": opened})

    def call(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a function, in chunks where the call has more tokens than one."""
        spec = self.manifest.function(function)
        arrays = _arrays(spec, inputs)
        self._make_room(spec, arrays, self._rows(spec, arrays))
        self._session.ask(_EVERY)
        # Without room for the logits of a chunk, and with tokens held, chunks become smaller.
        most = min((n for n in (self._chunk, self._last) if n), default=0)
        parts = [self._call(function, part) for part in self._chunks(spec, arrays, most)]
        if len(parts) == 1:
            return parts[0]
        joined = {}
        for output in spec.outputs:
            axis = next((i for i, size in enumerate(output.shape) if size == "seq"), None)
            pieces = [part[output.name] for part in parts]
            joined[output.name] = pieces[-1] if axis is None else np.concatenate(pieces, axis)
        return joined

    def call_last(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a function; logits only for the last position of each row."""
        spec = self.manifest.function(function)
        arrays = _arrays(spec, inputs)
        self._make_room(spec, arrays, 1)
        self._session.ask(1)
        parts = [self._call(function, part) for part in self._chunks(spec, arrays, self._chunk)]
        return parts[-1]

    @property
    def chunk(self) -> int:
        """Tokens that go in at once; 0 for a model without state, which takes all."""
        return self._chunk

    @property
    def threads(self) -> int:
        """Threads that compute."""
        return self._threads

    def profile(self, function: str, inputs: Mapping[str, Array]) -> list[Step]:
        """Every instruction of one call of at most a chunk, with logits of the last row."""
        spec = self.manifest.function(function)
        arrays = _arrays(spec, inputs)
        self._make_room(spec, arrays, 1)
        self._session.ask(1)
        with told(function):
            steps = self._session.profile(function, arrays)
        return [
            Step(source, op, seconds, _operands(results), _operands(operands))
            for source, op, seconds, results, operands in steps
        ]

    def trace(self, function: str, inputs: Mapping[str, Array]) -> list[Array]:
        """Every f32 tensor of one call of at most a chunk, in the order of the instructions."""
        spec = self.manifest.function(function)
        arrays = _arrays(spec, inputs)
        self._make_room(spec, arrays, self._rows(spec, arrays))
        self._session.ask(_EVERY)
        with told(function):
            found: list[Array] = self._session.trace(function, arrays)
        return found

    def reset(self) -> None:
        """Forget all state."""
        self._session.reset()

    @property
    def past(self) -> int:
        """Tokens held by the state."""
        return int(self._session.past)

    def rewind(self, past: int) -> None:
        """Drop the newest tokens."""
        with told("rewind"):
            self._session.rewind(past)

    def reorder(self, rows: Array) -> None:
        """Gather every slot along batch."""
        with told("reorder"):
            self._session.reorder(np.ascontiguousarray(rows, np.int64))

    def read_state(self) -> dict[str, Array]:
        """Every slot that holds something, oldest token first."""
        found: dict[str, Array] = self._session.read_state()
        return found

    def bytes(self) -> dict[str, int]:
        """Bytes of mapped weights, of state, and of activations with scratch."""
        found: dict[str, int] = self._session.memory()
        return found

    def reserve(self, places: int) -> None:
        """Have room for the logits of so many places of a call, if no tokens are held yet."""
        if self._last and places > self._last and not self._session.read_state():
            self._last = self._limits["last"] = min(places, self._chunk or places)
            self._session = self._reopen()

    def _call(self, function: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
        with told(function):
            outputs: dict[str, Array] = self._session.call(function, dict(arrays))
        return outputs

    def _chunks(
        self, spec: FunctionSpec, arrays: Mapping[str, Array], most: int
    ) -> Iterator[dict[str, Array]]:
        count = _length(spec, arrays, "seq")
        if not most or count <= most:
            yield dict(arrays)
            return
        past = self.past
        for start in range(0, count, most):
            stop = min(start + most, count)
            yield {t.name: _cut(t, arrays[t.name], start, stop, past) for t in spec.inputs}

    def _rows(self, spec: FunctionSpec, arrays: Mapping[str, Array]) -> int:
        """Rows of logits that a call with all of them gives at once."""
        count = _length(spec, arrays, "seq")
        return min(count, self._chunk) if self._chunk else count

    def _make_room(self, spec: FunctionSpec, arrays: Mapping[str, Array], rows: int) -> None:
        """Open a larger session when the call does not fit this one and nothing is held."""
        names = [s.name for s in self.manifest.symbols]
        if self._chunk:
            names = [name for name in names if name in ("batch", "source")]
        wanted = {name: _length(spec, arrays, name) for name in names}
        if self._last and any(output.name == "logits" for output in spec.outputs):
            wanted["last"] = self._chunk if self._chunk and rows > 1 else rows
        if all(size <= self._room(name) for name, size in wanted.items()):
            return
        if self._session.read_state():
            return  # the runtime says what does not fit, with both sizes
        bounds = {s.name: s.max for s in self.manifest.symbols}
        for name, size in wanted.items():
            if size > self._room(name):
                # Doubling keeps a rising series of lengths from opening a session each time.
                grown = size if name == "batch" else max(size, 2 * self._room(name))
                most = bounds.get(name)
                self._limits[name] = grown if most is None else max(size, min(grown, most))
        if self._last:
            self._last = self._limits.get("last", 1)
        self._session = self._reopen()

    def _room(self, name: str) -> int:
        """The largest value of a symbol in the open session."""
        return self._limits.get(name) or int(self._model.setting(f"limit.{name}", 1))

    def _reopen(self) -> Any:
        with told("open"):
            limits = list(self._limits.items())
            return self._open_session(
                self._model, self._threads, self._context, limits, self._max_memory
            )


def open_engine(
    path: Path,
    *,
    context: int | None = None,
    threads: int | None = None,
    max_memory: int | None = None,
) -> EdgeEngine:
    """Open a `model.smelt`. context: tokens that the state can hold; threads: default all cores.

    max_memory: bytes of weights, state and activations that must suffice; the error says both.
    """
    return EdgeEngine(path, context=context, threads=threads, max_memory=max_memory)


def measure(
    path: Path, *, context: int | None, threads: int, limits: Mapping[str, int]
) -> dict[str, int]:
    """The bytes that a session would take, without taking them; weights need not be there."""
    edge = edge_module()
    with told(str(path)):
        model = edge.Model.open(str(path))
        return dict(edge.Session.measure(model, threads, context or 0, list(limits.items())))


def limits(threads: int) -> dict[str, float]:
    """Bytes, int8, bf16 and f32 operations a second that this machine can do; 0 where not known."""
    return dict(edge_module().limits(threads))


def isa() -> str:
    """The instruction set that the kernels use on this machine."""
    return str(edge_module().isa())


def edge_module() -> Any:
    """The C++ module; UnsupportedError where it was not built."""
    try:
        from smelt.runtime import _edge
    except ImportError as error:
        raise UnsupportedError(
            f"the edge runtime is not built: {error}",
            hint="install smelt with pip, which builds it (a C++ compiler is needed)",
        ) from None
    return _edge


class told:
    """Turn the runtime's errors, a code and a message, into ours."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RuntimeError) and len(error.args) == 2:
            code, message = error.args
            if code in _USAGE:
                raise SmeltError(message, place=self._place) from None
            if code == _MEMORY:
                hint = "smelt plan says what a shorter context or a smaller batch needs"
                raise SmeltError(message, place=self._place, hint=hint) from None
            if code == _UNSUPPORTED:
                raise UnsupportedError(message, place=self._place) from None
            raise ArtifactError(message, place=self._place) from None
        if isinstance(error, KeyError):
            raise SmeltError(f"`{error.args[0]}` is missing", place=self._place) from None


def _operands(found: list[tuple[str, str, list[int], int] | None]) -> tuple[Any, ...]:
    return tuple(o and Operand(o[0], o[1], tuple(o[2]), o[3]) for o in found)


def _arrays(spec: FunctionSpec, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs of a function, row-major and of its types."""
    missing = [t.name for t in spec.inputs if t.name not in inputs]
    if missing:
        raise SmeltError(f"input `{missing[0]}` is missing", place=spec.name)
    # Not ascontiguousarray, which gives a single number an axis.
    return {t.name: np.require(inputs[t.name], _DTYPES[t.dtype], "C") for t in spec.inputs}


def _length(spec: FunctionSpec, arrays: Mapping[str, Array], symbol: str) -> int:
    for t in spec.inputs:
        for axis, size in enumerate(t.shape):
            if size == symbol and arrays[t.name].ndim > axis:
                return int(arrays[t.name].shape[axis])
    return 1


def _cut(t: TensorSpec, array: Array, start: int, stop: int, past: int) -> Array:
    """The part of an input that belongs to tokens start to stop of a call."""
    for axis, size in enumerate(t.shape):
        if size == "seq":
            return np.ascontiguousarray(array.take(range(start, stop), axis))
        if size == "past + seq":
            return np.ascontiguousarray(array.take(range(past + stop), axis))
    return array
