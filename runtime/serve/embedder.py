"""The encoder's thread: texts of all requests that wait share its batches."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence

from smelt.errors import SmeltError
from smelt.runtime.embedding import embed_batch
from smelt.runtime.engine import Array, Engine
from smelt.runtime.feed import limit_of
from smelt.runtime.serve.errors import ApiError, refused
from smelt.runtime.text import Encoded, Text


class Job:
    """The texts of one request, the longest first, and their vectors as they come."""

    def __init__(self, rows: Sequence[Encoded]) -> None:
        self.rows = rows
        self.order = deque(sorted(range(len(rows)), key=lambda at: -len(rows[at].ids)))
        self.vectors: list[Array | None] = [None] * len(rows)
        self.left = len(rows)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.loop = asyncio.get_running_loop()


class Embedder:
    """One engine in one thread; jobs take turns, and a batch holds texts of like length."""

    def __init__(self, engine: Engine, text: Text, *, rows: int, waiting: int) -> None:
        self._engine = engine
        self._text = text
        most = limit_of(engine.manifest, "batch")
        self.rows = rows if most is None else min(rows, most)
        self._limit = waiting
        self._jobs: deque[Job] = deque()
        self._waiting = 0
        self._running = 0
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="embedder", daemon=True)
        self._thread.start()

    async def embed(self, rows: Sequence[Encoded]) -> list[Array]:
        """The vectors f32[dim] of encoded texts; ApiError 429 where too many wait."""
        with self._changed:
            if self._waiting and self._waiting + len(rows) > self._limit:
                raise ApiError(
                    429,
                    f"{self._waiting} texts wait, {len(rows)} more are over the limit of "
                    f"{self._limit}",
                    code="queue_full",
                    headers={"retry-after": "1"},
                )
            job = Job(rows)
            self._jobs.append(job)
            self._waiting += len(rows)
            self._changed.notify()
        try:
            await job.done
        except SmeltError as error:
            raise refused(error) from None
        finally:
            self._drop(job)
        return [vector for vector in job.vectors if vector is not None]

    def stats(self) -> dict[str, int]:
        """Texts that are computed and that wait."""
        return {"running": self._running, "waiting": self._waiting}

    @property
    def alive(self) -> bool:
        """Whether the thread works."""
        return self._thread.is_alive()

    def stop_all(self) -> None:
        """End every job with an error."""
        with self._changed:
            jobs = list(self._jobs)
        for job in jobs:
            _tell(job, ApiError(503, "the server stops", code="stopped"))

    def close(self) -> None:
        """End the thread after its batch."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def _drop(self, job: Job) -> None:
        """Forget what is left of a job whose client has gone."""
        with self._changed:
            self._waiting -= len(job.order)
            job.order.clear()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and not any(job.order for job in self._jobs):
                    self._jobs.clear()
                    self._changed.wait()
                if self._stopped:
                    return
                batch = self._take()
                self._running = len(batch)
                self._waiting -= len(batch)
            try:
                found = embed_batch(self._engine, self._text, [j.rows[at] for j, at in batch])
            except Exception as error:  # whatever it is, those who wait must hear of it
                for job in {job for job, _ in batch}:
                    _tell(job, error)
                found = None
            self._running = 0
            if found is not None:
                for (job, at), vector in zip(batch, found, strict=True):
                    job.vectors[at] = vector
                    job.left -= 1
                    if not job.left:
                        _tell(job, None)

    def _take(self) -> list[tuple[Job, int]]:
        """The next batch: the longest text of the job whose turn it is, and what is like it."""
        while not self._jobs[0].order:
            self._jobs.popleft()
        longest = len(self._jobs[0].rows[self._jobs[0].order[0]].ids)
        batch: list[tuple[Job, int]] = []
        for job in self._jobs:
            while job.order and len(batch) < self.rows:
                size = len(job.rows[job.order[0]].ids)
                if not longest <= 2 * size <= 4 * longest:
                    break  # padding would cost more than the text
                batch.append((job, job.order.popleft()))
        self._jobs.rotate(-1)
        return batch


def _tell(job: Job, error: Exception | None) -> None:
    def told() -> None:
        if job.done.done():
            return
        if error is None:
            job.done.set_result(None)
        else:
            job.done.set_exception(error)

    try:
        job.loop.call_soon_threadsafe(told)
    except RuntimeError:
        return  # the loop has ended, nobody waits any more
