"""The printed programs of two tiny models, as people read them.

After a change that is meant, write them anew: `SMELT_GOLDEN=write pytest
tests/spec/test_golden.py`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from smelt.frontend.build import build
from smelt.ir.parser import parse_program
from smelt.ir.printer import print_program
from tests.spec.test_tensors import BERT
from tests.spec.texts import LLAMA

GOLDEN = Path(__file__).parent / "golden"

MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "llama_causal_lm": ({**LLAMA, "num_hidden_layers": 1}, "causal_lm"),
    "bert_question_answering": (BERT, "question_answering"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_spec_builds_the_same_program_as_before(name: str) -> None:
    config, task = MODELS[name]
    text = print_program(build(config, task=task))
    path = GOLDEN / f"{name}.ir"
    if os.environ.get("SMELT_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    assert print_program(parse_program(text)) == text
