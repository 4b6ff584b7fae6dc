"""The onnxruntime engine over small hand-made artifacts: growing and shared state, damage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smelt.errors import ArtifactError, SmeltError, UnsupportedError
from smelt.runtime.engine import Engine
from smelt.runtime.folder import FolderWriter
from smelt.runtime.manifest import FunctionSpec, KvPlan, Manifest, StateSpec
from smelt.runtime.onnx_engine import OnnxEngine, open_engine
from smelt.runtime.session import Session
from tests.tensorrt.graphs import Graph, decoder, encoder, manifest, tensor

pytest.importorskip("onnxruntime")
HEADS, DIM, VOCAB = 2, 8, 11


def shared_decoder(path: Path) -> Manifest:
    """One GroupQueryAttention layer whose past and present may be one buffer."""
    g = Graph()
    width = HEADS * DIM
    x = g.add("Gather", g.weight(VOCAB, width), "input_ids")
    q, k, v = (g.add("MatMul", x, g.weight(width, width)) for _ in range(3))
    lengths = g.add("ReduceSum", "attention_mask", g.const([1]), keepdims=0)
    last = g.add("Cast", g.add("Sub", lengths, g.const(np.int64(1))), to=6)
    shape = g.add("Shape", "attention_mask", start=1, end=2)
    total = g.add("Cast", g.add("Squeeze", shape), to=6)
    g.nodes.append(
        g._helper.make_node(
            "GroupQueryAttention",
            [q, k, v, "past.k", "past.v", last, total],
            ["y", "present.k", "present.v"],
            domain="com.microsoft",
            num_heads=HEADS,
            kv_num_heads=HEADS,
        )
    )
    g.add("MatMul", g.add("Add", x, "y"), g.weight(width, VOCAB), out="logits")
    ids: Any = ("i64", ["batch", "seq"])
    all_ids: Any = ("i64", ["batch", "past + seq"])
    logits: Any = ("f32", ["batch", "seq", VOCAB])
    held: Any = ("f32", ["batch", HEADS, "capacity", DIM])
    g.save(
        path,
        {"input_ids": ids, "attention_mask": all_ids, "past.k": held, "past.v": held},
        {"logits": logits, "present.k": held, "present.v": held},
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
        StateSpec(name=n, kind="append", dtype="f32", shape=("batch", HEADS, "past", DIM))
        for n in "kv"
    )
    told = manifest("causal_lm", function, slots, context=2000)
    kv = KvPlan(dtype="f32", capacity=2000, share_buffer=True)
    return told.model_copy(update={"kv": kv, "vocab_size": VOCAB})


def artifact(out: Path, make: Any) -> Path:
    with FolderWriter(out) as folder:
        folder.seal(make(folder.path / "main.onnx"))
    return out


@pytest.fixture(params=[decoder, shared_decoder])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> OnnxEngine:
    return open_engine(artifact(tmp_path / "a", request.param), threads=1)


def call(engine: Engine, ids: list[list[int]]) -> Any:
    array = np.array(ids)
    mask = np.ones((array.shape[0], engine.past + array.shape[1]), np.int64)
    return engine.call("main", {"input_ids": array, "attention_mask": mask})["logits"]


def test_parts_give_what_the_whole_gives(engine: OnnxEngine) -> None:
    assert isinstance(engine, Engine)
    ids = np.random.default_rng(0).integers(0, VOCAB, (2, 12)).tolist()
    whole = call(engine, ids)
    state = engine.read_state()
    engine.reset()
    parts = [call(engine, [row[:5] for row in ids])]
    parts += [call(engine, [row[i : i + 1] for row in ids]) for i in range(5, 12)]
    assert np.allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)
    assert engine.past == 12
    for name, value in engine.read_state().items():
        assert value.shape[2] == 12
        assert np.allclose(value, state[name], atol=1e-6)


def test_shared_state_grows_over_its_first_capacity(tmp_path: Path) -> None:
    engine = open_engine(artifact(tmp_path / "a", shared_decoder), threads=1)
    ids = np.random.default_rng(0).integers(0, VOCAB, (1, 600)).tolist()
    whole = call(engine, ids)
    engine.reset()
    parts = [call(engine, [ids[0][i : i + 100]]) for i in range(0, 600, 100)]
    assert np.allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)
    assert engine.bytes()["state"] == 2 * 1024 * HEADS * DIM * 4


def test_rewind_and_reorder(engine: OnnxEngine) -> None:
    first = call(engine, [[1, 2, 3], [4, 5, 6]])
    wanted = call(engine, [[7], [8]])
    engine.rewind(3)
    assert np.allclose(call(engine, [[7], [8]]), wanted, atol=1e-6)
    engine.rewind(3)
    engine.reorder(np.array([1, 0]))
    assert np.allclose(call(engine, [[8], [7]]), wanted[::-1], atol=1e-6)
    with pytest.raises(ArtifactError, match="rewind to 9 tokens, 4 are held"):
        engine.rewind(9)
    engine.reset()
    assert engine.past == 0
    assert np.allclose(call(engine, [[1, 2, 3], [4, 5, 6]]), first, atol=1e-6)


def test_results_outlive_later_calls(engine: OnnxEngine) -> None:
    results = [call(engine, [[i % VOCAB]]) for i in range(40)]
    copies = [np.array(r) for r in results]
    for i in range(40):
        call(engine, [[i % VOCAB]])
    assert all(np.array_equal(a, b) for a, b in zip(results, copies, strict=True))


def test_a_session_generates_over_it(engine: OnnxEngine) -> None:
    session = Session(engine)
    first = session.generate(ids=[1, 2, 3], max_new_tokens=10).ids
    tokens = [1, 2, 3]
    for _ in range(10):
        session.reset()
        tokens.append(int(session.run(input_ids=[tokens])["logits"][0, -1].argmax()))
    assert first == tokens[3:]


def test_the_context_is_a_limit(tmp_path: Path) -> None:
    engine = open_engine(artifact(tmp_path / "a", shared_decoder), context=8)
    call(engine, [[1] * 8])
    with pytest.raises(ArtifactError, match="9 tokens do not fit a context of 8"):
        call(engine, [[1]])


def test_an_encoder_has_no_state(tmp_path: Path) -> None:
    engine = open_engine(artifact(tmp_path / "a", encoder))
    session = Session(engine)
    found = session.run(input_ids=[[1, 2, 3]])["last_hidden_state"]
    padded = session.run(input_ids=[[1, 2, 3, 0]], attention_mask=[[1, 1, 1, 0]])
    assert np.allclose(found, padded["last_hidden_state"][:, :3], atol=1e-6)
    assert (engine.past, engine.read_state()) == (0, {})


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    good = artifact(tmp_path / "good", encoder)
    with pytest.raises(UnsupportedError, match="no option `device`"):
        open_engine(good, device="cuda")

    def renamed(path: Path) -> Manifest:
        told = encoder(path)
        spec = told.functions[0].model_copy(update={"outputs": (tensor("logits", "f32", []),)})
        return told.model_copy(update={"functions": (spec,)})

    with pytest.raises(ArtifactError, match="differ in outputs: last_hidden_state, logits"):
        open_engine(artifact(tmp_path / "renamed", renamed))

    def broken(path: Path) -> Manifest:
        told = encoder(path)
        path.write_bytes(path.read_bytes()[:-200])
        return told

    with pytest.raises(ArtifactError, match="onnxruntime: load of `main` failed"):
        open_engine(artifact(tmp_path / "broken", broken))

    def demanding(path: Path) -> Manifest:
        return encoder(path).model_copy(update={"requires": ("onnx.teleport",)})

    with pytest.raises(ArtifactError, match=r"missing here: onnx\.teleport"):
        open_engine(artifact(tmp_path / "demanding", demanding))
    with pytest.raises(SmeltError, match="not an artifact"):
        open_engine(tmp_path / "nothing")


def test_running_it_never_imports_torch(tmp_path: Path) -> None:
    path = artifact(tmp_path / "a", decoder)
    code = (
        "import sys\n"
        "from smelt.runtime.onnx_engine import open_engine\n"
        "from smelt.runtime.session import Session\n"
        f"print(Session(open_engine({str(path)!r})).generate(ids=[1], max_new_tokens=3).ids)\n"
        "assert not {'torch', 'transformers', 'onnx'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
