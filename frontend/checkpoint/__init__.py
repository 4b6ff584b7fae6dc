"""Checkpoints: config, tensors and tokenizer of a model, read lazily and checked at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from smelt.errors import CheckpointError
from smelt.frontend.checkpoint.checkpoint import Checkpoint
from smelt.frontend.checkpoint.opening import open_directory, open_gguf
from smelt.frontend.checkpoint.tensors import TensorInfo

__all__ = ["Checkpoint", "TensorInfo", "open_checkpoint"]

#: called with a file's name, the bytes it has and the bytes it will have
Progress = Callable[[str, int, int], None]


def open_checkpoint(
    src: str | Path,
    *,
    revision: str | None = None,
    offline: bool = False,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Checkpoint:
    """Open a directory, a `.gguf` file or a Hub id; only headers are read.

    `revision`, `offline`, `cache` and `progress` matter for a Hub id alone: which commit, whether
    the network may be used, where downloads are kept, and who is told of them.
    """
    path = Path(src).expanduser()
    if path.is_dir():
        return open_directory(path)
    if path.is_file():
        if path.suffix == ".gguf":
            return open_gguf(path)
        raise CheckpointError(
            "a file that is not .gguf", place=str(path), hint="give the directory that it lies in"
        )
    from smelt.frontend.checkpoint.hub import open_hub

    return open_hub(str(src), revision, offline, cache, progress)
