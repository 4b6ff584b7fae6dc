"""Generation over toy engines: batches, chunks, limits, reuse, encoder and decoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from smelt.errors import ArtifactError, SmeltError, UnsupportedError
from smelt.runtime import feed
from smelt.runtime.session import Session
from tests.runtime.toys import VOCAB, ToyDecoder, ToyTranslator, manifest

PROMPTS = [[5, 6, 7], [9], [11, 12, 13, 14, 15, 16]]


def test_greedy_is_the_argmax_of_the_whole_sequence() -> None:
    engine = ToyDecoder()
    found = Session(engine).generate(ids=PROMPTS[0], max_new_tokens=8).ids
    tokens = list(PROMPTS[0])
    for _ in range(8):
        engine.reset()
        n = len(tokens)
        logits = engine.call(
            "main",
            {
                "input_ids": np.array([tokens]),
                "attention_mask": np.ones((1, n), np.int64),
                "position_ids": np.arange(n)[None],
            },
        )["logits"]
        tokens.append(int(logits[0, -1].argmax()))
        if tokens[-1] == 0:
            break
    assert found == tokens[3:]


@pytest.mark.parametrize("options", [{}, {"temperature": 0.8, "seed": 3, "top_p": 0.9}], ids=str)
@pytest.mark.parametrize("limit", [None, 1, 2])
def test_a_batch_gives_what_its_rows_give(options: dict[str, Any], limit: int | None) -> None:
    told = manifest(symbols=[{"name": "batch", "min": 1, "max": limit}])
    batch = Session(ToyDecoder(told)).generate(ids=PROMPTS, max_new_tokens=10, **options).wait()
    greedy = not options
    for index, prompt in enumerate(PROMPTS):
        alone = Session(ToyDecoder()).generate(ids=prompt, max_new_tokens=10, **options)
        if greedy or index == 0:  # a row's random numbers depend on its place
            assert batch.completions[index].ids == alone.ids
    again = Session(ToyDecoder()).generate(ids=PROMPTS, max_new_tokens=10, **options).wait()
    assert [c.ids for c in again.completions] == [c.ids for c in batch.completions]


def test_prefill_in_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [list(range(2, 50)), list(range(10, 33))]
    whole = Session(ToyDecoder()).generate(ids=prompts, max_new_tokens=6).wait()
    engine = ToyDecoder()
    monkeypatch.setattr(feed, "CHUNK", 7)
    monkeypatch.setattr(feed, "CHUNK_LOGITS_BYTES", 1 << 40)
    engine_parts = Session(engine).generate(ids=prompts, max_new_tokens=6).wait()
    assert (2, 7) in engine.calls or (2, 32) in engine.calls
    assert [c.ids for c in whole.completions] == [c.ids for c in engine_parts.completions]


def test_models_without_mask_take_rows_of_one_length_together() -> None:
    told = manifest(
        state=[{"name": "kv", "kind": "replace", "dtype": "f32", "shape": ["batch", 1, "past", 16]}]
    )
    engine = ToyDecoder(told)
    rows = [[4, 5], [6, 7], [8]]
    found = Session(engine).generate(ids=rows, max_new_tokens=3).wait()
    assert {call[0] for call in engine.calls} == {1, 2}
    for index, row in enumerate(rows):
        assert (
            found.completions[index].ids
            == Session(ToyDecoder()).generate(ids=row, max_new_tokens=3).ids
        )


def test_context_is_a_limit_with_both_numbers() -> None:
    session = Session(ToyDecoder(manifest(context=10, generation={})))
    with pytest.raises(SmeltError, match="12 tokens, the context is 10"):
        session.generate(ids=list(range(2, 14)))
    result = session.generate(ids=[2, 3, 4, 5, 6, 7], max_new_tokens=50).wait()
    assert result.finish == "context"
    assert len(result.ids) == 4
    assert session.generate(ids=[2, 3], max_new_tokens=5).wait().finish == "length"


def test_the_models_own_limits_hold_where_the_call_sets_none() -> None:
    session = Session(ToyDecoder(manifest(generation={"max_length": 9})))
    assert len(session.generate(ids=[2, 3, 4]).ids) == 6
    assert len(session.generate(ids=list(range(2, 22))).ids) == 1
    assert len(session.generate(ids=[2, 3, 4], max_new_tokens=11).ids) == 11
    session = Session(ToyDecoder(manifest(generation={"max_new_tokens": 4, "max_length": 2})))
    assert len(session.generate(ids=[2, 3, 4]).ids) == 4


def test_eos_ends_a_row_and_not_the_others() -> None:
    free = Session(ToyDecoder(manifest(generation={}))).generate(ids=PROMPTS, max_new_tokens=12)
    free.wait()
    eos = free.completions[1].ids[4]
    session = Session(ToyDecoder(manifest(generation={"eos_token_ids": [eos]})))
    ended = session.generate(ids=PROMPTS, max_new_tokens=12).wait()
    for before, after in zip(free.completions, ended.completions, strict=True):
        cut = before.ids.index(eos) + 1 if eos in before.ids else len(before.ids)
        assert after.ids == before.ids[:cut]
        assert after.finish == ("eos" if eos in before.ids else "length")


def test_metrics_add_up() -> None:
    session = Session(ToyDecoder(manifest(generation={})))
    result = session.generate(ids=PROMPTS, max_new_tokens=5).wait()
    told = result.metrics
    assert (told.prompt_tokens, told.new_tokens, told.decode_calls) == (10, 15, 4)
    assert told.prefill_seconds > 0 and told.decode_seconds > 0
    assert 0 < told.first_token_seconds <= told.total_seconds
    assert told.decode_tokens_per_second == pytest.approx(12 / told.decode_seconds)
    assert set(told.bytes) == {"weights", "state", "activations"}
    assert told.to_dict()["peak_memory_bytes"] > 1 << 20  # type: ignore[operator]


def test_reuse_feeds_only_what_is_new() -> None:
    engine = ToyDecoder(manifest(generation={}))
    session = Session(engine)
    first = session.generate(ids=[5, 6, 7, 8], max_new_tokens=4, reuse=True).wait()
    longer = [5, 6, 7, 8, *first.ids, 20, 21]
    engine.calls.clear()
    second = session.generate(ids=longer, max_new_tokens=4, reuse=True).wait()
    assert engine.calls[0] == (1, 3)  # the last new token was never fed, then 20 and 21
    assert second.metrics.cached_tokens == 7
    assert (
        second.ids
        == Session(ToyDecoder(engine.manifest)).generate(ids=longer, max_new_tokens=4).ids
    )
    engine.calls.clear()
    other = session.generate(ids=[5, 6, 30], max_new_tokens=2, reuse=True).wait()
    assert engine.calls[0] == (1, 1) and other.metrics.cached_tokens == 2


def test_reuse_after_a_refused_rewind_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ToyDecoder(manifest(generation={}))

    def refuse(past: int) -> None:
        raise ArtifactError("a ring has moved on")

    session = Session(engine)
    session.generate(ids=[5, 6, 7, 8], max_new_tokens=4, reuse=True).wait()
    monkeypatch.setattr(engine, "rewind", refuse)
    again = session.generate(ids=[5, 6, 9], max_new_tokens=4, reuse=True).wait()
    assert again.metrics.cached_tokens == 0
    assert (
        again.ids
        == Session(ToyDecoder(engine.manifest)).generate(ids=[5, 6, 9], max_new_tokens=4).ids
    )


def test_a_stopped_stream_leaves_a_clean_session() -> None:
    session = Session(ToyDecoder(manifest(generation={})))
    stream = session.generate(ids=[5, 6, 7], max_new_tokens=10, reuse=True)
    next(stream)
    next(stream)
    fresh = session.generate(ids=[5, 6, 7], max_new_tokens=6, reuse=True)
    assert (
        fresh.ids
        == Session(ToyDecoder(session.manifest)).generate(ids=[5, 6, 7], max_new_tokens=6).ids
    )
    with pytest.raises(SmeltError, match="used for something else"):
        next(stream)


def test_encoder_and_decoder() -> None:
    engine = ToyTranslator()
    result = Session(engine).generate(ids=[[3, 4], [5]], max_new_tokens=3).wait()
    assert engine.seen[0].tolist() == [[2, 7], [2, 7]]
    assert [c.ids for c in result.completions] == [[9, 10, 11], [7, 8, 9]]
    assert [c.prompt for c in result.completions] == [[3, 4], [5]]


def test_tasks_that_do_not_generate_say_so() -> None:
    session = Session(ToyDecoder(manifest(task="feature_extraction")))
    with pytest.raises(UnsupportedError, match="does not generate"):
        session.generate(ids=[1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "got nothing"),
        ({"ids": [2], "prompt": "x"}, "prompt and ids"),
        ({"prompt": "x"}, "no tokenizer"),
        ({"ids": []}, "no ids at all"),
        ({"ids": [[]]}, "has no tokens"),
        ({"ids": [VOCAB]}, f"token {VOCAB}, the vocabulary has {VOCAB}"),
        ({"ids": [2], "stop": ["x"]}, "stop strings need a tokenizer"),
        ({"ids": [2], "tools": []}, "go with `messages`"),
        ({"ids": [2], "top_q": 1}, "no option `top_q`"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SmeltError, match=message):
        Session(ToyDecoder()).generate(**given).wait()


def test_run_fills_in_mask_and_positions_and_checks_the_rest() -> None:
    session = Session(ToyDecoder())
    first = session.run(input_ids=[[5, 6, 7]])["logits"]
    second = session.run(input_ids=[[8]])["logits"]
    session.reset()
    whole = session.run(input_ids=[[5, 6, 7, 8]])["logits"]
    assert np.allclose(np.concatenate([first, second], axis=1), whole, atol=1e-5)
    with pytest.raises(SmeltError, match=r"wants 5: `past \+ seq` \(past = 4 by the state so far"):
        session.run(input_ids=[[1]], attention_mask=[[1]])
    with pytest.raises(SmeltError, match="did you mean `input_ids`"):
        session.run(inputs_ids=[[1]])
    with pytest.raises(SmeltError, match="float64, wants int64"):
        session.run(input_ids=np.zeros((1, 1)))
    with pytest.raises(SmeltError, match=r"1 dims \[2\], wants i64\[batch, seq\]"):
        session.run(input_ids=[1, 2], attention_mask=[[1, 1]], position_ids=[[0, 1]])
    with pytest.raises(SmeltError, match="no function `decode`"):
        session.run("decode", input_ids=[[1]])


def test_a_pad_token_outside_the_vocabulary_is_not_fed() -> None:
    told = manifest(generation={"pad_token_id": VOCAB + 9, "eos_token_ids": [VOCAB]})
    found = Session(ToyDecoder(told)).generate(ids=[[2, 3, 4], [5]], max_new_tokens=3, eos=())
    alone = Session(ToyDecoder(told)).generate(ids=[5], max_new_tokens=3, eos=()).ids
    assert found.wait().completions[1].ids == alone
