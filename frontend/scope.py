"""What a spec builds into: weight paths, parameters, state slots and the inputs of one function."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from smelt.errors import CheckpointError, SpecError
from smelt.frontend.config import Config
from smelt.frontend.tasks import Contract
from smelt.ir import ops
from smelt.ir.dims import Size, parse_size, substitute, symbol
from smelt.ir.program import Slot
from smelt.ir.tensor import Tensor, source
from smelt.ir.types import DType, Type

MAX_PATH = 512

#: Shapes of a checkpoint's tensors by name.
Shapes = Mapping[str, tuple[int, ...]]


@dataclass
class Scope:
    """The state of building one program; functions share parameters and slots."""

    config: Config
    dtype: DType
    shapes: Shapes | None = None
    #: Whether a parameter that the checkpoint lacks is an error.
    strict: bool = True
    rename: tuple[tuple[str, str], ...] = ()
    slots: dict[str, Slot] = field(default_factory=dict)
    writes: dict[str, Tensor] = field(default_factory=dict)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    used_inputs: set[str] = field(default_factory=set)
    path: str = ""
    #: What the current function does with state; see ``Contract``.
    state: str = "none"
    #: Tensors that the specs of parts let lie: patterns of names.
    left_unread: set[str] = field(default_factory=set)
    #: Expert indices [rows, chosen] while the body of an expert is built: weights are then stacked.
    experts: tuple[Tensor, int] | None = None
    #: What the blocks of the current function read, in order, and what the last one gives.
    blocks: list[object] = field(default_factory=list)
    last_block: object = None
    #: How many ``repeat`` are being built, one inside the other.
    nesting: int = 0

    def begin(self, contract: Contract, sizes: Mapping[str, Size]) -> None:
        """Start a function: declare its inputs; ``sizes`` has those that the spec fixes by name."""
        self.inputs, self.used_inputs, self.writes = {}, set(), {}
        self.state = contract.state
        self.blocks, self.last_block = [], None
        for port in contract.inputs:
            shape = tuple(substitute(parse_size(size), sizes) for size in port.sizes)
            self.inputs[port.name] = ops.input(name=port.name, type=Type(shape, port.dtype))

    def input(self, name: str) -> Tensor | None:
        """An input of the current function, or None; floats in the model's dtype."""
        tensor = self.inputs.get(name)
        if tensor is None:
            return None
        self.used_inputs.add(name)
        if tensor.dtype.is_float and tensor.dtype is not self.dtype:
            return ops.cast(tensor, dtype=self.dtype)  # type: ignore[no-any-return]
        return tensor

    @contextmanager
    def within(
        self, inputs: dict[str, Tensor], rename: tuple[tuple[str, str], ...]
    ) -> Iterator[None]:
        """While a part is built: its own inputs, and the other names that its spec has too."""
        kept = self.inputs, self.used_inputs, self.rename
        self.inputs, self.used_inputs, self.rename = inputs, set(), (*rename, *self.rename)
        try:
            yield
        finally:
            self.inputs, self.used_inputs, self.rename = kept

    @contextmanager
    def nested(self) -> Iterator[None]:
        """While a block is built."""
        self.nesting += 1
        try:
            yield
        finally:
            self.nesting -= 1

    @contextmanager
    def at(self, name: str) -> Iterator[None]:
        """Extend the weight path, and label nodes with it."""
        before = self.path
        self.path = f"{before}.{name}" if before and name else before or name
        if len(self.path) > MAX_PATH:
            raise SpecError(f"weight path has {len(self.path)} characters, at most {MAX_PATH}")
        try:
            with source(self.path):
                yield
        finally:
            self.path = before

    def param(self, name: str, shape: tuple[Size, ...]) -> Tensor:
        """The parameter ``path.name``, by the name that the checkpoint has for it."""
        if not all(isinstance(size, int) and size > 0 for size in shape):
            raise SpecError(
                f"parameter `{name}` has shape {list(map(str, shape))}, wants positive sizes"
            )
        full = f"{self.path}.{name}" if self.path else name
        fixed = tuple(int(size) for size in shape if isinstance(size, int))
        if "*" in full:
            count = fixed[0]
            found = self._stored(full.replace("*", "0"), fixed[1:])
            # Renaming does not touch the star: the same pairs that found this one find the others.
            renamed = dict(
                zip(self.candidates(full.replace("*", "0")), self.candidates(full), strict=True)
            )
            stored = renamed.get(found, full)
            for i in range(1, count):
                self._stored(stored.replace("*", str(i)), fixed[1:])
        else:
            stored = self._stored(full, fixed)
        return ops.param(name=stored, type=Type(fixed, self.dtype))  # type: ignore[no-any-return]

    def has(self, name: str, shape: tuple[int, ...] | None = None) -> bool | None:
        """Is ``path.name`` in the checkpoint under any of its names, and of that shape where one is
        given? None when there is no checkpoint.
        """
        full = f"{self.path}.{name}" if self.path else name
        if self.shapes is None:
            return None
        found = [tuple(self.shapes[c]) for c in self.candidates(full) if c in self.shapes]
        return bool(found) if shape is None else shape in found

    def _stored(self, name: str, shape: tuple[int, ...]) -> str:
        if self.shapes is None:
            return name
        candidates = self.candidates(name)
        found = next((c for c in candidates if c in self.shapes), None)
        if found is None and not self.strict:
            return name
        if found is None:
            near = difflib.get_close_matches(name, self.shapes, 1)
            raise CheckpointError(
                f"the checkpoint has no tensor `{name}` {list(shape)}",
                hint=f"the nearest name is `{near[0]}` {list(self.shapes[near[0]])}"
                if near
                else None,
            )
        if tuple(self.shapes[found]) != shape:
            raise CheckpointError(
                f"tensor `{found}` has shape {list(self.shapes[found])}, "
                f"the spec wants {list(shape)}"
            )
        return found

    def candidates(self, name: str) -> list[str]:
        """The name, and each other name that the spec's rename table allows, one pair at a time."""
        names = [name]
        for canonical, stored in self.rename:
            for known in list(names):
                if canonical == "":
                    names.append(stored + known)
                elif canonical in known:
                    names.append(known.replace(canonical, stored))
        return names

    def append(self, name: str, x: Tensor, axis: int, window: int | None) -> Tensor:
        """Append x to the slot ``path.name`` and give all of it."""
        slot = f"{self.path}.{name}" if self.path else name
        past = (*x.shape[:axis], symbol("past"), *x.shape[axis + 1 :])
        self._declare(Slot(slot, "append", Type(past, x.dtype), axis, window, dtype=x.dtype))
        return ops.cache(x, slot=slot, axis=axis, window=window)  # type: ignore[no-any-return]

    def read(self, name: str, shape: tuple[Size, ...] | None, dtype: DType) -> Tensor:
        """What the replaced slot ``path.name`` holds; without a shape it must exist already."""
        slot = f"{self.path}.{name}" if self.path else name
        if shape is not None:
            self._declare(Slot(slot, "replace", Type(shape, dtype), dtype=dtype))
        elif slot not in self.slots:
            raise SpecError(
                f"slot `{slot}` is read before any function stored it",
                hint=f"stored slots: {', '.join(list(self.slots)[:4])}",
            )
        return ops.read(slot=slot, type=self.slots[slot].type)  # type: ignore[no-any-return]

    def write(self, name: str, x: Tensor) -> Tensor:
        """Store x as the whole of the slot ``path.name`` for later calls and functions."""
        slot = f"{self.path}.{name}" if self.path else name
        if slot not in self.slots:
            self._declare(Slot(slot, "replace", x.type, dtype=x.dtype))
        if slot in self.writes:
            raise SpecError(f"slot `{slot}` is written twice")
        if self.slots[slot].type != x.type:
            raise SpecError(f"slot `{slot}` is {self.slots[slot].type}, the value is {x.type}")
        self.writes[slot] = x
        return x

    def _declare(self, slot: Slot) -> None:
        known = self.slots.setdefault(slot.name, slot)
        if known != slot:
            raise SpecError(
                f"slot `{slot.name}` is {known.type} and {slot.type}", hint="give it a name"
            )
