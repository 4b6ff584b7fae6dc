"""Beams over toy engines: against every sequence there is, limits, draws, text and refusals."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.options import generation_defaults, resolve
from smelt.runtime.scores import log_softmax
from smelt.runtime.session import Session
from smelt.runtime.text import Text
from tests.runtime.toys import VOCAB, ToyDecoder, ToyTranslator, manifest

FEW = [5, 9, 17]
ONLY_FEW = [[[t], -1e4] for t in range(VOCAB) if t not in FEW]

GROUPS: dict[str, Any] = {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7}
FORCED: dict[str, Any] = {"num_beams": 4, "force_words_ids": [[5, 6], [[8, 9], [7]]]}


def total(prompt: list[int], new: tuple[int, ...]) -> float:
    """The log-probability of new tokens among the few after a prompt."""
    engine = ToyDecoder(manifest(generation={}))
    ids = np.array([[*prompt, *new]])
    logits = engine.call(
        "main",
        {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "position_ids": np.arange(ids.size)[None],
        },
    )["logits"][0]
    places = range(len(prompt) - 1, ids.size - 1)
    return float(sum(log_softmax(logits[p])[t] for p, t in zip(places, new, strict=True)))


def test_enough_beams_find_the_best_sequence_of_all() -> None:
    prompt = [3, 4]
    every = {new: total(prompt, new) for new in product(FEW, repeat=3)}
    best = sorted(every, key=lambda new: -every[new])
    found = Session(ToyDecoder(manifest(generation={}))).generate(
        ids=prompt, max_new_tokens=3, num_beams=9, num_return_sequences=4, sequence_bias=ONLY_FEW
    )
    assert [tuple(c.ids) for c in found.wait().completions] == best[:4]
    scores = [c.score or 0.0 for c in found.completions]
    assert np.allclose(scores, [every[new] / 3 for new in best[:4]], atol=1e-4)


@pytest.mark.parametrize("given", [GROUPS, FORCED], ids=["groups", "forced"])
def test_other_searches_end_at_stop_strings_rows_and_limits(given: dict[str, Any]) -> None:
    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w0"))
    session = Session(ToyDecoder(manifest(generation={})), Text(tokenizer, {}))
    given = {**given, "max_new_tokens": 9, "num_return_sequences": 2, "logprobs": 0}
    finishes = set()
    for stop in range(12, VOCAB, 5):
        tokens = session.generate(ids=[[4], [5, 6]], eos=stop, **given).wait()
        texts = session.generate(ids=[[4], [5, 6]], stop=f"w{stop}", **given).wait()
        alone = [session.generate(ids=p, eos=stop, **given).wait() for p in ([4], [5, 6])]
        assert [c.ids for c in texts.completions] == [c.ids for c in tokens.completions]
        assert [c.ids for g in alone for c in g.completions] == [c.ids for c in tokens.completions]
        for completion in tokens.completions:
            finishes.add(completion.finish)
            assert len(completion.logprobs) == len(completion.ids)
    assert finishes == {"eos", "length"}
    late = session.generate(ids=[2, 3], max_time=1e-9, **given).wait()
    assert [c.finish for c in late.completions] == ["time", "time"]


def test_forced_words_are_said_where_there_is_room_and_the_prompt_counts() -> None:
    session = Session(ToyDecoder(manifest(generation={})))
    words = [[11, 12, 13], [[20, 21], [22]]]
    given: dict[str, Any] = {"num_beams": 6, "max_new_tokens": 9, "eos": (0, 1, 2)}
    found = session.generate(ids=[[4], [5, 6]], force_words_ids=words, **given).wait()
    for completion in found.completions:
        said = "".join(f"<{token}>" for token in completion.ids)
        assert "<11><12><13>" in said and ("<20><21>" in said or "<22>" in said)
    plain = session.generate(ids=[4, 11, 12, 13, 22], **given).ids
    assert session.generate(ids=[4, 11, 12, 13, 22], force_words_ids=words, **given).ids == plain
    forbidden = session.generate(ids=[4], force_words_ids=[[9]], bad_words_ids=[[9]], **given)
    assert 9 not in forbidden.ids


def test_groups_without_a_common_token_say_different_things() -> None:
    session = Session(ToyDecoder(manifest(generation={})))
    given: dict[str, Any] = {"num_beams": 4, "num_beam_groups": 4, "num_return_sequences": 4}
    found = session.generate(ids=[4], diversity_penalty=1e6, max_new_tokens=5, **given).wait()
    for place in range(5):
        assert len({c.ids[place] for c in found.completions}) == 4


def test_one_beam_of_a_batch_is_that_prompt_alone() -> None:
    prompts = [[5, 6, 7], [9], [11, 12, 13, 14, 15, 16]]
    given: dict[str, Any] = {"num_beams": 3, "max_new_tokens": 9, "eos": (0, 1, 2, 3, 40, 41)}
    batch = Session(ToyDecoder()).generate(ids=prompts, **given).wait()
    for limit in (3, 7):
        told = manifest(symbols=[{"name": "batch", "min": 1, "max": limit}])
        parts = Session(ToyDecoder(told)).generate(ids=prompts, **given).wait()
        assert [c.ids for c in parts.completions] == [c.ids for c in batch.completions]
    alone = [Session(ToyDecoder()).generate(ids=p, **given).ids for p in prompts]
    assert alone == [c.ids for c in batch.completions]


def test_drawn_beams_begin_as_the_distribution_says() -> None:
    prompt, count = [7, 8], 400
    shares = np.exp([total(prompt, (token,)) for token in FEW])
    shares /= shares.sum()
    first: Counter[int] = Counter()
    rows = Session(ToyDecoder(manifest(generation={}))).generate(
        ids=[prompt] * count,
        max_new_tokens=1,
        num_beams=2,
        num_return_sequences=2,
        temperature=1.0,
        seed=4,
        sequence_bias=ONLY_FEW,
    )
    for at in range(0, 2 * count, 2):
        pair = [c.ids[0] for c in rows.wait().completions[at : at + 2]]
        assert len(set(pair)) == 2 and set(pair) <= set(FEW)
        first.update(pair)
    # Two of three without return: a token is left out with the share of the pairs without it.
    for place, token in enumerate(FEW):
        a, b = (shares[i] for i in range(3) if i != place)
        left_out = a * b / (1 - a) + b * a / (1 - b)
        assert first[token] / count == pytest.approx(1 - left_out, abs=0.08)


def test_several_draws_of_each_prompt() -> None:
    session = Session(ToyDecoder(manifest(generation={})))
    prompts = [[5, 6, 7], [9]]
    given: dict[str, Any] = {"temperature": 1.0, "max_new_tokens": 6, "seed": 2}
    found = session.generate(ids=prompts, num_return_sequences=3, **given).wait()
    assert [c.prompt for c in found.completions] == [p for p in prompts for _ in range(3)]
    assert len({tuple(c.ids) for c in found.completions}) == 6
    same = session.generate(ids=[p for p in prompts for _ in range(3)], **given).wait()
    assert [c.ids for c in same.completions] == [c.ids for c in found.completions]
    engine = ToyTranslator()
    twice = Session(engine).generate(
        inputs={"input_ids": [[3, 4]], "attention_mask": [[1, 1]]},
        num_return_sequences=2,
        temperature=0.01,
        max_new_tokens=2,
    )
    assert [c.ids for c in twice.wait().completions] == [[9, 10], [9, 10]]


def test_encoders_beams_time_and_context() -> None:
    found = Session(ToyTranslator()).generate(ids=[[3, 4], [5]], max_new_tokens=3, num_beams=2)
    assert [c.ids for c in found.wait().completions] == [[9, 10, 11], [7, 8, 9]]
    late = Session(ToyDecoder()).generate(ids=[2, 3], num_beams=2, max_time=1e-9).wait()
    assert (len(late.ids), late.finish) == (1, "time")
    short = Session(ToyDecoder(manifest(context=6, generation={})))
    cut = short.generate(ids=[2, 3], num_beams=2, max_new_tokens=50).wait()
    assert (len(cut.ids), cut.finish) == (4, "context")


def test_beams_end_at_stop_strings_as_at_tokens() -> None:
    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w0"))
    session = Session(ToyDecoder(manifest(generation={})), Text(tokenizer, {}))
    given: dict[str, Any] = {"num_beams": 3, "num_return_sequences": 3, "max_new_tokens": 8}
    finishes = set()
    for stop in range(7, VOCAB, 7):  # from 7 on, no name begins another
        tokens = session.generate(ids=[[4], [5, 6]], eos=stop, **given).wait()
        texts = session.generate(ids=[[4], [5, 6]], stop=f"w{stop}", **given).wait()
        assert [c.ids for c in texts.completions] == [c.ids for c in tokens.completions]
        for mine, other in zip(texts.completions, tokens.completions, strict=True):
            assert mine.finish == {"eos": "stop", "length": "length"}[other.finish or ""]
            assert f"w{stop}" not in mine.text.split()
            finishes.add(mine.finish)
    assert finishes == {"stop", "length"}


def test_a_models_own_beams_are_searched() -> None:
    own = {"num_beams": 3, "length_penalty": 0.3, "early_stopping": True, "num_return_sequences": 2}
    defaults = generation_defaults(own, {})
    options = resolve(defaults)
    assert (options.num_beams, options.length_penalty, options.early_stopping) == (3, 0.3, True)
    assert resolve(defaults, num_beams=1, num_return_sequences=1).num_beams == 1
    told = manifest(generation=defaults.model_dump())
    found = Session(ToyDecoder(told)).generate(ids=[4], max_new_tokens=4).wait()
    assert len(found.completions) == 2


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"num_beams": 2, "stop": "x"}, SmeltError, "stop strings need a tokenizer"),
        ({"num_beams": 2, "num_return_sequences": 3}, SmeltError, "`num_beams` is 2"),
        ({"num_return_sequences": 3}, SmeltError, "greedy gives the same"),
        ({"length_penalty": 2.0}, SmeltError, "`length_penalty` is 2.0, and there is one beam"),
        ({"early_stopping": True}, SmeltError, "there is one beam"),
        ({"early_stopping": "soon", "num_beams": 2}, SmeltError, "wants true or false"),
        ({"num_beams": 0}, SmeltError, "`num_beams` is 0"),
        ({"logprobs": -1}, SmeltError, "`logprobs` is -1"),
        ({"num_beam_groups": 2}, SmeltError, "`num_beam_groups` is 2, and there is one beam"),
        ({"num_beams": 2, "diversity_penalty": 1.0}, SmeltError, "there is one group"),
        ({"num_beams": 2, "num_beam_groups": 2}, SmeltError, "all of them say the same"),
        ({**GROUPS, "num_beams": 3}, SmeltError, "`num_beams` is 3, which 2 groups"),
        ({**GROUPS, "top_k": 5}, UnsupportedError, "groups are not drawn"),
        ({**GROUPS, "force_words_ids": [[3]]}, UnsupportedError, "does not go with groups"),
        ({"force_words_ids": [[3]]}, SmeltError, "there is one beam"),
        ({**FORCED, "top_k": 5}, UnsupportedError, "does not go with drawn beams"),
        ({**FORCED, "eos": 6}, SmeltError, "has an end token"),
        ({"num_beams": 2, "force_words_ids": [[VOCAB]]}, SmeltError, "has token 64"),
        ({"num_beams": 2, "force_words_ids": [[[1, 2], [1]]]}, SmeltError, "beginning of another"),
        ({"num_beams": 2, "force_words_ids": [[]]}, SmeltError, "that is not empty"),
        ({"num_beams": 2, "force_words_ids": 3}, SmeltError, "or of such lists"),
    ],
    ids=str,
)
def test_what_cannot_go_together_is_refused(
    given: dict[str, Any], error: type[SmeltError], message: str
) -> None:
    with pytest.raises(error, match=message):
        Session(ToyDecoder()).generate(ids=[2], **given).wait()


def test_more_beams_than_an_artifact_has_rows_are_refused() -> None:
    told = manifest(symbols=[{"name": "batch", "min": 1, "max": 2}])
    with pytest.raises(UnsupportedError, match="which takes 3 rows, the artifact takes 2 rows"):
        Session(ToyDecoder(told)).generate(ids=[2], num_beams=3)


def test_a_conversation_has_one_reply() -> None:
    session = Session(ToyDecoder())
    with pytest.raises(SmeltError, match="`num_return_sequences` is 2, a conversation has one"):
        session.chat(num_return_sequences=2)
