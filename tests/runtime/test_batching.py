"""Requests that share calls: each gets what it gets alone, whatever comes and goes beside it."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import smelt
from smelt.compiling import compile
from smelt.errors import SmeltError, UnsupportedError
from smelt.runtime.batching import Batcher, Busy, Event
from tests import tiny
from tests.models import ModelUnavailable, smollm2_hf

SECONDS = 300.0


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batch")
    out = folder / "model.smelt"
    compile(tiny.llama(folder / "llama"), target="edge", out=out, context=64, verify=False)
    return out


class Log:
    """What a batch said of each request."""

    def __init__(self) -> None:
        self.events: dict[int, list[Event]] = defaultdict(list)
        self.steps: list[list[Event]] = []
        self._changed = threading.Condition()

    def __call__(self, events: list[Event]) -> None:
        with self._changed:
            self.steps.append(events)
            for event in events:
                self.events[event.request].append(event)
            self._changed.notify_all()

    def wait(self, requests: Sequence[int], tokens: int | None = None) -> None:
        """Until each has ended, or has that many tokens."""

        def is_there(request: int) -> bool:
            seen = self.events[request]
            return bool(seen) and (seen[-1].finish is not None or len(seen) == tokens)

        with self._changed:
            assert self._changed.wait_for(lambda: all(map(is_there, requests)), SECONDS)

    def tokens(self, request: int) -> list[int]:
        return [e.token for e in self.events[request] if e.token is not None]

    def finish(self, request: int) -> str | None:
        return self.events[request][-1].finish


def _alone(path: Path, ids: Sequence[int], options: Mapping[str, Any]) -> tuple[list[int], str]:
    generation = smelt.open(path, threads=1).generate(ids=list(ids), **options)
    done = generation.wait()
    return list(done.ids), str(generation.finish)


def _prompts(count: int, longest: int) -> list[list[int]]:
    draw = random.Random(3)
    return [[draw.randrange(99) for _ in range(draw.randint(1, longest))] for _ in range(count)]


GREEDY: dict[str, Any] = {"temperature": 0.0, "max_new_tokens": 12}
DRAWN = {"temperature": 0.9, "top_p": 0.9, "seed": 7, "max_new_tokens": 9}
CHOSEN = {"temperature": 0.0, "repetition_penalty": 1.4, "max_new_tokens": 6, "min_new_tokens": 2}


@pytest.mark.parametrize("threads", [1, 2])
def test_each_request_gets_what_it_gets_alone(artifact: Path, threads: int) -> None:
    log = Log()
    batch = Batcher(artifact, rows=3, chunk=4, threads=threads, on_events=log)
    asked = [(p, (GREEDY, DRAWN, CHOSEN)[i % 3]) for i, p in enumerate(_prompts(14, 20))]
    requests = [batch.submit(ids, options) for ids, options in asked]
    assert requests == sorted(set(requests))
    batch.close()
    for request, (ids, options) in zip(requests, asked, strict=True):
        assert (log.tokens(request), log.finish(request)) == _alone(artifact, ids, options)
    stats = batch.stats()
    assert (stats["finished"], stats["running"], stats["waiting"]) == (14, 0, 0)
    assert stats["tokens"] == sum(len(log.tokens(request)) for request in requests)
    assert stats["step_rows"] > stats["steps"]


def test_what_a_prompt_shares_with_another_is_not_computed_again(artifact: Path) -> None:
    log = Log()
    batch = Batcher(artifact, rows=2, threads=1, on_events=log)
    shared = list(range(20))
    first = batch.submit([*shared, 30], GREEDY)
    log.wait([first])
    others = [batch.submit([*shared, *rest], GREEDY) for rest in ([31, 32], [33], [30])]
    batch.close()
    assert batch.stats()["reused_tokens"] >= 3 * len(shared)
    for request, rest in zip(others, ([31, 32], [33], [30]), strict=True):
        assert log.tokens(request) == _alone(artifact, [*shared, *rest], GREEDY)[0]


def test_rows_that_generate_wait_for_one_chunk_at_most(artifact: Path) -> None:
    log = Log()
    batch = Batcher(artifact, rows=2, chunk=4, threads=1, on_events=log)
    long = {"temperature": 0.0, "max_new_tokens": 40, "min_new_tokens": 40}
    running = batch.submit([1], long)
    log.wait([running], tokens=3)
    batch.submit(_prompts(1, 1)[0] * 40, GREEDY)  # ten chunks
    batch.close()
    # A step delivers once: each after the first has a token of the row that runs.
    alive = log.steps[: len(log.tokens(running))]
    assert all(any(e.request == running for e in events) for events in alive)


def test_a_full_queue_says_so_and_goes_on(artifact: Path) -> None:
    log, gate = Log(), threading.Event()

    def slowly(events: list[Event]) -> None:
        gate.wait(SECONDS)
        log(events)

    batch = Batcher(artifact, rows=1, waiting=2, threads=1, on_events=slowly)
    requests, refused = [], 0
    for _ in range(6):  # one runs, or is about to; two wait
        try:
            requests.append(batch.submit([1, 2], GREEDY))
        except Busy:
            refused += 1
    assert refused >= 3
    gate.set()
    batch.close()
    assert all(log.finish(request) in ("length", "eos") for request in requests)


def test_requests_can_be_cancelled_wherever_they_are(artifact: Path) -> None:
    log, gate = Log(), threading.Event()

    def cancel_two(events: list[Event]) -> None:
        gate.wait(SECONDS)
        log(events)
        if len(log.tokens(1)) == 2 and log.finish(1) is None:
            for request in (2, 1, 12345):
                batch.cancel(request)

    batch = Batcher(artifact, rows=1, threads=1, on_events=cancel_two)
    endless = {"temperature": 0.0, "max_new_tokens": 60, "min_new_tokens": 60}
    requests = [batch.submit([n], endless) for n in (1, 2, 3)]
    gate.set()
    log.wait(requests)
    assert [log.finish(request) for request in requests] == ["cancelled", "cancelled", "length"]
    assert [len(log.tokens(request)) for request in requests] == [2, 0, 60]
    batch.close()
    assert batch.stats()["cancelled"] == 2


def test_closing_at_once_ends_every_request(artifact: Path) -> None:
    log, gate = Log(), threading.Event()

    def slowly(events: list[Event]) -> None:
        gate.wait(SECONDS)
        log(events)

    batch = Batcher(artifact, rows=1, threads=1, on_events=slowly)
    requests = [batch.submit([n], {"max_new_tokens": 60}) for n in (1, 2, 3)]
    threading.Timer(0.1, gate.set).start()
    batch.close(drain=False)
    assert all(log.finish(request) is not None for request in requests)
    assert log.finish(requests[-1]) == "cancelled"


def test_a_closed_batch_refuses_and_may_be_closed_again(artifact: Path) -> None:
    batch = Batcher(artifact, rows=1, threads=1, on_events=lambda events: None)
    batch.close()
    batch.close(drain=False)
    with pytest.raises(SmeltError, match="closed"):
        batch.submit([1], GREEDY)


@pytest.mark.parametrize(
    ("ids", "options", "message"),
    [
        ([], GREEDY, "no tokens|empty"),
        ([1, 400], GREEDY, "400"),
        ([-1], GREEDY, "-1"),
        ([1] * 65, GREEDY, "65"),
        ([1], {"temperature": -1.0}, "temperature"),
        ([1], {"num_beams": 2}, "`num_beams` is 2"),
        ([1], {"pattern": "a+"}, "`pattern` is"),
        ([1], {"guidance_scale": 2.0}, "`guidance_scale` is 2.0"),
        ([1], {"stop": ["x"]}, "tokenizer"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_cannot_be_is_refused_at_once(
    artifact: Path, ids: list[int], options: dict[str, Any], message: str
) -> None:
    batch = Batcher(artifact, rows=1, threads=1, on_events=lambda events: None)
    with pytest.raises(SmeltError, match=message):
        batch.submit(ids, options)
    batch.close()
    assert batch.stats()["failed"] == 0


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"rows": 0}, "rows"), ({"waiting": 0}, "waiting"), ({"max_memory": 1000}, "1000")],
    ids=lambda value: str(value),
)
def test_a_batch_that_cannot_be_is_refused(
    artifact: Path, sizes: dict[str, int], message: str
) -> None:
    with pytest.raises(SmeltError, match=message):
        Batcher(artifact, threads=1, on_events=lambda events: None, **sizes)


def test_a_model_without_tokens_in_rows_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "model.smelt"
    compile(tiny.bert(tmp_path / "bert"), target="edge", out=out, verify=False)
    with pytest.raises(UnsupportedError, match="not a causal language model"):
        Batcher(out, on_events=lambda events: None)


def test_an_error_in_the_callback_ends_nothing(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr("sys.unraisablehook", lambda told: seen.append(str(told.exc_value)))

    def broken(events: list[Event]) -> None:
        raise ValueError("no")

    batch = Batcher(artifact, rows=1, threads=1, on_events=broken)
    batch.submit([1], GREEDY)
    batch.close()
    assert batch.stats()["finished"] == 1
    assert "no" in seen


def test_requests_that_arrive_at_random_get_their_text(tmp_path: Path) -> None:
    try:
        source = smollm2_hf()
    except ModelUnavailable as error:
        pytest.skip(str(error))
    out = tmp_path / "model.smelt"
    compile(source, target="edge", quant="int8", out=out, verify=False)
    session = smelt.open(out, context=256)
    begin = "You are a helpful assistant. Answer in one short sentence.\n"
    topics = ("rain", "Rome", "prime numbers", "a cat", "the moon", "bread", "glass", "trains")
    texts = [f"{begin if i % 2 else ''}What is {topics[i % 8]}? {i}." for i in range(20)]
    draw, log = random.Random(1), Log()
    batch = Batcher(out, rows=6, context=256, chunk=16, on_events=log)
    requests = []
    for text in texts:
        requests.append(batch.submit(session.text.encode(text), GREEDY))
        if draw.random() < 0.6:
            log.wait(requests[-1:], tokens=1)
    batch.close()
    for request, text in zip(requests, texts, strict=True):
        alone = session.generate(text, **GREEDY).wait()
        assert log.tokens(request) == list(alone.ids)
        assert "".join(event.text for event in log.events[request]) == alone.text
    assert batch.stats()["reused_tokens"] > 0
