"""Programs as text: every one reads back as the same nodes; text that lies is refused with its
line.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smelt.errors import SmeltError
from smelt.ir import ops
from smelt.ir.dims import symbol
from smelt.ir.op import OPS
from smelt.ir.parser import parse_attributes, parse_program
from smelt.ir.printer import print_attribute, print_program
from smelt.ir.program import Bound, Function, Program, Slot, toposort
from smelt.ir.tensor import Tensor, beside, make, source
from smelt.ir.types import DType, Type
from tests.passes.programs import CONFIGS, tiny

SEQ = symbol("seq")
FLOATS = st.floats(allow_nan=False)
NAMES = st.text(min_size=1, max_size=12)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    FLOATS,
    NAMES,
    st.sampled_from(list(DType)),
    st.sampled_from([SEQ, SEQ + 1, 2 * SEQ * symbol("batch"), (SEQ + 1) // 2]),
    st.just(Type((SEQ, 3), DType.F16)),
)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "name", "shape"]), VALUES))
def test_attributes_read_back(attrs: dict[str, Any]) -> None:
    text = ", ".join(f"{name}={print_attribute(value)}" for name, value in attrs.items())
    found = parse_attributes(text)
    assert found == attrs
    assert [type(v) for v in found.values()] == [type(v) for v in attrs.values()]


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """A random graph over [3, seq, 4] with a few kinds of op, shared nodes and odd names."""
    kind = Type((3, SEQ, 4), DType.F32)
    made: list[Tensor] = [ops.input(name="x", type=kind), ops.param(name=draw(NAMES), type=kind)]
    for _ in range(draw(st.integers(1, 8))):
        a, b = (draw(st.sampled_from(made)) for _ in range(2))
        with source(draw(st.sampled_from(["", "layers.0", "layers.10.mlp"]))):
            made.append(draw(st.sampled_from(MAKERS))(a, b))
    return made[-1]


MAKERS: list[Any] = [
    lambda a, b: a + b,
    lambda a, b: a * 0.1,
    lambda a, b: ops.where(ops.less(a, b), a, float("-inf")),
    lambda a, b: ops.rms_norm(a, eps=1e-6),
    lambda a, b: ops.slice(ops.concat(a, b, axis=2), axis=-1, start=2, stop=6),
    lambda a, b: ops.reshape(ops.reshape(a, shape=(12 * SEQ,)), shape=(3, SEQ, 4)),
    lambda a, b: ops.add_rms_norm(a, b, eps=1e-5)[1],
    lambda a, b: ops.topk(a, k=4)[0],
    lambda a, b: a + ops.const(value=(1.0, -2.0, 3.5, 0.0), dtype=DType.F32, shape=(4,)),
    lambda a, b: ops.cast(ops.cast(a, dtype=DType.BF16), dtype=DType.F32),
]


def _shared(found: Program, program: Program) -> Program:
    """A program of its own nodes, made of another's nodes where these are equal."""
    made: dict[Tensor, Tensor] = {}
    roots = [root for f in found.functions.values() for root in f.roots]
    with beside(program.nodes()[0]):
        for node in toposort([*roots, *found.weights.values()]):
            operands = tuple(None if t is None else made[t] for t in node.operands)
            made[node] = make(node.op, operands, node.attrs, node.result)
    functions = {
        name: replace(
            f.with_roots(tuple(made[root] for root in f.roots)),
            inputs=tuple(made.get(t, t) for t in f.inputs),
        )
        for name, f in found.functions.items()
    }
    weights = {name: made[t] for name, t in found.weights.items()}
    return replace(found, functions=functions, weights=weights)


@settings(deadline=None)
@given(tensors())
def test_random_graphs_read_back(root: Tensor) -> None:
    function = Function("main", (), (("y", root),))
    inputs = tuple(n for n in function.nodes() if n.op.name == "input")
    program = Program("m", "t", {"main": Function("main", inputs, (("y", root),))}, {}, {})
    text = print_program(program)
    found = parse_program(text)
    assert print_program(found) == text
    assert _shared(found, program).functions["main"].roots[0] is root


@pytest.mark.parametrize("model", CONFIGS)
def test_models_read_back(model: str) -> None:
    program = tiny(model)
    found = _shared(parse_program(print_program(program)), program)
    assert found == program
    assert found.functions["main"].roots == program.functions["main"].roots


def test_slots_symbols_writes_and_weights_read_back() -> None:
    state = Type((symbol("batch"), 2), DType.F32)
    old = ops.read(slot="s 1", type=state)
    w = ops.param(name="w", type=Type((2, 2), DType.F32))
    new = ops.linear(old, ops.weight(name="w.t", type=w.type))
    program = Program(
        "m",
        "t",
        {"main": Function("main", (), (("y", new),), (("s 1", new),))},
        {"s 1": Slot("s 1", "replace", state), "k": Slot("k", "append", state, 1, 9, "ring")},
        {"batch": Bound(1, 4)},
        {"w.t": ops.permute(w, axes=(1, 0))},
    )
    assert _shared(parse_program(print_program(program)), program) == program


GOLDEN = """\
program toy causal_lm
symbol seq 1..8
slot "k" append axis=1 window=4 layout=ring as=f16 : f32[2, past]

weight "w.permute" {
  %0 = param() {name='w', type=<type f32[3, 2]>} : f32[3, 2]
  %1 = permute(%0) {axes=(1, 0)} : f32[2, 3]
  yield = %1
}

func main(x: f32[2, seq]) {
  %0 = input() {name='x', type=<type f32[2, seq]>} : f32[2, seq]
  %1 = cache(%0) {slot='k', axis=1, window=4} : f32[2, past + seq]  @ layers.0
  %2 = softmax(%1) : f32[2, past + seq]  @ layers.0
  %3 = weight() {name='w.permute', type=<type f32[2, 3]>} : f32[2, 3]
  return y = %2
  return z = %3
}
"""


def test_the_text_is_this() -> None:
    assert print_program(parse_program(GOLDEN)) == GOLDEN


@pytest.mark.parametrize(
    ("old", "new", "message", "line"),
    [
        ("program toy causal_lm", "programme", "does not begin with", 1),
        ("softmax(%1)", "softmaxx(%1)", "no op is named `softmaxx`", 14),
        ("(%1) : f32[2, past + seq]", "(%1) : f32[2, seq]", "the text says f32[2, seq]", 14),
        ("softmax(%1)", "softmax(%7)", "cannot read: 7", 14),
        ("axes=(1, 0)", "axes=(1, 1)", "axes (1, 1) are not an order", 7),
        ("axes=(1, 0)", "axes=__import__('os')", "cannot read", 7),
        ("axes=(1, 0)", "ax=(1, 0)", "permute has attributes ['axes']", 7),
        ("return y = %2", "yield y %2", "is not a node", 16),
        ("symbol seq 1..8", "symbol seq", "neither symbol, slot, weight nor func", 2),
        ("  return z = %3\n}", "  return z = %3", "no closing", 11),
        ("<type f32[3, 2]>", "<type f99[3, 2]>", "is not a tensor type", 6),
    ],
)
def test_wrong_text_is_refused(old: str, new: str, message: str, line: int) -> None:
    assert old in GOLDEN
    with pytest.raises(SmeltError) as caught:
        parse_program(GOLDEN.replace(old, new, 1))
    assert message in caught.value.message
    assert caught.value.place == f"line {line}"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_text_never_crashes(data: st.DataObject) -> None:
    text = print_program(tiny())[:4000] if data.draw(st.booleans()) else GOLDEN
    at = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 6))
    damaged = text[:at] + data.draw(st.text(max_size=4)) + text[at + length :]
    try:
        parse_program(damaged)
    except SmeltError as error:
        assert (error.place or "").startswith("line")


def test_every_op_is_documented() -> None:
    assert [name for name, op in OPS.items() if not (op.body.__doc__ or "").strip()] == []
