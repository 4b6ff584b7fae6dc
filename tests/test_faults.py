"""Planted faults: verification must fail, and name the layer."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smelt
from smelt.errors import ArtifactError, ParityError
from smelt.golden import GOLDEN, recheck
from smelt.runtime.artifact import open_artifact
from smelt.runtime.edge_format import HEADER, SEGMENT, SEGMENTS
from smelt.runtime.weight_index import INDEX
from smelt.verifying import verify_artifact
from tests import tiny

TARGETS = [("torch", None), ("onnx", "ort"), ("onnx", "standard"), ("edge", None)]
ONE_TERM = "int8,group=16,activations=int8"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def artifact(checkpoint: Path, tmp_path: Path) -> Path:
    smelt.compile(checkpoint, target="torch", out=tmp_path / "out")
    return tmp_path / "out"


def check_again(path: Path) -> float:
    session = smelt.open(path)
    stored = (path / GOLDEN).read_bytes()
    return recheck(session.engine, session.manifest, stored, progress=lambda what: None)


@pytest.mark.parametrize("weight", ["model.layers.1.mlp.down_proj", "model.norm.weight"])
@pytest.mark.parametrize(
    ("target", "quant"), [*((target, None) for target in TARGETS), (("edge", None), ONE_TERM)]
)
def test_one_flipped_byte_names_its_weight(
    target: tuple[str, str | None],
    quant: str | None,
    weight: str,
    checkpoint: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    smelt.compile(checkpoint, target=target[0], dialect=target[1], out=out, quant=quant)
    file, offset = place_of(out, weight)
    with file.open("r+b") as opened:
        opened.seek(offset)
        byte = opened.read(1)[0]
        opened.seek(offset)
        opened.write(bytes([byte ^ 0x40]))
    with pytest.raises((ParityError, ArtifactError)) as found:
        verify_artifact(out)
    assert weight in f"{found.value.message} {found.value.place} {found.value.hint}"


def test_wrong_epsilon_in_an_encoder_names_the_place_on_torch(tmp_path: Path) -> None:
    out = tmp_path / "out"
    smelt.compile(tiny.bert(tmp_path / "bert"), target="torch", out=out)
    place = "encoder.layer.1.attention.output.LayerNorm"

    def change(text: str) -> str:
        lines = text.splitlines(keepends=True)
        (found,) = (i for i, x in enumerate(lines) if place in x and "eps=" in x)
        lines[found] = lines[found].replace("eps=1e-12", "eps=0.5")
        return "".join(lines)

    edit(out, "program.ir", change)
    with pytest.raises(ParityError) as found:
        check_again(out)
    assert found.value.place == place


@pytest.mark.parametrize("target", TARGETS)
def test_damage_in_an_encoder_names_the_place(
    target: tuple[str, str | None], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    smelt.compile(tiny.bert(tmp_path / "bert"), target=target[0], dialect=target[1], out=out)
    place = "encoder.layer.1.intermediate.dense"
    file, offset = place_of(out, f"{place}.weight")
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(b"\x4f")  # the first weight becomes about 2^31
    session = smelt.open(out)
    stored = open_artifact(out).read(GOLDEN) if out.is_file() else (out / GOLDEN).read_bytes()
    with pytest.raises(ParityError) as found:
        recheck(session.engine, session.manifest, stored, progress=lambda what: None)
    assert str(found.value.place).startswith("encoder.layer.1.intermediate")


def place_of(out: Path, weight: str) -> tuple[Path, int]:
    """The file that holds a weight, and the offset of the highest byte of its first number."""
    if out.is_file():
        artifact = open_artifact(out)
        names = [name for name, _ in artifact.weights()]
        (index,) = (i for i, name in enumerate(names) if weight in name)
        head = np.fromfile(out, SEGMENT, len(SEGMENTS), offset=HEADER.itemsize)
        start = int(head[SEGMENTS.index("weight_data")]["offset"])
        return out, start + int(artifact.table("weights")[index]["offset"]) + 3
    index = json.loads((out / INDEX).read_text())
    (span,) = (span for span in index["weights"] if weight in span["name"])
    return out / index["file"], span["offset"] + 3


def edit(artifact: Path, name: str, change: Callable[[str], str]) -> None:
    """Change a text file and its hash, as a faulty compiler would have written both."""
    file = artifact / name
    before = file.read_text()
    after = change(before)
    assert after != before
    file.write_text(after)
    manifest = json.loads((artifact / "manifest.json").read_text())
    for entry in manifest["files"]:
        if entry["path"] == name:
            entry["bytes"] = file.stat().st_size
            entry["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (artifact / "manifest.json").write_text(json.dumps(manifest))


def test_edit_without_its_hash_is_refused(artifact: Path) -> None:
    program = artifact / "program.ir"
    program.write_text(program.read_text().replace("eps=1e-06", "eps=2e-06"))
    with pytest.raises(ArtifactError, match=r"sha256|bytes"):
        smelt.open(artifact)


def test_wrong_rope_constant_names_the_first_key_cache(artifact: Path) -> None:
    wrong = "value=(1.0, 0.11, "
    edit(artifact, "program.ir", lambda text: text.replace("value=(1.0, 0.1, ", wrong))
    with pytest.raises(ParityError, match=r"model\.layers\.0\.self_attn\.key"):
        check_again(artifact)


def test_wrong_epsilon_of_one_norm_names_the_layer(artifact: Path) -> None:
    def change(text: str) -> str:
        lines = text.splitlines(keepends=True)
        for i, line in enumerate(lines):
            if "model.layers.1.input_layernorm" in line and "rms_norm" in line:
                lines[i] = re.sub(r"1e-06", "0.3", line)
        return "".join(lines)

    edit(artifact, "program.ir", change)
    with pytest.raises(ParityError, match=r"model\.layers\.1\.self_attn\.key"):
        check_again(artifact)


def test_fused_kernel_with_a_wrong_epsilon_fails_the_compile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from smelt.backends.torch import rows

    right = rows.fused()["layer_norm"]
    wrong = {**rows.fused(), "layer_norm": lambda x, w, b, eps: right(x, w, b, eps + 0.05)}
    monkeypatch.setattr("smelt.backends.torch.module.fused", lambda: wrong)
    source = tiny.gpt2(tmp_path / "gpt2")
    with pytest.raises(ParityError, match=r"h\.0\."):
        smelt.compile(source, target="torch", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cache_slot_off_by_one_is_found_although_logits_match_at_first(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from smelt.backends.torch.state import State

    right = State.append
    slot_name = "model.layers.1.self_attn.value"

    def wrong(self: State, slot: Any, x: Any) -> Any:
        whole = right(self, slot, x).clone()
        if slot.name == slot_name:
            buffer = self._values[slot.name]
            held = buffer.narrow(slot.axis, 0, whole.shape[slot.axis])
            held.copy_(held.roll(1, slot.axis))
        return whole

    monkeypatch.setattr(State, "append", wrong)
    session = smelt.open(artifact)
    prefill = session.run(input_ids=[[5, 6, 7]])["logits"]
    monkeypatch.setattr(State, "append", right)
    session.reset()
    assert (session.run(input_ids=[[5, 6, 7]])["logits"] == prefill).all()
    monkeypatch.setattr(State, "append", wrong)
    with pytest.raises(ParityError, match=re.escape(slot_name)):
        check_again(artifact)


def compile_with(fault: Callable[[Any], Any], source: Path, out: Path, monkeypatch: Any) -> None:
    """Compile for edge with one int8 term, from a program in which nodes are changed on the way."""
    from dataclasses import replace

    from smelt.ir.rewrite import rewrite_program
    from smelt.targets import target_named

    right = target_named("edge", None)

    def emit(writer: Any, program: Any, *others: Any) -> Any:
        return right.emit(writer, rewrite_program(program, fault), *others)

    monkeypatch.setattr("smelt.compiling.target_named", lambda *_: replace(right, emit=emit))
    smelt.compile(source, target="edge", out=out, quant=ONE_TERM)


def with_eps(place: str, eps: float) -> Callable[[Any], Any]:
    """Changes the epsilon of the norm at a place."""

    def change(node: Any) -> Any:
        attrs = dict(node.attrs)
        if place not in node.source or "eps" not in attrs or attrs["eps"] == eps:
            return None
        return node.op(*node.operands, **attrs | {"eps": eps})

    return change


@pytest.mark.parametrize(
    ("place", "eps", "named"),
    [
        ("model.layers.0.input_layernorm", 0.001, r"model\.layers\.0\.self_attn\.key"),
        ("model.layers.1.input_layernorm", 0.02, r"model\.layers\.1\.self_attn\.key"),
        ("model.norm", 0.02, "logits"),
    ],
    ids=["first layer", "second layer", "end"],
)
def test_small_fault_beside_one_term_names_the_layer(
    place: str,
    eps: float,
    named: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A norm that is a hundredth too small: less than rounding makes of the end in deep models."""
    with pytest.raises(ParityError) as found:
        compile_with(with_eps(place, eps), checkpoint, tmp_path / "out", monkeypatch)
    assert re.search(named, str(found.value.place))
    assert not (tmp_path / "out").exists()


def test_fault_beside_one_term_in_an_encoder_names_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "encoder.layer.1.attention.output.LayerNorm"
    # Weights so large that what the norm gives is not undone by the next one.
    source = tiny.bert(tmp_path / "bert", initializer_range=0.2)
    with pytest.raises(ParityError) as found:
        compile_with(with_eps(place, 0.5), source, tmp_path / "out", monkeypatch)
    assert found.value.place == place


def test_one_term_is_proven_step_by_step(checkpoint: Path, tmp_path: Path) -> None:
    smelt.compile(checkpoint, target="edge", out=tmp_path / "out", quant=ONE_TERM)
    certificate = smelt.open(tmp_path / "out").manifest.certificate
    assert certificate is not None and certificate.passed and certificate.steps is not None
    assert certificate.steps.followed > 10
    assert certificate.steps.max_error <= certificate.steps.tolerance
    rounded = certificate.steps.bf16_attention
    assert rounded is not None and rounded.max_error <= rounded.tolerance
    assert all(check.tolerance is None for check in certificate.outputs)
    assert all(check.tolerance is None for check in certificate.slots)
    assert verify_artifact(tmp_path / "out")["status"] == "passed"
