"""Between the event loop and the batcher's thread: what goes in, and what comes back to whom.

The batcher tells of all requests once a step; one hop to the loop carries them, whatever their
number. A call is one HTTP request: as many requests of the batcher as it has prompts and choices.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from smelt.errors import SmeltError
from smelt.runtime.batching import Busy, Event
from smelt.runtime.serve.errors import ApiError, refused
from smelt.runtime.serve.metrics import ServerMetrics
from smelt.runtime.settings import Options

# Ends that the desk makes itself.
CANCELLED = "cancelled"
STOPPED = "stopped"


class Batching(Protocol):
    """What the desk needs of a batcher."""

    def submit(self, ids: Sequence[int], options: Options) -> int:
        """Queue a request and give its number; Busy where the queue is full."""
        ...

    def cancel(self, request: int) -> None:
        """Give its row to the next one."""
        ...

    def stats(self) -> dict[str, Any]:
        """Counters."""
        ...


class _Entry:
    """One request of the batcher: whose it is, and when it was heard of."""

    __slots__ = ("call", "first", "index", "last")

    def __init__(self, call: Call, index: int, now: float) -> None:
        self.call = call
        self.index = index
        self.last = now
        self.first = True


class Call:
    """The requests of one HTTP request, and their events in the order in which they came."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._events: list[tuple[int, Event]] = []
        self._waiter: asyncio.Future[None] | None = None
        self.requests: list[int] = []

    async def events(self) -> list[tuple[int, Event]]:
        """All events since the last time, each with the index of its request; at least one."""
        if not self._events:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        found, self._events = self._events, []
        return found

    def put(self, index: int, event: Event) -> None:
        """Add an event and wake who waits."""
        self._events.append((index, event))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def cancel(self) -> None:
        """Give up what has not ended; its last event says so."""
        self._desk.cancel(self, CANCELLED)


class Desk:
    """Open calls; everything but ``on_events`` belongs to the event loop."""

    def __init__(self) -> None:
        self.metrics: ServerMetrics | None = None
        self._batcher: Batching | None = None
        self._room = 0
        self._heard = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entries: dict[int, _Entry] = {}

    def start(self, batcher: Batching, metrics: ServerMetrics, *, room: int) -> None:
        """Take calls from now on, in the running loop; ``room`` is for running and waiting ones."""
        self._batcher = batcher
        self._room = room
        self.metrics = metrics
        self._loop = asyncio.get_running_loop()

    def on_events(self, events: list[Event]) -> None:
        """What the batcher calls after each step, in its own thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, nobody waits any more
                self._loop.call_soon_threadsafe(self.deliver, events)

    def check_room(self, answers: int) -> None:
        """ApiError 400 for a request that could never be queued whole."""
        if answers > self._room:
            raise ApiError(
                400,
                f"{answers} answers are asked for, this server holds {self._room} at a time",
                param="n",
                code="unsupported_value",
            )

    def open(self, wanted: Sequence[tuple[Sequence[int], Options]]) -> Call:
        """Queue prompts; ApiError 429 where the queue is full, and none of them is queued."""
        assert self._batcher is not None
        call = Call(self)
        now = time.perf_counter()
        if not self._entries:
            self._heard = now
        try:
            for index, (ids, options) in enumerate(wanted):
                number = self._batcher.submit(ids, options)
                call.requests.append(number)
                self._entries[number] = _Entry(call, index, now)
        except Busy as error:
            call.cancel()
            raise ApiError(
                429, error.message, code="queue_full", headers={"retry-after": "1"}
            ) from None
        except SmeltError as error:
            call.cancel()
            raise refused(error) from None
        return call

    def cancel(self, call: Call, reason: str) -> None:
        """Cancel what has not ended; each gets a last event with the reason."""
        assert self._batcher is not None
        for number in call.requests:
            entry = self._entries.pop(number, None)
            if entry is not None:
                self._batcher.cancel(number)
                entry.call.put(entry.index, Event(number, None, "", None, reason))
                self._count(reason)

    def stop_all(self) -> None:
        """End every call: the server stops."""
        for call in {entry.call for entry in self._entries.values()}:
            self.cancel(call, STOPPED)

    @property
    def open_requests(self) -> int:
        """Requests that have not ended."""
        return len(self._entries)

    @property
    def silence(self) -> float:
        """Seconds since the batcher was heard of, while anything is open."""
        return time.perf_counter() - self._heard if self._entries else 0.0

    def deliver(self, events: list[Event]) -> None:
        """Hand a step's events to their calls, in the loop."""
        now = self._heard = time.perf_counter()
        tokens = 0
        for event in events:
            entry = self._entries.get(event.request)
            if entry is None:
                continue  # cancelled while the step ran
            if event.token is not None:
                tokens += 1
                self._observe(entry, now)
            if event.finish is not None:
                del self._entries[event.request]
                self._count(event.finish)
            entry.call.put(entry.index, event)
        if self.metrics is not None and tokens:
            self.metrics.generated.inc(tokens)

    def _observe(self, entry: _Entry, now: float) -> None:
        if self.metrics is not None:
            histogram = self.metrics.first_token if entry.first else self.metrics.next_token
            histogram.observe(now - entry.last)
        entry.first = False
        entry.last = now

    def _count(self, finish: str) -> None:
        if self.metrics is not None:
            self.metrics.finished.labels(finish).inc()
