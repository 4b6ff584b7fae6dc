"""`smelt bench --profile`: instructions are counted once; numbers of a tiny model made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from smelt.cli import app
from smelt.compiling import compile
from smelt.errors import UnsupportedError
from smelt.profiling import bytes_of, flops_of, profile
from smelt.runtime.edge_engine import Operand, Step
from tests import tiny
from tests.parity.case import Case, all_cases
from tests.parity.checkpoints import make

LAYERS, DIM, HEADS, WIDTH, INNER, VOCAB = 2, 40, 5, 8, 72, 99


@pytest.fixture(scope="module", params=["plain", "int4"])
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profile")
    options: dict[str, Any] = {} if request.param == "plain" else {"quant": "int4"}
    out = folder / "model.smelt"
    return compile(
        tiny.llama(folder / "llama"), target="edge", out=out, verify=False, **options
    ).path


def test_operations_are_those_of_the_layers(artifact: Path) -> None:
    found = profile(artifact, prompt_tokens=16, repeat=1, threads=1)
    prefill, decode = found.phases
    assert (prefill.tokens, prefill.past, decode.tokens, decode.past) == (16, 0, 1, 16)
    rows = {(row.layer, row.op): row for row in prefill.rows}
    joined = rows["model.layers.*.self_attn", "linear"]
    assert joined.count == LAYERS and joined.flops == LAYERS * 16 * 2 * DIM * (HEADS + 2) * WIDTH
    down = rows["model.layers.*.mlp.down_proj", "linear"]
    assert down.flops == LAYERS * 16 * 2 * INNER * DIM
    head = rows["lm_head", "linear"]
    assert head.flops == 2 * DIM * VOCAB  # of the last row alone
    attention = rows["model.layers.*.self_attn", "attention"]
    assert attention.flops == LAYERS * 4 * HEADS * 16 * 16 * WIDTH
    after = {(row.layer, row.op): row for row in decode.rows}
    assert after["model.layers.*.self_attn", "attention"].flops == LAYERS * 4 * HEADS * 17 * WIDTH
    assert after["model.layers.*.self_attn", "append"].bytes == LAYERS * 2 * 2 * 4 * WIDTH
    assert all(row.layer.startswith(("model", "lm_head")) for row in prefill.rows if row.flops > 99)


def test_totals_are_sums_and_json_has_all(artifact: Path) -> None:
    words = ["bench", str(artifact), "--profile", "--prompt-tokens", "8", "--repeat", "1"]
    done = CliRunner().invoke(app, [*words, "--json"])
    found = json.loads(done.stdout)
    assert set(found["limits"]) == {"bytes", "int8", "bf16", "floats"}
    for phase in found["phases"]:
        for key in ("count", "bytes", "flops"):
            assert phase["total"][key] == sum(row[key] for row in phase["rows"])
        assert all(row["seconds"] > 0 for row in phase["rows"])
    table = CliRunner().invoke(app, words).stdout
    assert "prefill 8" in table and "of limit" in table and "model.layers.*" in table


def _one(model_type: str) -> Case:
    return next(case for case in all_cases() if case.model_type == model_type)


@pytest.mark.parametrize("name", ["bert", "t5", "whisper", "mamba", "mixtral", "vit"])
def test_other_kinds_of_models_have_profiles(name: str, tmp_path: Path) -> None:
    case = _one(name)
    out = tmp_path / "model.smelt"
    compile(make(case).directory, target="edge", task=case.task, context=48, out=out, verify=False)
    found = profile(out, prompt_tokens=12, repeat=1, threads=1)
    assert found.phases and all(phase.total.flops > 0 for phase in found.phases)


def test_only_the_chosen_rows_of_a_table_are_read() -> None:
    table = Operand("int8", "weight", (1000, 64), 1000 * 68)
    ids = Operand("i64", "input", (1, 3), 24)
    rows = Operand("f32", "arena", (1, 3, 64), 768)
    step = Step("embed", "embedding", 1.0, (rows,), (table, ids))
    assert bytes_of(step) == 3 * 68 + 24 + 768 and flops_of(step) == 0
    assert bytes_of(step, ("weight",)) == 3 * 68


def test_other_targets_have_no_profile(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="only the edge runtime"):
        profile(tmp_path)
