"""The steps from a built program to one that a backend can emit: one table for each target."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from smelt.errors import SmeltError
from smelt.ir.printer import print_program
from smelt.ir.program import Program
from smelt.ir.tensor import Tensor, beside
from smelt.ir.types import DType
from smelt.ir.verify import verify
from smelt.passes.expand import Expand
from smelt.passes.fold import fold
from smelt.passes.fuse_bias_activation import FuseActivation, FuseBias
from smelt.passes.fuse_norm_residual import FuseNormResidual
from smelt.passes.lift_weights import lift_weights
from smelt.passes.match import count_nodes
from smelt.passes.options import Options
from smelt.passes.pack_linears import FuseGated, PackLinears
from smelt.passes.plan_kv import PlanKv
from smelt.passes.quantize import Quantize
from smelt.passes.receipt import Receipt, recording
from smelt.passes.recognise import recognise
from smelt.passes.round_attention import round_attention

Pass = Callable[[Program], Program]


@dataclass(frozen=True)
class Settings:
    """What steps depend on: the target, the user's options, and the composites that the backend
    has.
    """

    target: str
    options: Options
    keep: frozenset[str]


#: A step's name, and how it is made; None leaves the step out.
Step = tuple[str, Callable[[Settings], Pass | None]]


def _quantize(s: Settings) -> Pass | None:
    quant = s.options.quant
    if quant is None:
        return None
    wanted = quant.activations
    floats = tuple((role, None) for role in FLOAT_ROLES.get(s.target, ()))
    quant = replace(quant, tensors=(*quant.tensors, *floats))
    return Quantize(quant, ACTIVATION_TERMS[s.target] if wanted is None else wanted)


def _rounds_inputs(s: Settings) -> bool:
    """Whether linears see inputs as coarse as bf16: one int8 term, or bf16 itself."""
    quant = s.options.quant
    if quant is None or s.target not in BF16_ATTENTION:
        return False
    terms = ACTIVATION_TERMS[s.target] if quant.activations is None else quant.activations
    return terms > 0 if quant.scheme.is_bf16 else terms == 1


def _plan_kv(s: Settings) -> Pass:
    kv = DType.BF16 if s.options.kv is None and _rounds_inputs(s) else s.options.kv
    return PlanKv(kv, s.options.context)


def _round_attention(s: Settings) -> Pass | None:
    return round_attention if _rounds_inputs(s) else None


def _expand(s: Settings) -> Pass:
    return Expand(s.keep)


#: The int8 terms of activations with which a target multiplies quantized weights when the recipe
#: does not say; 0 is floats. Two terms read the weights once and lose next to nothing.
ACTIVATION_TERMS = {
    "torch": 0,
    "onnx-standard": 0,
    "onnx-ort": 0,
    "tensorrt": 0,
    "edge": 2,
}

#: Targets that multiply in attention as bf16 where inputs of linears are rounded as coarsely, and
#: then keep caches as bf16 unless the user says otherwise.
BF16_ATTENTION = ("edge",)

#: Weights that stay float on a target unless the recipe names them: TensorRT gathers no codes.
FLOAT_ROLES = {"tensorrt": ("embedding",)}

DEFAULT = Options()

_BEFORE: tuple[Step, ...] = (
    ("fold", lambda s: fold),
    ("recognise", lambda s: recognise),
    ("fuse_bias", lambda s: FuseBias()),
)
_JOIN_LINEARS: tuple[Step, ...] = (
    ("fuse_gated", lambda s: FuseGated(s.options.quant) if "gated" in s.keep else None),
    ("pack_linears", lambda s: PackLinears(s.options.quant)),
)
_JOIN_ROWS: tuple[Step, ...] = (
    ("fuse_norm_residual", lambda s: FuseNormResidual(s.keep)),
    ("fuse_activation", lambda s: FuseActivation() if "linear_activation" in s.keep else None),
)
_AFTER: tuple[Step, ...] = (
    ("quantize", _quantize),
    ("plan_kv", _plan_kv),
    ("round_attention", _round_attention),
    ("expand", _expand),
    ("fold_expanded", lambda s: fold),
    ("lift_weights", lambda s: lift_weights),
)

#: A torch module keeps the checkpoint's own parameters, and TensorRT joins linears itself.
PIPELINES: dict[str, tuple[Step, ...]] = {
    "torch": (*_BEFORE, *_JOIN_ROWS, *_AFTER),
    "onnx-standard": (*_BEFORE, *_JOIN_ROWS, *_AFTER),
    "onnx-ort": (*_BEFORE, *_JOIN_LINEARS, *_JOIN_ROWS, *_AFTER),
    "tensorrt": (*_BEFORE, *_JOIN_ROWS, *_AFTER),
    "edge": (*_BEFORE, *_JOIN_LINEARS, *_JOIN_ROWS, *_AFTER),
}


def run(
    program: Program,
    target: str,
    options: Options = DEFAULT,
    *,
    keep: Collection[str] = (),
    dump: Path | None = None,
) -> tuple[Program, tuple[Receipt, ...]]:
    """Take a program through a target's steps.

    keep: names of the composites that the backend has rows for. dump: a folder that gets the IR
    text after each step, numbered. Each step's result is verified before the next one sees it.
    """
    if target not in PIPELINES:
        known = ", ".join(PIPELINES)
        raise SmeltError(f"no pipeline for target `{target}`", hint=f"targets: {known}")
    settings = Settings(target, options, frozenset(keep))
    typed: set[Tensor] = set()
    verify(program, typed=typed)
    _dump(program, dump, 0, "built")
    receipts = []
    for number, (name, make) in enumerate(PIPELINES[target], 1):
        step = make(settings)
        if step is None:
            continue
        program, receipt = apply(name, step, program, typed)
        receipts.append(receipt)
        _dump(program, dump, number, name)
    return program, tuple(receipts)


def apply(
    name: str, step: Pass, program: Program, typed: set[Tensor] | None = None
) -> tuple[Program, Receipt]:
    """One step, verified, with its receipt; ``typed``: nodes that need no second look."""
    before = count_nodes(program)
    start = time.perf_counter()
    with recording() as record, beside(program.nodes()[0], ""):
        program = step(program)
    seconds = time.perf_counter() - start
    verify(program, after=name, typed=typed)
    return program, Receipt(
        name,
        before,
        count_nodes(program),
        seconds,
        {pattern: tuple(places) for pattern, places in record.fired.items()},
        tuple(record.misses),
        tuple(record.notes),
    )


def _dump(program: Program, folder: Path | None, number: int, name: str) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{number:02d}_{name}.ir").write_text(print_program(program), encoding="utf-8")
