"""The small artifacts from which `runtime/cpp/tests` starts: they hold every opcode.

python -m tests.backends.edge_seeds     writes them again; a test says when that is due
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from smelt.backends.edge.emit import composites
from smelt.backends.edge.opcodes import OPCODES
from smelt.errors import UnsupportedError
from smelt.frontend.build import build
from smelt.ir import ops
from smelt.ir.materialize import Weights
from smelt.ir.program import Program, Slot
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType
from smelt.passes.options import Options, parse_kv, parse_quant
from smelt.passes.pipeline import run
from smelt.runtime.artifact import open_artifact
from tests.backends.edge_run import write
from tests.backends.op_case import Cached, Case, Const, In, Par, Quant
from tests.backends.op_cases import CASES

Array = np.ndarray[Any, Any]

FOLDER = Path(__file__).parents[2] / "runtime" / "cpp" / "tests" / "seeds"
LARGEST = 40_000  # bytes: they are committed


def _gated(x: Tensor) -> Tensor:
    return ops.gated(x, act="silu")  # type: ignore[no-any-return]


def _twice(x: Tensor) -> Tensor:
    return x + x


MIXTURE = {
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_attention_heads": 4,
    "num_hidden_layers": 1,
    "num_key_value_heads": 2,
    "num_local_experts": 2,
    "num_experts_per_tok": 1,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "sliding_window": 4,
    "hidden_act": "silu",
    "max_position_embeddings": 32,
    "tie_word_embeddings": False,
    "vocab_size": 40,
}


#: What no case of a bare op lowers to; caches of these are f16.
MORE = (
    Case("linear", (In("f32[batch, seq, 6]"), Par("f32[64, 6]")), {}, "gated", then=_gated),
    Case(
        "dequantize", (Quant("f32[16, 32]", 4, 32),), {"group": 32, "size": 32}, "all", then=_twice
    ),
    Case("mul", (Cached("f32[batch, 2, seq, 3]", "narrow"), Const(2.0)), {}, "narrow cache"),
)


def decoder(path: Path) -> Path:
    """A mixture of experts in int4 over rings of int8, with weights of noise."""
    program = build(MIXTURE, context=32)
    shapes = {name: leaf.shape for name, leaf in program.parameters().items()}

    def read(name: str) -> Array:
        # Experts are stored one by one.
        every = re.sub(r"experts\.\d+", "experts.*", name)
        shape = shapes[every][1:] if every != name else shapes[name]
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        sizes = [int(size) for size in shape if isinstance(size, int)]
        return rng.normal(0, 0.3, sizes).astype(np.float32)

    chosen = Options(quant=parse_quant("int4,group=32"), kv=parse_kv("int8"))
    optimized, _ = run(program, "edge", chosen, keep=composites())
    return write(optimized, Weights(optimized, read), path, context=16)


def operations(path: Path) -> Path:
    """A function for each opcode that the decoder lacks, in one program."""
    scratch = path.with_name("scratch.smelt")
    seen = opcodes(decoder(scratch))
    slots: dict[str, Slot] = {}
    functions: dict[str, Any] = {}
    weights: dict[str, Any] = {}
    symbols: dict[str, Any] = {}
    readers: dict[str, Callable[[str], Array]] = {}
    for case in (*CASES, *MORE):
        prefix = f"{len(functions)}."
        program, read = case.build(prefix)
        if case in MORE:
            narrow = {n: replace(s, dtype=DType.F16) for n, s in program.slots.items()}
            program = replace(program, slots=narrow)
        if any(slots.get(name, slot) != slot for name, slot in program.slots.items()):
            continue
        try:
            found = opcodes(write(program, case.weights(program, read), scratch))
        except UnsupportedError:
            continue
        if found <= seen:
            continue
        seen |= found
        slots |= program.slots
        weights |= program.weights
        symbols |= program.symbols
        functions[f"f{len(functions)}"] = program.functions["main"]
        readers[prefix] = read
    scratch.unlink()
    whole = Program("operations", "case", functions, slots, symbols, weights)

    def read_any(name: str) -> Array:
        return readers[name.split(".")[0] + "."](name)

    return write(whole, Weights(whole, read_any), path, context=16)


def opcodes(path: Path) -> set[int]:
    """The opcodes of an artifact's instructions."""
    table = open_artifact(path).table("instructions")
    return {int(number) for number in table["opcode"]}


SEEDS = {"decoder.smelt": decoder, "operations.smelt": operations}
NUMBERS = {number for number, _ in OPCODES.values()}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, make in SEEDS.items():
        print(name, make(FOLDER / name).stat().st_size)
