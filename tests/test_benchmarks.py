"""What `make bench-peers` computes and writes, without any peer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import limits
from benchmarks.driver import Job, Sample, Track
from benchmarks.engines import DECODERS, ENCODERS, Engine
from benchmarks.figures import Spread, faster, fastest_peer, spread
from benchmarks.machine import Ticks, busy_cores, machine_ticks
from benchmarks.prepare import Missing, Preparer
from benchmarks.quality import compare
from benchmarks.report import Chapter, chapter, replace_between, table

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
    assert fastest_peer([OURS], DECODE, "int4") is None


def test_a_chapter_has_every_engine_and_says_what_is_missing() -> None:
    text = chapter(Chapter("a model", [DECODE], {1: [OURS, LLAMA, OTHER, GONE]}))
    assert "| smelt int4 | 4 bits | 100 (50..100) | 0 (0..0) | 0 | 0 |" in text
    assert "| gone int4 | 4 bits | – | – | – | – |" in text
    assert "| smelt int4 | decode | 1 | other int4 | 1.25 | 2.00 | 1.50: 17% short |" in text
    assert "- gone int4 is missing: does not install" in text


def test_a_page_keeps_what_stands_around_the_tables() -> None:
    page = "# a\n\n<!-- peers -->\nold\n<!-- /peers -->\n\nb\n"
    new = replace_between(page, "peers", table(["x"], [["1"]]))
    assert new == "# a\n\n<!-- peers -->\n| x |\n| --- |\n| 1 |\n<!-- /peers -->\n\nb\n"
    assert replace_between(new, "peers", "old") == page
    with pytest.raises(ValueError, match="no `<!-- peers -->`"):
        replace_between("# a\n", "peers", "new")


def test_the_page_in_the_repository_has_its_markers() -> None:
    page = Path(__file__).parents[1] / "docs" / "benchmarks.md"
    for name in ("peers", "quality"):
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


def test_names_and_files_of_engines_are_their_own() -> None:
    for engines in (DECODERS, ENCODERS):
        assert len({engine.name for engine in engines}) == len(engines)
    root = Path(__file__).parents[1] / "benchmarks" / "workers"
    assert all((root / f"{engine.worker}.py").is_file() for engine in DECODERS + ENCODERS)


def test_a_step_is_taken_once_and_its_failure_is_the_reason(tmp_path: Path) -> None:
    from benchmarks.engines import step

    said: list[str] = []
    preparer = Preparer(tmp_path, {}, said.append, 60.0)
    good = Engine("a", "int4", "m", "w", "x", (step("x", "touch x"), step("y.done", "true")))
    assert preparer.prepare(good) == tmp_path / "x" == preparer.prepare(good)
    assert len(said) == 2
    ours = Engine("smelt", "int4", "m", "w", "x", good.steps[:1])
    fresh = Preparer(tmp_path, {}, said.append, 60.0)
    assert fresh.prepare(ours) == fresh.prepare(ours)
    assert len(said) == 3
    bad = Engine("b", "int4", "m", "w", "z", (step("z", "ls nothing-here"),))
    for _ in range(2):
        with pytest.raises(Missing, match="nothing-here"):
            preparer.prepare(bad)
    assert len(said) == 4
