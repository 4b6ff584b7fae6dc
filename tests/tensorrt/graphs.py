"""Two small ONNX graphs of the kinds that TensorRT is given: an encoder, and a decoder with KV."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from smelt.runtime.manifest import FunctionSpec, Manifest, Source, StateSpec, Symbol, TensorSpec
from smelt.runtime.tensorrt_engine import PAST, PRESENT

Described: TypeAlias = tuple[str, list[int | str]]

HEADS, DIM, VOCAB = 2, 4, 11
WIDTH = HEADS * DIM


class Graph:
    """Nodes, constants and weights, collected in order."""

    def __init__(self, opset: int = 18) -> None:
        from onnx import helper, numpy_helper

        self._opset = opset
        self._helper, self._numpy = helper, numpy_helper
        self._random = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def add(self, op: str, *inputs: str, out: str = "", domain: str = "", **attrs: Any) -> str:
        """A node named after its output."""
        out = out or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(
            self._helper.make_node(op, inputs, [out], name=f"{out}/{op}", domain=domain, **attrs)
        )
        return out

    def const(self, value: Any) -> str:
        """A constant, by its value."""
        name = f"const_{len(self.tensors)}"
        self.tensors.append(self._numpy.from_array(np.asarray(value), name))
        return name

    def weight(self, *shape: int) -> str:
        """A random weight."""
        return self.const((self._random.standard_normal(shape) / 2).astype(np.float32))

    def save(self, path: Path, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
        """Write the graph; each value's shape and dtype are given."""
        from onnx import TensorProto, checker, save

        kinds = {"f32": TensorProto.FLOAT, "i64": TensorProto.INT64}
        make = self._helper.make_tensor_value_info
        values = [
            [make(name, kinds[dtype], shape) for name, (dtype, shape) in part.items()]
            for part in (inputs, outputs)
        ]
        graph = self._helper.make_graph(self.nodes, "main", *values, self.tensors)
        opsets = [
            self._helper.make_opsetid("", self._opset),
            self._helper.make_opsetid("com.microsoft", 1),
        ]
        model = self._helper.make_model(graph, opset_imports=opsets, ir_version=11)
        checker.check_model(model)
        save(model, path)


def heads(g: Graph, x: str) -> str:
    """[B, S, width] → [B, heads, S, dim]."""
    split = g.add(
        "Reshape", g.add("MatMul", x, g.weight(WIDTH, WIDTH)), g.const([0, 0, HEADS, DIM])
    )
    return g.add("Transpose", split, perm=[0, 2, 1, 3])


def attend(g: Graph, q: str, k: str, v: str, allowed: str) -> str:
    """Masked attention, heads merged."""
    scores = g.add("MatMul", q, g.add("Transpose", k, perm=[0, 1, 3, 2]))
    masked = g.add("Where", allowed, scores, g.const(np.float32(-3e38)))
    y = g.add("MatMul", g.add("Softmax", masked, axis=-1), v)
    merged = g.add("Transpose", y, perm=[0, 2, 1, 3])
    return g.add("Reshape", merged, g.const([0, 0, WIDTH]))


def mask(g: Graph) -> str:
    """attention_mask as [B, 1, 1, T] of bool."""
    from onnx import TensorProto

    real = g.add("Cast", "attention_mask", to=TensorProto.BOOL)
    return g.add("Unsqueeze", real, g.const([1, 2]))


def length(g: Graph, name: str) -> str:
    """The size of axis 1, a scalar."""
    return g.add("Squeeze", g.add("Shape", name, start=1, end=2))


def encoder(path: Path) -> Manifest:
    """One attention layer over a whole text."""
    g = Graph()
    x = g.add("Gather", g.weight(VOCAB, WIDTH), "input_ids")
    y = attend(g, heads(g, x), heads(g, x), heads(g, x), mask(g))
    g.add("Add", x, y, out="last_hidden_state")
    ids: Described = ("i64", ["batch", "seq"])
    hidden: Described = ("f32", ["batch", "seq", WIDTH])
    g.save(path, {"input_ids": ids, "attention_mask": ids}, {"last_hidden_state": hidden})
    function = FunctionSpec(
        name="main",
        inputs=(tensor("input_ids", *ids), tensor("attention_mask", *ids)),
        outputs=(tensor("last_hidden_state", *hidden),),
        file=path.name,
    )
    return manifest("feature_extraction", function, (), context=64)


def decoder(path: Path) -> Manifest:
    """One attention layer whose keys and values grow."""
    g = Graph()
    x = g.add("Gather", g.weight(VOCAB, WIDTH), "input_ids")
    q, k, v = heads(g, x), heads(g, x), heads(g, x)
    k = g.add("Concat", PAST + "k", k, out=PRESENT + "k", axis=2)
    v = g.add("Concat", PAST + "v", v, out=PRESENT + "v", axis=2)
    zero, one = g.const(np.int64(0)), g.const(np.int64(1))
    new, total = length(g, "input_ids"), length(g, "attention_mask")
    row = g.add("Add", g.add("Range", zero, new, one), g.add("Sub", total, new))
    column = g.add("Range", zero, total, one)
    causal = g.add("GreaterOrEqual", g.add("Unsqueeze", row, g.const([1])), column)
    y = attend(g, q, k, v, g.add("And", causal, mask(g)))
    g.add("MatMul", g.add("Add", x, y), g.weight(WIDTH, VOCAB), out="logits")
    ids: Described = ("i64", ["batch", "seq"])
    all_ids: Described = ("i64", ["batch", "past + seq"])
    logits: Described = ("f32", ["batch", "seq", VOCAB])
    past: Described = ("f32", ["batch", HEADS, "past", DIM])
    present: Described = ("f32", ["batch", HEADS, "past + seq", DIM])
    g.save(
        path,
        {"input_ids": ids, "attention_mask": all_ids, PAST + "k": past, PAST + "v": past},
        {"logits": logits, PRESENT + "k": present, PRESENT + "v": present},
    )
    function = FunctionSpec(
        name="main",
        inputs=(tensor("input_ids", *ids), tensor("attention_mask", *all_ids)),
        outputs=(tensor("logits", *logits),),
        reads=("k", "v"),
        writes=("k", "v"),
        file=path.name,
    )
    slots = tuple(
        StateSpec(name=name, kind="append", dtype="f32", shape=tuple(past[1])) for name in "kv"
    )
    return manifest("causal_lm", function, slots, context=64)


def tensor(name: str, dtype: Any, shape: list[int | str]) -> TensorSpec:
    """A described input or output."""
    return TensorSpec(name=name, dtype=dtype, shape=tuple(shape))


def manifest(
    task: str, function: FunctionSpec, slots: tuple[StateSpec, ...], context: int
) -> Manifest:
    """The manifest that the ONNX backend would write."""
    names = ["batch", "seq", *(["past"] if slots else [])]
    return Manifest(
        smelt="0",
        target="onnx",
        task=task,
        model_type="tiny",
        source=Source(fingerprint="0" * 64),
        functions=(function,),
        state=slots,
        symbols=tuple(
            Symbol(name=n, min=0 if n == "past" else 1, max=None if n == "batch" else context)
            for n in names
        ),
        context=context,
    )
