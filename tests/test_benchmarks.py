"""What `make bench-peers` computes and writes, without any peer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks import genai_quality, limits, llama_quality, neighbour, peers
from benchmarks.__main__ import PARTS, SOURCES
from benchmarks.driver import Job, Sample, Track
from benchmarks.engines import Engine, Step, step
from benchmarks.figures import Spread, faster, fastest_peer, spread
from benchmarks.machine import Ticks, busy_cores, cpu_has, machine_ticks
from benchmarks.prepare import Missing, Preparer
from benchmarks.quality import compare
from benchmarks.report import Chapter, at_most, chapter, goal_of, replace_between, table
from benchmarks.tables import MODELS, Model

DECODE = Job("decode", {"run": "decode"}, 100, 1.5)
CALL = Job("call", {"run": "encode"})


def track(name: str, *seconds: float, missing: str = "") -> Track:
    engine = Engine(name, "int4", "smollm2", "none", "none", ())
    samples = [Sample(value, 0.0) for value in seconds]
    return Track(
        engine, 1, samples={"decode": samples, "call": samples} if samples else {}, missing=missing
    )


OURS = track("smelt int4", 1.0, 2.0, 1.0)
LLAMA = track("llama.cpp Q4_0", 2.0, 2.0, 4.0)
OTHER = track("other int4", 1.0, 4.0, 1.25)
GONE = track("gone int4", missing="does not install")


def test_figures_are_medians_with_their_spread() -> None:
    assert spread(OURS, DECODE) == Spread(100.0, 50.0, 100.0)
    assert spread(OTHER, CALL) == Spread(1250.0, 1000.0, 4000.0)
    assert spread(GONE, CALL) is None
    assert Spread(1250.0, 1000.0, 4000.0).show(0) == "1250 (1000..4000)"


def test_ratios_are_of_the_same_rounds() -> None:
    assert faster(OURS, LLAMA, DECODE) == 2.0
    assert faster(OURS, GONE, DECODE) is None
    assert fastest_peer([OURS, LLAMA, OTHER, GONE], DECODE, "int4") is OTHER
    assert fastest_peer([OURS, LLAMA, OTHER], DECODE, "int4", "llama") is LLAMA
    assert fastest_peer([OURS], DECODE, "int4") is None


def test_a_chapter_has_every_engine_and_says_what_is_missing() -> None:
    text = chapter(Chapter("a model", [DECODE], {1: [OURS, LLAMA, OTHER, GONE]}))
    assert "| smelt int4 | 4 bits | 100 (50..100) |" in text
    assert "| gone int4 | 4 bits | – |" in text
    assert "| smelt int4 | decode | 1.50 | 1.25 other int4: 17% short | 2.00 |" in text
    assert "| smelt int4 | – | – | – |" in text
    assert "\n\nOf 1 goals of speed 0 are met.\n\n" in text
    assert "- gone int4 is missing: does not install" in text


def test_a_row_for_another_runtime_is_compared_with_that_one_at_its_own_speed() -> None:
    engine = Engine("smelt ONNX", "int4", "smollm2", "none", "none", (), against="other")
    onnx = Track(engine, 1, samples={"decode": [Sample(value, 0.0) for value in (1.0, 1.0, 1.0)]})
    text = chapter(Chapter("a model", [DECODE], {1: [onnx, OURS, LLAMA, OTHER]}))
    assert "| smelt ONNX | decode | 1.00 | 1.25 other int4: met | 2.00 |" in text


def test_goals_of_the_first_token_and_of_memory_are_of_the_best_and_the_most() -> None:
    ours = {1: track("smelt int4", 1.0), 2: track("smelt int4", 1.0)}
    llamas = {1: track("llama.cpp Q4_0", 1.0), 2: track("llama.cpp Q4_0", 1.0)}
    ours[1].first_seconds, ours[2].first_seconds = [0.040, 0.060], [0.020, 0.026]
    ours[1].peak_bytes, ours[2].peak_bytes = 90_000_000, 150_000_000
    llamas[1].peak_bytes, llamas[2].peak_bytes = 100_000_000, 100_000_000
    text = chapter(Chapter("a model", [DECODE], {n: [ours[n], llamas[n]] for n in (1, 2)}))
    row = "| smelt int4 | – | 150 | – | 50 (40..60) | 23 (20..26) | met | 1.50 times that |"
    assert row in text
    assert "| llama.cpp Q4_0 | – | 100 | – | – | – | – | – |" in text
    assert (at_most(2.0, 2.0), at_most(5.0, 2.0), at_most(5.0, 0.0)) == (
        "met",
        "2.50 times that",
        "–",
    )
    assert (goal_of(0.9, 0.9), goal_of(0.45, 0.9)) == ("met", "50% short")


def test_a_page_keeps_what_stands_around_the_tables() -> None:
    page = "# a\n\n<!-- peers -->\nold\n<!-- /peers -->\n\nb\n"
    new = replace_between(page, "peers", table(["x"], [["1"]]))
    assert new == "# a\n\n<!-- peers -->\n| x |\n| --- |\n| 1 |\n<!-- /peers -->\n\nb\n"
    assert replace_between(new, "peers", "old") == page
    with pytest.raises(ValueError, match="no `<!-- peers -->`"):
        replace_between("# a\n", "peers", "new")


def test_the_page_in_the_repository_has_its_markers() -> None:
    page = Path(__file__).parents[1] / "docs" / "benchmarks.md"
    for name in (*(model.key for model in MODELS), *PARTS[1:]):
        assert replace_between(page.read_text(encoding="utf-8"), name, "new")


def test_ticks_count_stolen_time_and_not_waiting() -> None:
    assert machine_ticks("cpu  10 1 5 100 7 1 2 3 0 0") == Ticks(22, 129)
    assert busy_cores(Ticks(0, 0), Ticks(0, 100)) == 0.0
    assert busy_cores(Ticks(0, 0), Ticks(50, 100), own=50) == 0.0
    assert busy_cores(Ticks(0, 0), Ticks(0, 0)) == 0.0


def test_quality_is_perplexity_divergence_and_agreement() -> None:
    even = np.zeros((3, 4), np.float32)
    same = compare([even], [even], [[0, 1, 2]])
    assert (round(same.perplexity, 9), same.divergence, same.agreement) == (4.0, 0.0, 1.0)
    half = np.array([[0.0, 1, 0, 0], [0, 0, 0, 1], [9, 9, 9, 9]], np.float32) * np.log(2)
    found = compare([half], [even], [[0, 1, 2]])
    # Of fifths: the next tokens have 2 and 1. Against fourths: log(5 / 4) - log(2) / 4 a token.
    assert found.perplexity == pytest.approx(np.sqrt(5 / 2 * 5 / 1))
    assert found.divergence == pytest.approx(np.log(5 / 4) - np.log(2) / 4)
    assert found.agreement == 0.0


def test_log_probabilities_for_llama_cpp_are_the_reference_s(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(size=(2, 8, 5)).astype(np.float32) * 3
    logits[0, 5, 2] = -200.0
    ids = [[3, 1, 4, 1, 0, 2, 2, 1], [0, 1, 2, 3, 4, 0, 1, 2]]
    llama_quality.write_base(tmp_path / "base", list(logits), ids)
    data = (tmp_path / "base").read_bytes()
    assert data[:20] == b"_logits_" + np.array([8, 5, 2], "<i4").tobytes()
    assert np.frombuffer(data, "<i4", 16, 20).reshape(2, 8).tolist() == ids
    # Rows 4 to 6 of each window: a pair of floats, and a code for each word and one for evenness.
    rows = np.frombuffer(data, "<u2", offset=20 + 64).reshape(2, 3, 4 + 6)
    pair = np.ascontiguousarray(rows[..., :4]).view("<f4")
    found = pair[..., :1] * rows[..., 4:9] + pair[..., 1:]
    wanted = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    wanted = np.maximum(wanted, wanted.max(axis=-1, keepdims=True) - 16)[:, 4:7]
    assert np.abs(found - wanted).max() < 2e-4


def test_logits_of_genai_are_those_of_its_graph(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    past = helper.make_tensor_value_info("past.0.key", TensorProto.FLOAT, ["b", 2, "past", "dim"])
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "seq"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", "seq", 5])
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["logits"])],
        "tiny",
        [ids, past],
        [logits],
        [numpy_helper.from_array(table, "table")],
    )
    opset = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "model.onnx")
    decoder = {"num_key_value_heads": 2, "head_size": 3}
    (tmp_path / "genai_config.json").write_text(json.dumps({"model": {"decoder": decoder}}))
    found = genai_quality.Logits(tmp_path)([4, 1, 8])
    np.testing.assert_array_equal(found, table[[4, 1, 8]])


def test_figures_of_llama_perplexity_are_read() -> None:
    text = (
        "Mean PPL(Q)                   :  17.250000 ±   0.100000\n"
        "Mean    KLD:   0.028910 ±   0.001000\n"
        "Same top p: 87.860 ± 0.500 %\n"
    )
    assert llama_quality.parsed(text) == {
        "perplexity": 17.25,
        "divergence": 0.02891,
        "agreement": pytest.approx(0.8786),
    }
    with pytest.raises(Missing, match="no perplexity: failed to open x"):
        llama_quality.parsed("a\nfailed to open x\n")


def test_limits_are_of_weights_read_and_products_done() -> None:
    assert limits.decode_limit(8e9, 80_000_000) == 100.0
    config = {
        "hidden_size": 8,
        "intermediate_size": 10,
        "num_hidden_layers": 3,
        "vocab_size": 50,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    # A layer has 8*8 + 2*8*4 + 8*8 + 3*8*10 weights, and meets 3 positions on average at 5 tokens.
    products = 3 * 5 * (432 + 2 * 8 * 3) + 8 * 50
    assert limits.prefill_operations(config, 5) == 2 * products
    assert limits.prefill_limit(2e6 * products, config, 5) == 5e6


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.key)
def test_names_and_files_of_engines_are_their_own(model: Model) -> None:
    assert len({engine.name for engine in model.engines}) == len(model.engines)
    assert len({engine.artifact for engine in model.engines if engine.ours}) == sum(
        engine.ours for engine in model.engines
    )
    root = Path(__file__).parents[1] / "benchmarks" / "workers"
    assert all((root / f"{engine.worker}.py").is_file() for engine in model.engines)
    assert model.key in SOURCES
    for engine in model.engines:
        assert not engine.against or any(
            peer.name.startswith(engine.against) and peer.format == engine.format
            for peer in model.engines
        )


def test_the_engines_beside_a_neighbour_are_measured_alone_too() -> None:
    assert set(neighbour.NAMES) <= {engine.name for engine in MODELS[0].engines}


def test_a_neighbour_keeps_its_core_busy_and_goes() -> None:
    core = max(os.sched_getaffinity(0))
    with neighbour.busy(core) as process:
        assert process.poll() is None
        assert os.sched_getaffinity(process.pid) == {core}
    assert process.poll() is not None


def test_a_row_that_needs_what_the_processor_has_not_is_left_out() -> None:
    assert not cpu_has("no_such_feature")
    assert peers.llama("smollm2", "Q4_0", "int4", amx=False).needs == "amx_int8"


def test_a_step_is_taken_once_and_its_failure_is_the_reason(tmp_path: Path) -> None:
    said: list[str] = []
    preparer = Preparer(tmp_path, {}, said.append, 60.0)
    good = Engine("a", "int4", "m", "w", "x", (step("x", "touch x"), step("y.done", "true")))
    assert preparer.prepare(good) == tmp_path / "x" == preparer.prepare(good)
    assert len(said) == 2
    bad = Engine("b", "int4", "m", "w", "z", (step("z", "ls nothing-here"),))
    for _ in range(2):
        with pytest.raises(Missing, match="nothing-here"):
            preparer.prepare(bad)
    assert len(said) == 3


def test_half_of_a_model_is_removed(tmp_path: Path) -> None:
    preparer = Preparer(tmp_path, {}, lambda line: None, 60.0)
    words = ("sh", "-c", "mkdir half; touch half/part; exit 1")
    with pytest.raises(Missing, match="exit 1"):
        preparer.prepare(Engine("a", "int4", "m", "w", "half", (Step("half", words),)))
    assert not (tmp_path / "half").exists()


def test_what_our_compiler_made_is_made_again_when_the_compiler_is_newer(tmp_path: Path) -> None:
    said: list[str] = []
    made = step("x", "touch x smelt.cli")
    ours = Engine("smelt", "int4", "m", "w", "x", (made,))
    for _ in range(2):
        Preparer(tmp_path, {}, said.append, 60.0).prepare(ours)
    assert len(said) == 1
    os.utime(tmp_path / "x", (0, 0))
    Preparer(tmp_path, {}, said.append, 60.0).prepare(ours)
    assert len(said) == 2


def test_a_checkpoint_that_cannot_be_had_is_the_reason(tmp_path: Path) -> None:
    preparer = Preparer(tmp_path, {}, lambda line: None, 60.0)
    with pytest.raises(Missing, match="no checkpoint 'qwen'"):
        preparer.prepare(Engine("a", "int4", "qwen", "w", "x", (step("x", "touch {qwen}"),)))


def test_what_could_not_be_made_is_remembered_until_it_is(tmp_path: Path) -> None:
    said: list[str] = []
    peer = Engine("a", "int4", "m", "w", "z", (step("z", "mv later z"),))
    prepared = Preparer(tmp_path, {}, said.append, 60.0, as_prepared=True)
    with pytest.raises(Missing, match="not prepared"):
        prepared.prepare(peer)
    with pytest.raises(Missing, match="later"):
        Preparer(tmp_path, {}, said.append, 60.0).prepare(peer)
    with pytest.raises(Missing, match="`mv later z`: exit 1"):
        prepared.prepare(peer)
    (tmp_path / "later").touch()
    assert Preparer(tmp_path, {}, said.append, 60.0).prepare(peer) == prepared.prepare(peer)
    assert len(said) == 2
    ours = Engine("smelt", "int4", "m", "w", "x", (step("x", "touch x smelt.cli"),))
    assert prepared.prepare(ours) == tmp_path / "x"


def test_a_command_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    preparer = Preparer(tmp_path, {}, lambda line: None, 0.1)
    with pytest.raises(Missing, match="not done in 0 s"):
        preparer.prepare(Engine("a", "int4", "m", "w", "x", (step("x", "sleep 60"),)))
