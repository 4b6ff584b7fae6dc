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
from smelt.frontend.checkpoint.gguf_config import architecture_of, config_of
from smelt.frontend.checkpoint.gguf_file import Entry, GgufFile, entries_of
from smelt.frontend.checkpoint.gguf_models import Architecture, Transform
from smelt.frontend.checkpoint.paths import inside
from smelt.frontend.checkpoint.tensors import Array, TensorInfo

NAME = re.compile(r"(?:blk\.(\d{1,6})\.)?([a-z_0-9]+?)(_exps)?(?:\.(\d{1,6}))?\.(weight|bias)")
PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")
PARTS_LIMIT = 1000
ROPE_FACTORS = "rope_freqs.weight"


@dataclass(frozen=True)
class Item:
    """A tensor under its Hugging Face name: an entry of a part, and how to undo GGUF's changes."""

    file: GgufFile
    entry: Entry
    transform: Transform | None


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
        self._tensors = {name: self._info(name, item) for name, item in self._items.items()}

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return self._tensors

    def read(self, name: str) -> Array:
        item = self._items[name]
        values = item.file.values(item.entry)
        if item.transform is None:
            return values
        return item.transform(values, self.config)

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
        if item.transform is not None:
            shape = transformed(shape, name, self.config, place)
        dtype = "f32" if encoding.decode else encoding.name
        return TensorInfo(name, shape, dtype, item.file.path, encoding.name, item.entry.nbytes)


def transformed(
    shape: tuple[int, ...], name: str, config: Mapping[str, Any], place: str
) -> tuple[int, ...]:
    """The shape after the transform, refusing a tensor that it does not fit."""
    if name.endswith("shared_expert_gate.weight"):
        return (1, *shape[-1:])
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    for part, key in heads.items():
        if f".{part}." in name and shape[0] % (2 * config[key]):
            raise CheckpointError(
                f"{shape[0]} rows are not pairs in each of {config[key]} heads", place=place
            )
    return shape


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
    stem = f"blk.{{i}}.{middle}" if layer is not None else middle
    table = row.experts if fused or expert is not None else row.tensors
    known = table.get(stem)
    if known is None:
        yield name, Item(file, entry, None)
        return
    known = known.replace("{i}", layer or "") + f".{kind}"
    transform = row.transforms.get(middle)
    if transform is None and middle.endswith("_norm"):
        transform = row.transforms.get("*_norm")
    if not fused:
        yield known.replace("{e}", expert or ""), Item(file, entry, transform)
        return
    if len(entry.shape) != 3:
        raise UnsupportedError(
            f"`{name}` has {len(entry.shape)} axes, wants 3", place=str(file.path)
        )
    for index, part in enumerate(slices(entry)):
        yield known.replace("{e}", str(index)), Item(file, part, transform)


def slices(entry: Entry) -> list[Entry]:
    """An entry cut along its first axis; blocks never cross rows: each part is a span of bytes."""
    count = entry.shape[0]
    nbytes = entry.nbytes // max(count, 1)
    return [
        Entry(entry.shape[1:], entry.encoding, entry.offset + index * nbytes, nbytes)
        for index in range(count)
    ]
