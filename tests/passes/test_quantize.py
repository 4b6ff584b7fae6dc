"""Quantization in the graph: what becomes codes, what stays float and says so, what it means."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pytest

from smelt.errors import SmeltError
from smelt.ir.materialize import Weights
from smelt.ir.program import Program
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType
from smelt.passes.expand import Expand
from smelt.passes.lift_weights import lift_weights
from smelt.passes.options import Quant, Scheme, parse_quant
from smelt.passes.pipeline import apply
from smelt.passes.quantize import Quantize, choose_group
from smelt.passes.receipt import Receipt
from tests.passes.programs import assert_same, ops_in, reader, results, tiny

RECIPES = ["int8", "int8,asym", "int4", "int4,asym", "int4,group=16,embedding=int4,lm_head=int4"]


def _quantized(
    recipe: str, model: str = "llama", activations: bool = False, **changes: Any
) -> tuple[Program, Receipt]:
    quant = parse_quant(recipe)
    assert quant is not None
    return apply("quantize", Quantize(quant, int(activations)), tiny(model, **changes))


@pytest.mark.parametrize("model", ["llama", "gpt2", "mixtral"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_restored_weights_are_what_the_graph_computes(model: str, recipe: str) -> None:
    """The graph over codes gives what the float graph gives over weights that were restored."""
    program, _ = _quantized(recipe, model)
    lifted = lift_weights(Expand()(program))
    restored = _restored(program)

    def read(name: str) -> np.ndarray[Any, Any]:
        return restored.get(name, reader(tiny(model))(name))

    wanted = results(tiny(model), read=read)
    assert_same(results(lifted), wanted, tolerance=2e-5)
    assert restored


def _restored(program: Program) -> dict[str, np.ndarray[Any, Any]]:
    """Parameters as their codes stand for them; computed here, apart from the graph."""
    found: dict[str, np.ndarray[Any, Any]] = {}
    weights = Weights(program, reader(program))
    for node in program.nodes():
        if node.op.name != "quantize_weight":
            continue
        (leaf,) = [n for n in _all(node) if n.op.name == "param"]
        item = next(n for n in program.nodes() if n.op.name == "item" and n.inputs[0] is node)
        codes = weights.evaluate(item)
        scales, zeros = (_item(weights, node, i) for i in (1, 2))
        blocks = codes.astype(np.float32).reshape(*scales.shape, node.attr("group"))
        values = (blocks - zeros[..., None].astype(np.float32)) * scales.astype(np.float32)[
            ..., None
        ]
        values = values.reshape(codes.shape)
        if any(n.op.name == "permute" for n in _all(node)):
            values = values[:, : leaf.shape[0]].T
        values = values[..., : leaf.shape[-1]]
        name = leaf.attr("name")
        if "*" in name:
            found |= {name.replace("*", str(i)): part for i, part in enumerate(values)}
        else:
            found[name] = values
    return found


def _all(node: Tensor) -> list[Tensor]:
    from smelt.ir.program import toposort

    return list(toposort([node]))


def _item(weights: Weights, node: Tensor, index: int) -> np.ndarray[Any, Any]:
    from smelt.ir import ops

    return weights.evaluate(ops.item(node, index=index))


def test_tied_table_has_one_set_of_codes() -> None:
    program, _ = _quantized("int8")
    tables = [
        n
        for n in program.nodes()
        if n.op.name == "quantize_weight" and "embed_tokens" in str(_all(n)[0].attrs)
    ]
    assert len(tables) == 1
    lifted = lift_weights(program)
    assert [n for n in lifted.weights if "embed_tokens" in n] == [
        "model.embed_tokens.weight.codes",
        "model.embed_tokens.weight.scales",
    ]


@pytest.mark.parametrize("model", ["llama", "gpt2", "mixtral"])
def test_bf16_weights_are_rounded_once(model: str) -> None:
    """The graph over bf16 weights gives what the float graph gives over weights so rounded."""
    program, _ = _quantized("bf16", model)
    stored = {
        leaf.attr("name")
        for node in program.nodes()
        if node.op.name == "cast" and node.dtype is DType.BF16
        for leaf in _all(node)
        if leaf.op.name == "param"
    }
    assert stored
    plain = reader(tiny(model))

    def read(name: str) -> np.ndarray[Any, Any]:
        value = plain(name)
        is_stored = any(fnmatchcase(name, pattern) for pattern in stored)
        return value.astype(DType.BF16.numpy).astype(np.float32) if is_stored else value

    lifted = lift_weights(Expand()(program))
    assert_same(results(lifted), results(tiny(model), read=read), tolerance=1e-6)
    matrices = [w for w in lifted.weights.values() if w.dtype is DType.BF16]
    assert len(matrices) == len([w for w in lifted.weights if w.endswith(".cast")]) > 0


def test_inputs_of_bf16_weights_are_rounded() -> None:
    program, _ = _quantized("bf16", "mixtral", activations=True)
    found = ops_in(program)
    assert {"bf16_linear", "bf16_grouped_linear", "bf16_gather"} <= found
    lifted = lift_weights(Expand()(program))
    near = results(lift_weights(Expand()(_quantized("bf16", "mixtral")[0])))
    assert_same(results(lifted), near, tolerance=0.05)
    exact = all(np.array_equal(results(lifted)[name], near[name]) for name in near)
    assert not exact


def test_one_weight_may_be_bf16() -> None:
    program, receipt = _quantized("int4,*.down_proj.*=bf16", activations=True)
    assert {"quantized_linear", "bf16_linear"} <= ops_in(program)
    assert any("down_proj.weight" in n and "bf16 (*.down_proj.*=bf16)" in n for n in receipt.notes)


def test_integer_activations() -> None:
    program, _ = _quantized("int8", "mixtral", activations=True)
    found = ops_in(program)
    assert {"quantized_linear", "quantized_grouped_linear", "quantized_gather"} <= found
    assert "dequantize" not in found
    # Close to the weights alone: int8 activations lose about as little again.
    near = results(lift_weights(_quantized("int8", "mixtral")[0]))
    assert_same(results(lift_weights(program)), near, tolerance=0.05)


@pytest.mark.parametrize("asym", ["", ",asym"])
@pytest.mark.parametrize("bits", ["int4", "int8"])
def test_zeros_of_symmetric_codes_are_one_number(bits: str, asym: str) -> None:
    program, _ = _quantized(bits + asym)
    zeros = [n.operands[2] for n in program.nodes() if n.op.name == "dequantize"]
    assert all((z is not None and z.op.name == "const") == (not asym) for z in zeros)


@pytest.mark.parametrize(
    ("width", "wanted", "group", "extra"),
    [
        (576, 32, 32, 0),
        (576, 128, 64, 0),
        (4096, 128, 128, 0),
        (48, 32, 16, 0),
        (2730, 32, 32, 22),
        (2730, 128, 128, 86),
        (40, 64, 64, 24),
        (16, 16, 16, 0),
    ],
)
def test_group_fits_or_pads(width: int, wanted: int, group: int, extra: int) -> None:
    assert choose_group(width, wanted) == (group, extra)
    assert (width + extra) % group == 0


def test_every_choice_is_told() -> None:
    _, receipt = _quantized("int4,*.v_proj.*=none", "mixtral", head_dim=16)
    notes = "\n".join(receipt.notes)
    assert (
        "model.layers.0.self_attn.v_proj.weight f32[32, 40] stays float: *.v_proj.*=none" in notes
    )
    assert "block_sparse_moe.gate.weight f32[5, 40] stays float: it has fewer than 16 rows" in notes
    assert "no group up to 32 divides 40, 24 columns of zeros added" in notes
    assert "embed_tokens.weight f32[99, 40]: int8 (embedding default)" in notes
    assert "5 vectors (norms, biases) stay float" in notes


def test_routers_stay_float_unless_named() -> None:
    _, receipt = _quantized("int4", "mixtral", num_local_experts=20)
    assert any("gate.weight" in n and "it chooses experts" in n for n in receipt.notes)
    _, receipt = _quantized("int4,*.gate.weight=int8", "mixtral", num_local_experts=20)
    assert not any("it chooses experts" in n for n in receipt.notes)


def test_mixed_precision() -> None:
    program, _ = _quantized("int4,*.down_proj.*=int8,lm_head=none,embedding=none")
    bits = {
        next(t.attr("name") for t in _all(n) if t.op.name == "param"): n.attr("bits")
        for n in program.nodes()
        if n.op.name == "quantize_weight"
    }
    assert "model.embed_tokens.weight" not in bits
    assert bits["model.layers.0.mlp.down_proj.weight"] == 8
    assert bits["model.layers.0.mlp.up_proj.weight"] == 4


def test_tied_table_cannot_be_two_things() -> None:
    with pytest.raises(SmeltError, match="embedding and lm_head in one and cannot be both"):
        _quantized("int8,embedding=int4,lm_head=int8")
    _, receipt = _quantized("int4,lm_head=none")
    assert any("embed_tokens.weight" in n and "lm_head=none" in n for n in receipt.notes)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("int8", Quant(Scheme(8))),
        ("int4,group=64,asym", Quant(Scheme(4, 64, False))),
        ("int4,activations=none", Quant(Scheme(4), (), 0)),
        (
            "int4, lm_head=none, a.*=int8",
            Quant(Scheme(4), (("lm_head", None), ("a.*", Scheme(8)))),
        ),
        ("bf16", Quant(Scheme(16))),
        ("bf16,activations=none", Quant(Scheme(16), (), 0)),
        ("bf16,activations=bf16", Quant(Scheme(16), (), 1)),
        ("bf16,group=64,a.*=int8", Quant(Scheme(16, 64), (("a.*", Scheme(8, 64)),))),
        ("int4,lm_head=bf16", Quant(Scheme(4), (("lm_head", Scheme(16)),))),
        ("none", None),
    ],
)
def test_recipes_parse(text: str, wanted: Quant | None) -> None:
    quant = parse_quant(text)
    assert quant == wanted
    if quant is not None:
        assert parse_quant(str(quant)) == quant


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int3", "begins with `int3`"),
        ("int4,group=48", "group is 48"),
        ("int4,symm", "did you mean `sym`"),
        ("int4,lm_head=fp8", "lm_head is fp8"),
        ("int4,activations=yes", "activations is yes"),
        ("bf16,activations=int8", "activations is int8 beside bf16, wants none, bf16"),
        ("int8,activations=bf16", "activations is bf16 beside int8, wants none, int8, int16"),
        ("none,sym", "begins with `none`"),
        ("", "begins with ``"),
    ],
)
def test_bad_recipes_say_why(text: str, message: str) -> None:
    with pytest.raises(SmeltError, match=message):
        parse_quant(text)
