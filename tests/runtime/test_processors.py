"""Every processor and sampler against the one of `transformers`, on random logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.manifest import GenerationDefaults
from smelt.runtime.options import (
    LACKING,
    WITHOUT_EFFECT,
    generation_defaults,
    resolve,
)
from smelt.runtime.processors import PROCESSORS, Row, mark, process
from smelt.runtime.sampling import candidates, choose
from smelt.runtime.session import Session
from smelt.runtime.settings import SETTINGS, Options
from tests.runtime.toys import ToyDecoder, ToyTranslator, manifest

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("transformers.generation.logits_process")

VOCAB = 60
PROMPT = [4, 8, 15, 4, 8, 16, 23, 4]
SOURCE = [7, 8, 15, 42, 8, 15, 9]
BIASES = {(3,): -2.0, (8, 15): 4.0, (23, 4): 1.5, (16, 23, 4): 2.5, (4, 11): float("-inf")}
BAD = [[6], [9], [4, 8], [15, 4, 30], [2, 2]]


def logits_of(seed: int, vocab: int = VOCAB) -> Any:
    values = np.random.default_rng(seed).normal(size=vocab).astype(np.float32) * 3
    values[3] = values[7]  # a tie
    return values


def ours(given: dict[str, Any], **more: Any) -> Options:
    """Options as a call gives them."""
    return resolve(GenerationDefaults(), max_new_tokens=50, eos=(6, 7), **given, **more)


# What a call says, and the processor that `transformers` makes of it, in its order.
PROCESSES: list[tuple[dict[str, Any], Callable[[], list[Any]]]] = [
    ({"sequence_bias": BIASES}, lambda: [theirs.SequenceBiasLogitsProcessor(BIASES)]),
    (
        {"sequence_bias": [[[3], -2.0], [[23, 4], 1.5]]},
        lambda: [theirs.SequenceBiasLogitsProcessor([[[3], -2.0], [[23, 4], 1.5]])],
    ),
    (
        {"encoder_repetition_penalty": 1.7},
        lambda: [theirs.EncoderRepetitionPenaltyLogitsProcessor(1.7, torch.tensor([SOURCE]))],
    ),
    (
        {"encoder_no_repeat_ngram_size": 2},
        lambda: [theirs.EncoderNoRepeatNGramLogitsProcessor(2, torch.tensor([SOURCE]))],
    ),
    (
        {"encoder_no_repeat_ngram_size": 3},
        lambda: [theirs.EncoderNoRepeatNGramLogitsProcessor(3, torch.tensor([SOURCE]))],
    ),
    ({"bad_words_ids": BAD}, lambda: [theirs.NoBadWordsLogitsProcessor(BAD, [6, 7])]),
    ({"min_length": 11}, lambda: [theirs.MinLengthLogitsProcessor(11, [6, 7])]),
    (
        {"exponential_decay_length_penalty": (2, 1.4)},
        lambda: [theirs.ExponentialDecayLengthPenalty((2, 1.4), [6, 7], len(PROMPT))],
    ),
    (
        {
            "exponential_decay_length_penalty": (0, 1.1),
            "bad_words_ids": BAD,
            "repetition_penalty": 1.3,
            "encoder_repetition_penalty": 0.8,
            "sequence_bias": BIASES,
            "no_repeat_ngram_size": 2,
            "min_length": 10,
        },
        lambda: [
            theirs.SequenceBiasLogitsProcessor(BIASES),
            theirs.EncoderRepetitionPenaltyLogitsProcessor(0.8, torch.tensor([SOURCE])),
            theirs.RepetitionPenaltyLogitsProcessor(1.3),
            theirs.NoRepeatNGramLogitsProcessor(2),
            theirs.NoBadWordsLogitsProcessor(BAD, [6, 7]),
            theirs.MinLengthLogitsProcessor(10, [6, 7]),
            theirs.ExponentialDecayLengthPenalty((0, 1.1), [6, 7], len(PROMPT)),
        ],
    ),
]


def name_of(value: Any) -> str:
    """The name of a row; functions have none that every process agrees on."""
    return "theirs" if callable(value) else str(value)[:60]


@pytest.mark.parametrize(("given", "make"), PROCESSES, ids=name_of)
@pytest.mark.parametrize("new", [0, 1, 3, 5])
def test_processors_equal_transformers(
    given: dict[str, Any], make: Callable[[], list[Any]], new: int
) -> None:
    tokens = PROMPT + [8, 15, 4, 8, 42][:new]
    wanted = torch.tensor(logits_of(new)[None])
    for processor in make():
        wanted = processor(torch.tensor([tokens]), wanted)
    row = Row(0, tokens, new, source=tuple(SOURCE))
    assert np.array_equal(process(logits_of(new), row, ours(given)), wanted[0].numpy())


def test_the_source_of_a_decoder_alone_is_its_prompt() -> None:
    row, given = Row(0, [*PROMPT, 8], 1), {"encoder_no_repeat_ngram_size": 2}
    found = process(logits_of(0), row, ours(given))
    assert np.flatnonzero(np.isinf(found)).tolist() == [15, 16]


def test_frequency_and_presence_count_new_tokens() -> None:
    row = Row(0, [*PROMPT, 8, 30, 8, 8], 4)
    before = logits_of(2)
    found = process(before, row, ours({"frequency_penalty": 0.5, "presence_penalty": -0.25}))
    wanted = before.copy()
    wanted[8] += np.float32(0.25 - 1.5)
    wanted[30] += np.float32(0.25 - 0.5)
    assert np.allclose(found, wanted, atol=1e-6) and found[4] == before[4]


@pytest.mark.parametrize("bos", [None, 17])
@pytest.mark.parametrize("prompt", [[1], [1, 2]])
def test_begin_suppress_and_a_forced_beginning(bos: int | None, prompt: list[int]) -> None:
    options = Options(max_new_tokens=9, forced_bos=bos, begin_suppress=(5, 17))
    begin = len(prompt) + (1 if bos is not None and len(prompt) == 1 else 0)
    for new in range(3):
        tokens = prompt + [30, 31][:new]
        wanted = torch.tensor(logits_of(new)[None])
        if bos is not None:
            wanted = theirs.ForcedBOSTokenLogitsProcessor(bos)(torch.tensor([tokens]), wanted)
        wanted = theirs.SuppressTokensAtBeginLogitsProcessor([5, 17], begin)(
            torch.tensor([tokens]), wanted
        )
        found = process(logits_of(new), Row(0, tokens, new), options)
        assert np.array_equal(found, wanted[0].numpy())


WARPS: list[tuple[dict[str, Any], Callable[[int], list[Any]]]] = [
    ({"top_h": 0.4}, lambda k: [theirs.TopHLogitsWarper(0.4)]),
    ({"typical_p": 0.5}, lambda k: [theirs.TypicalLogitsWarper(0.5, min_tokens_to_keep=k)]),
    ({"typical_p": 0.95}, lambda k: [theirs.TypicalLogitsWarper(0.95, min_tokens_to_keep=k)]),
    ({"epsilon_cutoff": 0.02}, lambda k: [theirs.EpsilonLogitsWarper(0.02, min_tokens_to_keep=k)]),
    ({"eta_cutoff": 0.05}, lambda k: [theirs.EtaLogitsWarper(0.05, min_tokens_to_keep=k)]),
    ({"epsilon_cutoff": 0.9}, lambda k: [theirs.EpsilonLogitsWarper(0.9, min_tokens_to_keep=k)]),
    ({"top_k": 1}, lambda k: [theirs.TopKLogitsWarper(1, min_tokens_to_keep=k)]),
    ({"top_p": 0.1}, lambda k: [theirs.TopPLogitsWarper(0.1, min_tokens_to_keep=k)]),
    ({"min_p": 0.9}, lambda k: [theirs.MinPLogitsWarper(0.9, min_tokens_to_keep=k)]),
    (
        {
            "top_h": 0.9,
            "top_k": 30,
            "top_p": 0.97,
            "min_p": 0.005,
            "typical_p": 0.9,
            "epsilon_cutoff": 0.01,
            "eta_cutoff": 0.02,
        },
        lambda k: [
            theirs.TopHLogitsWarper(0.9),
            theirs.TopKLogitsWarper(30, min_tokens_to_keep=k),
            theirs.TopPLogitsWarper(0.97, min_tokens_to_keep=k),
            theirs.MinPLogitsWarper(0.005, min_tokens_to_keep=k),
            theirs.TypicalLogitsWarper(0.9, min_tokens_to_keep=k),
            theirs.EpsilonLogitsWarper(0.01, min_tokens_to_keep=k),
            theirs.EtaLogitsWarper(0.02, min_tokens_to_keep=k),
        ],
    ),
]


@pytest.mark.parametrize(("given", "make"), WARPS, ids=name_of)
@pytest.mark.parametrize("keep", [1, 3])
@pytest.mark.parametrize("vocab", [VOCAB, 7001])
def test_samplers_keep_what_transformers_keeps(
    given: dict[str, Any], make: Callable[[int], list[Any]], keep: int, vocab: int
) -> None:
    options = ours(given, temperature=0.8, seed=1)
    for seed in range(4):
        wanted = torch.tensor(logits_of(seed, vocab)[None]) / 0.8
        for warper in make(keep):
            wanted = warper(None, wanted)
        shares = torch.softmax(wanted[0].double(), -1).numpy()
        ids, weights = candidates(logits_of(seed, vocab), options, keep)
        assert ids.tolist() == np.flatnonzero(shares).tolist()
        assert np.allclose(weights / weights.sum(), shares[ids], rtol=1e-4)


@pytest.mark.parametrize(
    "given", [{"typical_p": 0.9}, {"eta_cutoff": 0.02}, {"epsilon_cutoff": 0.03}], ids=str
)
def test_draws_follow_the_distribution(given: dict[str, Any]) -> None:
    logits, options, count = logits_of(5), ours(given, seed=11), 8000
    ids, weights = candidates(logits, options)
    found = np.zeros(VOCAB)
    for step in range(count):
        found[choose(logits, Row(0, [1], step), options)] += 1
    expected = weights / weights.sum() * count
    assert found.sum() == found[ids].sum() and ids.size > 2
    chi = float(((found[ids] - expected) ** 2 / expected).sum())
    assert chi < ids.size - 1 + 4.5 * (2 * ids.size) ** 0.5  # far in the tail of chi-square


@pytest.mark.parametrize("scheme", ["lefthash", "selfhash"])
@pytest.mark.parametrize("width", [1, 4])
def test_watermarks_equal_transformers(scheme: str, width: int) -> None:
    told = {"greenlist_ratio": 0.3, "bias": 1.5, "seeding_scheme": scheme, "context_width": width}
    processor = theirs.WatermarkLogitsProcessor(vocab_size=VOCAB, device="cpu", **told)
    options = ours({"watermarking_config": told})
    for seed, tokens in enumerate([[9], PROMPT, [57, 3, 59, 1, 0]]):
        before = logits_of(seed)
        before[3] += 0.1  # no tie: the order of equal logits is anybody's
        wanted = processor(torch.tensor([tokens]), torch.tensor(before[None]))[0].numpy()
        assert np.array_equal(mark(before, Row(0, tokens), options), wanted)


def test_a_watermark_shapes_draws_and_greedy_choices() -> None:
    told = {"bias": 40.0}
    before = logits_of(3)
    for row in (Row(0, [n, n + 1], 1) for n in range(20)):
        plain = ours({"watermarking_config": told})
        marked = mark(before, row, plain)
        assert choose(before, row, plain) == int(marked.argmax())
        green = np.flatnonzero(marked != before)
        assert green.size == VOCAB // 4
        assert choose(before, row, ours({"watermarking_config": told}, top_k=50)) in green


def test_every_key_of_transformers_is_read_refused_or_without_effect() -> None:
    config = pytest.importorskip("transformers").GenerationConfig().to_dict()
    read = {n if s.own == "" else s.own for n, s in SETTINGS.items()} - {None}
    read |= {"bos_token_id", "pad_token_id", "decoder_start_token_id", "do_sample"}
    assert not read & set(LACKING) and not read & set(WITHOUT_EFFECT)
    assert not set(LACKING) & set(WITHOUT_EFFECT)
    assert set(config) <= read | set(LACKING) | set(WITHOUT_EFFECT)


def test_every_processor_is_off_by_default() -> None:
    options = Options(max_new_tokens=5, eos=(3,))
    rows = [Row(0, [1], 0), Row(0, [1, 2, 3], 2)]
    assert not [1 for wanted, _ in PROCESSORS for row in rows if wanted(options, row)]


OWN: dict[str, Any] = {
    "do_sample": True,
    "typical_p": 0.9,
    "eta_cutoff": 0.001,
    "bad_words_ids": [[5], [6, 7]],
    "sequence_bias": [[[3, 4], -1.0]],
    "min_length": 7,
    "encoder_no_repeat_ngram_size": 3,
    "exponential_decay_length_penalty": [5, 1.1],
    "watermarking_config": {"bias": 3.0},
    "stop_strings": ["###"],
    "max_time": 1.5,
    "epsilon_cutoff": 0.0,
    "renormalize_logits": True,
}


def test_settings_come_from_generation_config_through_the_manifest() -> None:
    defaults = generation_defaults(OWN, {})
    defaults = GenerationDefaults.model_validate(defaults.model_dump(mode="json"))
    options = resolve(defaults)
    assert (options.typical_p, options.eta_cutoff, options.min_length) == (0.9, 0.001, 7)
    assert options.bad_words_ids == ((5,), (6, 7)) and options.stop == ("###",)
    assert options.sequence_bias == (((3, 4), -1.0),) and options.max_time == 1.5
    assert options.watermarking_config is not None and options.watermarking_config.bias == 3.0
    assert options.exponential_decay_length_penalty == (5, 1.1)
    assert resolve(defaults, temperature=0).typical_p == 1.0  # samplers are the model's own
    assert resolve(defaults, without=("bad_words_ids",)).bad_words_ids == ()
    assert resolve(defaults, min_length=2).min_length == 2
    assert "epsilon_cutoff" not in defaults.settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"typical_p": 0}, "`typical_p` is 0, wants"),
        ({"bad_words_ids": [5]}, "`bad_words_ids` has 5"),
        ({"bad_words_ids": [[]]}, "not empty"),
        ({"sequence_bias": [[1, 2.0]]}, "wants a list of token ids"),
        ({"sequence_bias": [[[1], "x"]]}, "the bias 'x'"),
        ({"exponential_decay_length_penalty": 3}, "wants a start and a factor"),
        ({"watermarking_config": {"colour": 1}}, "has no `colour`"),
        ({"watermarking_config": {"seeding_scheme": "x"}}, "wants lefthash or selfhash"),
        ({"renormalize_logits": 1}, "wants true or false"),
        ({"max_time": 0}, "`max_time` is 0"),
        ({"temperature": 0, "typical_p": 0.5}, "no meaning at temperature 0"),
    ],
    ids=str,
)
def test_bad_options_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SmeltError, match=message):
        resolve(GenerationDefaults(), **given)
    if "temperature" not in given:
        with pytest.raises(SmeltError, match=message):
            generation_defaults(given, {})


JUNK: list[Any] = [
    {}, [], "", "x", True, -1, 0, 1, 2, 0.5, 1e9, float("inf"), 10**30, [[]], [1], [[1]], ["x"],
    [[1, 2], [3]], {"a": 1}, [[[1], 2.0]], [[[1], None]], [2, 3.0], [2**40], {"bias": "x"}, [[0.5]],
]  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_junk_in_an_artifact_is_an_error_and_no_crash(name: str) -> None:
    key = SETTINGS[name].own or name
    for value in JUNK:
        try:
            defaults = GenerationDefaults(do_sample=True, settings={key: value})
            options = resolve(defaults, max_new_tokens=3, eos=(3,))
            Session(ToyDecoder()).generate(ids=[5, 6], **{name: value, "max_new_tokens": 3})
        except SmeltError:
            continue
        assert options == resolve(defaults, max_new_tokens=3, eos=(3,), seed=options.seed)


def test_what_an_engine_or_model_cannot_give_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="SynthID"):
        resolve(generation_defaults({"watermarking_config": {"ngram_len": 5, "keys": [1]}}, {}))
    told = manifest()
    with pytest.raises(SmeltError, match=r"`bad_words_ids` has token 99, the vocabulary has 64"):
        Session(ToyDecoder(told)).generate(ids=[2], bad_words_ids=[[99]]).wait()
    engine = ToyTranslator()
    session = Session(engine)
    found = session.generate(ids=[[3, 4]], max_new_tokens=3, bad_words_ids=[[10]]).wait()
    assert 10 not in found.ids
    encoder = engine.manifest.functions[0]
    features = encoder.inputs[0].model_copy(update={"name": "input_features"})
    engine.manifest = engine.manifest.model_copy(
        update={
            "functions": (
                encoder.model_copy(update={"inputs": (features,)}),
                engine.manifest.functions[1],
            )
        }
    )
    session = Session(engine)
    with pytest.raises(UnsupportedError, match="the encoder reads no tokens"):
        session.generate(
            inputs={"input_features": np.zeros((1, 4), np.int64)}, encoder_repetition_penalty=1.2
        ).wait()


def test_time_ends_rows_after_a_token() -> None:
    told = manifest(generation={})
    result = Session(ToyDecoder(told)).generate(ids=[[2], [3]], max_time=1e-9).wait()
    assert [c.finish for c in result.completions] == ["time", "time"]
    assert [len(c.ids) for c in result.completions] == [1, 1]
    free = Session(ToyDecoder(told)).generate(ids=[2], max_new_tokens=3, max_time=60).wait()
    assert (len(free.ids), free.finish) == (3, "length")
