"""Every pair of processors and samplers, on random logits, as `transformers` composes them."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from smelt.runtime.options import generation_defaults, resolve
from smelt.runtime.processors import Row, mark, process
from smelt.runtime.sampling import candidates, choose, spread
from smelt.runtime.settings import SETTINGS, Options

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCAB = 40
PROMPT = [4, 8, 15, 4, 8, 16, 23, 4]
EOS = [6, 7]
#: Options by their keys in generation_config.json.
VALUES: dict[str, Any] = {
    "sequence_bias": [[[3], -2.0], [[8, 15], 4.0], [[4, 11], 3.0]],
    "encoder_repetition_penalty": 1.6,
    "repetition_penalty": 1.4,
    "no_repeat_ngram_size": 2,
    "encoder_no_repeat_ngram_size": 3,
    "bad_words_ids": [[9], [4, 8], [15, 4]],
    "min_length": 10,
    "min_new_tokens": 3,
    "forced_bos_token_id": 20,
    "forced_eos_token_id": 6,
    "exponential_decay_length_penalty": [1, 1.3],
    "suppress_tokens": [5, 21],
    "begin_suppress_tokens": [6, 22],
    "temperature": 0.7,
    "top_h": 0.6,
    "top_k": 12,
    "top_p": 0.8,
    "min_p": 0.08,
    "typical_p": 0.85,
    "epsilon_cutoff": 0.02,
    "eta_cutoff": 0.03,
    "watermarking_config": {"bias": 2.5},
    "renormalize_logits": True,
}
DRAWN = [name for name, setting in SETTINGS.items() if setting.kind == "sampler"]
PAIRS = [*((name,) for name in VALUES), *combinations(VALUES, 2)]


def theirs(names: tuple[str, ...], tokens: list[int], new: int, logits: Any) -> Any:
    """Scores by the processors that `transformers` makes of these options."""
    given = {name: VALUES[name] for name in names}
    if "watermarking_config" in given:
        given["watermarking_config"] = transformers.WatermarkingConfig(
            **VALUES["watermarking_config"]
        )
    sampled = any(name in DRAWN for name in names)
    config = transformers.GenerationConfig(
        **{"do_sample": sampled, "max_length": len(PROMPT) + 9, "top_k": 0, **given}
    )
    config._eos_token_tensor = torch.tensor(EOS)
    text = SimpleNamespace(vocab_size=VOCAB)
    model = SimpleNamespace(
        config=SimpleNamespace(is_encoder_decoder=False, get_text_config=lambda: text),
        _merge_criteria_processor_list=lambda made, more: made,
    )
    made = transformers.GenerationMixin._get_logits_processor(
        model, config, len(PROMPT), torch.tensor([PROMPT]), device="cpu"
    )
    return made(torch.tensor([tokens]), torch.tensor(logits[None]))[0].numpy()


def ours(names: tuple[str, ...]) -> Options:
    file = {name: VALUES[name] for name in names}
    sampled = any(name in DRAWN for name in names)
    top_k = file.pop("top_k", 0)
    defaults = generation_defaults(
        {"eos_token_id": EOS, "do_sample": sampled, "top_k": top_k, **file}, {}
    )
    return resolve(defaults, max_new_tokens=9)


def composed(names: tuple[str, ...], row: Row, logits: Any) -> Any:
    options = ours(names)
    found = process(logits, row, options)
    if not options.greedy:
        found = spread(*candidates(found, options), logits.size)
    return mark(found, row, options)


def shares(scores: Any) -> Any:
    weights = np.exp(scores.astype(np.float64) - scores.max())
    return weights / weights.sum()


@pytest.mark.parametrize("new", [0, 2, 8])
def test_every_pair_composes_as_in_transformers(new: int) -> None:
    tokens = PROMPT + [8, 15, 4, 8, 30, 31, 32, 33][:new]
    logits = np.random.default_rng(new).normal(size=VOCAB).astype(np.float32) * 2
    for names in PAIRS:
        wanted = theirs(names, tokens, new, logits)
        found = composed(names, Row(0, tokens, new), logits)
        drawn = any(name in (*DRAWN, "renormalize_logits") for name in names)
        assert np.array_equal(np.isinf(found), np.isinf(wanted)), names
        if drawn:  # scores count up to a constant
            assert np.allclose(shares(found), shares(wanted), atol=2e-6), names
        else:
            assert np.allclose(found, wanted, rtol=1e-6, atol=1e-6), names


@pytest.mark.parametrize("name", DRAWN)
def test_draws_have_the_shares_of_transformers(name: str) -> None:
    names = tuple(n for n in VALUES if n in {name, "repetition_penalty", "watermarking_config"})
    logits = np.random.default_rng(5).normal(size=VOCAB).astype(np.float32) * 2
    expected = shares(theirs(names, PROMPT, 0, logits)) * 3000
    options = resolve(
        generation_defaults({"top_k": 0, **{n: VALUES[n] for n in names}, "do_sample": True}, {}),
        max_new_tokens=9,
        seed=17,
    )
    drawn = np.bincount(
        [choose(logits, Row(index, list(PROMPT)), options) for index in range(3000)],
        minlength=VOCAB,
    )
    assert not drawn[expected == 0].any()
    often = expected >= 5
    rest = (drawn[~often].sum() - expected[~often].sum()) ** 2 / max(expected[~often].sum(), 1)
    chi = float(((drawn[often] - expected[often]) ** 2 / expected[often]).sum() + rest)
    free = int(often.sum())
    assert chi < free + 4.5 * (2 * free) ** 0.5  # far in the tail of chi-square
