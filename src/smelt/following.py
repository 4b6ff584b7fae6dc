"""The reference from the artifact's own inputs, for artifacts whose steps round coarsely.

With one int8 term, an input that lies near a rounding border gets another code when f32 sums come
in another order, and tens of layers grow that to some percent between two correct runs. So a
tolerance on the end would prove little. Instead the reference follows the artifact: where a tensor
that it computed is one of the artifact's, up to what the order of f32 sums can do, it goes on with
the artifact's. Every step then has the artifact's inputs to the last bit, rounds them to the same
codes, and must give the same result; what a step does wrong is not followed, and shows in the next
cache or at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import numpy as np

from smelt.ir.tensor import Tensor
from smelt.probe import Probe
from smelt.trace import TRACERS

Array = np.ndarray[Any, Any]

#: Most that two orders of f32 sums part, over the scale of a channel; see `verify.TOLERANCES`.
SAME = 1e-4
#: The same of `bf16_attention`, whose probabilities may be rounded to bf16: half a step is 2^-9 of
#: each, and a result is divided by their rounded sum.
BF16 = 2.0**-8
_ALLOWED = {"bf16_attention": BF16}
#: Ops whose results the artifact has too, or tensors made of them: where none lies between, what
#: comes out of followed tensors is the artifact's.
_SUMS = frozenset(
    {
        "linear",
        "grouped_linear",
        "matmul",
        "conv",
        "sum",
        "mean",
        "cumsum",
        "selective_scan",
        "recurrence",
        "linear_attention",
        "bf16_attention",
    }
)
#: Elements that tell quickly that two tensors differ.
_FEW = 64


@dataclass(frozen=True)
class _Kept:
    """A tensor of the artifact, in a file: its parts by step, joined along the axis of tokens."""

    file: BinaryIO
    parts: tuple[tuple[int, tuple[int, ...]], ...]
    axis: int

    def read(self) -> Array:
        """The tensor, [.., tokens, ..] f32."""
        found = []
        for offset, shape in self.parts:
            self.file.seek(offset)
            data = self.file.read(4 * int(np.prod(shape)))
            found.append(np.frombuffer(data, np.float32).reshape(shape))
        return found[0] if len(found) == 1 else np.concatenate(found, self.axis)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all parts together."""
        shape = list(self.parts[0][1])
        if len(self.parts) > 1:
            shape[self.axis] = sum(part[self.axis] for _, part in self.parts)
        return tuple(shape)


class Trace:
    """Every f32 tensor that an artifact computed over a probe, kept in a temporary file."""

    def __init__(self, engine: Any, probe: Probe) -> None:
        self._file: Any = TemporaryFile()  # noqa: SIM115 (closed with this object)
        #: By function: for each step, offset and shape of each tensor in the artifact's order.
        self._steps: dict[str, list[list[tuple[int, tuple[int, ...]]]]] = {}
        self._is_divided = probe.is_divided
        engine.reset()
        tracer = TRACERS[engine.manifest.target]
        for call in probe.steps:
            found = [self._keep(a) for a in tracer(engine, call.function, call.inputs)]
            self._steps.setdefault(call.function, []).append(found)
        engine.reset()

    def _keep(self, array: Array) -> tuple[int, tuple[int, ...]]:
        offset = self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(array, np.float32).data)
        return offset, array.shape

    def tensors(self, function: str, index: int) -> Iterator[_Kept]:
        """Those of the reference's call ``index`` of a function, which may be several steps."""
        steps = self._steps[function]
        taken = [steps[index]] if self._is_divided else steps
        for parts in zip(*taken, strict=True):
            axis = _axis_of_tokens([shape for _, shape in parts])
            if axis is not None and len(parts[0][1]) >= 2:
                yield _Kept(self._file, parts, axis)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _axis_of_tokens(shapes: Sequence[tuple[int, ...]]) -> int | None:
    """The one axis along which the steps of a text differ; None when there are several."""
    if len(shapes) == 1:
        return 0
    first, later = shapes[0], set(shapes[1:])
    if len(later) != 1 or len(first) != len(shapes[1]):
        return None
    axes = [i for i, pair in enumerate(zip(first, shapes[1], strict=True)) if len({*pair}) > 1]
    return axes[0] if len(axes) == 1 else None


class Follower:
    """Answers each tensor of the reference with the artifact's own, where that is the same."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._left: dict[tuple[int, ...], list[tuple[_Kept, Array]]] = {}
        self._taken: set[Tensor] = set()
        self._calls: dict[str, int] = {}
        #: The artifact's tensors, and those followed.
        self.tensors, self.followed = 0, 0
        #: By what was allowed: the worst of those followed, over its channel's scale, and where.
        self.worst: dict[float, tuple[float, str]] = {}

    @property
    def allowed(self) -> float:
        """The most that any tensor was allowed."""
        return max(self.worst, default=SAME)

    def begin(self, function: str) -> None:
        """The reference's next call is one of this function."""
        index = self._calls.get(function, 0)
        self._calls[function] = index + 1
        self._left, self._taken = {}, set()
        for kept in self._trace.tensors(function, index):
            self.tensors += 1
            self._left.setdefault(kept.shape, []).append((kept, _few(kept.read())))

    def hear(self, node: Tensor, tensor: Any) -> Any:
        """A torch tensor of the reference, and its node; the artifact's in its stead, or None."""
        import torch

        if getattr(tensor, "dtype", None) is not torch.float32:
            return None
        candidates = self._left.get(tuple(tensor.shape), [])
        if not candidates:
            return None
        allowed = _ALLOWED.get(node.op.name, SAME)
        if allowed > SAME and not all(map(self._is_followed, node.inputs)):
            return None  # its inputs differ, and so may it by more than what it rounds
        own = tensor.numpy()
        few = _few(own)
        bound = 0.01 * float(np.abs(few).max(initial=0.0))
        for index, (kept, known) in enumerate(candidates):
            if np.abs(known - few).max(initial=0.0) > bound:
                continue
            found = kept.read()
            error = difference(own, found)
            if error > allowed:
                continue
            del candidates[index]
            self.followed += 1
            self._taken.add(node)
            self.worst[allowed] = max(self.worst.get(allowed, (0.0, "")), (error, node.source))
            return torch.from_numpy(found.copy())
        return None

    def _is_followed(self, node: Tensor) -> bool:
        """Whether a tensor is the artifact's, or comes of such by no sums: shapes, rotations."""
        if node in self._taken or not node.inputs:
            return True
        return node.op.name not in _SUMS and all(map(self._is_followed, node.inputs))


def _few(array: Array) -> Array:
    flat = array.reshape(-1)
    return flat[:: max(1, flat.size // _FEW)].copy()


def difference(own: Array, found: Array) -> float:
    """The largest error over its channel's scale: the channel's largest value, or the middle one of
    the tensor where that is more. One channel of many may be a thousand times the others.
    """
    size = np.abs(found)
    scale = np.maximum(size.reshape(-1, size.shape[-1]).max(axis=0), np.median(size))
    error = np.abs(own - found)
    worst = float((error / np.where(scale > 0, scale, 1e-30)).max(initial=0.0))
    return worst if np.isfinite(worst) else 1e30
