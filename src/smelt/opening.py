"""Opening artifacts: whatever the target, a path gives a Session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smelt.errors import UnsupportedError
from smelt.runtime.folder import open_folder
from smelt.runtime.manifest import Manifest
from smelt.runtime.session import Session
from smelt.runtime.text import Text


def open(path: str | Path, **options: Any) -> Session:
    """A session on an artifact: a folder (torch, onnx, tensorrt) or a `model.smelt` file (edge).

    options: context (tokens that the state can hold), threads, for torch device ("cpu", "cuda"),
    and for edge max_memory (bytes of weights, state and activations that must suffice).
    ArtifactError when the artifact is damaged or needs what this machine lacks.
    """
    from smelt.targets import target_named

    where = Path(path)
    manifest, files = read(where)
    if "max_memory" in options and manifest.target != "edge":
        raise UnsupportedError(
            f"a memory budget is for edge artifacts, this one is for {manifest.target}",
            place=str(where),
            hint="the memory of other targets belongs to their libraries",
        )
    engine = target_named(manifest.target, manifest.dialect).open(where, **options)
    return Session(engine, Text.load(files) if files else None)


def read(path: Path) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest of an artifact, and its tokenizer's files."""
    if path.is_file():
        from smelt.runtime.artifact import open_artifact

        artifact = open_artifact(path)
        return artifact.manifest, {n: artifact.read(n) for n in artifact.manifest.tokenizer}
    folder = open_folder(path)
    return folder.manifest, {name: folder.read(name) for name in folder.manifest.tokenizer}
