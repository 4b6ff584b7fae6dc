"""The Hub: the real client, talking to a local server that speaks the Hub's protocol."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smelt.errors import CheckpointError, UnsupportedError
from smelt.frontend.checkpoint import open_checkpoint
from smelt.frontend.checkpoint.headers import read_headers
from tests.checkpoint.hub_server import Hub, serving
from tests.checkpoint.tiny import CONFIG, write_gguf

BIG = 12 << 20  # longer than the 10 MiB that the client writes at a time


def shard(**tensors: Any) -> bytes:
    from safetensors.numpy import save

    data: bytes = save(tensors)
    return data


def repository() -> dict[str, bytes]:
    """A sharded model beside files that nobody needs."""
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    return {
        "README.md": b"hello",
        "config.json": json.dumps(CONFIG).encode(),
        "generation_config.json": b'{"eos_token_id": 2}',
        "tokenizer.json": b"{}",
        "model.safetensors.index.json": json.dumps(index).encode(),
        "one.safetensors": shard(a=np.arange(2000, dtype=np.float32)),
        "two.safetensors": shard(b=np.arange(3000, dtype=np.float32)),
        "pytorch_model.bin": bytes(5000),
        "onnx/model.onnx": bytes(5000),
    }


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(Hub(repository())) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield server


def test_only_the_needed_files_are_fetched_of_one_commit(hub: Hub, tmp_path: Path) -> None:
    checkpoint = open_checkpoint("owner/model", cache=tmp_path)
    assert checkpoint.source == f"owner/model@{hub.commit}"
    assert np.array_equal(checkpoint.read("b"), np.arange(3000, dtype=np.float32))
    assert checkpoint.generation == {"eos_token_id": 2}
    assert list(checkpoint.tokenizer_files) == ["tokenizer.json"]
    unneeded = {"README.md", "pytorch_model.bin", "onnx/model.onnx"}
    assert sorted(hub.fetched()) == sorted(set(hub.files) - unneeded)
    resolved = [path for _, path, _ in hub.requests if "/resolve/" in path]
    assert resolved and all(f"/resolve/{hub.commit}/" in path for path in resolved)


def test_nothing_is_fetched_twice(hub: Hub, tmp_path: Path) -> None:
    first = open_checkpoint("owner/model", cache=tmp_path)
    hub.requests.clear()
    second = open_checkpoint("owner/model", cache=tmp_path)
    assert not hub.fetched()
    assert first.fingerprint == second.fingerprint


def test_offline_opens_what_is_in_the_cache(hub: Hub, tmp_path: Path) -> None:
    open_checkpoint("owner/model", cache=tmp_path)
    hub.requests.clear()
    for revision in (None, "main", hub.commit):
        found = open_checkpoint("owner/model", cache=tmp_path, offline=True, revision=revision)
        assert found.source == f"owner/model@{hub.commit}"
    assert not hub.requests
    with pytest.raises(CheckpointError, match="not in the cache"):
        open_checkpoint("owner/other", cache=tmp_path, offline=True)


def test_a_branch_that_moves_is_followed_and_a_commit_is_not(hub: Hub, tmp_path: Path) -> None:
    old = hub.commit
    open_checkpoint("owner/model", cache=tmp_path)
    hub.commit = "b" * 40
    hub.files["two.safetensors"] = shard(b=np.ones(3000, np.float32))
    hub.requests.clear()
    moved = open_checkpoint("owner/model", cache=tmp_path)
    assert moved.source.endswith("b" * 40) and moved.read("b")[0] == 1
    assert "one.safetensors" not in hub.fetched()
    assert (
        open_checkpoint("owner/model", cache=tmp_path, revision=old, offline=True).read("b")[0] == 0
    )


def test_a_dropped_connection_is_resumed(hub: Hub, tmp_path: Path) -> None:
    hub.files |= {"one.safetensors": shard(a=np.arange(BIG // 4, dtype=np.float32))}
    hub.cut["one.safetensors"] = BIG - (1 << 20)
    seen: list[tuple[str, int, int]] = []
    checkpoint = open_checkpoint(
        "owner/model", cache=tmp_path, progress=lambda *step: seen.append(step)
    )
    assert np.array_equal(checkpoint.read("a"), np.arange(BIG // 4, dtype=np.float32))
    assert hub.ranges("one.safetensors") == [None, f"bytes={10 << 20}-"]
    total = len(hub.files["one.safetensors"])
    assert ("one.safetensors", total, total) in seen


def test_a_killed_download_is_resumed_by_the_next_one(hub: Hub, tmp_path: Path) -> None:
    hub.files |= {"one.safetensors": shard(a=np.arange(BIG // 4, dtype=np.float32))}
    hub.stall["one.safetensors"] = BIG - (1 << 20)
    program = (
        "import sys; from smelt.frontend.checkpoint import open_checkpoint; "
        "open_checkpoint('owner/model', cache=sys.argv[1])"
    )
    environment = {**os.environ, "HF_ENDPOINT": hub.url}
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], env=environment)
    limit = time.monotonic() + 60
    while not any(path.stat().st_size >= 10 << 20 for path in tmp_path.rglob("*.part")):
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub.stalled.set()
    assert not list(tmp_path.rglob("one.safetensors"))
    checkpoint = open_checkpoint("owner/model", cache=tmp_path)
    assert np.array_equal(checkpoint.read("a"), np.arange(BIG // 4, dtype=np.float32))
    assert hub.ranges("one.safetensors") == [None, f"bytes={10 << 20}-"]


def test_a_damaged_rest_of_a_download_is_found_out(hub: Hub, tmp_path: Path) -> None:
    open_checkpoint("owner/model", cache=tmp_path)
    blob = (next(tmp_path.rglob("one.safetensors"))).resolve()
    next(tmp_path.rglob("one.safetensors")).unlink()
    blob.rename(blob.with_name(f"{blob.name}.part"))
    blob.with_name(f"{blob.name}.part").write_bytes(bytes(1000))
    with pytest.raises(CheckpointError, match="sha256"):
        open_checkpoint("owner/model", cache=tmp_path)
    assert open_checkpoint("owner/model", cache=tmp_path).read("a")[5] == 5


@pytest.mark.parametrize(
    "name, revision, message",
    [
        ("owner/none", None, "no such repository"),
        ("owner/model", "v9", "no revision 'v9'"),
        ("owner/model/none.gguf", None, "no `none.gguf`"),
        ("owner/model/../x.gguf", None, "leaves the checkpoint's directory"),
        ("a/b/c/d", None, "not a Hub id"),
        ("./nowhere", None, "not a Hub id"),
        ("nowhere.gguf", None, "not a Hub id"),
    ],
)
def test_what_cannot_be_had_is_explained(
    hub: Hub, tmp_path: Path, name: str, revision: str | None, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(name, revision=revision, cache=tmp_path)


def test_a_gated_repository_is_explained(hub: Hub, tmp_path: Path) -> None:
    hub.gated = True
    with pytest.raises(CheckpointError, match="gated"):
        open_checkpoint("owner/model", cache=tmp_path)


def test_a_server_that_is_not_there_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match="cannot be fetched"):
        open_checkpoint("owner/model", cache=tmp_path)


@pytest.mark.parametrize("target", ["../../../etc/passwd", "/etc/passwd", "gone.safetensors"])
def test_an_index_cannot_send_the_client_elsewhere(hub: Hub, tmp_path: Path, target: str) -> None:
    hub.files["model.safetensors.index.json"] = json.dumps({"weight_map": {"a": target}}).encode()
    with pytest.raises(CheckpointError, match=r"leaves|has no"):
        open_checkpoint("owner/model", cache=tmp_path)
    assert not any("passwd" in path for _, path, _ in hub.requests)


def test_weights_as_bin_only_where_there_is_nothing_better(hub: Hub, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.save({"a": torch.ones(500)}, tmp_path / "x.bin")
    config = {"config.json": json.dumps(CONFIG).encode()}
    hub.files = {**config, "pytorch_model.bin": (tmp_path / "x.bin").read_bytes()}
    assert open_checkpoint("owner/model", cache=tmp_path).read("a").sum() == 500


def test_gguf_repositories(hub: Hub, tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="gguf is not installed")
    write_gguf(tmp_path / "x.gguf")
    data = (tmp_path / "x.gguf").read_bytes()
    hub.files = {"q8/model.gguf": data, "README.md": b""}
    assert open_checkpoint("owner/model", cache=tmp_path).config["model_type"] == "llama"
    hub.files["q4/model.gguf"] = data
    with pytest.raises(CheckpointError, match="2 GGUF models"):
        open_checkpoint("owner/model", cache=tmp_path)
    one = open_checkpoint("owner/model/q8/model.gguf", cache=tmp_path)
    assert one.source == f"owner/model/q8/model.gguf@{hub.commit}"
    assert open_checkpoint("owner/model/q8/model.gguf", cache=tmp_path, offline=True).tensors


def test_headers_are_read_without_the_weights(hub: Hub, tmp_path: Path) -> None:
    found = read_headers("owner/model", cache=tmp_path)
    assert {name: info.shape for name, info in found.tensors.items()} == {
        "a": (2000,),
        "b": (3000,),
    }
    assert found.nbytes == 20_000 and found.config["model_type"] == "llama"
    assert all(asked for name in ("one", "two") for asked in hub.ranges(f"{name}.safetensors"))
    local = open_checkpoint("owner/model", cache=tmp_path)
    assert {name: info.shape for name, info in local.tensors.items()} == {
        name: info.shape for name, info in found.tensors.items()
    }


def test_a_long_header_takes_a_second_request(hub: Hub, tmp_path: Path) -> None:
    many = {f"tensor.{index:05d}": np.zeros(1, np.float32) for index in range(3000)}
    hub.files["one.safetensors"] = shard(a=np.zeros(1, np.float32), **many)
    assert len(read_headers("owner/model", cache=tmp_path).tensors) == 3002
    assert len(hub.ranges("one.safetensors")) == 2


def test_headers_of_other_formats_are_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files = {"config.json": b"{}", "pytorch_model.bin": b""}
    with pytest.raises(UnsupportedError):
        read_headers("owner/model", cache=tmp_path)
