"""Folder artifacts: atomic, deterministic, and closed to hostile manifests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from smelt.errors import ArtifactError
from smelt.runtime.folder import MANIFEST, FolderWriter, inside, open_folder
from smelt.runtime.manifest import parse_manifest, require_features
from tests.runtime.toys import manifest


def build(out: Path, weights: bytes = b"w" * 1000) -> None:
    with FolderWriter(out) as folder:
        folder.write("main.onnx", b"graph")
        folder.write("weights/data.bin", weights)
        folder.seal(manifest())


def tree(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    build(tmp_path / "a")
    folder = open_folder(tmp_path / "a", check="hashes")
    assert folder.read("weights/data.bin") == b"w" * 1000
    assert [f.path for f in folder.manifest.files] == ["main.onnx", "weights/data.bin"]
    assert sorted(os.listdir(tmp_path)) == ["a"]
    build(tmp_path / "b")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_sealing_again_keeps_hashes_and_adds(tmp_path: Path) -> None:
    with FolderWriter(tmp_path / "a") as folder:
        folder.write("x", b"1")
        first = folder.seal(manifest())
        open_folder(folder.path)
        folder.write("y", b"2")
        folder.seal(first.model_copy(update={"notes": ("again",)}))
    assert open_folder(tmp_path / "a", check="hashes").manifest.notes == ("again",)


def test_an_error_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    build(tmp_path / "a", b"old")
    with pytest.raises(ZeroDivisionError), FolderWriter(tmp_path / "a") as folder:
        folder.write("x", b"1")
        raise ZeroDivisionError
    assert open_folder(tmp_path / "a").read("weights/data.bin") == b"old"
    assert os.listdir(tmp_path) == ["a"]
    build(tmp_path / "a", b"new")
    assert open_folder(tmp_path / "a").read("weights/data.bin") == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_foreign_output_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("…")
    with pytest.raises(ArtifactError, match="not an artifact"):
        build(tmp_path / "mine")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError, match="not an artifact"):
        build(tmp_path / "file")


def test_unsealed_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="never sealed"), FolderWriter(tmp_path / "a") as folder:
        folder.write("x", b"1")
    assert os.listdir(tmp_path) == []


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from smelt.runtime.folder import FolderWriter
from tests.runtime.toys import manifest
with FolderWriter(Path(sys.argv[1])) as folder:
    print("ready", flush=True)
    for i in range(200):
        folder.write(f"part{i}", b"x" * 4096)
        time.sleep(0.0005)
    folder.seal(manifest())
"""


def test_kill_at_any_moment_leaves_all_or_nothing(tmp_path: Path) -> None:
    out = tmp_path / "a"
    root = str(Path(__file__).parents[2])
    for moment in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(out), root], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.03 * moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if out.exists():
            open_folder(out, check="hashes")
    build(out)
    assert os.listdir(tmp_path) == ["a"]  # what killed ones left is gone


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "a/../../x", "a\\..\\x", "c:x", "", ".", "a/./b", "a\0b", "link/x"],
)
def test_paths_stay_inside(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "x").write_text("secret")
    (tmp_path / "a" / "link").symlink_to(tmp_path)
    with pytest.raises(ArtifactError, match=r"leaves the artifact|is missing"):
        inside(tmp_path / "a", name)


def test_damage_is_found(tmp_path: Path) -> None:
    build(tmp_path / "a")
    path = tmp_path / "a" / "weights" / "data.bin"
    path.write_bytes(b"w" * 999 + b"x")
    open_folder(tmp_path / "a")  # weights are hashed on demand
    with pytest.raises(ArtifactError, match="sha256"):
        open_folder(tmp_path / "a", check="hashes")
    graph = tmp_path / "a" / "main.onnx"
    graph.write_bytes(b"grapH")
    with pytest.raises(ArtifactError, match="sha256"):
        open_folder(tmp_path / "a")
    graph.write_bytes(b"graph")
    path.write_bytes(b"w" * 999)
    with pytest.raises(ArtifactError, match="999 bytes, manifest says 1000"):
        open_folder(tmp_path / "a")
    path.unlink()
    with pytest.raises(ArtifactError, match="missing"):
        open_folder(tmp_path / "a")
    with pytest.raises(ArtifactError, match="No such file"):
        open_folder(tmp_path / "nothing")


def changed(**changes: Any) -> str:
    return json.dumps({**json.loads(manifest().to_json()), **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "is a list"),
        ("{}", "format None, this smelt reads 1"),
        (changed(format=2), "format 2, this smelt reads 1"),
        (changed(surprise=1), "`surprise`"),
        (changed(functions=[]), "`functions`"),
        (changed(context=-1), "`context`"),
        (changed(files=[{"path": "x", "bytes": 2**70, "sha256": "0" * 64}]), "`files.0.bytes`"),
        (changed(files=[{"path": "x", "bytes": 1, "sha256": "../"}]), "`files.0.sha256`"),
        (changed(state=[]), "unknown state slot `kv`"),
        (changed(functions=json.loads(manifest().to_json())["functions"] * 2), "appears twice"),
    ],
    ids=range(12),
)
def test_hostile_manifests_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        parse_manifest(text, place="manifest.json")
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ArtifactError):
        open_folder(tmp_path)


def test_files_outside_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "x").write_text("s")
    entry = {"path": "../x", "bytes": 1, "sha256": "0" * 64}
    (tmp_path / "a" / MANIFEST).write_text(changed(files=[entry]))
    with pytest.raises(ArtifactError, match="leaves the artifact"):
        open_folder(tmp_path / "a")


def test_missing_features_are_named() -> None:
    told = manifest(requires=["kv.int8", "warp"])
    with pytest.raises(ArtifactError, match="missing here: warp"):
        require_features(told, frozenset({"kv.int8"}), place="x")
    assert parse_manifest(told.to_json(), place="x") == told
