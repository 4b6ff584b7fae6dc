"""`model.smelt`, the one-file artifact: written whole or not at all, read with offsets checked.

Goals: a killed compile leaves nothing under the final name; the same input gives the same bytes;
the certificate can be stored after the artifact was run. Non-goal: the program's own records,
which the C++ runtime checks (docs/artifact.md).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import numpy as np

from smelt.errors import ArtifactError
from smelt.runtime.edge_format import (
    FILE,
    HEADER,
    MAGIC,
    RECORDS,
    SEGMENT,
    SEGMENTS,
    VERSION,
    align,
)
from smelt.runtime.manifest import MAX_MANIFEST_BYTES, Manifest, parse_manifest

MANIFEST = "manifest.json"
#: The compiled tokenizer. It and compiled chat templates are the first files, so that they are
#: aligned and can be used in place: the size of a template is a multiple of 64.
TOKENIZER = "tokenizer.tables"
_CODE = ".code"
_HEAD = HEADER.itemsize + len(SEGMENTS) * SEGMENT.itemsize
_WEIGHTS = SEGMENTS.index("weights")
_DATA = SEGMENTS.index("weight_data")
_PIECE = 1 << 20
#: The system keeps a file in pages as large as the writes that made them. Written in whole pieces
#: of this size, at multiples of it, a mapped file is read nearly twice as fast.
_HUGE = 2 << 20


@dataclass(frozen=True)
class Blob:
    """Weight data to come: its size, known beforehand, and how its bytes are made."""

    bytes: int
    make: Callable[[], Iterable[np.ndarray[Any, Any]]]


def template_file(name: str) -> str:
    """The file of a compiled chat template."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise ArtifactError(f"chat template `{name}` has a name that no file can have")
    return f"chat_template.{name}{_CODE}"


class _Stream:
    """Writes a file from its start on, in pieces of ``_HUGE``; what is left out is zero."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._piece, self._end = file, bytearray(), 0
        file.seek(0)

    def write(self, offset: int, data: memoryview) -> None:
        """Put data at an offset, which is not before the end of what came last."""
        self._add(memoryview(bytes(offset - self._end)))
        self._add(data)

    def _add(self, data: memoryview) -> None:
        self._end += len(data)
        while data:
            taken = data[: _HUGE - len(self._piece)]
            self._piece += taken
            data = data[len(taken) :]
            if len(self._piece) == _HUGE:
                self.flush()

    def flush(self) -> None:
        """Write what was collected."""
        self._file.write(self._piece)
        self._piece = bytearray()


class ArtifactWriter:
    """Writes a `model.smelt` beside its final place and gives it its name at the end.

    ``store`` takes the program and streams the weights; ``write`` adds files; ``seal`` stores them
    with the manifest, and may be called again. Leaving the ``with`` block publishes; an exception
    removes everything. A ``hollow`` one leaves a hole where the weights would lie: with it the
    runtime can measure a session, nothing more.
    """

    def __init__(self, out: Path | str, *, hollow: bool = False) -> None:
        self.out = Path(out).absolute()
        self._hollow = hollow
        self.path = self.out
        self._file: BinaryIO | None = None
        self._files: dict[str, bytes] = {}
        self._segments = np.zeros(len(SEGMENTS), SEGMENT)
        self._stored = self._sealed = False

    def __enter__(self) -> ArtifactWriter:
        _refuse_to_replace(self.out)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{self.out.name}.partial-"
        _remove_abandoned(self.out.parent, prefix)
        handle, name = tempfile.mkstemp(prefix=prefix, dir=self.out.parent)
        self.path = Path(name)
        self._file = os.fdopen(handle, "r+b")
        _lock(handle)
        return self

    def store(
        self,
        tables: Mapping[str, bytes],
        weights: np.ndarray[Any, Any],
        blobs: Iterable[Blob],
        progress: Callable[[str, int], None] = lambda name, size: None,
    ) -> int:
        """Write every table and the weights, one blob at a time; the bytes of all weights.

        ``weights`` are the records, in the order of the blobs; offsets and checksums are filled in.
        """
        file = self._open()
        weights = weights.copy()
        end = _HEAD
        for kind, name in enumerate(SEGMENTS[:_DATA]):
            size = weights.nbytes if kind == _WEIGHTS else len(tables[name])
            self._segments[kind] = (kind, 0, align(end), size, 0)
            end = align(end) + size
        start = offset = align(end)
        crc, stream = 0, _Stream(file)
        for record, blob in zip(weights, blobs, strict=True):
            padding = b"\0" * (align(offset) - offset)
            crc = zlib.crc32(padding, crc)
            offset = align(offset)
            own, written = 0, blob.bytes if self._hollow else 0
            for piece in () if self._hollow else blob.make():
                view = np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data
                stream.write(offset + written, view)
                own, crc = zlib.crc32(view, own), zlib.crc32(view, crc)
                written += len(view)
            if written != blob.bytes:
                raise ArtifactError(f"weight wrote {written} bytes, {blob.bytes} were planned")
            record["offset"], record["bytes"], record["crc"] = offset - start, written, own
            offset += written
            progress("", written)
        stream.flush()
        self._segments[_DATA] = (_DATA, crc, start, offset - start, 0)
        for kind, name in enumerate(SEGMENTS[:_DATA]):
            data = weights.tobytes() if kind == _WEIGHTS else tables[name]
            self._segments[kind]["crc"] = zlib.crc32(data)
            file.seek(int(self._segments[kind]["offset"]))
            file.write(data)
        self._stored = True
        return offset - start

    def write(self, name: str, data: bytes) -> None:
        """Add a file (a tokenizer's, a report); it is stored by the next ``seal``."""
        if len(name.encode()) >= FILE["name"].itemsize:
            raise ArtifactError(f"file name `{name}` is too long for a model.smelt")
        self._files[name] = data

    def seal(self, manifest: Manifest) -> Manifest:
        """Store the files and the manifest behind the weights."""
        if not self._stored:
            raise ArtifactError("artifact has no program yet", place=str(self.out))
        text = manifest.to_json().encode()
        parse_manifest(text, place=MANIFEST)  # what we write, we must be able to read
        names = sorted(self._files, key=lambda n: (not n.endswith(_CODE), n != TOKENIZER, n))
        self._finish({**{name: self._files[name] for name in names}, MANIFEST: text})
        return manifest

    def seal_hollow(self) -> None:
        """Finish a hollow artifact, which needs no manifest."""
        self._finish({})

    def _finish(self, files: Mapping[str, bytes]) -> None:
        records = np.zeros(len(files), FILE)
        offset = 0
        for record, (name, data) in zip(records, files.items(), strict=True):
            record["name"], record["offset"] = name.encode(), offset
            record["bytes"], record["crc"] = len(data), zlib.crc32(data)
            offset += len(data)
        file = self._open()
        end = int(self._segments[_DATA]["offset"] + self._segments[_DATA]["bytes"])
        file.truncate(end)
        for kind, data in ((_DATA + 1, records.tobytes()), (_DATA + 2, b"".join(files.values()))):
            self._segments[kind] = (kind, zlib.crc32(data), align(end), len(data), 0)
            file.seek(align(end))
            file.write(data)
            end = align(end) + len(data)
        file.truncate(end)  # also where the last segments are empty
        header = np.zeros((), HEADER)
        header["magic"], header["version"] = MAGIC, VERSION
        header["segments"], header["file_bytes"] = len(SEGMENTS), end
        table = self._segments.tobytes()
        header["crc"] = zlib.crc32(table, zlib.crc32(header.tobytes()))
        file.seek(0)
        file.write(header.tobytes() + table)
        file.flush()
        self._sealed = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        file = self._open()
        try:
            if kind is None:
                if not self._sealed:
                    raise ArtifactError("artifact was never sealed", place=str(self.out))
                file.flush()
                os.fchmod(file.fileno(), 0o666 & ~_umask())
                os.fsync(file.fileno())
                os.replace(self.path, self.out)
                _sync_folder(self.out.parent)
        finally:
            file.close()
            self.path.unlink(missing_ok=True)

    def _open(self) -> BinaryIO:
        if self._file is None:
            raise ArtifactError("artifact is written inside `with`", place=str(self.out))
        return self._file


class Artifact:
    """A `model.smelt` opened for reading: its manifest and its files by name."""

    def __init__(self, path: Path, segments: np.ndarray[Any, Any]) -> None:
        self.path = path
        self._segments = segments
        self._records = np.frombuffer(self._segment("files"), FILE)
        self._names = {_text(r["name"]): r for r in self._records}
        if len(self._names) != len(self._records):
            raise ArtifactError("a file name appears twice", place=str(path))
        if MANIFEST not in self._names:
            raise ArtifactError("artifact has no manifest", place=str(path))
        self.manifest = parse_manifest(self.read(MANIFEST, MAX_MANIFEST_BYTES), place=str(path))

    def holds(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return name in self._names

    def read(self, name: str, limit: int = 256 << 20) -> bytes:
        """The bytes of a file of at most ``limit`` bytes, its checksum compared."""
        if name not in self._names:
            raise ArtifactError(f"artifact holds no file `{name}`", place=str(self.path))
        record = self._names[name]
        size, whole = int(record["bytes"]), self._segments[SEGMENTS.index("file_data")]
        if size > limit:
            raise ArtifactError(f"file has {size} bytes, at most {limit} are allowed", place=name)
        if int(record["offset"]) + size > int(whole["bytes"]):
            raise ArtifactError(f"file `{name}` lies outside its segment", place=str(self.path))
        data = self._bytes(int(whole["offset"]) + int(record["offset"]), size)
        if zlib.crc32(data) != int(record["crc"]):
            raise ArtifactError(f"file `{name}` is damaged: its checksum does not fit")
        return data

    def check(self) -> None:
        """Compare all checksums; ArtifactError names the damaged weight or segment."""
        weights = np.frombuffer(self._segment("weights"), RECORDS["weights"])
        strings = self._segment("strings")
        data = self._segments[_DATA]
        for record in weights:
            start, size = int(record["name"]["offset"]), int(record["name"]["bytes"])
            name = strings[start : start + size].decode(errors="replace")
            end = int(record["offset"]) + int(record["bytes"])
            if end > int(data["bytes"]) or self._crc(
                int(data["offset"]) + int(record["offset"]), int(record["bytes"])
            ) != int(record["crc"]):
                raise ArtifactError(
                    f"weight `{name}` is damaged: its checksum does not fit",
                    place=str(self.path),
                    hint="copy or compile the artifact again",
                )
        end = _HEAD
        for kind, segment in enumerate(self._segments):
            start = int(segment["offset"])
            if any(self._bytes(end, start - end)):
                raise ArtifactError(
                    f"bytes before segment `{SEGMENTS[kind]}` are not zero", place=str(self.path)
                )
            end = start + int(segment["bytes"])
            if self._crc(int(segment["offset"]), int(segment["bytes"])) != int(segment["crc"]):
                raise ArtifactError(
                    f"segment `{SEGMENTS[kind]}` is damaged: its checksum does not fit",
                    place=str(self.path),
                    hint="copy or compile the artifact again",
                )

    def weights(self) -> list[tuple[str, int]]:
        """Name and bytes of every stored weight, in file order."""
        strings = self._segment("strings")
        found = []
        for record in np.frombuffer(self._segment("weights"), RECORDS["weights"]):
            start, size = int(record["name"]["offset"]), int(record["name"]["bytes"])
            found.append((strings[start : start + size].decode(), int(record["bytes"])))
        return found

    def table(self, name: str) -> np.ndarray[Any, Any]:
        """The records of one of the program's tables."""
        return np.frombuffer(self._segment(name), RECORDS[name])

    def _segment(self, name: str) -> bytes:
        segment = self._segments[SEGMENTS.index(name)]
        kinds = {**RECORDS, "files": FILE}
        size = kinds[name].itemsize if name in kinds else 1
        if int(segment["bytes"]) % size:
            raise ArtifactError(f"segment `{name}` holds half a record", place=str(self.path))
        return self._bytes(int(segment["offset"]), int(segment["bytes"]))

    def _bytes(self, offset: int, size: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise ArtifactError("file is shorter than its records say", place=str(self.path))
        return data

    def _crc(self, offset: int, size: int) -> int:
        crc = 0
        with self.path.open("rb") as file:
            file.seek(offset)
            while size:
                piece = file.read(min(_PIECE, size))
                if not piece:
                    return -1
                crc = zlib.crc32(piece, crc)
                size -= len(piece)
        return crc


def open_artifact(path: Path | str, check: Literal["sizes", "hashes"] = "sizes") -> Artifact:
    """Open a `model.smelt`; its structure is always checked, all checksums only on demand."""
    where = Path(path)
    try:
        size = where.stat().st_size
        with where.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise ArtifactError(
            f"not an artifact: {error.strerror or error}",
            place=str(where),
            hint="`smelt compile` writes artifacts; give its -o path",
        ) from None
    if not head.startswith(MAGIC):
        raise ArtifactError("not a model.smelt: the first bytes are not its own", place=str(where))
    if len(head) < _HEAD:
        raise ArtifactError(f"file has {size} bytes, its head alone {_HEAD}", place=str(where))
    header = np.frombuffer(head, HEADER, 1)[0].copy()
    if header["version"] != VERSION:
        raise ArtifactError(
            f"format version is {header['version']}, this smelt reads {VERSION}",
            place=str(where),
            hint="compile the model again, or use the smelt that wrote it",
        )
    crc, header["crc"] = int(header["crc"]), 0
    table = head[HEADER.itemsize :]
    is_whole = header["segments"] == len(SEGMENTS) and int(header["file_bytes"]) == size
    if not is_whole or zlib.crc32(table, zlib.crc32(header.tobytes())) != crc:
        raise ArtifactError(
            f"header is damaged, or the file with {size} bytes was cut",
            place=str(where),
            hint="copy or compile the artifact again",
        )
    segments = np.frombuffer(table, SEGMENT)
    end = _HEAD
    for kind, segment in enumerate(segments):
        start = int(segment["offset"])
        if int(segment["kind"]) != kind or start != align(end):
            raise ArtifactError(f"segment `{SEGMENTS[kind]}` is misplaced", place=str(where))
        end = start + int(segment["bytes"])
    if end != size:
        raise ArtifactError(f"segments end at {end}, the file at {size}", place=str(where))
    artifact = Artifact(where, segments)
    if check == "hashes":
        artifact.check()
    return artifact


def _text(name: np.bytes_) -> str:
    return bytes(name).decode(errors="replace")


def _refuse_to_replace(out: Path) -> None:
    is_ours = False
    if out.is_file():
        with out.open("rb") as file:
            is_ours = file.read(len(MAGIC)) == MAGIC
    if out.exists() and not is_ours:
        raise ArtifactError(
            "output exists and is not a model.smelt, it will not be replaced",
            place=str(out),
            hint="choose another -o, or remove it",
        )


def _remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove what killed compiles of the same name left; a live one holds its lock."""
    for path in folder.glob(f"{prefix}*"):
        try:
            with path.open("rb") as file:
                if _lock(file.fileno()):
                    path.unlink(missing_ok=True)
        except OSError:
            continue


def _lock(handle: int) -> bool:
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
