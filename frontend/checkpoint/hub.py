"""Checkpoints on the Hub: only the files that are needed, of one commit, through its own client.

The client resumes what was cut off, keeps files in its cache and reads `HF_ENDPOINT`, `HF_TOKEN`
and `HF_HUB_OFFLINE`; here is decided which files, and what to say when one cannot be had.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smelt.errors import CheckpointError
from smelt.frontend.checkpoint.checkpoint import Checkpoint
from smelt.frontend.checkpoint.gguf_source import PART
from smelt.frontend.checkpoint.hub_resume import fetch_large
from smelt.frontend.checkpoint.opening import (
    TOKENIZER_FILES,
    WEIGHTS,
    open_directory,
    open_gguf,
    read_json,
    shards,
)
from smelt.frontend.checkpoint.paths import refuse_outside

#: called with a file's name, the bytes it has and the bytes it will have
Progress = Callable[[str, int, int], None]

PART_OF_ID = r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,95}"
HUB_ID = re.compile(rf"({PART_OF_ID}(?:/{PART_OF_ID})?)")
HUB_FILE = re.compile(rf"({PART_OF_ID}/{PART_OF_ID})/(.+\.gguf)")


@dataclass(frozen=True)
class Repository:
    """A repository at one commit: its files, and a way to have them in the cache."""

    name: str
    commit: str
    files: tuple[str, ...]
    cache: Path | None
    progress: Progress | None

    def fetch(self, name: str) -> Path:
        """The path of a file in the cache, downloaded or resumed if it is not whole there."""
        from huggingface_hub import hf_hub_download, try_to_load_from_cache

        refuse_outside(name, self.name)
        if name not in self.files:
            raise CheckpointError(f"the repository has no `{name}`", place=self.name)
        counter = bar(name, self.progress)
        known: dict[str, Any] = {"revision": self.commit, "cache_dir": self.cache}
        if isinstance(try_to_load_from_cache(self.name, name, **known), str):
            return Path(hf_hub_download(self.name, name, **known, local_files_only=True))
        with explained(self.name):
            fetch_large(self.name, name, self.commit, self.cache, endpoint(), counter)
            return Path(
                hf_hub_download(self.name, name, **known, endpoint=endpoint(), tqdm_class=counter)
            )


def parse(src: str) -> tuple[str, str | None] | None:
    """A Hub id, and the GGUF file if `owner/name/file.gguf` names one; None for anything else."""
    if match := HUB_FILE.fullmatch(src):
        return match[1], match[2]
    if HUB_ID.fullmatch(src) and not src.endswith((".gguf", ".bin", ".safetensors")):
        return src, None
    return None


def open_hub(
    src: str,
    revision: str | None,
    offline: bool,
    cache: Path | None,
    progress: Progress | None,
) -> Checkpoint:
    """Open a Hub id: fetch what it needs, unless `offline`, and open it out of the cache."""
    parsed = parse(src)
    if parsed is None:
        raise CheckpointError(
            "no such directory or file, and not a Hub id",
            place=src,
            hint="wants a directory, a .gguf file, `owner/name` or `owner/name/file.gguf`",
        )
    name, file = parsed
    if offline or offline_by_environment():
        snapshot = cached(name, revision, cache)
    else:
        repository = resolve(name, revision, cache, progress)
        snapshot = fetch_all(repository, file)
        remember(repository, revision or "main")
    source = f"{src}@{snapshot.name}"
    if file is not None:
        return open_gguf(snapshot / file, source)
    return open_directory(snapshot, source)


def resolve(
    name: str, revision: str | None, cache: Path | None, progress: Progress | None
) -> Repository:
    """Ask the Hub which commit a revision is, and which files it has."""
    from huggingface_hub import HfApi

    with explained(name, revision):
        info = HfApi(endpoint=endpoint()).model_info(name, revision=revision)
    files = tuple(sibling.rfilename for sibling in info.siblings or ())
    if not info.sha:
        raise CheckpointError("the Hub does not say which commit this is", place=name)
    return Repository(name, info.sha, files, cache, progress)


def remember(repository: Repository, revision: str) -> None:
    """Write the cache's own note of a revision's commit, which its client reads when offline."""
    from huggingface_hub.constants import HF_HUB_CACHE

    if revision == repository.commit:
        return
    refuse_outside(revision, repository.name)
    folder = f"models--{repository.name.replace('/', '--')}"
    path = Path(repository.cache or HF_HUB_CACHE) / folder / "refs" / revision
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(repository.commit)


def cached(name: str, revision: str | None, cache: Path | None) -> Path:
    """The snapshot of a revision in the cache, without the network."""
    from huggingface_hub import snapshot_download

    try:
        with explained(name, revision):
            return Path(
                snapshot_download(name, revision=revision, cache_dir=cache, local_files_only=True)
            )
    except CheckpointError as error:
        raise CheckpointError(
            f"revision {revision or 'main'} is not in the cache",
            place=name,
            hint="open it once while online",
        ) from error


def fetch_all(repository: Repository, file: str | None) -> Path:
    """Fetch what opening needs, and nothing else; the folder of the snapshot."""
    if file is None:
        file = only_gguf(repository)
    if file is not None:
        return fetch_gguf(repository, file)
    folder = repository.fetch("config.json").parent
    for name in ("generation_config.json", *TOKENIZER_FILES):
        if name in repository.files:
            repository.fetch(name)
    for name in wanted_weights(repository, folder):
        repository.fetch(name)
    return folder


def wanted_weights(repository: Repository, folder: Path) -> Iterator[str]:
    """The weights' files: the one file, or the shards of the index, which is fetched first."""
    for name in WEIGHTS:
        index = f"{name}.index.json"
        if name in repository.files:
            yield name
            return
        if index in repository.files:
            repository.fetch(index)
            listed = shards(read_json(folder, index), f"{repository.name}: {index}")
            yield from dict.fromkeys(listed.values())
            return


def only_gguf(repository: Repository) -> str | None:
    """The GGUF file of a repository without other weights; None where there are such weights."""
    known = {name for weights in WEIGHTS for name in (weights, f"{weights}.index.json")}
    if known & set(repository.files):
        return None
    models = [
        name
        for name in sorted(repository.files)
        if name.endswith(".gguf") and ((part := PART.fullmatch(name)) is None or int(part[2]) == 1)
    ]
    if len(models) == 1:
        return models[0]
    if not models:
        raise CheckpointError(
            "no weights here", place=repository.name, hint=f"wants {', '.join(WEIGHTS)} or a .gguf"
        )
    raise CheckpointError(
        f"{len(models)} GGUF models: {', '.join(models)}",
        place=repository.name,
        hint=f"name one of them: {repository.name}/{models[0]}",
    )


def fetch_gguf(repository: Repository, file: str) -> Path:
    """Fetch a GGUF file, with all its parts; the folder of the snapshot."""
    match = PART.fullmatch(file)
    names = [file]
    if match:
        names = [name for name in repository.files if same_model(name, match[1], match[3])]
    paths = {name: repository.fetch(name) for name in names or [file]}
    folder = next(iter(paths.values()))
    for _ in Path(names[0]).parts:
        folder = folder.parent
    return folder


def same_model(name: str, stem: str, count: str) -> bool:
    """Whether a file is a part of the split model."""
    match = PART.fullmatch(name)
    return match is not None and match[1] == stem and match[3] == count


def endpoint() -> str | None:
    """`HF_ENDPOINT` as it is now: the client itself reads it only when it is imported."""
    return os.environ.get("HF_ENDPOINT") or None


def offline_by_environment() -> bool:
    """Whether the client was told to stay offline."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


@contextmanager
def explained(name: str, revision: str | None = None) -> Iterator[None]:
    """Turn what the client raises into a CheckpointError that says what to do."""
    from huggingface_hub import errors

    try:
        yield
    except CheckpointError:
        raise
    except errors.GatedRepoError as error:
        message, advice = "the repository is gated", "ask for access on its page, then log in"
        raise CheckpointError(message, place=name, hint=advice) from error
    except errors.RepositoryNotFoundError as error:
        message, advice = "no such repository", "if it is private, log in to the Hub first"
        raise CheckpointError(message, place=name, hint=advice) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"no revision {revision!r}", place=name) from error
    except Exception as error:
        # The client lets through errors of its own, of two HTTP libraries and of the system.
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        advice = "what was fetched is kept: run it again to go on, or use offline mode"
        raise CheckpointError(f"cannot be fetched: {first}", place=name, hint=advice) from error


def bar(name: str, progress: Progress | None) -> type[Any]:
    """A progress bar class for the client that draws nothing and tells `progress` instead."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined, unused-ignore]

    class Bar(tqdm):  # type: ignore[misc, type-arg, unused-ignore]
        """Counts bytes of one file."""

        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(  # type: ignore[no-untyped-call, unused-ignore]
                *args, **{**options, "disable": True}
            )
            self.total = options.get("total")
            self.n = options.get("initial", 0)

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            if progress is not None:
                progress(name, int(self.n), int(self.total or 0))
            return None

    return Bar
