"""The C++ choice of tokens against Python's: the same tokens for the same logits and options."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

import smelt
from smelt.compiling import compile
from smelt.frontend.build import build
from smelt.ir.materialize import Weights
from smelt.passes.options import Options as PassOptions
from smelt.passes.pipeline import run
from smelt.runtime import _edge
from smelt.runtime.compiled_settings import compiled_settings
from smelt.runtime.manifest import GenerationDefaults
from smelt.runtime.options import generation_defaults, resolve
from smelt.runtime.processors import Row
from smelt.runtime.sampling import choose
from smelt.runtime.scores import score
from smelt.runtime.settings import NEUTRAL, Options, Watermark
from tests import tiny

CONTEXT = 64
SMALL, WIDE = 40, 3001

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_attention_heads": 1,
    "num_hidden_layers": 1,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "hidden_act": "silu",
    "max_position_embeddings": CONTEXT,
    "tie_word_embeddings": False,
}


def model(vocab: int, defaults: GenerationDefaults | None = None) -> Any:
    """A model file of that vocabulary, opened, which says this about generation."""
    from smelt.backends.edge.emit import composites
    from tests.backends.edge_run import write

    program, _ = run(
        build({**CONFIG, "vocab_size": vocab}, context=CONTEXT),
        "edge",
        PassOptions(),
        keep=composites(),
    )
    shapes = {
        name: [size for size in leaf.shape if isinstance(size, int)]
        for name, leaf in program.parameters().items()
    }
    weights = Weights(program, lambda name: np.zeros(shapes[name], np.float32))
    settings = compiled_settings(defaults or GenerationDefaults())
    with TemporaryDirectory() as folder:
        path = write(program, weights, Path(folder) / "model.smelt", CONTEXT, tuple(settings))
        return _edge.Model.open(str(path))


@cache
def plain(vocab: int) -> Any:
    return model(vocab)


def fields(options: Options) -> dict[str, Any]:
    """The options by their fields in `smelt_generation`."""
    found: dict[str, Any] = {"seed": options.seed}
    for name, neutral in {**NEUTRAL, "max_new_tokens": None}.items():
        value = getattr(options, name)
        if value == neutral:
            continue
        if name == "bad_words_ids":
            found["bad_words"] = [list(ids) for ids in value]
        elif name == "sequence_bias":
            found["sequence_bias"] = [(list(ids), bias) for ids, bias in value]
        elif name == "exponential_decay_length_penalty":
            found["decay_start"], found["decay_factor"] = value
        elif isinstance(value, Watermark):
            found |= {
                "watermark_bias": value.bias,
                "watermark_ratio": value.greenlist_ratio,
                "watermark_key": value.hashing_key,
                "watermark_width": value.context_width,
                "watermark_self": int(value.seeding_scheme == "selfhash"),
            }
        else:
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


def logits_of(random: Any, vocab: int) -> Any:
    """Logits of different widths, with ties and forbidden tokens."""
    values = random.normal(size=vocab).astype(np.float32) * np.float32(random.choice([0.1, 2, 8]))
    if random.random() < 0.3:
        values = np.round(values)  # ties everywhere
    forbidden = random.random(vocab) < random.choice([0.0, 0.3, 0.95])
    forbidden[random.integers(vocab)] = False
    values[forbidden] = -np.inf
    return values


def tokens_of(sampler: Any, prompt: list[int], rows: list[Any]) -> list[int]:
    sampler.begin(prompt)
    return [sampler.choose(row.copy())[0] for row in rows]


def same(vocab: int, options: Options, seed: int, *, row: int = 0, steps: int = 5) -> int:
    """Hold one row of several steps against Python's; the steps that were compared."""
    random = np.random.default_rng(seed)
    prompt = random.integers(0, min(vocab, 12), size=random.integers(1, 20)).tolist()
    given = fields(options) | {"row": row}
    sampler = _edge.Sampler.make(plain(vocab), given, CONTEXT)
    sampler.begin(prompt)
    state = Row(row, list(prompt))
    for step in range(steps):
        logits = logits_of(random, vocab)
        try:
            wanted = choose(logits, state, options)
        except Exception:
            with pytest.raises(RuntimeError):
                sampler.choose(logits.copy())
            return step
        found, finish, *_ = sampler.choose(logits.copy())
        assert found == wanted, (options, seed, step)
        assert bool(finish) == (wanted in options.eos or step + 1 == options.max_new_tokens)
        if finish:
            return step + 1
        state = state.grown(wanted)
    return steps


BIASES = (((3,), -2.0), ((5, 1), 4.0), ((2, 4), 1.5), ((1, 2, 4), 2.5), ((4, 11), -float("inf")))

#: One row for each option, and what it needs.
SINGLE: list[dict[str, Any]] = [
    {},
    {"temperature": 1.0},
    {"temperature": 0.3},
    {"temperature": 1.0, "top_h": 0.4},
    {"temperature": 1.0, "top_h": 1.0, "top_k": 4},
    {"temperature": 1.0, "top_k": 1},
    {"temperature": 1.0, "top_k": 7},
    {"temperature": 1.0, "top_p": 0.9},
    {"temperature": 3.0, "top_p": 0.3},
    {"temperature": 1.0, "min_p": 0.05},
    {"temperature": 1.0, "typical_p": 0.8},
    {"temperature": 1.0, "epsilon_cutoff": 0.01},
    {"temperature": 1.0, "eta_cutoff": 0.02},
    {"sequence_bias": BIASES},
    {"encoder_repetition_penalty": 1.7},
    {"repetition_penalty": 1.4},
    {"repetition_penalty": 0.6},
    {"frequency_penalty": 0.7, "presence_penalty": -0.3},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 3},
    {"encoder_no_repeat_ngram_size": 2},
    {"bad_words_ids": ((6,), (9,), (4, 8), (2, 4, 3), (2, 2))},
    {"min_length": 9, "eos": (0, 1, 2, 3)},
    {"min_new_tokens": 3, "eos": (0, 1, 2, 3)},
    {"forced_bos": 17},
    {"forced_eos": (11, 12), "max_new_tokens": 3},
    {"exponential_decay_length_penalty": (1, 1.5), "eos": (5, 5, 7)},
    {"suppress": (1, 2, 3)},
    {"begin_suppress": (1, 2, 3)},
    {"watermarking_config": Watermark(bias=3.0)},
    {"watermarking_config": Watermark(), "temperature": 1.0, "top_k": 9},
    {"watermarking_config": Watermark(seeding_scheme="selfhash", context_width=2, bias=4.0)},
]


@pytest.mark.parametrize("given", SINGLE, ids=str)
@pytest.mark.parametrize("vocab", [SMALL, WIDE])
def test_each_option_chooses_what_python_does(given: dict[str, Any], vocab: int) -> None:
    rows = 6 if "watermarking_config" in given else 40
    steps = 0
    for seed in range(rows):
        options = Options(**{"max_new_tokens": 50, "seed": seed * 7919, **given})
        steps += same(vocab, options, seed, row=seed % 3)
    assert steps > rows


def combination(random: Any) -> dict[str, Any]:
    """Several options at once."""
    single = [given for given in SINGLE if "watermarking_config" not in given]
    found: dict[str, Any] = {}
    for index in random.choice(len(single), size=random.integers(2, 7), replace=False):
        found |= single[index]
    return found


def test_random_combinations_choose_what_python_does() -> None:
    random = np.random.default_rng(11)
    steps = 0
    for number in range(1500):
        given = combination(random)
        vocab = int(random.choice([1, 2, 13, SMALL, WIDE]))
        if any(token >= vocab for token in (17, 12) if vocab < SMALL):
            given = {
                n: v for n, v in given.items() if not isinstance(v, tuple) and n != "forced_bos"
            }
        options = Options(**{"max_new_tokens": 50, "seed": 2**63 + number, **given})
        steps += same(vocab, options, number, row=number % 5)
    print(f"{steps} steps compared")
    assert steps > 4000


@pytest.mark.parametrize("vocab", [1, 5, WIDE])
def test_scores_are_python_s(vocab: int) -> None:
    random = np.random.default_rng(5)
    given = {"logprobs": 4, "repetition_penalty": 1.3, "max_new_tokens": 50}
    sampler = _edge.Sampler.make(plain(vocab), given, CONTEXT)
    sampler.begin([0])
    for _ in range(20):
        logits = logits_of(random, vocab)
        token, _, _, logprob, top = sampler.choose(logits.copy())
        wanted = score(logits, token, 4)
        assert logprob == pytest.approx(wanted.logprob, abs=1e-12)
        assert [id_ for id_, _ in top] == [id_ for id_, _ in wanted.top]
        for (_, found), (_, value) in zip(top, wanted.top, strict=True):
            assert found == pytest.approx(value, abs=1e-12)


FILES: list[dict[str, Any]] = [
    {},
    {"eos_token_id": [3, 5], "max_length": 12},
    {"do_sample": True},
    {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "eos_token_id": 2},
    {"do_sample": True, "top_k": 0, "min_p": 0.1, "typical_p": 0.9, "max_new_tokens": 4},
    {"do_sample": False, "temperature": 0.2, "top_k": 3, "repetition_penalty": 1.2},
    {"bad_words_ids": [[6], [1, 2]], "sequence_bias": [[[3, 4], 2.0], [[1], -1.5]]},
    {"forced_eos_token_id": 9, "forced_bos_token_id": 4, "max_new_tokens": 3},
    {"suppress_tokens": [1, 2], "begin_suppress_tokens": [3], "min_length": 9, "eos_token_id": 4},
    {"exponential_decay_length_penalty": [1, 1.3], "eos_token_id": 4, "no_repeat_ngram_size": 2},
    {"watermarking_config": {"bias": 3.0, "context_width": 2, "seeding_scheme": "selfhash"}},
    {"renormalize_logits": True, "length_penalty": 2.0, "early_stopping": True},
]
CALLS: list[dict[str, Any]] = [{}, {"temperature": 0.8}, {"top_k": 5}, {"temperature": 0.0}]


@pytest.mark.parametrize("call", CALLS, ids=str)
@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_model_s_own_options_are_honoured(file: dict[str, Any], call: dict[str, Any]) -> None:
    defaults = generation_defaults(file, {})
    options = resolve(defaults, **call, seed=6)
    opened = model(SMALL, defaults)
    random = np.random.default_rng(4)
    for prompt in ([4], [1, 2, 3, 4, 1, 2]):
        sampler = _edge.Sampler.make(opened, {**call, "seed": 6}, CONTEXT)
        sampler.begin(prompt)
        state, finish = Row(0, list(prompt)), 0
        most = options.max_new_tokens
        if options.max_length is not None:
            most = min(most, options.max_length - len(prompt))
        steps = min(most, CONTEXT - len(prompt), 9)
        shown = options if options.max_length is None else replace(options, max_new_tokens=most)
        for step in range(steps):
            logits = logits_of(random, SMALL) + np.float32(0)
            logits[~np.isfinite(logits)] = -50
            found, finish, *_ = sampler.choose(logits.copy())
            assert found == choose(logits, state, shown)
            state = state.grown(found)
            assert bool(finish) == (found in options.eos or step + 1 == most)
            if finish:
                break


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"num_beams": 4}, {}, "num_beams=4"),
    ({"guidance_scale": 1.5}, {}, "guidance_scale=1.5"),
    ({"prompt_lookup_num_tokens": 3}, {}, "prompt_lookup_num_tokens=3"),
    ({"num_return_sequences": 2, "do_sample": True}, {}, "num_return_sequences=2"),
    ({"penalty_alpha": 0.6}, {}, "penalty_alpha=0.6"),
    ({"watermarking_config": {"ngram_len": 5}}, {}, "watermarking_config="),
    ({"stop_strings": ["end"]}, {}, "stop strings need a tokenizer"),
    ({}, {"top_k": 5, "temperature": 0.0}, "`top_k` has no meaning at temperature 0"),
    ({}, {"temperature": 1e-9}, "`temperature` is 1e-09"),
    ({}, {"top_p": 0.0}, "`top_p` is 0, wants a number in (0, 1]"),
    ({}, {"repetition_penalty": -1.0}, "`repetition_penalty` is -1"),
    ({}, {"max_new_tokens": 0}, "`max_new_tokens` is 0"),
    ({}, {"eos": [1, 40]}, "`eos_token_id` has token 40, the vocabulary has 40"),
    ({}, {"bad_words": [[1], []]}, "`bad_words_ids` has a sequence of 0 tokens"),
    ({}, {"sequence_bias": [([1], float("nan"))]}, "`sequence_bias` has a bias"),
    ({}, {"decay_start": 3}, "`decay_start` and `decay_factor` go together"),
]


@pytest.mark.parametrize(("file", "call", "message"), REFUSED, ids=str)
def test_what_c_lacks_is_refused_by_name(
    file: dict[str, Any], call: dict[str, Any], message: str
) -> None:
    opened = model(SMALL, generation_defaults(file, {}))
    with pytest.raises(RuntimeError) as raised:
        _edge.Sampler.make(opened, call, CONTEXT)
    assert message in raised.value.args[1]
    if file:
        _edge.Sampler.make(opened, {"without": list(file)}, CONTEXT)


@pytest.mark.parametrize("prompt", [[], [40], [-1], list(range(39)) * 2])
def test_prompts_that_do_not_fit_are_refused(prompt: list[int]) -> None:
    sampler = _edge.Sampler.make(plain(SMALL), {}, CONTEXT)
    with pytest.raises(RuntimeError):
        sampler.begin(prompt)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_no_numbers_are_refused(value: float) -> None:
    sampler = _edge.Sampler.make(plain(SMALL), {"temperature": 1.0}, CONTEXT)
    sampler.begin([1])
    logits = np.full(SMALL, value, np.float32)
    with pytest.raises(RuntimeError):
        sampler.choose(logits)


WORDS = ["the", "cat", "sat", "on", "mat", "é", "🐈", "a", "b"]
STOPS: list[list[str]] = [[], ["cat sat"], ["t o", "mat"], ["é"], ["the the", "a b a", "🐈 b"]]


@pytest.mark.parametrize("stops", STOPS, ids=str)
def test_text_and_stop_strings_are_python_s(stops: list[str], tmp_path: Path) -> None:
    source = tiny.llama(tmp_path / "llama", vocab_size=len(WORDS))
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="a"))
    tokenizer.save(str(source / "tokenizer.json"))
    out = tmp_path / "model.smelt"
    compile(source, target="edge", out=out, verify=False)
    session = smelt.open(out, threads=1)
    opened = _edge.Model.open(str(out))
    finishes = {None: 0, "eos": 1, "stop": 2, "length": 3, "context": 4}
    seen = set()
    for seed in range(30):
        prompt = [seed % len(WORDS), 3]
        pieces = session.generate(
            ids=prompt, temperature=3.0, seed=seed, max_new_tokens=12, stop=stops or None, eos=(7,)
        )
        given = {"stop": stops, "max_new_tokens": 12, "eos": [7], "temperature": 0.0}
        sampler = _edge.Sampler.make(opened, given, CONTEXT)
        sampler.begin(prompt)
        for piece in pieces:
            if piece.token is None:
                continue
            logits = np.zeros(len(WORDS), np.float32)
            logits[piece.token] = 1
            token, finish, text, *_ = sampler.choose(logits)
            assert (token, finish, text.decode()) == (
                piece.token,
                finishes[piece.finish],
                piece.text,
            )
            seen.add(piece.finish)
    assert seen >= {None, "eos", "length"} | ({"stop"} if stops else set())
