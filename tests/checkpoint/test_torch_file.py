"""PyTorch .bin: the values are torch's, in both layouts, and code in a pickle never runs."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smelt.errors import SmeltError
from smelt.frontend.checkpoint import open_checkpoint
from smelt.frontend.checkpoint.torch_file import TorchFile
from tests.checkpoint.mutate import mutations, outcomes
from tests.checkpoint.tiny import write_config

torch = pytest.importorskip("torch", reason="torch is not installed")
LAYOUTS = {"zip": True, "legacy": False}


def state() -> dict[str, Any]:
    """Tensors of every dtype, shared storages, strides, offsets, no elements and no axes."""
    base = torch.randn(6, 8)
    plain = {
        str(dtype).removeprefix("torch."): torch.arange(5).to(dtype)
        for dtype in (
            *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
            *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
        )
    }
    return OrderedDict(
        **plain,
        base=base,
        transposed=base.t(),
        window=base[1:3, ::2],
        parameter=torch.nn.Parameter(torch.randn(2)),
        empty=torch.empty(0, 3),
        scalar=torch.tensor(3.5),
        expanded=torch.arange(5).expand(1, -1),
    )


def same(found: Any, wanted: Any) -> bool:
    wanted = wanted.detach().contiguous()
    return (
        found.shape == tuple(wanted.shape)
        and found.tobytes() == wanted.view(-1).view(torch.uint8).numpy().tobytes()
        if wanted.numel() and wanted.dim()
        else found.shape == tuple(wanted.shape) and np.array_equal(found, wanted.numpy())
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reads_what_torch_wrote(tmp_path: Path, layout: str) -> None:
    wanted = state()
    save(wanted, tmp_path, layout)
    checkpoint = open_checkpoint(tmp_path)
    assert list(checkpoint.tensors) == list(wanted)
    for name, value in wanted.items():
        assert same(checkpoint.read(name), value), name
        assert checkpoint.tensors[name].dtype == checkpoint.tensors[name].encoding


def test_contiguous_tensors_are_views_of_the_map(tmp_path: Path) -> None:
    save(state(), tmp_path, "zip")
    found = open_checkpoint(tmp_path).read("base")
    assert not found.flags.owndata and not found.flags.writeable


def test_a_modules_state_dict_with_its_metadata(tmp_path: Path) -> None:
    wanted = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4)).state_dict()
    save(wanted, tmp_path, "zip")
    checkpoint = open_checkpoint(tmp_path)
    assert all(same(checkpoint.read(name), value) for name, value in wanted.items())


def test_float8_comes_with_its_own_dtype(tmp_path: Path) -> None:
    save({"a": torch.randn(4).to(torch.float8_e4m3fn)}, tmp_path, "zip")
    assert open_checkpoint(tmp_path).tensors["a"].dtype == "f8_e4m3"


def test_a_compressed_archive_is_read_too(tmp_path: Path) -> None:
    wanted = state()
    path = save(wanted, tmp_path, "zip")
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    checkpoint = open_checkpoint(tmp_path)
    assert all(same(checkpoint.read(name), value) for name, value in wanted.items())


def test_shards_and_their_index(tmp_path: Path) -> None:
    save({"a": torch.ones(2)}, tmp_path, "zip", "one.bin")
    save({"b": torch.zeros(2)}, tmp_path, "legacy", "two.bin")
    index = {"weight_map": {"a": "one.bin", "b": "two.bin"}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    checkpoint = open_checkpoint(tmp_path)
    assert np.array_equal(checkpoint.read("a"), np.ones(2, np.float32))
    assert np.array_equal(checkpoint.read("b"), np.zeros(2, np.float32))


class Runs:
    """A value whose pickle calls a function with arguments."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "function, name",
    [(os.system, "system"), (eval, "eval"), (getattr, "getattr"), (subprocess.call, "call")],
)
def test_code_in_a_pickle_is_refused_by_name(
    tmp_path: Path, layout: str, function: Callable[..., Any], name: str
) -> None:
    mark = tmp_path / "ran"
    save({"a": Runs(function, f"touch {mark}")}, tmp_path, layout)
    with pytest.raises(SmeltError, match=rf"\.{name}`, which is not data") as caught:
        open_checkpoint(tmp_path)
    assert "safetensors" in str(caught.value) and not mark.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"cposix\nsystem\n(S'x'\ntR.",  # a call
        b"(S'x'\niposix\nsystem\n.",  # an instance
        b"\x80\x02cposix\nsystem\n)\x81.",  # a new object
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93.",  # a global by stack
        b"\x82\x01.",  # an extension
        b"Pid\n.",  # a persistent id in text
        b"\x80\x02]q\x00h\x00h\x00a.",  # a list in itself
        b"\x80\x02}q\x00(h\x00K\x01u.",  # a dict as a key
        b"\x80\x02r\xff\xff\xff\xff.",  # a memo far out
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes without end
        b"\x80\x02ccollections\nOrderedDict\nK\x01R.",  # arguments that are no tuple
        b"\x80\x02K\x01)R.",  # a call of a number
        b"\x80\x02(((.",  # marks
        b"\x80\x02.",  # nothing
        b"\x80\x02" + b"K\x01" + b"\x86" * 3 + b".",  # tuples of what is not there
        b"\x80\x02)" + b"2\x86" * 80 + b"K\x01\x86.",  # a tuple of 2**80 parts
        b"\x80\x02}" + b")" + b"2\x86" * 80 + b"K\x01s.",  # the same as a key
    ],
    ids=lambda body: repr(body[:24]),
)
def test_odd_pickles_are_refused(tmp_path: Path, body: bytes) -> None:
    write_config(tmp_path)
    with zipfile.ZipFile(tmp_path / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", body)
    with pytest.raises(SmeltError):
        open_checkpoint(tmp_path)


def rebuilt(key: str, count: int, offset: int, shape: Any, strides: Any) -> bytes:
    """The pickle of a tensor over a storage that the test makes up."""

    class Storage:
        pass

    class Pickler(pickle._Pickler):
        def persistent_id(self, value: Any) -> Any:
            is_storage = isinstance(value, Storage)
            return ("storage", torch.FloatStorage, key, "cpu", count) if is_storage else None

    import io

    out = io.BytesIO()
    function = torch._utils._rebuild_tensor_v2
    arguments: Any = (Storage(), offset, shape, strides, False, OrderedDict())
    Pickler(out, 2).dump({"a": Runs(function, *arguments)})
    return out.getvalue()


@pytest.mark.parametrize(
    "window",
    [
        ("0", 16, 0, (4, 8), (8, 1)),  # past the end
        ("0", 16, 12, (2, 4), (4, 1)),  # past the end by its offset
        ("0", 16, 0, (4, 4), (1 << 62, 1)),
        ("0", 16, 0, (4, 4), (-4, 1)),
        ("0", 16, -1, (4,), (1,)),
        ("0", 16, 0, (1 << 40,), (0,)),  # one element, repeated
        ("0", 16, 0, (4, 4), (1,)),
        ("0", 1 << 50, 0, (4,), (1,)),  # a storage longer than its entry
        ("9", 16, 0, (4,), (1,)),  # a storage that is not there
        ("../../x", 16, 0, (4,), (1,)),
        ("0", 16, 0, 4, 1),
        ("0", 16, 0, (2.0,), (1,)),
    ],
    ids=str,
)
def test_windows_outside_of_their_storage_are_refused(tmp_path: Path, window: Any) -> None:
    write_config(tmp_path)
    with zipfile.ZipFile(tmp_path / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", rebuilt(*window))
        archive.writestr("archive/data/0", bytes(64))
    with pytest.raises(SmeltError):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "start", [b"", b"PK\x03\x04", b"\x80", b"ustar", b"\x1f\x8b", b"\x80\x02K\x01."]
)
def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path, start: bytes) -> None:
    write_config(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(start)
    with pytest.raises(SmeltError, match=r"pytorch_model\.bin"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_mutations_are_read_or_refused(tmp_path: Path, layout: str) -> None:
    path = save({"a": torch.randn(4, 4), "b": torch.randn(8).bfloat16()}, tmp_path, layout)
    data = path.read_bytes()
    counts = outcomes(tmp_path, path.name, mutations(data, len(data), 700))
    assert counts["read"] and counts["refused"]


def test_torch_is_not_imported(tmp_path: Path) -> None:
    path = save(state(), tmp_path, "zip")
    program = (
        "import sys, pathlib; from smelt.frontend.checkpoint.torch_file import TorchFile; "
        "file = TorchFile(pathlib.Path(sys.argv[1])); [file.read(name) for name in file.tensors]; "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    assert TorchFile(path).tensors


def save(value: Any, folder: Path, layout: str, name: str = "pytorch_model.bin") -> Path:
    write_config(folder)
    torch.save(value, folder / name, _use_new_zipfile_serialization=LAYOUTS[layout])
    return folder / name
