"""Opening a checkpoint: a directory, a GGUF file, or a Hub id."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smelt.errors import CheckpointError
from smelt.frontend.checkpoint.checkpoint import Checkpoint
from smelt.frontend.checkpoint.dialect import normalise
from smelt.frontend.checkpoint.gguf_config import generation_of
from smelt.frontend.checkpoint.gguf_source import PART, GgufSource
from smelt.frontend.checkpoint.gguf_tokenizer import tokenizer_files
from smelt.frontend.checkpoint.paths import has, inside
from smelt.frontend.checkpoint.safetensors_file import SafetensorsFile
from smelt.frontend.checkpoint.sizes import short
from smelt.frontend.checkpoint.tensors import Source
from smelt.frontend.checkpoint.torch_file import TorchFile

#: What a checkpoint may hold for text, images and sound; these go with it into an artifact.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "preprocessor_config.json",
    "processor_config.json",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
)

#: Weights, best first; each may also be an index of shards, `NAME.index.json`.
WEIGHTS: dict[str, Callable[[Path], Source]] = {
    "model.safetensors": SafetensorsFile,
    "pytorch_model.bin": TorchFile,
}

JSON_LIMIT = 64 << 20


def open_directory(directory: Path, source: str | None = None) -> Checkpoint:
    """A checkpoint out of a Hugging Face directory, or the one GGUF model that lies in it."""
    source = source or str(directory)
    found = next((name for name in WEIGHTS if weights_in(directory, name)), None)
    if found is None:
        return open_gguf(only_gguf(directory), source)
    config = normalise(read_json(directory, "config.json"), f"{source}: config.json")
    generation = {}
    if has(directory, "generation_config.json"):
        generation = read_json(directory, "generation_config.json")
    files: dict[str, Path | bytes] = {
        name: inside(directory, name) for name in TOKENIZER_FILES if has(directory, name)
    }
    sources = open_weights(directory, found)
    return Checkpoint(source, directory, config, generation, files, sources)


def open_gguf(path: Path, source: str | None = None) -> Checkpoint:
    """A checkpoint out of a GGUF file, or of the first part of a split one."""
    path = inside(path.parent, path.name)
    model = GgufSource(path)
    config = normalise(model.config, str(path))
    files: dict[str, Path | bytes] = {**tokenizer_files(model.metadata, str(path))}
    return Checkpoint(
        source or str(path), path.parent, config, generation_of(model.metadata), files, (model,)
    )


def weights_in(directory: Path, name: str) -> bool:
    """Whether the directory has these weights, whole or as an index of shards."""
    return has(directory, name) or has(directory, f"{name}.index.json")


def open_weights(directory: Path, name: str) -> tuple[Source, ...]:
    """The weights file, or all shards that its index names."""
    read = WEIGHTS[name]
    if has(directory, name):
        return (read(inside(directory, name)),)
    index = f"{name}.index.json"
    place = str(directory / index)
    listed = shards(read_json(directory, index), place)
    sources = {shard: read(inside(directory, shard)) for shard in dict.fromkeys(listed.values())}
    for tensor, shard in listed.items():
        if tensor not in sources[shard].tensors:
            raise CheckpointError(
                f"the index puts `{tensor}` in {shard}, which lacks it", place=place
            )
    return tuple(sources.values())


def shards(index: dict[str, Any], place: str) -> dict[str, str]:
    """The `weight_map` of an index: which shard has which tensor."""
    listed = index.get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise CheckpointError("the index has no `weight_map`", place=place)
    for shard in listed.values():
        if not isinstance(shard, str):
            raise CheckpointError(f"a shard's name is {short(shard)}, wants a string", place=place)
    return listed


def only_gguf(directory: Path) -> Path:
    """The one GGUF model of a directory or its folders; parts of a split model count once."""
    models = [
        path
        for path in sorted(directory.glob("*.gguf")) or sorted(directory.glob("*/*.gguf"))
        if (match := PART.fullmatch(path.name)) is None or int(match[2]) == 1
    ]
    if len(models) == 1:
        return models[0]
    if models:
        raise CheckpointError(
            f"{len(models)} GGUF models: {', '.join(path.name for path in models)}",
            place=str(directory),
            hint="give the path of one of them",
        )
    raise CheckpointError(
        "no weights here",
        place=str(directory),
        hint=f"wants {', '.join(WEIGHTS)}, an index of one of them, or a .gguf file",
    )


def read_json(directory: Path, name: str) -> dict[str, Any]:
    """A JSON object out of a file of the directory."""
    path = inside(directory, name)
    place = str(path)
    if path.stat().st_size > JSON_LIMIT:
        raise CheckpointError(f"{name} is over {JSON_LIMIT} bytes", place=place)
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{name} is not JSON: {short(str(error))}", place=place) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{name} is not a JSON object", place=place)
    return value
