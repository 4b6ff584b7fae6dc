"""One function's instructions, tensors and buffers while they are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from smelt.backends.edge.opcodes import OPCODES
from smelt.backends.edge.tables import Tables
from smelt.backends.edge.value import Sizes, Value, dense_strides, permuted
from smelt.errors import UnsupportedError
from smelt.ir.dims import Size
from smelt.ir.types import DType
from smelt.passes.check_memory import check_memory
from smelt.passes.plan_memory import Buffer, plan_memory
from smelt.runtime.edge_format import ELEMENTS, MAX_RANK, NONE, STORAGES

#: A word of an instruction: a size, a slot or integer, or a float.
Word = Size | float


@dataclass(frozen=True)
class Step:
    """An instruction whose operands are still values."""

    op: str
    outputs: tuple[Value, ...]
    inputs: tuple[Value | None, ...]
    words: tuple[Word, ...]
    source: str


class Graph:
    """Builds a function; ``finish`` plans its memory and writes its records."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._steps: list[Step] = []
        self._bytes: list[Size] = []
        self.source = ""

    def new(self, shape: Sizes, dtype: DType, order: tuple[int, ...] | None = None) -> Value:
        """A fresh dense buffer; ``order``: its axes from the slowest to the fastest in memory."""
        if len(shape) > MAX_RANK:
            raise UnsupportedError(
                f"edge: a tensor of rank {len(shape)}, at most {MAX_RANK} are possible",
                place=self.source,
            )
        self._bytes.append(prod(shape) * dtype.bytes)
        index = len(self._bytes) - 1
        if order is None:
            return Value("arena", index, dtype, shape, dense_strides(shape))
        stored = tuple(shape[axis] for axis in order)
        back = tuple(int(i) for i in np.argsort(order))
        return permuted(Value("arena", index, dtype, stored, dense_strides(stored)), back)

    def emit(
        self,
        op: str,
        outputs: Sequence[Value],
        inputs: Sequence[Value | None],
        *words: Word,
    ) -> None:
        """Append an instruction."""
        step = Step(op, tuple(outputs), tuple(inputs), words, self.source)
        self._steps.append(step)

    def made(
        self,
        op: str,
        shape: Sizes,
        dtype: DType,
        inputs: Sequence[Value | None],
        *words: Word,
        order: tuple[int, ...] | None = None,
    ) -> Value:
        """The new result of an instruction with one output."""
        out = self.new(shape, dtype, order)
        self.emit(op, [out], inputs, *words)
        return out

    def dense(self, x: Value) -> Value:
        """The value row-major: itself, or a copy."""
        return x if x.is_contiguous else self.copy(x)

    def copy(self, x: Value) -> Value:
        return self.made("copy", x.shape, x.dtype, [x])

    def finish(
        self,
        name: str,
        inputs: Sequence[tuple[str, Value]],
        outputs: Sequence[tuple[str, Value]],
        binds: Sequence[tuple[int, int, int, int]],
        typical: Mapping[str, int],
    ) -> None:
        """Plan the memory, and write every record of the function."""
        places = self._plan([value for _, value in outputs], typical)
        writer = _Writer(self._tables, places)
        starts = {t: self._tables.count(t) for t in ("buffers", "tensors", "instructions")}
        for index, below in zip(writer.order, writer.below, strict=True):
            words = self._tables.words["below"]
            size = self._tables.size(self._bytes[index])
            self._tables.add("buffers", size, len(words), len(below), 0)
            words.extend(below)
        first_port, first_bind = self._tables.count("ports"), self._tables.count("binds")
        for port, value in (*inputs, *outputs):
            self._tables.add("ports", self._tables.text(port), writer.tensor(value, port), 0)
        for bind in binds:
            self._tables.add("binds", *bind)
        for step in self._steps:
            writer.instruction(step)
        record: list[int] = []
        for table in ("buffers", "tensors", "instructions"):
            record += [starts[table], self._tables.count(table) - starts[table]]
        record += [first_port, len(inputs), first_port + len(inputs), len(outputs)]
        record += [first_bind, len(binds)]
        self._tables.add("functions", self._tables.text(name), *record)

    def _plan(
        self, outputs: Sequence[Value], typical: Mapping[str, int]
    ) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
        born: dict[int, int] = {}
        dies: dict[int, int] = {}
        for number, step in enumerate(self._steps):
            for value in (*step.outputs, *step.inputs):
                if value is not None and value.storage == "arena":
                    born.setdefault(value.index, number)
                    dies[value.index] = number
        for value in outputs:  # they stay readable after the last step
            if value.storage == "arena":
                dies[value.index] = len(self._steps)
        unused = [i for i in range(len(self._bytes)) if i not in born]
        for index in unused:
            born[index] = dies[index] = 0
            self._bytes[index] = 0
        buffers = [Buffer(size, born[i], dies[i]) for i, size in enumerate(self._bytes)]
        plan = plan_memory(buffers, typical)
        check_memory(buffers, plan)
        return plan.order, plan.below


class _Writer:
    """Turns values into tensor records, each distinct view once."""

    def __init__(
        self, tables: Tables, plan: tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]
    ) -> None:
        self._tables = tables
        self.order, self.below = plan
        self._places = {index: place for place, index in enumerate(self.order)}
        self._tensors: dict[Value, int] = {}

    def tensor(self, value: Value, name: str = "") -> int:
        if value not in self._tensors:
            size = self._tables.size
            is_view = value.storage != "state" and not value.opaque
            strided = is_view and not (value.is_contiguous and value.offset == 0)
            empty = [0] * (MAX_RANK - value.rank)
            steps = value.strides if strided else (0,) * value.rank
            index = self._places[value.index] if value.storage == "arena" else value.index
            self._tensors[value] = self._tables.add(
                "tensors",
                self._tables.text(name),
                ELEMENTS.index("packed" if value.opaque else value.dtype.value),
                value.rank,
                STORAGES.index(value.storage),
                int(strided),
                index,
                size(value.offset) if strided else NONE,
                [*map(size, value.shape), *empty],
                [*(map(size, steps) if strided else steps), *empty],
                0,
            )
        return self._tensors[value]

    def instruction(self, step: Step) -> None:
        opcode, kinds = OPCODES[step.op]
        assert len(kinds) == len(step.words), step
        operands, attributes = self._tables.words["operands"], self._tables.words["attributes"]
        first, first_word = len(operands), len(attributes)
        for value in (*step.outputs, *step.inputs):
            operands.append(NONE if value is None else self.tensor(value))
        attributes.extend(map(self._word, kinds, step.words))
        self._tables.add(
            "instructions",
            opcode,
            len(step.outputs),
            len(step.inputs),
            first,
            first_word,
            len(kinds),
            self._tables.text(step.source),
        )

    def _word(self, kind: str, word: Word) -> int:
        if kind == "d":
            assert not isinstance(word, float)
            return self._tables.size(word)
        if kind == "f":
            assert isinstance(word, (int, float))
            return int(np.float32(word).view(np.uint32))
        assert isinstance(word, int)
        return word & 0xFFFFFFFF
