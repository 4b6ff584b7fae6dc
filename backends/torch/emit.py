"""A torch artifact: the program as text beside its weights, both plain data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from smelt.errors import ArtifactError
from smelt.ir import ops
from smelt.ir.materialize import Weights
from smelt.ir.printer import print_program
from smelt.ir.program import Program
from smelt.ir.rewrite import rewrite_program
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType
from smelt.runtime.weight_index import WeightIndex

PROGRAM = "program.ir"
WEIGHTS = "weights.safetensors"

_NAMES = {
    DType.F32: "F32",
    DType.F16: "F16",
    DType.BF16: "BF16",
    DType.I64: "I64",
    DType.I32: "I32",
    DType.I8: "I8",
    DType.U8: "U8",
    DType.BOOL: "BOOL",
}

Array = np.ndarray[Any, Any]


def emit(
    program: Program,
    weights: Weights,
    folder: Path,
    *,
    progress: Callable[[str, int], None] = lambda name, size: None,
) -> int:
    """Write ``program.ir`` and ``weights.safetensors`` into a folder; gives the bytes of the
    weights.

    ``progress`` hears each tensor's name and bytes as it is written. Weights that the compiler
    derived
    are stored as they are, under their own names.
    """
    leaves = {n.attr("name"): n for n in program.nodes() if n.op.name in ("param", "weight")}
    stored = rewrite_program(program, _as_param)
    text = print_program(Program(**{**vars(stored), "weights": {}}))
    (folder / PROGRAM).write_text(text, encoding="utf-8")
    return _write_safetensors(folder / WEIGHTS, list(_tensors(leaves)), weights, progress)


def read_program(folder: Path) -> Program:
    """The program of a torch artifact."""
    from smelt.ir.parser import parse_program

    try:
        return parse_program((folder / PROGRAM).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"cannot read: {error}", place=PROGRAM) from None


def weight_reader(folder: Path) -> Callable[[str], Array]:
    """Reads a stored tensor by name; mapped, so only what is used is loaded."""
    import ml_dtypes
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(str(folder / WEIGHTS), framework="pt")
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"cannot read: {error}", place=WEIGHTS) from None

    def read(name: str) -> Array:
        import torch

        try:
            tensor = file.get_tensor(name)
        except SafetensorError as error:
            raise ArtifactError(f"tensor `{name}`: {error}", place=WEIGHTS) from None
        if tensor.dtype is torch.bfloat16:
            tensor = tensor.view(torch.int16)
            return np.asarray(tensor.numpy()).view(ml_dtypes.bfloat16)
        return np.asarray(tensor.numpy())

    return read


def _as_param(node: Tensor) -> Tensor | None:
    if node.op.name != "weight":
        return None
    return ops.param(name=node.attr("name"), type=node.type)  # type: ignore[no-any-return]


def _tensors(leaves: dict[str, Tensor]) -> Iterator[tuple[str, Tensor, int | None]]:
    """Each stored tensor: its name, its leaf, and which of a stack it is."""
    for name, leaf in leaves.items():
        if "*" not in name:
            yield name, leaf, None
            continue
        count = leaf.shape[0]
        assert isinstance(count, int)
        for i in range(count):
            yield name.replace("*", str(i)), leaf, i


def _write_safetensors(
    path: Path,
    tensors: list[tuple[str, Tensor, int | None]],
    weights: Weights,
    progress: Callable[[str, int], None],
) -> int:
    # The safetensors library only writes tensors that are all in memory; the format is a sized JSON
    # header and the bytes, so it is written here one tensor at a time.
    header: dict[str, Any] = {}
    end = 0
    for name, leaf, expert in tensors:
        shape = leaf.shape if expert is None else leaf.shape[1:]
        size = int(np.prod([int(s) for s in shape if isinstance(s, int)])) * leaf.dtype.bytes
        header[name] = {
            "dtype": _NAMES[leaf.dtype],
            "shape": list(shape),
            "data_offsets": [end, end + size],
        }
        end += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    newest: tuple[Tensor, Array] | None = None
    index = WeightIndex(path.name)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, leaf, expert in tensors:
            if newest is None or newest[0] is not leaf:
                newest = (leaf, weights.array(leaf))
            array = newest[1] if expert is None else newest[1][expert]
            data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            index.add(name, file.tell(), data)
            file.write(data)
            progress(name, array.nbytes)
    index.write(path.parent)
    return end
