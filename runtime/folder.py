"""Folder artifacts: written whole or not at all, read with every size and hash checked.

Goals: a killed compile leaves nothing under the final name; the same input gives the same bytes; a
hostile manifest cannot make us read outside the folder. Non-goal: hiding damage done after open.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Literal

from smelt.errors import ArtifactError
from smelt.runtime.manifest import MAX_MANIFEST_BYTES, FileEntry, Manifest, parse_manifest
from smelt.runtime.weight_index import damaged_weight

MANIFEST = "manifest.json"
HASHED_AT_OPEN = 64 << 20  # smaller files (graphs, tokenizers) are hashed at each open
# Weights are hashed on demand only: `verify` runs a damaged model first, to name its layer.
WEIGHTS = (".safetensors", ".data", ".bin")


class FolderWriter:
    """Writes an artifact into a hidden sibling and gives it its name at the end.

    ``path`` is where a backend writes. ``seal`` stores the manifest; it may be called again, so
    that the artifact can be opened, verified and sealed with its certificate. Leaving the ``with``
    block publishes; an exception removes everything.
    """

    def __init__(self, out: Path | str) -> None:
        self.out = Path(out).absolute()
        self.path = self.out
        self._sealed = False
        self._lock: int | None = None

    def __enter__(self) -> FolderWriter:
        refuse_to_replace(self.out)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(self.out)
        self.path = Path(tempfile.mkdtemp(prefix=_prefix(self.out), dir=self.out.parent))
        self.path.chmod(0o777 & ~_umask())
        self._lock = _lock(self.path)
        return self

    def write(self, name: str, data: bytes) -> Path:
        """Write one file; folders in its name are made."""
        path = inside(self.path, name, must_exist=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def seal(self, manifest: Manifest) -> Manifest:
        """Store the manifest, its ``files`` filled in from what is in the folder."""
        known = {entry.path: entry for entry in manifest.files}
        entries = [_entry(self.path, name, known.get(name)) for name in _files(self.path)]
        sealed = manifest.model_copy(update={"files": tuple(entries)})
        text = sealed.to_json().encode()
        parse_manifest(text, place=MANIFEST)  # what we write, we must be able to read
        (self.path / MANIFEST).write_bytes(text)
        self._sealed = True
        return sealed

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._publish()
        finally:
            if self._lock is not None:
                os.close(self._lock)
            if self.path != self.out:
                shutil.rmtree(self.path, ignore_errors=True)

    def _publish(self) -> None:
        if not self._sealed:
            raise ArtifactError("artifact was never sealed with a manifest", place=str(self.out))
        for name in [*_files(self.path), MANIFEST]:
            _sync(self.path / name)
        for folder, _, _ in os.walk(self.path):
            _sync(Path(folder))
        if self.out.exists():
            # Two renames: at a kill between them nothing has the final name, never half of one.
            old = Path(tempfile.mkdtemp(prefix=_prefix(self.out), dir=self.out.parent))
            os.rename(self.out, old / "old")
            os.rename(self.path, self.out)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(self.path, self.out)
        _sync(self.out.parent)


class Folder:
    """An artifact folder opened for reading: its manifest, checked, and its files by name."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._entries = {entry.path: entry for entry in manifest.files}

    def file(self, name: str) -> Path:
        """The path of a file that the manifest lists; ArtifactError for any other."""
        if name not in self._entries:
            raise ArtifactError(f"manifest does not list the file `{name}`", place=str(self.path))
        return inside(self.path, name)

    def read(self, name: str, limit: int = 256 << 20) -> bytes:
        """The bytes of a listed file of at most ``limit`` bytes."""
        size = self._entries[name].bytes if name in self._entries else 0
        if size > limit:
            raise ArtifactError(
                f"file has {size} bytes, at most {limit} are allowed here", place=name
            )
        return self.file(name).read_bytes()


def open_folder(path: Path | str, check: Literal["sizes", "hashes"] = "sizes") -> Folder:
    """Open an artifact folder; sizes are always checked, weights hashed only on demand."""
    root = Path(path)
    manifest_path = root / MANIFEST
    try:
        size = manifest_path.stat().st_size
        if size > MAX_MANIFEST_BYTES:
            raise ArtifactError(
                f"manifest has {size} bytes, at most {MAX_MANIFEST_BYTES} are allowed",
                place=str(manifest_path),
            )
        text = manifest_path.read_bytes()
    except OSError as error:
        reason = "it has no manifest.json" if root.is_dir() else (error.strerror or str(error))
        raise ArtifactError(
            f"not an artifact: {reason}",
            place=str(root),
            hint="`smelt compile` writes artifacts; give its -o path",
        ) from None
    folder = Folder(root, parse_manifest(text, place=str(manifest_path)))
    for entry in folder.manifest.files:
        _check(folder.file(entry.path), entry, hashed=check == "hashes")
    return folder


def inside(root: Path, name: str, *, must_exist: bool = True) -> Path:
    """The path of ``name`` in ``root``; refuses every way of leaving it."""
    parts = PurePosixPath(name).parts
    bad = (
        not parts
        or name.startswith("/")
        or any(c in name for c in "\\\0:")
        or any(part in ("..", ".") for part in name.split("/"))
    )
    if bad:
        raise ArtifactError(f"file name `{name[:200]}` leaves the artifact", place=str(root))
    path = root.joinpath(*parts)
    try:
        real = path.resolve(strict=must_exist)
    except (OSError, RuntimeError):
        raise ArtifactError(f"file `{name[:200]}` is missing", place=str(root)) from None
    if not real.is_relative_to(root.resolve()):
        raise ArtifactError(f"file name `{name[:200]}` leaves the artifact", place=str(root))
    return path


def refuse_to_replace(out: Path) -> None:
    """ArtifactError when ``out`` exists and is not an artifact of ours."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file()):
        raise ArtifactError(
            "output exists and is not an artifact, it will not be replaced",
            place=str(out),
            hint="choose another -o, or remove it",
        )


def sha256_file(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, entry: FileEntry, *, hashed: bool) -> None:
    if not path.is_file():
        raise ArtifactError("not a plain file", place=str(path))
    size = path.stat().st_size
    if size != entry.bytes:
        raise ArtifactError(
            f"file has {size} bytes, manifest says {entry.bytes}",
            place=str(path),
            hint="the artifact is damaged or was copied in part; compile it again",
        )
    if hashed or (size <= HASHED_AT_OPEN and path.suffix not in WEIGHTS):
        found = sha256_file(path)
        if found != entry.sha256:
            weight = damaged_weight(path.parent) if path.suffix in WEIGHTS else None
            if weight is not None:
                raise ArtifactError(
                    f"weight `{weight}` is damaged: its checksum does not fit",
                    place=str(path),
                    hint="copy or compile the artifact again",
                )
            raise ArtifactError(
                f"file has sha256 {found[:16]}…, manifest says {entry.sha256[:16]}…",
                place=str(path),
                hint="the artifact is damaged or was changed; compile it again",
            )


def _entry(root: Path, name: str, known: FileEntry | None) -> FileEntry:
    path = root / name
    size = path.stat().st_size
    if known is not None and known.bytes == size:
        return known  # sealed before; a backend does not write after the first seal
    return FileEntry(path=name, bytes=size, sha256=sha256_file(path))


def _files(root: Path) -> list[str]:
    found = [p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()]
    return sorted(name for name in found if name != MANIFEST)


def _prefix(out: Path) -> str:
    return f".{out.name}.partial-"


def _remove_abandoned(out: Path) -> None:
    """Remove what killed compiles of the same name left; a live one holds its lock."""
    for path in out.parent.glob(f"{_prefix(out)}*"):
        lock = _lock(path)
        if lock is None:
            continue
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _lock(path: Path) -> int | None:
    """An open, locked handle on a folder, or None when another process holds it."""
    if sys.platform == "win32":
        return None  # no lock on folders there: abandoned ones stay until removed by hand
    import fcntl

    handle = -1
    try:
        handle = os.open(path, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if handle >= 0:
            os.close(handle)
        return None
    return handle


def _sync(path: Path) -> None:
    if sys.platform == "win32" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
