"""The manifest of an artifact, from the checkpoint and the program it was made of."""

from __future__ import annotations

from typing import Any

from smelt.frontend.checkpoint import Checkpoint
from smelt.ir.program import Function, Program
from smelt.ir.tensor import Tensor
from smelt.runtime.embedding import read_pooling
from smelt.runtime.manifest import (
    FunctionSpec,
    Manifest,
    Source,
    StateSpec,
    Symbol,
    TensorSpec,
)
from smelt.runtime.options import generation_defaults
from smelt.runtime.text import TEXT_FILES

VERSION = "0.1.0"

#: Files besides the tokenizer's that say how inputs are made and outputs pooled.
OTHER_FILES = (
    "preprocessor_config.json",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
)


def companions(checkpoint: Checkpoint) -> dict[str, bytes]:
    """The checkpoint's files, besides the weights, that a runtime needs; by name."""
    names = (*TEXT_FILES, *OTHER_FILES)
    return {n: checkpoint.tokenizer_file(n) for n in names if n in checkpoint.tokenizer_files}


def describe(
    checkpoint: Checkpoint,
    program: Program,
    *,
    target: str,
    dialect: str | None,
    context: int | None,
) -> Manifest:
    """What every target says the same; the target adds files, plans and the certificate."""
    config = checkpoint.config
    labels = config.get("id2label") or {}
    architectures = config.get("architectures") or [""]
    has_generation = any(n == "logits" for f in program.functions.values() for n, _ in f.outputs)
    return Manifest(
        smelt=VERSION,
        target=target,  # type: ignore[arg-type]
        dialect=dialect,
        task=program.task,
        model_type=program.model_type,
        source=Source(
            name=checkpoint.directory.name,
            fingerprint=checkpoint.fingerprint,
            architecture=str(architectures[0]),
            parameters=sum(_count(info.shape) for info in checkpoint.tensors.values()),
            bytes=sum(info.nbytes for info in checkpoint.tensors.values()),
        ),
        functions=tuple(_function(f) for f in program.functions.values()),
        state=tuple(
            StateSpec(
                name=slot.name,
                kind=slot.kind,  # type: ignore[arg-type]
                dtype=slot.dtype.value,
                shape=tuple(_size(s) for s in slot.type.shape),
                layout=slot.layout,  # type: ignore[arg-type]
                window=slot.window,
            )
            for slot in program.slots.values()
        ),
        symbols=tuple(Symbol(name=n, min=b.low, max=b.high) for n, b in program.symbols.items()),
        context=context,
        vocab_size=config.get("vocab_size"),
        generation=generation_defaults(checkpoint.generation or None, config)
        if has_generation and program.slots
        else generation_defaults(None, {}),
        pooling=read_pooling(companions(checkpoint)),
        labels=tuple(str(labels[key]) for key in sorted(labels, key=_number)),
    )


def _function(function: Function) -> FunctionSpec:
    reads = [n.attr("slot") for n in function.nodes() if n.op.name in ("cache", "read")]
    appends = [n.attr("slot") for n in function.nodes() if n.op.name == "cache"]
    return FunctionSpec(
        name=function.name,
        inputs=tuple(_tensor(t.attr("name"), t) for t in function.inputs),
        outputs=tuple(_tensor(name, t) for name, t in function.outputs),
        reads=tuple(dict.fromkeys(reads)),
        writes=tuple(dict.fromkeys([*appends, *(slot for slot, _ in function.writes)])),
    )


def _tensor(name: str, tensor: Tensor) -> TensorSpec:
    shape = tuple(_size(s) for s in tensor.shape)
    return TensorSpec(name=name, dtype=tensor.dtype.value, shape=shape)


def _size(size: Any) -> int | str:
    return size if isinstance(size, int) else str(size)


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _number(key: Any) -> tuple[int, str]:
    return (int(key), "") if str(key).isdigit() else (1 << 30, str(key))
