"""A checkpoint: config, tensors that are read one at a time, tokenizer files, and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from smelt.errors import CheckpointError
from smelt.frontend.checkpoint.tensors import Array, Source, TensorInfo


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint; only headers have been read.

    `config` is config.json in one dialect (`smelt.frontend.checkpoint.dialect`). `tokenizer_files`
    maps the usual file names to a path, or to bytes where the checkpoint has no such file (GGUF).
    """

    source: str
    directory: Path
    config: dict[str, Any]
    generation: dict[str, Any]
    tokenizer_files: dict[str, Path | bytes]
    sources: tuple[Source, ...] = field(repr=False)
    _newest: list[str] = field(default_factory=list, init=False, repr=False)

    @cached_property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor, by name, in the order of the files."""
        return {name: source.tensors[name] for name, source in self._owner.items()}

    def read(self, name: str) -> Array:
        """The values of one tensor, read-only and mapped where possible.

        The pages of the tensor read before it may leave memory: models are read in turn.
        """
        while self._newest and self._newest[-1] != name:
            self.release(self._newest.pop())
        if not self._newest:
            self._newest.append(name)
        return self._of(name).read(name)

    def rest(self) -> None:
        """Let the pages of every tensor leave memory; they come back when touched."""
        self._newest.clear()
        for name in self.tensors:
            self.release(name)

    def stored(self, name: str) -> memoryview:
        """The bytes of one tensor as its file has them."""
        return self._of(name).stored(name)

    def release(self, name: str) -> None:
        """Let the pages of a tensor leave memory; reading it again brings them back."""
        self._of(name).release(name)

    def digest(self, name: str) -> str:
        """The sha256 of a tensor: encoding, shape and stored bytes. The same on every machine."""
        info = self.tensors[name]
        found = hashlib.sha256(f"{info.encoding} {list(info.shape)}\n".encode())
        found.update(self.stored(name))
        return found.hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of config, tensors and tokenizer, the same everywhere; reads every byte."""
        found = hashlib.sha256()
        found.update(json.dumps(self.config, sort_keys=True).encode())
        for name in sorted(self.tensors):
            found.update(f"\n{name} {self.digest(name)}".encode())
            self.release(name)
        for name in sorted(self.tokenizer_files):
            content = hashlib.sha256(self.tokenizer_file(name)).hexdigest()
            found.update(f"\n{name} {content}".encode())
        return found.hexdigest()

    def tokenizer_file(self, name: str) -> bytes:
        """The content of a tokenizer file."""
        content = self.tokenizer_files.get(name)
        if content is None:
            raise CheckpointError(f"the checkpoint has no `{name}`", place=self.source)
        return content if isinstance(content, bytes) else content.read_bytes()

    @cached_property
    def _owner(self) -> dict[str, Source]:
        return owners(self.sources, self.source)

    def _of(self, name: str) -> Source:
        try:
            return self._owner[name]
        except KeyError:
            near = get_close_matches(name, self._owner, 1)
            raise CheckpointError(
                f"the checkpoint has no tensor `{name}`",
                place=self.source,
                hint=f"did you mean `{near[0]}`?" if near else None,
            ) from None


def owners(sources: Iterable[Source], place: str) -> dict[str, Source]:
    """Which file has which tensor; a tensor that two files have is refused."""
    found: dict[str, Source] = {}
    for source in sources:
        for name, info in source.tensors.items():
            if name in found:
                other = found[name].tensors[name].file.name
                raise CheckpointError(
                    f"`{name}` is in {other} and in {info.file.name}", place=place
                )
            found[name] = source
    return found
