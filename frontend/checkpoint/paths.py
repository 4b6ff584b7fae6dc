"""Paths that come out of a file: one function that refuses to leave the checkpoint's directory."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

from smelt.errors import CheckpointError


def inside(directory: Path, name: str) -> Path:
    """The regular file `name` of a directory; CheckpointError when it is missing or outside.

    A symbolic link must stay inside too. The one exception is the Hub cache's own layout, where
    `snapshots/<commit>/<name>` links into the `blobs` folder beside `snapshots`, and that perhaps
    into the `blobs` folder that all repositories of the cache share.
    """
    refuse_outside(name, str(directory))
    path = directory / name
    try:
        real = path.resolve(strict=True)
        mode = real.stat().st_mode
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"no file `{name}`", place=str(directory)) from error
    if not any(real.is_relative_to(root) for root in roots(directory)):
        raise CheckpointError(
            f"`{name}` is a link to {real}, outside of the checkpoint's directory",
            place=str(directory),
            hint="put the file itself into the directory",
        )
    if not stat.S_ISREG(mode):
        raise CheckpointError(f"`{name}` is not a regular file", place=str(directory))
    return path


def refuse_outside(name: str, place: str) -> None:
    """Refuse a relative path that is absolute after all, or climbs, in any system's spelling."""
    windows, posix = PureWindowsPath(name), PurePosixPath(name)
    parts = {*windows.parts, *posix.parts}
    if not name or "\0" in name or ".." in parts or windows.drive or windows.root or posix.root:
        raise CheckpointError(
            f"path {name!r} leaves the checkpoint's directory",
            place=place,
            hint="a checkpoint may name only files beside it",
        )


def roots(directory: Path) -> list[Path]:
    """Where a checkpoint's files may really lie: its directory and, in a Hub cache, the blobs."""
    real = directory.resolve()
    for folder in (real, *real.parents):
        if folder.parent.name == "snapshots":
            repository = folder.parent.parent
            return [real, repository / "blobs", repository.parent / "blobs"]
    return [real]


def has(directory: Path, name: str) -> bool:
    """Whether the directory has an entry of that name; a broken link counts, reading it fails."""
    path = directory / name
    return path.exists() or path.is_symlink()
