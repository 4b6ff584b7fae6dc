"""Guesses from the text or a draft, and guidance, over toy engines: tokens, limits, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.early_layers import candidate_layers
from smelt.runtime.lookup import PromptLookup
from smelt.runtime.manifest import HiddenStates
from smelt.runtime.options import generation_defaults, resolve
from smelt.runtime.processors import Row
from smelt.runtime.scores import log_softmax
from smelt.runtime.session import Session
from smelt.runtime.settings import Options
from tests.runtime.toys import VOCAB, ToyDecoder, ToyTranslator, manifest

PROMPTS = [[5, 6, 7, 5, 6], [9], [11, 12, 13, 14, 15, 16]]
FREE = manifest(generation={})
SAMPLED: dict[str, Any] = {"temperature": 1.1, "top_k": 6, "seed": 5}
SHAPED: dict[str, Any] = {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3, "logprobs": 2}


def recurrent() -> ToyDecoder:
    slot = {"name": "mix", "kind": "replace", "dtype": "f32", "shape": ["batch", 1, "past", 16]}
    function = FREE.functions[0].model_dump() | {"reads": ["mix"], "writes": ["mix"]}
    return ToyDecoder(manifest(state=[slot], functions=[function]))


def windowed() -> ToyDecoder:
    slot = FREE.state[0].model_dump() | {"layout": "ring", "window": 8}
    return ToyDecoder(manifest(state=[slot]))


def test_a_lookup_gives_what_followed_the_longest_gram_first() -> None:
    options = Options(max_new_tokens=9, prompt_lookup_num_tokens=3, max_matching_ngram_size=2)
    lookup = PromptLookup(options)
    assert lookup.propose(Row(0, [1, 2, 3, 4, 9, 2, 8, 1, 2]), 9) == [3, 4, 9]
    assert lookup.propose(Row(0, [1, 2, 3, 4, 9, 2, 8, 7, 2]), 2) == [3, 4]
    assert lookup.propose(Row(0, [1, 2, 3]), 9) == []
    assert lookup.propose(Row(0, [4, 4]), 9) == [4]
    ends = Options(max_new_tokens=9, prompt_lookup_num_tokens=3, eos=(4,))
    assert PromptLookup(ends).propose(Row(0, [1, 2, 3, 4, 9, 1, 2]), 9) == [3]


@pytest.mark.parametrize("given", [{}, SAMPLED, SHAPED], ids=["greedy", "sampled", "shaped"])
@pytest.mark.parametrize("guess", ["lookup", "draft", "same"])
@pytest.mark.parametrize("eos", [(), (0, 1, 2, 3, 4)], ids=["no-end", "ends"])
def test_guesses_change_no_token(given: dict[str, Any], guess: str, eos: tuple[int, ...]) -> None:
    given = {"max_new_tokens": 24, "eos": eos, **given}
    plain = Session(ToyDecoder(FREE)).generate(ids=PROMPTS, **given).wait()
    session = Session(ToyDecoder(FREE))
    if guess == "lookup":
        found = session.generate(ids=PROMPTS, prompt_lookup_num_tokens=4, **given)
    else:
        draft = Session(ToyDecoder(FREE, seed=0 if guess == "same" else 1))
        found = session.generate(ids=PROMPTS, draft=draft, num_assistant_tokens=3, **given)
    pieces = list(found)
    for index, (ours, theirs) in enumerate(zip(found.completions, plain.completions, strict=True)):
        assert (ours.ids, ours.finish) == (theirs.ids, theirs.finish)
        assert [p.token for p in pieces if p.row == index] == theirs.ids
        for mine, other in zip(ours.logprobs, theirs.logprobs, strict=True):
            assert mine.logprob == pytest.approx(other.logprob, abs=1e-4)
    told = found.metrics
    assert told.new_tokens == len(pieces) and told.first_tokens == 3
    assert 0 <= told.right_tokens <= told.guessed_tokens
    if guess == "same" and not eos:
        assert told.right_tokens == told.guessed_tokens
        assert told.decode_calls == 3 * 6  # of 23 tokens after the first, four a call


def test_guesses_keep_the_state_of_a_conversation_and_its_context() -> None:
    session = Session(ToyDecoder(manifest(context=30, generation={})))
    tokens = [3, 14, 15]
    for _ in range(3):
        found = session.generate(
            ids=tokens, max_new_tokens=5, reuse=True, prompt_lookup_num_tokens=5
        )
        assert found.ids == Session(ToyDecoder(FREE)).generate(ids=tokens, max_new_tokens=5).ids
        assert found.metrics.cached_tokens in (0, len(tokens) - 2)
        tokens = [*tokens, *found.ids, 41]
    full = session.generate(ids=tokens, max_new_tokens=99, prompt_lookup_num_tokens=5).wait()
    assert (len(tokens) + len(full.ids), full.finish) == (30, "context")


def test_a_draft_with_less_context_stops_guessing() -> None:
    draft = Session(ToyDecoder(manifest(context=8, generation={})))
    found = Session(ToyDecoder(FREE)).generate(ids=[4, 5], max_new_tokens=20, draft=draft).wait()
    assert found.ids == Session(ToyDecoder(FREE)).generate(ids=[4, 5], max_new_tokens=20).ids
    assert 0 < found.metrics.guessed_tokens <= 6


def test_a_models_own_contrastive_search_counts_its_candidates() -> None:
    defaults = generation_defaults({"penalty_alpha": 0.6, "top_k": 4}, {})
    options = resolve(defaults)
    assert (options.penalty_alpha, options.top_k, options.greedy) == (0.6, 4, True)
    assert resolve(generation_defaults({"penalty_alpha": 0.6}, {})).top_k == 50
    left = resolve(defaults, without=("penalty_alpha",))
    assert (left.penalty_alpha, left.top_k, left.room) == (0.0, 0, 1)
    assert resolve(defaults, penalty_alpha=0.0).top_k == 0


@pytest.mark.parametrize(
    ("asked", "told", "layers"),
    [
        ("low", {"layers": 8}, [0, 2]),
        ("low", {"layers": 8, "tied": True}, [2]),
        ("low", {"layers": 4, "tied": True}, [2]),
        ("low", {"layers": 2, "tied": True}, [1]),
        ("low", {"layers": 1, "tied": True}, [0]),
        ("high", {"layers": 8}, [4, 6]),
        ("low", {"layers": 48, "tied": True}, list(range(2, 20, 2))),
        ("high", {"layers": 48}, list(range(28, 48, 2))),
        ((5, 1), {"layers": 8}, [5, 1]),
    ],
    ids=str,
)
def test_early_layers_are_those_of_transformers(
    asked: str | tuple[int, ...], told: dict[str, Any], layers: list[int]
) -> None:
    assert candidate_layers(asked, HiddenStates(**told)) == layers


def test_a_models_own_lookup_is_used() -> None:
    defaults = generation_defaults({"prompt_lookup_num_tokens": 4}, {})
    assert resolve(defaults).prompt_lookup_num_tokens == 4
    assert resolve(defaults, without=("prompt_lookup_num_tokens",)).prompt_lookup_num_tokens is None


@pytest.mark.parametrize("negative", [None, [20, 21, 22, 23, 24, 25, 26, 27], [30]])
def test_guidance_is_the_difference_of_two_prompts(negative: list[int] | None) -> None:
    given: dict[str, Any] = {"max_new_tokens": 6, "guidance_scale": 1.8, "negative": negative}
    found = Session(ToyDecoder(FREE)).generate(ids=PROMPTS, **given).wait()
    for prompt, completion in zip(PROMPTS, found.completions, strict=True):
        tokens = list(prompt)
        for _ in range(6):
            twin = [*(negative or prompt[-1:]), *tokens[len(prompt) :]]
            row, other = (_last(ids) for ids in (tokens, twin))
            tokens.append(int((1.8 * (row - other) + other).argmax()))
        assert completion.ids == tokens[len(prompt) :]


def _last(tokens: list[int]) -> Any:
    ids = np.array([tokens])
    arrays = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "position_ids": np.arange(ids.size)[None],
    }
    return log_softmax(ToyDecoder(FREE).call("main", arrays)["logits"][0, -1])


def test_guidance_takes_two_rows_and_the_context_of_the_longer() -> None:
    told = manifest(symbols=[{"name": "batch", "min": 1, "max": 2}], generation={}, context=12)
    given: dict[str, Any] = {"guidance_scale": 2.0, "negative": list(range(2, 11))}
    found = Session(ToyDecoder(told)).generate(ids=[[5], [6]], max_new_tokens=9, **given).wait()
    assert [len(c.ids) for c in found.completions] == [3, 3]
    alone = manifest(symbols=[{"name": "batch", "min": 1, "max": 1}])
    with pytest.raises(UnsupportedError, match=r"which takes 2 rows, the artifact takes 1"):
        Session(ToyDecoder(alone)).generate(ids=[5], guidance_scale=2.0)


ENGINES: dict[str, Any] = {
    "recurrent": recurrent,
    "windowed": windowed,
    "translator": ToyTranslator,
    "decoder": ToyDecoder,
    "stated": lambda: ToyDecoder(manifest(hidden={"layers": 3})),
}


@pytest.mark.parametrize(
    ("engine", "given", "error", "message"),
    [
        ("recurrent", {"prompt_lookup_num_tokens": 3}, UnsupportedError, "`mix` is recurrent"),
        ("windowed", {"prompt_lookup_num_tokens": 3}, UnsupportedError, "a window of 8 tokens"),
        ("translator", {"prompt_lookup_num_tokens": 3}, UnsupportedError, "decoders alone"),
        ("recurrent", {"draft": ToyDecoder}, UnsupportedError, "`mix` is recurrent"),
        ("decoder", {"draft": recurrent}, UnsupportedError, "`mix` is recurrent"),
        ("decoder", {"draft": windowed}, UnsupportedError, "a window of 8 tokens"),
        ("translator", {"draft": ToyDecoder}, UnsupportedError, "decoders alone"),
        ("translator", {"guidance_scale": 2.0}, UnsupportedError, "an encoder comes first"),
        ("decoder", {"draft": ToyDecoder, "num_beams": 2}, UnsupportedError, "go with a draft"),
        ("decoder", {"draft": ToyDecoder, "guidance_scale": 2.0}, UnsupportedError, "with a draft"),
        (
            "decoder",
            {"draft": ToyDecoder, "prompt_lookup_num_tokens": 2},
            UnsupportedError,
            "does not go with a draft",
        ),
        (
            "decoder",
            {"num_beams": 2, "prompt_lookup_num_tokens": 2},
            UnsupportedError,
            "one row at a time",
        ),
        ("decoder", {"num_beams": 2, "guidance_scale": 2.0}, UnsupportedError, "not guided"),
        (
            "decoder",
            {"prompt_lookup_num_tokens": 2, "guidance_scale": 2.0},
            UnsupportedError,
            "without guidance",
        ),
        ("decoder", {"penalty_alpha": 0.5}, UnsupportedError, "gives no hidden states"),
        ("decoder", {"penalty_alpha": 0.5, "top_k": 1}, SmeltError, "wants two candidates"),
        (
            "decoder",
            {"penalty_alpha": 0.5, "top_k": 4, "temperature": 0.7},
            UnsupportedError,
            "contrastive search draws nothing",
        ),
        ("decoder", {"penalty_alpha": 0.5, "top_p": 0.7}, UnsupportedError, "draws nothing"),
        ("decoder", {"penalty_alpha": 0.5, "num_beams": 2}, UnsupportedError, "not go together"),
        ("decoder", {"penalty_alpha": 0.5, "dola_layers": "low"}, UnsupportedError, "not go toget"),
        ("decoder", {"penalty_alpha": 0.5, "draft": ToyDecoder}, UnsupportedError, "with a draft"),
        ("decoder", {"dola_layers": "low"}, UnsupportedError, "gives no states of layers"),
        ("decoder", {"dola_layers": "low", "num_beams": 2}, UnsupportedError, "not go together"),
        ("decoder", {"dola_layers": [0], "draft": ToyDecoder}, UnsupportedError, "with a draft"),
        ("decoder", {"dola_layers": "middle"}, SmeltError, "wants low, high or a list"),
        ("decoder", {"dola_layers": []}, SmeltError, "wants low, high or a list"),
        ("stated", {"dola_layers": [0, 3]}, SmeltError, "has 3, the early layers are 0 to 2"),
        ("decoder", {"max_matching_ngram_size": 2}, SmeltError, "means nothing without"),
        ("decoder", {"num_assistant_tokens": 2}, SmeltError, "means nothing without a draft"),
        ("decoder", {"negative": [3]}, SmeltError, "means nothing without `guidance_scale`"),
        ("decoder", {"negative": [VOCAB], "guidance_scale": 2.0}, SmeltError, "of 64"),
        ("decoder", {"negative": "no", "guidance_scale": 2.0}, SmeltError, "no tokenizer"),
        (
            "decoder",
            {"negative": [3] * 128, "guidance_scale": 2.0},
            SmeltError,
            "128 tokens, the context is 128",
        ),
        ("decoder", {"prompt_lookup_num_tokens": 0}, SmeltError, "`prompt_lookup_num_tokens` is 0"),
    ],
)
def test_what_cannot_go_together_is_refused(
    engine: str, given: dict[str, Any], error: type[SmeltError], message: str
) -> None:
    session = Session(ENGINES[engine]())
    if "draft" in given:
        given = {**given, "draft": Session(given["draft"]())}
    with pytest.raises(error, match=message):
        session.generate(ids=[2, 3], **given).wait()


def test_a_draft_of_other_tokens_or_oneself_is_refused() -> None:
    session = Session(ToyDecoder(FREE))
    with pytest.raises(SmeltError, match="vocabulary of 63, the model of 64"):
        session.generate(ids=[2], draft=Session(ToyDecoder(manifest(vocab_size=63))))
    with pytest.raises(SmeltError, match="is the session itself"):
        session.generate(ids=[2], draft=session)
