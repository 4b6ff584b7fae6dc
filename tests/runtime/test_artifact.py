"""`model.smelt` as a container: whole or absent, the same bytes each time, damage found."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smelt.errors import ArtifactError
from smelt.runtime.artifact import ArtifactWriter, Blob, open_artifact
from smelt.runtime.edge_format import RECORDS, SEGMENTS
from smelt.runtime.manifest import FunctionSpec, Manifest, Source

Array = np.ndarray[Any, Any]

MANIFEST = Manifest(
    smelt="0",
    target="edge",
    task="case",
    model_type="case",
    source=Source(fingerprint="0" * 64),
    functions=(FunctionSpec(name="main", inputs=(), outputs=()),),
)
WEIGHTS = [np.arange(n, dtype=np.float32) for n in (1, 100, 33)]


def store(writer: ArtifactWriter, weights: Sequence[Array] = WEIGHTS) -> None:
    """A program of nothing, and weights with names."""
    tables = dict.fromkeys(SEGMENTS, b"")
    tables["strings"] = b"one\0two\0three\0"
    names = [(0, 3), (4, 3), (8, 5)]
    records = np.zeros(len(weights), RECORDS["weights"])
    for record, name in zip(records, names, strict=True):
        record["name"] = name
    writer.store(tables, records, [_blob(weight) for weight in weights])


def _blob(weight: Array) -> Blob:
    return Blob(weight.nbytes, lambda: [weight])


def write(out: Path, **files: bytes) -> bytes:
    with ArtifactWriter(out) as writer:
        store(writer)
        for name, data in files.items():
            writer.write(name, data)
        writer.seal(MANIFEST)
    return out.read_bytes()


def test_files_and_weights_come_back(tmp_path: Path) -> None:
    write(tmp_path / "m", tokenizer=b"abc", empty=b"")
    artifact = open_artifact(tmp_path / "m", check="hashes")
    assert artifact.manifest == MANIFEST
    assert artifact.read("tokenizer") == b"abc" and artifact.read("empty") == b""
    assert artifact.weights() == [("one", 4), ("two", 400), ("three", 132)]
    with pytest.raises(ArtifactError, match="holds no file `absent`"):
        artifact.read("absent")
    with pytest.raises(ArtifactError, match="at most 2"):
        artifact.read("tokenizer", limit=2)
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_weights_come_back_across_the_pieces_of_a_write(tmp_path: Path) -> None:
    """One that ends inside a piece, one that spans several, one that begins behind padding."""
    random = np.random.default_rng(0)
    weights = [random.standard_normal(n).astype(np.float32) for n in (400_001, 1_300_003, 700_000)]
    with ArtifactWriter(tmp_path / "m") as writer:
        store(writer, weights)
        writer.seal(MANIFEST)
    artifact = open_artifact(tmp_path / "m", check="hashes")
    data = (tmp_path / "m").read_bytes()
    assert [size for _, size in artifact.weights()] == [w.nbytes for w in weights]
    at = [data.find(w.tobytes()) for w in weights]
    assert at == sorted(at) and all(offset > 0 and offset % 64 == 0 for offset in at)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a", b=b"2", a=b"1") == write(tmp_path / "b", a=b"1", b=b"2")


def test_sealing_again_leaves_nothing_of_the_first_time(tmp_path: Path) -> None:
    with ArtifactWriter(tmp_path / "m") as writer:
        store(writer)
        writer.write("report", b"x" * 5000)
        writer.seal(MANIFEST.model_copy(update={"notes": ("long " * 1000,)}))
        assert open_artifact(writer.path).manifest.notes
        writer.write("report", b"y")
        writer.seal(MANIFEST)
    assert (tmp_path / "m").read_bytes() == write(tmp_path / "n", report=b"y")


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), ArtifactWriter(tmp_path / "m") as writer:
        store(writer)
        raise ValueError("stop")
    with pytest.raises(ArtifactError, match="never sealed"), ArtifactWriter(tmp_path / "m"):
        pass
    with (
        pytest.raises(ArtifactError, match="400 bytes, 4 were planned"),
        ArtifactWriter(tmp_path / "m") as writer,
    ):
        tables = dict.fromkeys(SEGMENTS, b"")
        writer.store(tables, np.zeros(1, RECORDS["weights"]), [Blob(4, lambda: [WEIGHTS[1]])])
    assert not list(tmp_path.iterdir())


def test_only_its_own_kind_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "m"
    out.write_text("precious")
    with pytest.raises(ArtifactError, match=r"not a model\.smelt"), ArtifactWriter(out):
        pass
    assert out.read_text() == "precious"
    out.unlink()
    write(out, a=b"1")
    assert write(out, a=b"2") != b"" and open_artifact(out).read("a") == b"2"


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "m")
    for size in [*range(0, 700, 7), *range(700, len(whole), 101)]:
        (tmp_path / "cut").write_bytes(whole[:size])
        with pytest.raises(ArtifactError):
            open_artifact(tmp_path / "cut")
    (tmp_path / "cut").write_bytes(whole + b"\0")
    with pytest.raises(ArtifactError, match="was cut"):
        open_artifact(tmp_path / "cut")


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    whole = bytearray(write(tmp_path / "m", a=b"file"))
    for at in range(0, len(whole), 5):
        whole[at] ^= 4
        (tmp_path / "bad").write_bytes(whole)
        with pytest.raises(ArtifactError):
            open_artifact(tmp_path / "bad", check="hashes")
        whole[at] ^= 4


def test_a_damaged_weight_is_named(tmp_path: Path) -> None:
    whole = bytearray(write(tmp_path / "m"))
    whole[whole.index(WEIGHTS[1].tobytes()) + 9] ^= 1
    (tmp_path / "m").write_bytes(whole)
    with pytest.raises(ArtifactError, match="weight `two` is damaged"):
        open_artifact(tmp_path / "m", check="hashes")


_SLOW = """
import sys
from pathlib import Path
import numpy as np
from tests.runtime.test_artifact import MANIFEST, store
from smelt.runtime.artifact import ArtifactWriter
out = Path(sys.argv[1])
print("ready", flush=True)
while True:
    with ArtifactWriter(out) as writer:
        store(writer)
        writer.write("large", b"1234" * 50_000)
        writer.seal(MANIFEST)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_kill_never_leaves_a_partial_artifact(tmp_path: Path) -> None:
    out = tmp_path / "model.smelt"
    rng = random.Random(0)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", _SLOW, str(out)], stdout=subprocess.PIPE, env=environment
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if out.exists():
            open_artifact(out, check="hashes")
    expected = write(tmp_path / "other", large=b"1234" * 50_000)
    assert write(out, large=b"1234" * 50_000) == expected
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.smelt", "other"]
