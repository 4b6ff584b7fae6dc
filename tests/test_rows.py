"""Rows of the state with lengths of their own: each gives what it gives alone, or is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smelt.compiling import compile
from smelt.runtime import _edge
from smelt.runtime.artifact import open_artifact
from smelt.runtime.edge_engine import open_engine
from tests.parity.case import Case, all_cases
from tests.parity.checkpoints import make

Array = np.ndarray[Any, Any]
CONTEXT, ROWS, STEPS = 40, 4, 4
#: Tokens of the prompts that the rows start with.
LENGTHS = (3, 9, 1, 6)

#: The types whose arithmetic looks at the length that rows share, and what it says.
DECODERS = ("bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "marian", "mbart", "mvp")
REFUSED = {
    **dict.fromkeys(DECODERS, r"decoder \(arange\) computes with the length of the longest row"),
    "pegasus": r"decoder \(arange\) computes with",
    "plbart": r"decoder \(arange\) computes with",
    "prophetnet": r"decoder \(arange\) computes with",
    "mpt": r"attn \(arange\) computes with",
    "roformer": r"roformer \(arange\) computes with",
    "nemotron_h": r"mixer \(arange\) computes with",
    "zamba2": r"mamba \(arange\) computes with",
    "diffllama": r"self_attn \(copy\) reads from where the longest row ends",
    "llama4_text": r"self_attn \(equal\) reads from where the longest row ends",
}


def _cases() -> list[Case]:
    first = {c.model_type: c for c in reversed(all_cases()) if c.task == "causal_lm"}
    return [first[name] for name in sorted(first)]


def _inputs(names: Sequence[str], ids: Array, past: Sequence[int]) -> Mapping[str, Array]:
    rows, count = ids.shape
    places = np.asarray(past)[:, None] + np.arange(count)[None]
    mask = np.ones((rows, max(past) + count), np.int64)
    known = {"input_ids": ids, "attention_mask": mask, "position_ids": places}
    return {name: known[name] for name in names}


def _alone(path: Path, prompts: Sequence[Array], following: Array) -> list[Array]:
    """Logits [steps + 1, vocab] of each row in an engine of its own."""
    found = []
    for row, prompt in enumerate(prompts):
        engine = open_engine(path, threads=1)
        names = [t.name for t in engine.manifest.function("main").inputs]
        fed, logits = 0, []
        for ids in [prompt, *following[row][:, None]]:
            call = engine.call_last("main", _inputs(names, ids[None], [fed]))
            logits.append(call["logits"][0, -1])
            fed += len(ids)
        found.append(np.stack(logits))
    return found


def _open(path: Path) -> _edge.Session:
    limits = [("batch", ROWS), ("last", 1)]
    return _edge.Session.open_rows(_edge.Model.open(str(path)), "main", 1, 0, limits)


@pytest.mark.parametrize("case", _cases(), ids=lambda case: case.model_type)
def test_rows_of_their_own_lengths_give_what_each_gives_alone(case: Case, tmp_path: Path) -> None:
    out = tmp_path / "model.smelt"
    compile(make(case).directory, target="edge", out=out, context=CONTEXT, verify=False)
    if case.model_type in REFUSED:
        with pytest.raises(RuntimeError, match=REFUSED[case.model_type]):
            _open(out)
        return
    session = _open(out)
    manifest = open_artifact(out).manifest
    names = [t.name for t in manifest.function("main").inputs]
    adjacent = bool(session.adjacent_rows)
    random = np.random.default_rng(5)
    vocab = manifest.vocab_size or 10
    prompts = [random.integers(0, vocab, n) for n in LENGTHS]
    following = random.integers(0, vocab, (ROWS, STEPS))
    want = _alone(out, prompts, following)

    def call(ids: Array, rows: list[int], past: list[int]) -> Array:
        logits = session.call_rows("main", _inputs(names, ids, past), np.asarray(rows, np.int64))
        return np.asarray(logits["logits"][:, -1])

    lengths = list(LENGTHS)
    for row, prompt in enumerate(prompts):
        _same(call(prompt[None], [row], [0])[0], want[row][0])
    for step in range(STEPS):
        taken = [0, 1, 2, 3] if adjacent or step % 2 == 0 else [2, 0, 3, 1]
        got = call(following[taken, step][:, None], taken, [lengths[row] for row in taken])
        for place, row in enumerate(taken):
            _same(got[place], want[row][step + 1])
            lengths[row] += 1


def _same(got: Array, want: Array) -> None:
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5 * np.abs(want).max())
