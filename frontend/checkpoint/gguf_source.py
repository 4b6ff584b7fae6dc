"""A GGUF model as a checkpoint's source: its tensors under their Hugging Face names.

Tensors that hold all experts of a layer (`ffn_gate_exps`) are listed one expert at a time, as the
Hugging Face checkpoints list them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smelt.errors import CheckpointError, UnsupportedError
from smelt.frontend.checkpoint.gguf_changes import Change
from smelt.frontend.checkpoint.gguf_config import architecture_of, config_of, heads_of
from smelt.frontend.checkpoint.gguf_file import Entry, GgufFile, entries_of
from smelt.frontend.checkpoint.gguf_models import Architecture
from smelt.frontend.checkpoint.paths import inside
from smelt.frontend.checkpoint.tensors import Array, TensorInfo

NAME = re.compile(r"(?:blk\.(\d{1,6})\.)?([a-z_0-9]+?)(_exps)?(?:\.(\d{1,6}))?(\.weight|\.bias)?")
PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")
PARTS_LIMIT = 1000
ROPE_FACTORS = "rope_freqs.weight"


@dataclass(frozen=True)
class Item:
    """A tensor under its Hugging Face name: an entry of a part, and how to undo GGUF's changes."""

    file: GgufFile
    entry: Entry
    change: Change | None


class GgufSource:
    """One GGUF model, of one file or of several parts."""

    def __init__(self, path: Path) -> None:
        files = open_parts(path)
        self.metadata: Mapping[str, Any] = files[0].metadata
        place = str(path)
        row = architecture_of(self.metadata, place)
        entries = dict(entries_of(files))
        factors = entries.pop(ROPE_FACTORS, None)
        self._items: dict[str, Item] = {}
        for name, (file, entry) in entries.items():
            for known, item in items(name, file, entry, row):
                if known in self._items:
                    raise CheckpointError(f"two tensors are called `{known}`", place=place)
                self._items[known] = item
        shapes = {name: item.entry.shape for name, item in self._items.items()}
        values = factors[0].values(factors[1]) if factors else None
        self.config = config_of(self.metadata, shapes, values, place)
        self._heads = heads_of(row, self.config, place)
        self._tensors = {name: self._info(name, item) for name, item in self._items.items()}

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return self._tensors

    def read(self, name: str) -> Array:
        item = self._items[name]
        values = item.file.values(item.entry)
        return values if item.change is None else item.change.values(values, self._heads)

    def stored(self, name: str) -> memoryview:
        item = self._items[name]
        return item.file.stored(item.entry)

    def release(self, name: str) -> None:
        item = self._items[name]
        item.file.release(item.entry)

    def _info(self, name: str, item: Item) -> TensorInfo:
        encoding = item.entry.encoding
        place = f"{item.file.path}: {name}"
        shape = item.entry.shape
        if item.change is not None:
            shape = item.change.shape_of(shape, self._heads, place)
        dtype = "f32" if encoding.decode else encoding.name
        return TensorInfo(name, shape, dtype, item.file.path, encoding.name, item.entry.nbytes)


def open_parts(path: Path) -> list[GgufFile]:
    """The file, or all parts of a split one, which lie beside each other."""
    first = GgufFile(path)
    count = first.metadata.get("split.count", 1)
    if type(count) is not int or count in (0, 1):
        return [first]
    match = PART.fullmatch(path.name)
    if match is None or int(match[3]) != count or count > PARTS_LIMIT:
        raise CheckpointError(
            f"the file says it is one of {count} parts, its name does not", place=str(path)
        )
    names = [f"{match[1]}-{part:05d}-of-{match[3]}.gguf" for part in range(1, count + 1)]
    return [first if name == path.name else GgufFile(inside(path.parent, name)) for name in names]


def items(name: str, file: GgufFile, entry: Entry, row: Architecture) -> Iterator[tuple[str, Item]]:
    """The Hugging Face names of a GGUF tensor; a name that no row has is kept, and so reported."""
    match = NAME.fullmatch(name)
    if match is None:
        yield name, Item(file, entry, None)
        return
    layer, middle, fused, expert, kind = match.groups()
    kind = kind or ""
    known = row.name(layer, middle, kind, bool(fused) or expert is not None)
    if known is None:
        yield name, Item(file, entry, None)
        return
    change = row.changed(middle, kind.removeprefix("."))
    if not fused:
        yield known.replace("{e}", expert or ""), Item(file, entry, change)
        return
    if len(entry.shape) != 3:
        raise UnsupportedError(
            f"`{name}` has {len(entry.shape)} axes, wants 3", place=str(file.path)
        )
    for index, part in enumerate(slices(entry)):
        yield known.replace("{e}", str(index)), Item(file, part, change)


def slices(entry: Entry) -> list[Entry]:
    """An entry cut along its first axis; blocks never cross rows: each part is a span of bytes."""
    count = entry.shape[0]
    nbytes = entry.nbytes // max(count, 1)
    return [
        Entry(entry.shape[1:], entry.encoding, entry.offset + index * nbytes, nbytes)
        for index in range(count)
    ]
