"""safetensors: the values are the library's, views are mapped, and damage is refused."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smelt.errors import CheckpointError, SmeltError
from smelt.frontend.checkpoint import open_checkpoint
from smelt.frontend.checkpoint.safetensors_file import SPELLINGS
from smelt.frontend.checkpoint.tensors import DTYPES
from tests.checkpoint.mutate import mutations, outcomes
from tests.checkpoint.tiny import arrays, write_config, write_safetensors


def test_reads_what_the_library_wrote(tmp_path: Path) -> None:
    write_safetensors(tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    wanted = arrays()
    assert set(checkpoint.tensors) == set(wanted)
    for name, value in wanted.items():
        info, found = checkpoint.tensors[name], checkpoint.read(name)
        assert found.dtype == value.dtype == DTYPES[info.dtype]
        assert info.shape == value.shape
        assert found.tobytes() == value.tobytes()
        assert bytes(checkpoint.stored(name)) == value.tobytes()


def test_values_are_read_only_views_of_the_map(tmp_path: Path) -> None:
    write_safetensors(tmp_path)
    found = open_checkpoint(tmp_path).read("a.weight")
    assert not found.flags.owndata and not found.flags.writeable


def test_every_dtype_of_the_format_is_read(tmp_path: Path) -> None:
    entries, at = {}, 0
    for spelling, name in SPELLINGS.items():
        nbytes = 3 * DTYPES[name].itemsize
        entries[spelling] = {"dtype": spelling, "shape": [3], "data_offsets": [at, at + nbytes]}
        at += nbytes
    write_raw(tmp_path, entries, bytes(at))
    checkpoint = open_checkpoint(tmp_path)
    for spelling, name in SPELLINGS.items():
        assert checkpoint.read(spelling).dtype == DTYPES[name]


def test_shards_and_their_index(tmp_path: Path) -> None:
    index = write_shards(tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    assert set(checkpoint.tensors) == set(index)
    assert {info.file.name for info in checkpoint.tensors.values()} == set(index.values())
    assert np.array_equal(checkpoint.read("b"), np.ones(3, np.float32))


@pytest.mark.parametrize(
    "shard",
    ["../outside.safetensors", "/etc/passwd", "a/../../x", "C:\\x", "..\\x", "x\0y", "", "missing"],
)
def test_an_index_cannot_point_outside(tmp_path: Path, shard: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    write_shards(folder)
    write_safetensors(tmp_path, "outside.safetensors")
    write_index(folder, {"a": shard})
    with pytest.raises(CheckpointError, match=r"leaves|no file"):
        open_checkpoint(folder)


def test_a_link_cannot_point_outside(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    real = write_safetensors(tmp_path, "real.safetensors")
    write_config(folder)
    (folder / "model.safetensors").symlink_to(real)
    with pytest.raises(CheckpointError, match="outside of the checkpoint's directory"):
        open_checkpoint(folder)


def test_the_hub_caches_links_into_its_blobs_work(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--o--m" / "snapshots" / ("a" * 40)
    blobs = tmp_path / "models--o--m" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    real = write_safetensors(snapshot)
    real.rename(blobs / "digest")
    real.symlink_to("../../blobs/digest")
    assert set(open_checkpoint(snapshot).tensors) == set(arrays())


def test_an_index_that_lies_is_refused(tmp_path: Path) -> None:
    index = write_shards(tmp_path)
    write_index(tmp_path, {**index, "c": "one.safetensors"})
    with pytest.raises(CheckpointError, match="lacks it"):
        open_checkpoint(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    write_shards(tmp_path)
    (tmp_path / "two.safetensors").write_bytes((tmp_path / "one.safetensors").read_bytes())
    write_index(tmp_path, {"a": "one.safetensors", "a ": "two.safetensors"})
    with pytest.raises(CheckpointError):
        open_checkpoint(tmp_path).tensors  # noqa: B018


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}

HOSTILE: dict[str, tuple[Any, bytes]] = {
    "a hole": ({"a": F32, "b": {**F32, "data_offsets": [12, 20]}}, bytes(20)),
    "an overlap": ({"a": F32, "b": {**F32, "data_offsets": [4, 12]}}, bytes(12)),
    "data behind the last tensor": ({"a": F32}, bytes(12)),
    "data that is cut off": ({"a": F32}, bytes(4)),
    "backward offsets": ({"a": {**F32, "data_offsets": [8, 0]}}, bytes(8)),
    "negative offsets": ({"a": {**F32, "data_offsets": [-8, 0]}}, bytes(8)),
    "a huge shape": ({"a": {**F32, "shape": [1 << 62, 8]}}, bytes(8)),
    "a shape whose product wraps": ({"a": {**F32, "shape": [1 << 33, 1 << 33]}}, bytes(8)),
    "a negative shape": ({"a": {**F32, "shape": [-2]}}, bytes(8)),
    "a shape of fractions": ({"a": {**F32, "shape": [2.0]}}, bytes(8)),
    "a shape of booleans": ({"a": {**F32, "shape": [True, 2]}}, bytes(8)),
    "a shape of many axes": ({"a": {**F32, "shape": [1] * 99 + [2]}}, bytes(8)),
    "an unknown dtype": ({"a": {**F32, "dtype": "F4"}}, bytes(8)),
    "no dtype": ({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "a list for an entry": ({"a": [1]}, bytes(8)),
    "a list for a header": ([1], b""),
    "a list for metadata": ({"__metadata__": [1]}, b""),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers_are_refused(tmp_path: Path, case: str) -> None:
    header, data = HOSTILE[case]
    write_raw(tmp_path, header, data)
    with pytest.raises(SmeltError) as caught:
        open_checkpoint(tmp_path)
    assert "model.safetensors" in str(caught.value)


RAW: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "seven bytes": lambda: bytes(7),
    "a header longer than the file": lambda: struct.pack("<Q", 1 << 20) + b"{}",
    "a header over the cap": lambda: struct.pack("<Q", 1 << 62) + b"{}",
    "no JSON": lambda: raw(b"{"),
    "not UTF-8": lambda: raw(b'{"\xff": 1}'),
    "deep JSON": lambda: raw(b"[" * 100_000),
    "a name twice": lambda: raw(b'{"a": 1, "a": 2}'),
    "a huge number": lambda: raw(b'{"a": ' + b"9" * 5000 + b"}"),
}


@pytest.mark.parametrize("case", RAW)
def test_damaged_files_are_refused(tmp_path: Path, case: str) -> None:
    write_config(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(RAW[case]())
    with pytest.raises(CheckpointError):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "1" * 5000, '{"a": }'])
def test_a_config_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    write_safetensors(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        open_checkpoint(tmp_path)


def test_an_unknown_tensor_gets_a_hint(tmp_path: Path) -> None:
    write_safetensors(tmp_path)
    with pytest.raises(CheckpointError, match=r"did you mean `a\.weight`"):
        open_checkpoint(tmp_path).read("a.weihgt")


def test_mutations_are_read_or_refused(tmp_path: Path) -> None:
    data = write_safetensors(tmp_path).read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    counts = outcomes(tmp_path, "model.safetensors", mutations(data, header, 1000))
    assert counts["read"] and counts["refused"] > counts["read"]


def test_digests_say_what_the_bytes_are(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        (tmp_path / name).mkdir()
        write_safetensors(tmp_path / name, seed=seed)
    one, two, three = (open_checkpoint(tmp_path / name) for name in ("one", "two", "three"))
    assert one.fingerprint == two.fingerprint != three.fingerprint
    assert one.digest("a.weight") == two.digest("a.weight") != three.digest("a.weight")
    assert one.digest("d.steps") == three.digest("d.steps")


def raw(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def write_raw(folder: Path, header: Any, data: bytes) -> None:
    write_config(folder)
    (folder / "model.safetensors").write_bytes(raw(json.dumps(header).encode(), data))


def write_index(folder: Path, index: dict[str, str]) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


def write_shards(folder: Path) -> dict[str, str]:
    from safetensors.numpy import save_file

    write_config(folder)
    save_file({"a": np.zeros(4, np.float32)}, folder / "one.safetensors")
    save_file({"b": np.ones(3, np.float32)}, folder / "two.safetensors")
    index = {"a": "one.safetensors", "b": "two.safetensors"}
    write_index(folder, index)
    return index
