"""The desk alone, with a batcher that says what a test wants: order, cancels, a full queue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from smelt.runtime.batching import Event
from smelt.runtime.serve.desk import Call, Desk
from smelt.runtime.serve.errors import ApiError
from smelt.runtime.serve.metrics import ServerMetrics
from smelt.runtime.settings import Options
from tests.serve.doubles import ManualBatcher

ASKED = ([1, 2], Options(max_new_tokens=4))


def event(request: int, text: str = "a", finish: str | None = None) -> Event:
    return Event(request, 5, text, None, finish)


def at_desk(test: Callable[[Desk, ManualBatcher], Awaitable[None]], *, room: int = 8) -> str:
    """Run a test in a loop, and give the metrics that it left."""

    async def inner() -> str:
        batcher, desk = ManualBatcher(), Desk()
        metrics = ServerMetrics(batcher.stats)
        desk.start(batcher, metrics, room=room)
        await test(desk, batcher)
        return metrics.text().decode()

    return asyncio.run(inner())


async def from_thread(desk: Desk, *events: Event) -> None:
    """A step of the batcher's thread."""
    thread = threading.Thread(target=desk.on_events, args=(list(events),))
    thread.start()
    thread.join()
    await asyncio.sleep(0)


def test_events_reach_their_call_in_order() -> None:
    async def test(desk: Desk, _: ManualBatcher) -> None:
        first, second = desk.open([ASKED, ASKED]), desk.open([ASKED])
        a, b = first.requests
        (c,) = second.requests
        await from_thread(desk, event(a, "1"), event(b, "2"), event(c, "3"))
        await from_thread(desk, event(b, "4", "eos"), event(c, "5", "length"))
        assert [(at, e.text) for at, e in await first.events()] == [(0, "1"), (1, "2"), (1, "4")]
        assert [(at, e.text) for at, e in await second.events()] == [(0, "3"), (0, "5")]
        assert desk.open_requests == 1
        waits = asyncio.ensure_future(first.events())
        await asyncio.sleep(0)
        assert not waits.done()
        await from_thread(desk, event(a, "6", "stop"))
        assert [e.text for _, e in await waits] == ["6"] and desk.open_requests == 0

    told = at_desk(test)
    assert "smelt_generated_tokens_total 6.0" in told
    assert "smelt_time_to_first_token_seconds_count 3.0" in told
    assert 'smelt_finished_total{reason="eos"} 1.0' in told


def test_a_cancelled_call_hears_of_it_once_and_of_nothing_more() -> None:
    async def test(desk: Desk, batcher: ManualBatcher) -> None:
        call = desk.open([ASKED, ASKED])
        waits = asyncio.ensure_future(call.events())
        await asyncio.sleep(0)
        call.cancel()
        call.cancel()
        assert [(at, e.finish) for at, e in await waits] == [(0, "cancelled"), (1, "cancelled")]
        assert batcher.cancelled == call.requests and desk.open_requests == 0
        await from_thread(desk, *(event(request) for request in call.requests))
        assert not _has_events(call)

    assert 'smelt_finished_total{reason="cancelled"} 2.0' in at_desk(test)


def test_a_full_queue_takes_none_of_a_call() -> None:
    async def test(desk: Desk, batcher: ManualBatcher) -> None:
        desk.open([ASKED])
        with pytest.raises(ApiError) as caught:
            desk.open([ASKED] * 4)
        assert caught.value.status == 429 and "at most 4" in caught.value.message
        assert caught.value.headers == {"retry-after": "1"}
        assert len(batcher.queue) == 1 and len(batcher.cancelled) == 3
        assert desk.open_requests == 1
        desk.check_room(8)
        with pytest.raises(ApiError) as caught:
            desk.check_room(9)
        assert caught.value.status == 400 and caught.value.param == "n"

    at_desk(test)


def test_silence_counts_only_while_something_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(desk: Desk, _: ManualBatcher) -> None:
        now = [100.0]
        monkeypatch.setattr("smelt.runtime.serve.desk.time.perf_counter", lambda: now[0])
        assert desk.silence == 0
        (request,) = desk.open([ASKED]).requests
        now[0] += 7
        assert desk.silence == 7
        desk.deliver([event(request)])
        now[0] += 2
        assert desk.silence == 2
        desk.deliver([event(request, finish="eos")])
        assert desk.silence == 0

    at_desk(test)


def test_stopping_ends_every_call() -> None:
    async def test(desk: Desk, _: ManualBatcher) -> None:
        calls = [desk.open([ASKED]) for _ in range(3)]
        desk.stop_all()
        for call in calls:
            assert [e.finish for _, e in await call.events()] == ["stopped"]

    at_desk(test)


def test_events_after_the_loop_are_dropped() -> None:
    desks: list[Desk] = []

    async def test(desk: Desk, _: ManualBatcher) -> None:
        desks.append(desk)
        desk.open([ASKED])

    at_desk(test)
    desks[0].on_events([event(100)])


def _has_events(call: Call) -> bool:
    return bool(call._events)
