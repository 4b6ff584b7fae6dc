"""The command line on a tiny chat model: every command, JSON, exit codes, streams."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from smelt.cli import app
from smelt.folding import fold_graph
from tests import tiny

TEMPLATE = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}assistant"


def call(*words: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], input=stdin)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama that speaks 99 words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tiny.llama(tmp_path_factory.mktemp("llama"))
    words = ["<unk>", "user", "assistant", "system", *(f"w{i}" for i in range(95))]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@pytest.fixture(scope="module")
def artifact(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "tiny"
    result = call("compile", checkpoint, "--target", "torch", "-o", out)
    assert result.exit_code == 0, result.output
    assert "llama causal_lm →" in result.stderr
    assert "certificate: passed" in result.stderr
    assert result.stdout == ""
    return out


def test_compile_tells_scripts_what_it_did(checkpoint: Path, tmp_path: Path) -> None:
    result = call("compile", checkpoint, "--target", "torch", "-o", tmp_path / "a", "--json")
    found = json.loads(result.stdout)
    assert found["certificate"]["status"] == "passed"
    assert {"fold", "plan_kv"} <= {step["step"] for step in found["steps"]}
    assert found["bytes"] > 1000


def test_compile_explains_a_step_and_dumps_the_ir(checkpoint: Path, tmp_path: Path) -> None:
    words = ["--target", "torch", "--no-verify", "--explain", "fold", "--dump-ir", tmp_path / "ir"]
    result = call("compile", checkpoint, *words, "-o", tmp_path / "a")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("fold:")
    assert "not run" in result.stderr
    assert list((tmp_path / "ir").iterdir())


def test_run_answers_and_repeats_with_a_seed(artifact: Path) -> None:
    words = ["run", artifact, "w1 w2", "-n", 8, "-t", 0.9, "--top-k", 20, "--seed", 4]
    first, second = call(*words), call(*words, "--metrics")
    assert first.exit_code == 0, first.output
    assert first.stdout == second.stdout
    assert len(first.stdout.split()) == 8
    assert "tokens/s" in second.stderr or "/s;" in second.stderr
    found = json.loads(call(*words, "--json").stdout)
    assert found[0]["text"].strip() == first.stdout.strip()
    assert (found[0]["finish"], found[0]["seed"]) == ("length", 4)
    assert found[0]["metrics"]["new_tokens"] == 8


def test_run_searches_and_takes_any_option(artifact: Path) -> None:
    words = ["run", artifact, "w1 w2", "-n", 4, "--num-beams", 3, "--raw"]
    more = ["--option", "num_return_sequences=2", "--option", "logprobs=1"]
    lines = call(*words, *more).stdout.strip().splitlines()
    found = json.loads(call(*words, *more, "--json").stdout)[0]["results"]
    assert [line.split(maxsplit=1)[1] for line in lines] == [r["text"].strip() for r in found]
    assert found[0]["score"] >= found[1]["score"] and len(found[0]["logprobs"]) == 4
    best = json.loads(call(*words, "--json").stdout)[0]
    assert best["text"] == found[0]["text"] and best["score"] == found[0]["score"]
    banned = call(*words, "--option", f"bad_words_ids=[[{found[0]['ids'][0]}]]", "--json")
    assert found[0]["ids"][0] not in json.loads(banned.stdout)[0]["ids"]
    plain = json.loads(call("run", artifact, "w1 w2", "-n", 9, "--raw", "--json").stdout)[0]
    told = ["--draft", artifact, "--option", "num_assistant_tokens=3"]
    words = ["run", artifact, "w1 w2", "-n", 9, "--raw", "--json"]
    guessed = json.loads(call(*words, *told).stdout)[0]
    assert guessed["ids"] == plain["ids"] and guessed["metrics"]["right_tokens"] == 6
    assert "wants NAME=VALUE" in call(*words, "--option", "x").stderr
    assert "no option `beams`" in call(*words, "--option", "beams=2").stderr


def test_run_raw_differs_from_chat(artifact: Path) -> None:
    raw = json.loads(call("run", artifact, "w1", "-n", 2, "--raw", "--json").stdout)
    talk = json.loads(call("run", artifact, "w1", "-n", 2, "--json").stdout)
    told = json.loads(call("run", artifact, "w1", "-n", 2, "--system", "w9", "--json").stdout)
    counts = [r[0]["metrics"]["prompt_tokens"] for r in (raw, talk, told)]
    assert counts == [1, 3, 5]


def test_run_reads_a_prompt_from_standard_input(artifact: Path) -> None:
    result = call("run", artifact, "-", "-n", 2, "--raw", "--json", stdin="w1 w2 w3\n")
    assert json.loads(result.stdout)[0]["metrics"]["prompt_tokens"] == 3


def test_chat_remembers_until_reset(artifact: Path) -> None:
    result = call("chat", artifact, "-n", 3, stdin="w1\nw2\n/reset\nw1\n\n/exit\n")
    assert result.exit_code == 0, result.output
    lines = result.stdout.strip().splitlines()
    assert len(lines) == 3
    assert lines[0].split() == lines[2].split()


def test_bench_measures(artifact: Path) -> None:
    words = ["bench", artifact, "--prompt-tokens", 8, "--new-tokens", 4, "--repeat", 1]
    found = json.loads(call(*words, "--json").stdout)
    for key in ("open_seconds", "prefill_tokens_per_second", "decode_tokens_per_second"):
        assert found[key] > 0
    assert "tokens/s" in call(*words).stdout


def test_verify_passes_and_finds_damage(artifact: Path, tmp_path: Path) -> None:
    import shutil

    assert json.loads(call("verify", artifact, "--json").stdout)["status"] == "passed"
    broken = tmp_path / "broken"
    shutil.copytree(artifact, broken)
    weights = broken / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1  # the lowest bit that matters of one value: too small for the results to show
    data[-4] ^= 1
    weights.write_bytes(data)
    result = call("verify", broken)
    assert result.exit_code in (5, 6)
    assert "is damaged" in result.stderr


def test_inspect_shows_graph_passes_and_certificate(artifact: Path) -> None:
    text = call("inspect", artifact).stdout
    for wanted in ("llama causal_lm for torch", "func main(", "certificate  passed", "plan_kv"):
        assert wanted in text
    assert "func main(" not in call("inspect", artifact, "--no-graph").stdout
    assert call("inspect", artifact, "--explain", "fold").stdout.startswith("fold:")
    unknown = call("inspect", artifact, "--explain", "fuse_everything")
    assert unknown.exit_code == 1
    assert "there are: " in unknown.stderr
    found = json.loads(call("inspect", artifact, "--json").stdout)
    assert found["manifest"]["model_type"] == "llama"


def test_inspect_tells_what_was_quantized(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8"
    words = ["--quant", "int8,group=16,lm_head=none", "--no-verify", "-o", out]
    assert call("compile", checkpoint, "--target", "torch", *words).exit_code == 0
    text = call("inspect", out).stdout
    assert "quantized    int8,group=16,sym,lm_head=none" in text
    assert "int8 group 8 symmetric:" in text or "int8 group 16 symmetric:" in text
    told = json.loads(call("inspect", out, "--json").stdout)["manifest"]["quant"]
    assert "lm_head.weight" in told["kept"]
    assert sum(r["elements"] for r in told["weights"]) > 10_000
    assert any("lm_head=none" in note for note in told["notes"])


def test_specs_lists_architectures() -> None:
    found = {s["name"]: s for s in json.loads(call("specs", "--json").stdout)}
    assert "causal_lm" in found["llama"]["tasks"]
    assert found["llama"]["level"] == "real weights"
    assert found["gemma2"]["caches"] == ["full", "sliding"]
    assert found["bert"]["targets"] == ["torch", "onnx", "edge"]
    assert "decoder" not in found
    assert "qwen2" in call("specs").stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "{tmp}/nothing", "x"], 5, "not an artifact"),
        (["compile", "{tmp}", "--target", "torch", "-o", "{tmp}/x"], 3, "hint:"),
        (["compile", "{ckpt}", "--target", "vax", "-o", "{tmp}/x"], 4, "no target `vax`"),
        (["compile", "{ckpt}", "--target", "torch", "--quant", "int5", "-o", "{tmp}/x"], 1, "int5"),
        (["run", "{out}", "w1", "--top-p", "3"], 1, "`top_p` is 3.0"),
        (["run", "{out}", "w1", "-t", "0", "--top-k", "3"], 1, "greedy"),
        (["compile"], 2, "Missing"),
    ],
    ids=lambda v: " ".join(v)[:40] if isinstance(v, list) else str(v),
)
def test_errors_have_codes_and_hints(
    words: list[str], code: int, message: str, checkpoint: Path, artifact: Path, tmp_path: Path
) -> None:
    places: dict[str, Any] = {"tmp": tmp_path, "ckpt": checkpoint, "out": artifact}
    result = call(*(word.format(**places) for word in words))
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "x").exists()


def test_errors_as_json(tmp_path: Path) -> None:
    result = call("inspect", tmp_path / "nothing", "--json")
    assert result.exit_code == 5
    assert json.loads(result.stderr)["error"]["kind"] == "ArtifactError"


def test_the_command_starts_without_heavy_libraries() -> None:
    code = (
        "import sys, smelt.cli\n"
        "names = {'torch', 'onnx', 'onnxruntime', 'transformers', 'tokenizers'}\n"
        "assert not names & set(sys.modules), names & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_folding_joins_equal_layers_only() -> None:
    def layer(index: int, before: str, op: str) -> list[str]:
        return [
            f"  %{index}0 = param() {{name='h.{index}.w'}} : f32[4]  @ h.{index}",
            f"  %{index}1 = {op}({before}, %{index}0) : f32[4]  @ h.{index}",
        ]

    body = ["  %0 = input() {name='x'} : f32[4]"]
    body += layer(1, "%0", "mul") + layer(2, "%11", "mul") + layer(3, "%21", "add")
    text = "\n".join(["program p t", "func main(x: f32[4]) {", *body, "  return y = %31", "}"])
    assert fold_graph(text).splitlines() == [
        "program p t",
        "func main(x: f32[4]) {",
        "  %0 = input() {name='x'} : f32[4]",
        "  # h.1 … h.2: 2 times",
        "  %11 = mul(%0, <h.*.w>) : f32[4]  @ h.*",
        "  %31 = add(%21, <h.3.w>) : f32[4]  @ h.3",
        "  return y = %31",
        "}",
    ]
