"""Ways to generate that transformers no longer has, against what its last release with them said.

`removed_methods/make_outputs.py` wrote the file; weights are drawn again and no model is stored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smelt
from smelt.runtime.session import Session
from tests.removed_methods.drawn import drawn, fingerprint

pytest.importorskip("torch")

STORED = json.loads((Path(__file__).parent / "removed_methods" / "outputs.json").read_text())
KINDS = ("llama", "gpt2", "t5", "bart")
TARGETS = ("torch", "onnx", "edge")
PROMPTS = STORED["prompts"]
BEAMS = ("diverse", "forced")
CASES = [(k, at) for k in KINDS for at in range(len(STORED[k]["cases"]))]

Sessions = dict[tuple[str, str], Session]


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Sessions:
    from safetensors.numpy import save_file

    found: Sessions = {}
    for kind in KINDS:
        told, out = STORED[kind], tmp_path_factory.mktemp(kind)
        made = drawn(told["shapes"])
        assert fingerprint(made) == told["weights"]
        folder = out / "checkpoint"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(told["config"]))
        save_file(made, folder / "model.safetensors")
        for target in TARGETS:
            hidden = "all" if kind in ("llama", "gpt2") else "last"
            smelt.compile(folder, target=target, out=out / target, verify=False, hidden=hidden)
            found[kind, target] = smelt.open(out / target)
    return found


def name_of(case: tuple[str, int]) -> str:
    told = STORED[case[0]]["cases"][case[1]]
    return f"{case[0]}-{told['method']}-{case[1]}"


@pytest.mark.parametrize(
    "case", [c for c in CASES if STORED[c[0]]["cases"][c[1]]["method"] in BEAMS], ids=name_of
)
def test_beams_equal_their_last_release(sessions: Sessions, case: tuple[str, int]) -> None:
    told: dict[str, Any] = STORED[case[0]]["cases"][case[1]]
    for target in TARGETS if case[1] % 3 == 0 else TARGETS[:1]:
        found = sessions[case[0], target].generate(
            ids=PROMPTS, max_new_tokens=12, temperature=0, eos=told["eos"] or (), **told["given"]
        )
        first = (told["eos"] or [None])[0]
        # Whichever token ended a row, that release writes the first of them.
        ids = [
            [*c.ids[:-1], first] if c.finish == "eos" else c.ids for c in found.wait().completions
        ]
        assert ids == told["ids"], target
        scores = [c.score or 0.0 for c in found.completions]
        assert np.allclose(scores, told["scores"], atol=2e-4), target


STATES = ("contrastive", "dola")


@pytest.mark.parametrize(
    "case", [c for c in CASES if STORED[c[0]]["cases"][c[1]]["method"] in STATES], ids=name_of
)
def test_hidden_states_choose_as_in_their_last_release(
    sessions: Sessions, case: tuple[str, int]
) -> None:
    told: dict[str, Any] = STORED[case[0]]["cases"][case[1]]
    for target in TARGETS if case[1] % 2 == 0 else TARGETS[:1]:
        found = sessions[case[0], target].generate(
            ids=PROMPTS, max_new_tokens=12, temperature=0, eos=told["eos"] or (), **told["given"]
        )
        assert [c.ids for c in found.wait().completions] == told["ids"], target
