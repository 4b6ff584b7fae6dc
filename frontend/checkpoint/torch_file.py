"""PyTorch `.bin` files, read as data: never unpickled, and without torch.

Both layouts are read: the zip archive that PyTorch writes since 1.6, and the older one of several
pickles with the storages behind them. Storages are mapped unless the archive has compressed them.
"""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smelt.errors import CheckpointError, UnsupportedError
from smelt.frontend.checkpoint.pickle_data import PickleData, pairs
from smelt.frontend.checkpoint.sizes import natural, product, shape_of, short, within
from smelt.frontend.checkpoint.tensors import DTYPES, Array, MappedFile, TensorInfo

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
PICKLE_LIMIT = 64 << 20
ZIP_DAMAGE = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    KeyError,
    IndexError,
    OSError,
    EOFError,
    OverflowError,
    UnicodeError,
    struct.error,
    zlib.error,
)

STORAGES = {
    "torch.DoubleStorage": "f64",
    "torch.FloatStorage": "f32",
    "torch.HalfStorage": "f16",
    "torch.BFloat16Storage": "bf16",
    "torch.LongStorage": "i64",
    "torch.IntStorage": "i32",
    "torch.ShortStorage": "i16",
    "torch.CharStorage": "i8",
    "torch.ByteStorage": "u8",
    "torch.BoolStorage": "bool",
    "torch.storage.UntypedStorage": "u8",
}
DTYPE_NAMES = {
    "torch.float64": "f64",
    "torch.float32": "f32",
    "torch.float16": "f16",
    "torch.bfloat16": "bf16",
    "torch.float8_e4m3fn": "f8_e4m3",
    "torch.float8_e5m2": "f8_e5m2",
    "torch.int64": "i64",
    "torch.int32": "i32",
    "torch.int16": "i16",
    "torch.int8": "i8",
    "torch.uint64": "u64",
    "torch.uint32": "u32",
    "torch.uint16": "u16",
    "torch.uint8": "u8",
    "torch.bool": "bool",
}


@dataclass(frozen=True)
class Named:
    """A storage type or dtype that a pickle mentions: not callable, only a name."""

    dtype: str


@dataclass(frozen=True)
class Storage:
    """A storage that a pickle refers to by key."""

    key: str
    dtype: str
    count: int

    @property
    def nbytes(self) -> int:
        return self.count * DTYPES[self.dtype].itemsize


@dataclass(frozen=True)
class Strided:
    """A tensor as a pickle rebuilds it: a strided window into a storage."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many elements of the storage the window reaches over."""
        if 0 in self.shape:
            return 0
        steps = zip(self.shape, self.strides, strict=True)
        return 1 + sum((size - 1) * stride for size, stride in steps)


def rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Strided:
    """torch._utils._rebuild_tensor and _rebuild_tensor_v2; gradients and hooks say nothing here."""
    return window(storage, offset, shape, strides, None)


def rebuild_typed(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> Strided:
    """torch._utils._rebuild_tensor_v3: the dtype is given beside an untyped storage."""
    return window(storage, offset, shape, strides, dtype)


def window(storage: Any, offset: Any, shape: Any, strides: Any, dtype: Any) -> Strided:
    """A checked window: it must lie in its storage, and may not repeat elements into more."""
    if not isinstance(storage, Storage) or not isinstance(dtype, Named | None):
        raise TypeError("a tensor without a storage")
    kind = dtype.dtype if dtype else storage.dtype
    place = f"storage {short(storage.key)}"
    sizes = shape_of(shape, "a tensor", place)
    steps = tuple(natural(step, "a stride", place) for step in strides)
    if len(steps) != len(sizes):
        raise CheckpointError(f"{len(sizes)} sizes, but {len(steps)} strides", place=place)
    found = Strided(storage, kind, natural(offset, "an offset", place), sizes, steps)
    width = DTYPES[kind].itemsize
    within(found.offset * width, found.count * width, storage.nbytes, "a tensor", place)
    if product(sizes, "elements", place) * width > storage.nbytes:
        raise UnsupportedError("a tensor repeats elements of its storage", place=place)
    return found


def parameter(data: Any, *rest: Any) -> Any:
    """torch._utils._rebuild_parameter: the tensor itself."""
    return data


def size(values: Any = ()) -> Any:
    """torch.Size: its tuple."""
    return values


def mapping(rows: Any = ()) -> dict[Any, Any]:
    """collections.OrderedDict: a dict, empty or of pairs."""
    return pairs([item for key, value in rows for item in (key, value)])


GLOBALS: dict[str, Any] = {
    "collections.OrderedDict": mapping,
    "torch._utils._rebuild_tensor": rebuild,
    "torch._utils._rebuild_tensor_v2": rebuild,
    "torch._utils._rebuild_tensor_v3": rebuild_typed,
    "torch._utils._rebuild_parameter": parameter,
    "torch.Size": size,
    **{name: Named(dtype) for name, dtype in (STORAGES | DTYPE_NAMES).items()},
}


def storage_of(identity: Any) -> Storage:
    """A persistent id: ("storage", type, key, device, count), the device being of no interest."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise TypeError("a persistent id that is no storage")
    _, kind, key, _, count, *view = identity
    if not isinstance(kind, Named) or not isinstance(key, str) or any(view):
        raise TypeError("a storage of an unknown kind")
    count = natural(count, "a storage's length", f"storage {short(key)}")
    return Storage(key, kind.dtype, count)


class TorchFile:
    """One `.bin` file: its pickle is read and checked at once, its storages when asked for."""

    def __init__(self, path: Path) -> None:
        self._file = MappedFile(path)
        self._place = str(path)
        self._archive: zipfile.ZipFile | None = None
        self._packed: dict[str, zipfile.ZipInfo] = {}
        self._starts: dict[str, int] = {}
        start = self._file.start(4)
        if start == b"PK\x03\x04":
            value = self._open_zip(path)
        elif start[:1] == b"\x80":
            value = self._open_legacy()
        else:
            raise UnsupportedError(
                f"the file starts with {start!r}, which is no PyTorch zip or pickle",
                place=self._place,
                hint="save it again with a PyTorch from 1.6 on, or as safetensors",
            )
        self._windows = tensors_of(value, self._place)
        for name, tensor in self._windows.items():
            self._locate(tensor.storage, name)
        self._tensors = {name: self._info(name, item) for name, item in self._windows.items()}

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return self._tensors

    def read(self, name: str) -> Array:
        tensor = self._windows[name]
        dtype = DTYPES[tensor.dtype]
        flat = self._flat(tensor, dtype)
        strides = [stride * dtype.itemsize for stride in tensor.strides]
        if not flat.size:
            return np.empty(tensor.shape, dtype)
        view = np.lib.stride_tricks.as_strided(flat, tensor.shape, strides, writeable=False)
        return np.ascontiguousarray(view).reshape(tensor.shape)

    def stored(self, name: str) -> memoryview:
        values: Any = self.read(name).reshape(-1).view(np.uint8)
        return memoryview(values)

    def release(self, name: str) -> None:
        tensor = self._windows[name]
        start = self._starts.get(tensor.storage.key)
        if start is not None:
            self._file.release(start, tensor.storage.nbytes)

    def _info(self, name: str, tensor: Strided) -> TensorInfo:
        nbytes = DTYPES[tensor.dtype].itemsize * int(np.prod(tensor.shape, dtype=np.int64))
        return TensorInfo(name, tensor.shape, tensor.dtype, self._file.path, tensor.dtype, nbytes)

    def _flat(self, tensor: Strided, dtype: np.dtype[Any]) -> Array:
        """The elements of the storage that a window reaches over."""
        key = tensor.storage.key
        if key in self._starts:
            offset = self._starts[key] + tensor.offset * dtype.itemsize
            return self._file.array(dtype, (tensor.count,), offset)
        assert self._archive is not None
        try:
            data = self._archive.read(self._packed[key])
        except ZIP_DAMAGE as error:
            raise CheckpointError(f"{error}", place=f"{self._place}: storage {key}") from error
        return np.frombuffer(data, dtype, tensor.count, tensor.offset * dtype.itemsize)

    def _locate(self, storage: Storage, name: str) -> None:
        """Refuse a tensor whose storage is missing, or of another size than the pickle says."""
        place = f"{self._place}: {short(name)}"
        start = self._starts.get(storage.key)
        if start is not None:
            within(start, storage.nbytes, self._file.size, "the storage", place)
        elif storage.key not in self._packed:
            raise CheckpointError(f"storage {short(storage.key)} is missing", place=place)

    def _open_zip(self, path: Path) -> Any:
        try:
            archive = self._archive = zipfile.ZipFile(path)
            entries = {entry.filename: entry for entry in archive.infolist()}
            root = next(name for name in entries if name.endswith("data.pkl"))[: -len("data.pkl")]
            order = entries.get(f"{root}byteorder")
            if order is not None and archive.read(order)[:8] != b"little":
                raise UnsupportedError("a big-endian archive cannot be read", place=self._place)
            if entries[f"{root}data.pkl"].file_size > PICKLE_LIMIT:
                raise CheckpointError(f"its pickle is over {PICKLE_LIMIT} bytes", place=self._place)
            text = archive.read(f"{root}data.pkl")
        except StopIteration:
            raise CheckpointError("the archive has no data.pkl", place=self._place) from None
        except ZIP_DAMAGE as error:
            raise CheckpointError(f"the archive is damaged: {error}", place=self._place) from error
        reader = PickleData(GLOBALS, self._zip_storage(entries, root), self._place)
        return reader.load(io.BytesIO(text))

    def _zip_storage(self, entries: Mapping[str, zipfile.ZipInfo], root: str) -> Any:
        def storage(identity: Any) -> Storage:
            found = storage_of(identity)
            entry = entries.get(f"{root}data/{found.key}")
            if entry is None:
                raise CheckpointError(f"storage {short(found.key)} is missing", place=self._place)
            if entry.file_size < found.nbytes:
                raise CheckpointError(
                    f"storage {short(found.key)} has {entry.file_size} bytes, "
                    f"the pickle says {found.nbytes}",
                    place=self._place,
                )
            if entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & 1:
                self._starts[found.key] = self._data_start(entry)
            else:
                self._packed[found.key] = entry
            return found

        return storage

    def _data_start(self, entry: zipfile.ZipInfo) -> int:
        """Where the bytes of a stored entry begin: behind its local header."""
        header = bytes(self._file.bytes(entry.header_offset, 30))
        if header[:4] != b"PK\x03\x04":
            raise CheckpointError(f"{short(entry.filename)} has no local header", place=self._place)
        names, extra = struct.unpack_from("<HH", header, 26)
        start: int = entry.header_offset + 30 + names + extra
        within(start, entry.file_size, self._file.size, short(entry.filename), self._place)
        return start

    def _open_legacy(self) -> Any:
        storages: dict[str, Storage] = {}

        def storage(identity: Any) -> Storage:
            found = storage_of(identity)
            known = storages.setdefault(found.key, found)
            if known != found:
                raise CheckpointError(
                    f"storage {short(found.key)} is of two kinds", place=self._place
                )
            return found

        with self._file.path.open("rb") as file:
            # A map as the file to read from: a huge length in the pickle allocates nothing.
            stream: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        reader = PickleData(GLOBALS, storage, self._place)
        if reader.load(stream) != LEGACY_MAGIC:
            raise UnsupportedError(
                "a plain pickle, not a PyTorch checkpoint",
                place=self._place,
                hint="save the model's state dict with torch.save, or as safetensors",
            )
        reader.load(stream)  # the protocol's version
        system = reader.load(stream)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise UnsupportedError("a big-endian file cannot be read", place=self._place)
        value, keys = reader.load(stream), reader.load(stream)
        at = stream.tell()
        stream.close()
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise CheckpointError("the list of storages is damaged", place=self._place)
        for key in keys:
            if key not in storages or key in self._starts:
                raise CheckpointError(
                    f"storage {short(key)} is unknown or listed twice", place=self._place
                )
            within(at, 8, self._file.size, "a storage's length", self._place)
            count = int.from_bytes(self._file.bytes(at, 8), "little")
            if count != storages[key].count:
                raise CheckpointError(
                    f"storage {short(key)} has {count} elements, "
                    f"the pickle says {storages[key].count}",
                    place=self._place,
                )
            self._starts[key] = at + 8
            at += 8 + storages[key].nbytes
        return value


def tensors_of(value: Any, place: str) -> dict[str, Strided]:
    """The tensors of a state dict; anything else at the top is not a Hugging Face checkpoint."""
    if not isinstance(value, dict):
        raise CheckpointError(f"the pickle is {short(value)}, wants a dict", place=place)
    found = {}
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, Strided):
            raise UnsupportedError(
                f"`{short(name)}` is {type(tensor).__name__}, not a tensor",
                place=place,
                hint="wants a plain state dict: tensors by name",
            )
        found[name] = tensor
    return found
