"""What verification feeds a model: the same inputs for the reference and for the artifact.

A causal model sees the reference's whole text in one pass, and the artifact in a prefill and single
steps: both must say the same at every position, and hold the same state at the end. A model that
minds how a text is divided sees it in the same calls as the artifact, of which there are fewer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smelt.ir.dims import evaluate
from smelt.ir.program import Function, Program
from smelt.ir.tensor import Tensor

Array = np.ndarray[Any, Any]

SEED = 20_260_101
PREFILL = 24
DECODE = 32
#: Steps where the reference has to read all weights for each of them.
DIVIDED = 8
#: The size of any other axis that may vary.
SOME = 8

#: Ordinary prose of our own, so that a language model's distribution over it means something.
TEXT = (
    "The harbour was quiet when the first boats came back in the morning. Three men carried the "
    "nets up the stone steps, and a woman at the top counted the baskets and wrote the number in a "
    "small book. It had rained in the night, so the street shone, and the children who were on "
    "their way to school jumped from one dry place to the next. By noon the market would be full. "
    "People would ask for the price of fish, complain about it, and buy it all the same."
)


@dataclass(frozen=True)
class Call:
    """One call: the function, its inputs, and the tokens of the whole text it covers."""

    function: str
    inputs: Mapping[str, Array]
    start: int = 0
    step: int = 0


@dataclass(frozen=True)
class Probe:
    """Calls for the reference (whole) and for the artifact (in steps); ``tokens`` of a causal
    model."""

    whole: tuple[Call, ...]
    steps: tuple[Call, ...]
    prefill: int
    decode: int
    #: Whether the reference too must take the steps.
    is_divided: bool = False


def make_probe(
    program: Program,
    *,
    vocabulary: int,
    types: int = 1,
    tokens: Sequence[int] = (),
    pads: Sequence[int] = (),
    limit: int | None = None,
) -> Probe:
    """Inputs for a program.

    vocabulary: ids are below it. types: segment ids are below it. tokens: the text's ids, if there
    is a tokenizer; random ids follow. pads: ids of padding, which may count as no word: random ids
    are none of them. limit: the most tokens that the state can hold.
    """
    windows = [s.window for s in program.slots.values() if s.window is not None and s.window <= 64]
    room = min(limit or 10**9, *(b.high for n, b in program.symbols.items() if n == "seq"), 10**9)
    is_divided = any(node.op.name == "is_further_token" for node in program.nodes())
    decode = max(min(DIVIDED if is_divided else DECODE, room // 2), 0)
    prefill = max(min(max([PREFILL, *(w + 3 for w in windows)]), room - decode), 1)
    maker = _Maker(program, vocabulary, types, tokens, pads)
    whole: list[Call] = []
    steps: list[Call] = []
    for function in program.functions.values():
        if not _has_past(function, program):
            call = Call(function.name, maker.inputs(function, 0, prefill))
            whole.append(call)
            steps.append(call)
            continue
        whole.append(Call(function.name, maker.inputs(function, 0, prefill + decode)))
        steps.append(Call(function.name, maker.inputs(function, 0, prefill)))
        for step in range(decode):
            at = prefill + step
            steps.append(Call(function.name, maker.inputs(function, at, 1), at, step + 1))
    has_state = any(call.step for call in steps)
    return Probe(
        tuple(whole), tuple(steps), prefill, decode if has_state else 0, is_divided and has_state
    )


def _has_past(function: Function, program: Program) -> bool:
    names = {"past"} & set(program.symbols)
    stateful = any(n.op.name in ("cache", "read") for n in function.nodes())
    return stateful and (bool(names) or bool(program.slots))


class _Maker:
    """Deterministic inputs: token t of the text is the same whichever call carries it."""

    def __init__(
        self,
        program: Program,
        vocabulary: int,
        types: int,
        tokens: Sequence[int],
        pads: Sequence[int],
    ) -> None:
        self._program = program
        self._types = types
        self._random = np.random.default_rng(SEED)
        words = [i for i in range(max(vocabulary, 1)) if i not in pads] or [0]
        more = np.asarray(words, np.int64)[self._random.integers(0, len(words), 4096)]
        self._tokens = np.concatenate([np.asarray(tokens, np.int64), more])
        self._floats: dict[str, Array] = {}

    def inputs(self, function: Function, start: int, count: int) -> dict[str, Array]:
        others = {name: min(bound.high, SOME) for name, bound in self._program.symbols.items()}
        values = {"batch": 1, "choices": 2, "seq": count, "past": start, "source": PREFILL}
        values = others | values
        return {t.attr("name"): self._one(t, values) for t in function.inputs}

    def _one(self, node: Tensor, values: Mapping[str, int]) -> Array:
        name = node.attr("name")
        shape = tuple(evaluate(size, values) for size in node.shape)
        if name.endswith("mask"):
            return np.ones(shape, np.float32 if node.dtype.is_float else np.int64)
        if node.dtype.is_float:
            if name not in self._floats:
                self._floats[name] = self._random.standard_normal(shape).astype(np.float32)
            return self._floats[name]
        start = values["past"]
        along = np.arange(start, start + shape[-1])
        if name == "position_ids":
            return np.broadcast_to(along, shape).astype(np.int64)
        if name == "token_type_ids":
            return np.broadcast_to(along // 5 % max(self._types, 1), shape).astype(np.int64)
        rows = int(np.prod(shape[:-1]))
        ids = [self._tokens[(along + 7 * row) % len(self._tokens)] for row in range(rows)]
        return np.stack(ids).reshape(shape).astype(np.int64)


def pair(
    outputs: Mapping[str, Array], call: Call, whole: Mapping[str, Array]
) -> Iterator[tuple[str, Array, Array]]:
    """Each output of a step beside the reference's for the same tokens."""
    for name, actual in outputs.items():
        expected = whole[name]
        if actual.ndim >= 3 and expected.shape[1] != actual.shape[1]:
            expected = expected[:, call.start : call.start + actual.shape[1]]
        yield name, actual, expected
