"""`smelt plan`: predicted bytes are those of the opened engine, and of the process's memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smelt
from smelt.cli import app
from smelt.compiling import compile
from smelt.errors import SmeltError, UnsupportedError
from smelt.planning import parse_size, plan
from smelt.runtime.edge_engine import open_engine
from tests import tiny
from tests.checkpoint.hub_server import Hub, serving
from tests.parity.case import Case, all_cases
from tests.parity.checkpoints import make

#: State of every kind, and then every sixth type, whatever it is.
KINDS = ("gemma2", "mamba", "rwkv", "t5", "whisper", "deepseek_v3", "mixtral", "bert", "vit")


def _one_of_each() -> list[Case]:
    first = {case.model_type: case for case in reversed(all_cases())}
    types = sorted(first)
    return [first[name] for name in types if name in KINDS or types.index(name) % 6 == 0]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 55 MB: large enough that a process's own noise is below one percent."""
    sizes = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 4}
    heads = {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64}
    return tiny.llama(
        tmp_path_factory.mktemp("llama"),
        **(sizes | heads | {"vocab_size": 3000, "max_position_embeddings": 2048}),
    )


@pytest.fixture(scope="module")
def artifact(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plan") / "model.smelt"
    return compile(checkpoint, target="edge", out=out, verify=False).path


@pytest.mark.parametrize("case", _one_of_each(), ids=lambda case: case.id)
def test_every_spec_is_planned_to_the_byte(case: Case, tmp_path: Path) -> None:
    source = make(case).directory
    out = tmp_path / "model.smelt"
    compile(source, target="edge", out=out, task=case.task, context=40, verify=False)
    engine = open_engine(out, threads=2)
    found = plan(source, task=case.task, context=40, threads=2)
    wants = engine.bytes()
    assert (found.weights, found.state) == (wants["weights"], wants["state"])
    if found.state:  # without state, an engine grows with its texts
        assert found.activations == wants["activations"]


@pytest.mark.parametrize(
    "options",
    [{}, {"quant": "int4"}, {"quant": "int8,asym", "kv": "int8"}, {"kv": "bf16"}],
    ids=lambda options: "-".join(options.values()) or "plain",
)
@pytest.mark.parametrize("threads", [1, 2])
def test_memory_of_the_process_is_within_three_percent(
    options: dict[str, Any], threads: int, checkpoint: Path, tmp_path: Path
) -> None:
    small, out = tmp_path / "small.smelt", tmp_path / "model.smelt"
    compile(tiny.llama(tmp_path / "tiny"), target="edge", out=small, verify=False)
    compile(checkpoint, target="edge", out=out, verify=False, **options)
    words = [sys.executable, "-m", "tests.plan_run", small, out, "1024", threads]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    found = plan(checkpoint, context=1024, threads=threads, **options)
    assert measured["state"] == found.state and measured["activations"] == found.activations
    if measured["peak"]:
        assert measured["peak"] == pytest.approx(found.total, rel=0.03)


def test_a_batch_takes_more_state(checkpoint: Path, artifact: Path) -> None:
    one, four = (plan(checkpoint, context=512, batch=n, threads=1) for n in (1, 4))
    assert four.state == 4 * one.state and four.weights == one.weights
    assert four.activations > one.activations


def test_a_repository_is_planned_without_its_weights(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {p.name: p.read_bytes() for p in checkpoint.iterdir()}
    with serving(Hub(files)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        found = plan("owner/model", context=256, threads=1)
        assert all(asked for asked in hub.ranges("model.safetensors"))
    assert found.total == plan(checkpoint, context=256, threads=1).total
    assert found.source == f"owner/model@{hub.commit}"


def test_over_budget_is_refused_with_both_numbers(checkpoint: Path, artifact: Path) -> None:
    wants = plan(checkpoint, context=1024, threads=1).total
    for refused in (
        lambda: plan(checkpoint, context=1024, threads=1, max_memory=wants - 1),
        lambda: smelt.open(artifact, context=1024, threads=1, max_memory=wants - 1),
    ):
        with pytest.raises(SmeltError) as error:
            refused()
        assert str(wants) in str(error.value) and str(wants - 1) in str(error.value)
    assert smelt.open(artifact, context=1024, threads=1, max_memory=wants).engine.past == 0


def test_a_budget_holds_for_larger_batches_too(checkpoint: Path, artifact: Path) -> None:
    budget = plan(checkpoint, context=256, threads=1).total
    session = smelt.open(artifact, context=256, threads=1, max_memory=budget)
    with pytest.raises(SmeltError, match="are allowed"):
        session.generate(ids=[[1, 2, 3]] * 8, max_new_tokens=2).wait()


def test_the_command_line(checkpoint: Path, artifact: Path) -> None:
    from typer.testing import CliRunner

    def call(*words: object) -> Any:
        return CliRunner().invoke(app, [str(word) for word in words])

    words = ("plan", checkpoint, "--context", 512, "--threads", 1)
    found = json.loads(call(*words, "--json").stdout)
    assert found["total"] == found["weights"] + found["state"] + found["activations"]
    assert str(found["total"]) in call(*words).stdout
    over = call(*words, "--max-memory", "20MB")
    assert over.exit_code == 1 and "20000000 are allowed" in over.stderr
    run = call("run", artifact, "a", "--max-memory", "20MB", "--context", 512)
    assert run.exit_code == 1 and "20000000 are allowed" in run.stderr


def test_other_targets_have_no_plan(checkpoint: Path) -> None:
    with pytest.raises(UnsupportedError, match="belongs to its library"):
        plan(checkpoint, target="onnx")


@pytest.mark.parametrize(
    ("text", "bytes"),
    [("800000", 800_000), ("512MB", 512_000_000), ("1.5GiB", 3 << 29), (" 64 kib ", 65536)],
)
def test_sizes(text: str, bytes: int) -> None:
    assert parse_size(text) == bytes


def test_what_is_no_size_is_refused() -> None:
    with pytest.raises(SmeltError, match="is not a size"):
        parse_size("many")


def test_a_long_context_takes_memory_only_where_it_is_asked_for(tmp_path: Path) -> None:
    """A model that could hold 32768 tokens has room for 4096 by default, and for more at open."""
    source = tiny.llama(tmp_path / "llama", max_position_embeddings=32768)
    out = compile(source, target="edge", out=tmp_path / "a.smelt", verify=False).path
    assert smelt.open(out, threads=1).manifest.context == 4096 == plan(source, threads=1).context
    longer = smelt.open(out, threads=1, context=6000)
    assert longer.manifest.context == 6000
    assert longer.engine.bytes()["state"] == plan(source, context=6000, threads=1).state
    with pytest.raises(SmeltError, match="the context is 4096"):
        smelt.open(out, threads=1).generate(ids=[1] * 5000, max_new_tokens=1).wait()
    assert len(longer.generate(ids=[1] * 5000, max_new_tokens=2, eos=()).wait().ids) == 2


def test_a_longer_source_opens_a_larger_session(tmp_path: Path) -> None:
    """T5 has no longest text; a session has room for what came so far."""
    case = next(case for case in all_cases() if case.model_type == "t5")
    out = compile(
        make(case).directory, target="edge", task=case.task, out=tmp_path / "a.smelt", verify=False
    ).path
    engine = open_engine(out, threads=1)
    before = engine.bytes()["activations"]
    ids = np.ones((1, 700), np.int64)
    engine.call("encoder", {"input_ids": ids, "attention_mask": ids})
    assert engine.bytes()["activations"] > before
