"""What a checkpoint holds, without its weights: of a Hub id, only headers travel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smelt.errors import CheckpointError, UnsupportedError
from smelt.frontend.checkpoint import open_checkpoint
from smelt.frontend.checkpoint.dialect import normalise
from smelt.frontend.checkpoint.hub import Repository, endpoint, explained, parse, resolve
from smelt.frontend.checkpoint.opening import read_json, shards
from smelt.frontend.checkpoint.paths import refuse_outside
from smelt.frontend.checkpoint.safetensors_file import HEADER_LIMIT, layout, parse_header
from smelt.frontend.checkpoint.sizes import short, within
from smelt.frontend.checkpoint.tensors import TensorInfo

FIRST = 1 << 17  # most headers are shorter, so one request is enough
SAFETENSORS = "model.safetensors"


@dataclass(frozen=True)
class Headers:
    """Config and tensor list of a checkpoint whose weights may be elsewhere."""

    source: str
    config: dict[str, Any]
    tensors: Mapping[str, TensorInfo]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors as stored."""
        return sum(info.nbytes for info in self.tensors.values())


def read_headers(
    src: str | Path, *, revision: str | None = None, cache: Path | None = None
) -> Headers:
    """Config and tensors of a directory, a GGUF file or a Hub id (safetensors, by ranges)."""
    if Path(src).expanduser().exists() or parse(str(src)) is None:
        checkpoint = open_checkpoint(src)
        return Headers(checkpoint.source, checkpoint.config, checkpoint.tensors)
    name, file = parse(str(src)) or ("", None)
    if file is not None:
        raise UnsupportedError(
            "the header of a GGUF file on the Hub is not read without the file", place=str(src)
        )
    repository = resolve(name, revision, cache, None)
    folder = repository.fetch("config.json").parent
    config = normalise(read_json(folder, "config.json"), f"{name}: config.json")
    tensors: dict[str, TensorInfo] = {}
    for shard in safetensors_of(repository, folder):
        tensors |= remote_header(repository, shard)
    return Headers(f"{name}@{repository.commit}", config, tensors)


def safetensors_of(repository: Repository, folder: Path) -> list[str]:
    """The safetensors files of a repository."""
    index = f"{SAFETENSORS}.index.json"
    if SAFETENSORS in repository.files:
        return [SAFETENSORS]
    if index not in repository.files:
        raise UnsupportedError(
            "only safetensors have headers that can be read without the weights",
            place=repository.name,
            hint="fetch the checkpoint first, then give its directory",
        )
    repository.fetch(index)
    listed = shards(read_json(folder, index), f"{repository.name}: {index}")
    return list(dict.fromkeys(listed.values()))


def remote_header(repository: Repository, name: str) -> dict[str, TensorInfo]:
    """The tensors of a safetensors file, by one range request, or two where the header is long."""
    refuse_outside(name, repository.name)
    place = f"{repository.name}: {name}"
    data, total = byte_range(repository, name, 0, FIRST)
    within(0, 8, len(data), "the header's length", place)
    length = int.from_bytes(data[:8], "little")
    if length > HEADER_LIMIT:
        raise CheckpointError(
            f"the header claims {length} bytes, at most {HEADER_LIMIT} are allowed", place=place
        )
    within(8, length, total, "the header", place)
    if len(data) < 8 + length:
        data += byte_range(repository, name, len(data), 8 + length)[0]
    header = parse_header(data[8 : 8 + length], place)
    return layout(header, Path(name), total - 8 - length)[1]


def byte_range(repository: Repository, name: str, start: int, stop: int) -> tuple[bytes, int]:
    """Bytes of a file on the Hub, and how long the whole file is."""
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import (  # type: ignore[attr-defined, unused-ignore]
        build_hf_headers,
        hf_raise_for_status,
    )

    url = hf_hub_url(repository.name, name, revision=repository.commit, endpoint=endpoint())
    headers = {**build_hf_headers(), "Range": f"bytes={start}-{stop - 1}"}
    with explained(repository.name):
        response = get_session().get(url, headers=headers)
        hf_raise_for_status(response)
    said = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", said)
    if match is None or int(match[1]) != start:
        raise CheckpointError(
            f"the server answers a range with {short(said)}", place=f"{repository.name}: {name}"
        )
    return response.content, int(match[3])
