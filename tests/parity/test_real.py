"""Real weights: every target says what transformers says, as in the table of tiny ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import models
from tests.parity.case import Case
from tests.parity.reference import DRIVERS, Asked, Reference
from tests.parity.runners import COLUMNS
from tests.parity.test_parity import check, check_state

#: Where each model comes from, and how it is asked.
REAL: dict[str, tuple[Callable[[], Path], Case]] = {
    "minilm": (models.minilm, Case("bert", "feature_extraction", "BertModel", "minilm", {})),
    "stories15m": (
        models.stories15m,
        Case("llama", "causal_lm", "LlamaForCausalLM", "stories15m", {}),
    ),
    "smollm2": (
        models.smollm2_hf,
        Case("llama", "causal_lm", "LlamaForCausalLM", "smollm2", {}, pads=(5, 0)),
    ),
    "smollm2-gguf": (
        models.smollm2_gguf,
        Case("llama", "causal_lm", "LlamaForCausalLM", "smollm2-gguf", {}, pads=(0,)),
    ),
    "qwen2.5-coder-gguf": (
        models.qwen_coder_gguf,
        Case("qwen2", "causal_lm", "Qwen2ForCausalLM", "coder", {}, pads=(0,)),
    ),
    "whisper-tiny": (
        models.whisper_tiny,
        Case("whisper", "speech_seq2seq", "WhisperForConditionalGeneration", "tiny", {}, pads=(0,)),
    ),
}


@lru_cache(maxsize=1)
def expected(name: str) -> Reference:
    """What transformers says, in fp32."""
    fetch, case = REAL[name]
    path = fetch()
    asked = Asked(case, load(path, case.architecture), np.random.default_rng(5))
    held = DRIVERS[case.task](asked)
    return Reference(path, tuple(asked.steps), tuple(held))


def load(path: Path, architecture: str) -> Any:
    """The model of transformers, out of a directory or a GGUF file."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    kind = getattr(transformers, architecture)
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    if path.is_file():
        return kind.from_pretrained(path.parent, gguf_file=path.name, **options).eval()
    return kind.from_pretrained(path, **options).eval()


@pytest.mark.parametrize("column", [name for name in COLUMNS if name != "reference"])
@pytest.mark.parametrize("name", REAL)
def test_real_weights_agree_with_transformers(name: str, column: str, tmp_path: Path) -> None:
    try:
        wanted = expected(name)
    except models.ModelUnavailable as error:
        pytest.skip(str(error))
    runner = COLUMNS[column](wanted.directory, REAL[name][1].task, tmp_path)
    for number, step in enumerate(wanted.steps):
        actual = runner.call(step.function, step.inputs)
        for output, value in step.outputs.items():
            check(actual[output], value, step.real, f"{output} of call {number}")
    state = runner.read_state()
    for held in wanted.held:
        check_state(state, held)
