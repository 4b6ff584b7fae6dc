"""A batcher without a model, for what only the desk and the endpoints decide, and what they cost.

    python -m tests.serve.doubles ARTIFACT --port 8080 --rows 64

serves an artifact's text with it: every step gives each row one token at once, so
`python -m tests.serve.load` then measures the server alone.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from smelt.runtime.batching import Busy, Event
from smelt.runtime.settings import Options


class ManualBatcher:
    """Gives an event when a test says so."""

    def __init__(self, waiting: int = 4) -> None:
        self.waiting = waiting
        self.queue: list[int] = []
        self.cancelled: list[int] = []

    def submit(self, ids: Sequence[int], options: Options) -> int:
        """Queue a request."""
        if len(self.queue) >= self.waiting:
            raise Busy(f"{len(self.queue)} requests wait, at most {self.waiting} may")
        self.queue.append(100 + len(self.queue) + len(self.cancelled))
        return self.queue[-1]

    def cancel(self, request: int) -> None:
        """Take a request out."""
        self.queue.remove(request)
        self.cancelled.append(request)

    def stats(self) -> dict[str, Any]:
        """Counters."""
        return {"running": 0, "waiting": len(self.queue)}


class InstantBatcher:
    """Every row has its next token at once: " word", until its bound."""

    on_events: Callable[[list[Event]], None]

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._running: dict[int, int] = {}
        self._waiting: deque[tuple[int, int]] = deque()
        self._changed = threading.Condition()
        self._next = 0
        self._closed = False
        self._told = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(self, ids: Sequence[int], options: Options) -> int:
        """Queue a request."""
        with self._changed:
            self._next += 1
            self._waiting.append((self._next, options.max_new_tokens))
            self._changed.notify()
            return self._next

    def cancel(self, request: int) -> None:
        """Give its row to the next one."""
        with self._changed:
            self._running.pop(request, None)

    def stats(self) -> dict[str, Any]:
        """Counters."""
        return {"running": len(self._running), "waiting": len(self._waiting)}

    def bytes(self) -> dict[str, int]:
        """It has no state."""
        return {"state": 0}

    def close(self, drain: bool = True) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def heard(self) -> None:
        """The loop has taken the last step: go on. Without this, steps would pile up."""
        self._told.set()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._closed or self._running or self._waiting):
                    self._changed.wait()
                if self._closed:
                    return
                while self._waiting and len(self._running) < self._rows:
                    number, left = self._waiting.popleft()
                    self._running[number] = left
                events = []
                for number, left in list(self._running.items()):
                    end = "length" if left == 1 else None
                    events.append(Event(number, 5, " word", None, end))
                    self._running[number] = left - 1
                    if end:
                        del self._running[number]
            self._told.clear()
            self.on_events(events)
            self._told.wait(1)


def main() -> None:
    """Serve an artifact's text without its model."""
    from smelt.opening import read
    from smelt.runtime.serve import lifecycle
    from smelt.runtime.serve.desk import Desk
    from smelt.runtime.serve.generating import GenerationService
    from smelt.runtime.serve.metrics import ServerMetrics
    from smelt.runtime.serve.settings import ServeSettings
    from smelt.runtime.text import Text

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rows", type=int, default=64)
    asked = parser.parse_args()
    manifest, files = read(asked.artifact)
    settings = ServeSettings("instant", port=asked.port, rows=asked.rows)
    batcher = InstantBatcher(asked.rows)

    class PacedDesk(Desk):
        """Asks for the next step when those who waited for this one have run."""

        def deliver(self, events: list[Event]) -> None:
            super().deliver(events)
            asyncio.get_running_loop().call_soon(batcher.heard)

    desk = PacedDesk()
    batcher.on_events = desk.on_events
    service = GenerationService(
        manifest,
        Text.load(files),
        settings,
        ServerMetrics(batcher.stats),
        desk=desk,
        batcher=batcher,
        context=manifest.context or 4096,
    )
    lifecycle.run(service, on_listening=print)


if __name__ == "__main__":
    main()
