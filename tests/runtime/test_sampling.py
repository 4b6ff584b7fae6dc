"""Sampling: exact numbers of Philox, processors against transformers, draws against chi-square."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.manifest import GenerationDefaults
from smelt.runtime.options import generation_defaults, resolve
from smelt.runtime.processors import Row, process
from smelt.runtime.random import philox4x32_10, uniform
from smelt.runtime.sampling import candidates, choose, draw
from smelt.runtime.settings import Options

VOCAB = 50


def row(tokens: list[int], new: int = 0) -> Row:
    return Row(0, tokens, new)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [  # known answers of the Random123 distribution
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(
    counter: tuple[int, ...], key: tuple[int, ...], words: tuple[int, ...]
) -> None:
    assert philox4x32_10(counter, key) == words


def test_uniform_depends_on_seed_row_and_step_alone() -> None:
    values = {uniform(s, r, t) for s in (0, 1, 2**40) for r in range(3) for t in range(50)}
    assert len(values) == 450
    assert all(0 <= v < 1 for v in values)
    assert abs(np.mean(list(values)) - 0.5) < 0.05


def logits_of(seed: int, vocab: int = VOCAB) -> Any:
    values = np.random.default_rng(seed).normal(size=vocab).astype(np.float32) * 3
    values[3] = values[7]  # a tie
    return values


PROCESSES: list[dict[str, Any]] = [
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.7},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 3, "repetition_penalty": 1.1},
    {"min_new_tokens": 3},
    {"suppress": (1, 9, 30)},
    {"begin_suppress": (2, 5)},
    {"forced_bos": 17},
    {"forced_eos": (11,), "max_new_tokens": 1},
    {"repetition_penalty": 1.2, "suppress": (4,), "min_new_tokens": 2, "begin_suppress": (8,)},
]


@pytest.mark.parametrize("given", PROCESSES, ids=str)
@pytest.mark.parametrize("new", [0, 1, 4])
def test_processors_equal_transformers(given: dict[str, Any], new: int) -> None:
    torch = pytest.importorskip("torch")
    processors = pytest.importorskip("transformers.generation.logits_process")
    prompt = [1] if "forced_bos" in given else [4, 8, 15, 4, 8, 16, 23, 4]
    generated = [8, 15, 4, 8, 42][:new]
    tokens = prompt + generated
    options = Options(**{"max_new_tokens": 50, "eos": (6,), **given})
    classes: dict[str, Any] = {
        "repetition_penalty": lambda v: processors.RepetitionPenaltyLogitsProcessor(v),
        "no_repeat_ngram_size": lambda v: processors.NoRepeatNGramLogitsProcessor(v),
        "min_new_tokens": lambda v: processors.MinNewTokensLengthLogitsProcessor(
            len(prompt), v, [6]
        ),
        "forced_bos": lambda v: processors.ForcedBOSTokenLogitsProcessor(v),
        "forced_eos": lambda v: processors.ForcedEOSTokenLogitsProcessor(len(prompt) + 1, list(v)),
        "suppress": lambda v: processors.SuppressTokensLogitsProcessor(list(v)),
        "begin_suppress": lambda v: processors.SuppressTokensAtBeginLogitsProcessor(
            list(v), len(prompt)
        ),
    }
    wanted = torch.tensor(logits_of(new)[None])
    for name, make in classes.items():
        if name in given:
            wanted = make(given[name])(torch.tensor([tokens]), wanted)
    found = process(logits_of(new), row(tokens, new), options)
    assert np.array_equal(found, wanted[0].numpy())


WARPS = [
    {"temperature": 0.7},
    {"temperature": 1.0, "top_k": 5},
    {"temperature": 1.3, "top_k": 1},
    {"temperature": 1.0, "top_p": 0.8},
    {"temperature": 0.9, "top_p": 0.05},
    {"temperature": 1.0, "min_p": 0.1},
    {"temperature": 0.6, "top_k": 20, "top_p": 0.9, "min_p": 0.02},
]


@pytest.mark.parametrize("given", WARPS, ids=str)
@pytest.mark.parametrize("vocab", [VOCAB, 9001])
def test_warpers_keep_what_transformers_keeps(given: dict[str, Any], vocab: int) -> None:
    torch = pytest.importorskip("torch")
    processors = pytest.importorskip("transformers.generation.logits_process")
    classes: dict[str, Any] = {
        "temperature": lambda v: processors.TemperatureLogitsWarper(float(v)),
        "top_k": lambda v: processors.TopKLogitsWarper(v),
        "top_p": lambda v: processors.TopPLogitsWarper(v),
        "min_p": lambda v: processors.MinPLogitsWarper(v),
    }
    for seed in range(5):
        wanted = torch.tensor(logits_of(seed, vocab)[None])
        for name, make in classes.items():
            if name in given:
                wanted = make(given[name])(None, wanted)
        probabilities = torch.softmax(wanted[0].double(), -1).numpy()
        ids, weights = candidates(logits_of(seed, vocab), Options(max_new_tokens=1, **given))
        assert ids.tolist() == np.flatnonzero(probabilities).tolist()
        assert np.allclose(weights / weights.sum(), probabilities[ids], rtol=1e-5)


def test_draws_follow_the_distribution() -> None:
    logits = logits_of(1)
    options = Options(max_new_tokens=1, temperature=1.1, top_k=12, seed=7)
    ids, weights = candidates(logits, options)
    count = 20_000
    found = np.zeros(VOCAB)
    for step in range(count):
        found[choose(logits, row([1], step), options)] += 1
    assert set(np.flatnonzero(found)) <= set(ids.tolist())
    expected = weights / weights.sum() * count
    chi = float(((found[ids] - expected) ** 2 / expected).sum())
    assert chi < 31.3  # 99.9 % of chi-square with 11 degrees of freedom


def test_draw_at_the_edges() -> None:
    ids, weights = np.array([4, 9, 11]), np.array([0.25, 0.0, 0.75])
    assert draw(ids, weights, 0.0) == 4
    assert draw(ids, weights, 0.25) == 11  # never a token of weight 0
    assert draw(ids, weights, np.nextafter(1.0, 0.0)) == 11


def test_greedy_takes_the_smallest_id_of_a_tie() -> None:
    logits = np.zeros(VOCAB, np.float32)
    logits[[9, 31]] = 2.0
    assert choose(logits, row([1]), Options(max_new_tokens=1)) == 9


def test_logits_that_are_no_numbers_are_an_error() -> None:
    bad = np.zeros(VOCAB, np.float32)
    bad[3] = np.nan
    with pytest.raises(SmeltError, match="hold nan at new token 0"):
        choose(bad, row([1]), Options(max_new_tokens=1))
    with pytest.raises(SmeltError, match="no token is allowed"):
        choose(np.full(VOCAB, -np.inf, np.float32), row([1]), Options(max_new_tokens=1))


def test_defaults_come_from_generation_config() -> None:
    own = {
        "eos_token_id": [2, 3],
        "bos_token_id": 1,
        "do_sample": True,
        "temperature": 0.6,
        "top_p": 0.9,
        "num_beams": 1,
        "length_penalty": 2.0,
        "transformers_version": "5",
    }
    defaults = generation_defaults(own, {"pad_token_id": 9})
    assert defaults.eos_token_ids == (2, 3)
    assert (defaults.pad_token_id, defaults.top_k) == (9, 50)
    options = resolve(defaults, seed=5)
    assert (options.temperature, options.top_k, options.top_p, options.seed) == (0.6, 50, 0.9, 5)
    assert resolve(defaults, temperature=0.0).greedy
    assert resolve(GenerationDefaults()).greedy
    assert resolve(GenerationDefaults(), top_k=3).temperature == 1.0


def test_settings_that_smelt_lacks_are_refused_until_left_out() -> None:
    defaults = generation_defaults({"token_healing": True, "assistant_early_exit": 2}, {})
    with pytest.raises(UnsupportedError, match="assistant_early_exit=2, token_healing=True"):
        resolve(defaults)
    assert resolve(defaults, without=("token_healing", "assistant_early_exit")).greedy


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": -1}, "`temperature` is -1"),
        ({"temperature": 1e-9}, "wants 0 \\(greedy\\) or at least 1e-6"),
        ({"temperature": float("nan")}, "`temperature` is nan"),
        ({"top_p": 0}, "`top_p` is 0"),
        ({"top_p": 1.5}, "`top_p` is 1.5"),
        ({"top_k": 2.5}, "wants a whole number"),
        ({"max_new_tokens": 0}, "`max_new_tokens` is 0"),
        ({"temperature": 0, "top_k": 4}, "no meaning at temperature 0"),
        ({"stop": [""]}, "not empty"),
        ({"seed": -1}, "`seed` is -1"),
        ({"max_tokens": 3}, "did you mean `max_new_tokens`"),
    ],
    ids=str,
)
def test_bad_options_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SmeltError, match=message):
        resolve(GenerationDefaults(), **given)
