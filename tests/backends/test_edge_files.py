"""A `model.smelt` that was cut or damaged is refused with an ArtifactError, wherever the cut is."""

from __future__ import annotations

from pathlib import Path

import pytest

from smelt.errors import ArtifactError
from smelt.runtime.artifact import open_artifact
from tests.backends.edge_seeds import FOLDER


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = (FOLDER / "decoder.smelt").read_bytes()
    path = tmp_path / "cut.smelt"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ArtifactError):
            open_artifact(path)


def test_every_truncation_is_refused_by_the_runtime(tmp_path: Path) -> None:
    edge = pytest.importorskip("smelt.runtime._edge", reason="the edge runtime is not built")
    whole = (FOLDER / "decoder.smelt").read_bytes()
    path = tmp_path / "cut.smelt"
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(RuntimeError):
            edge.Model.open(str(path))


def test_a_flipped_byte_is_named(tmp_path: Path) -> None:
    whole = bytearray((FOLDER / "decoder.smelt").read_bytes())
    path = tmp_path / "flipped.smelt"
    for place in range(0, len(whole), 97):
        whole[place] ^= 1
        path.write_bytes(whole)
        whole[place] ^= 1
        try:
            open_artifact(path, check="hashes")
        except ArtifactError:
            continue
        # Only the zeros between segments are covered by no checksum.
        assert whole[place] == 0
