"""Types that transformers no longer has, against what its last release with them said.

``removed/make_*.py`` wrote the files, and says with which release; only texts and outputs are
stored, weights are drawn again.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity.reference import Held
from tests.parity.removed.weights import weights
from tests.parity.runners import COLUMNS
from tests.parity.test_parity import check, check_state

FOLDER = Path(__file__).parent / "removed"


@cache
def stored(kind: str) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """What a file holds, by case."""
    cases: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
    with np.load(FOLDER / f"{kind}.npz") as file:
        for name in file.files:
            case, _, key = name.partition("/")
            cases.setdefault(case, {})[key] = file[name]
    return cases


ROWS = [(p.stem, case) for p in sorted(FOLDER.glob("*.npz")) for case in stored(p.stem)]


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("kind, name", ROWS, ids=lambda value: str(value))
def test_agrees_with_its_last_release(kind: str, name: str, column: str, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    arrays = dict(stored(kind)[name])
    about = json.loads(str(arrays.pop("about")))
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(about["config"]))
    save_file(weights(about["shapes"]), folder / "model.safetensors")
    runner = COLUMNS[column](folder, about["task"], tmp_path)
    held = [arrays.pop(key) for key in sorted(arrays) if key.startswith("held.")]
    ids = arrays.pop("input_ids")
    ends = [0, *range(about["prompt"], ids.shape[1] + 1)]
    for start, end in pairwise(ends):
        positions = np.tile(np.arange(start, end), (len(ids), 1))
        inputs = {"input_ids": ids[:, start:end], "position_ids": positions}
        inputs["attention_mask"] = np.ones((len(ids), end), np.int64)
        actual = runner.call("main", inputs)
        for key, value in arrays.items():
            expected = value[:, start:end] if value.ndim == 3 else value
            check(actual[key], expected, None, f"{key} of token {start}")
    if held:
        check_state(runner.read_state(), Held(".memory", tuple(held)))
