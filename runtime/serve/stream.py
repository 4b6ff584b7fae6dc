"""Answers as they are made: events of the batcher become server-sent events.

This is what a token costs in Python, so a frame is one formatted string and all frames that are
ready leave in one write.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from smelt.runtime.batching import Event
from smelt.runtime.serve.desk import CANCELLED, STOPPED, Call
from smelt.runtime.serve.errors import ApiError
from smelt.runtime.serve.limits import gone

# How a generation ends, in OpenAI's words; any other end is a failure.
REASONS = {
    "eos": "stop",
    "stop": "stop",
    "length": "length",
    "context": "length",
    "time": "length",
}
DONE = b"data: [DONE]\n\n"


class Choice(Protocol):
    """One of the answers of a call while it is made."""

    def opening(self) -> list[str]:
        """Chunks before the first token: members of a choice, as JSON."""
        ...

    def take(self, event: Event) -> list[str]:
        """What a token adds, likewise; the last one says the reason of the end."""
        ...

    def result(self) -> dict[str, Any]:
        """The whole answer, at the end."""
        ...

    tokens: int
    """New tokens so far."""


class Frames:
    """Writes the chunks of one stream."""

    def __init__(self, head: dict[str, Any], *, with_usage: bool) -> None:
        self._head = "data: " + json.dumps(head)[:-1] + ', "choices": ['
        self._tail = ('], "usage": null}' if with_usage else "]}") + "\n\n"

    def frame(self, members: str) -> str:
        """A chunk with one choice."""
        return f"{self._head}{{{members}}}{self._tail}"

    def usage(self, usage: dict[str, Any]) -> str:
        """The chunk without choices that ends a stream with usage."""
        return f'{self._head}], "usage": {json.dumps(usage)}}}\n\n'


async def gather(call: Call, choices: Sequence[Choice], receive: Receive) -> None:
    """Wait for all choices to end; ApiError where one fails, and where the client has gone."""
    left = len(choices)
    with while_connected(call, receive):
        while left:
            for index, event in await call.events():
                choices[index].take(event)
                if event.finish is not None:
                    left -= 1
                    if event.finish not in REASONS:
                        raise failure(event)


class EventStream(Response):
    """The answer to a request with `stream`: frames until every choice has ended."""

    def __init__(
        self,
        call: Call,
        choices: Sequence[Choice],
        frames: Frames,
        prompt_usage: dict[str, Any] | None,
    ) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]  # not known
        self.headers["cache-control"] = "no-cache"
        self.headers["x-accel-buffering"] = "no"
        self._call = call
        self._choices = choices
        self._frames = frames
        self._prompt_usage = prompt_usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; a client that goes away gives its rows back."""
        with while_connected(self._call, receive):
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            async for body in self._bodies():
                await send({"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _bodies(self) -> AsyncIterator[bytes]:
        frame = self._frames.frame
        choices, call = self._choices, self._call
        opening = "".join(frame(m) for choice in choices for m in choice.opening())
        if opening:
            yield opening.encode()
        left = len(choices)
        while left:
            written = []
            for index, event in await call.events():
                written += [frame(members) for members in choices[index].take(event)]
                if event.finish is not None:
                    left -= 1
                    if event.finish not in REASONS:
                        error = json.dumps(failure(event).body())
                        yield ("".join(written) + f"data: {error}\n\n").encode()
                        return
            if written:
                yield "".join(written).encode()
        if self._prompt_usage is not None:
            yield self._frames.usage(usage_of(self._prompt_usage, choices)).encode()
        yield DONE


def usage_of(prompt: dict[str, Any], choices: Sequence[Choice]) -> dict[str, Any]:
    """OpenAI's `usage`."""
    new = sum(choice.tokens for choice in choices)
    total = prompt["prompt_tokens"] + new
    return {**prompt, "completion_tokens": new, "total_tokens": total}


def failure(event: Event) -> ApiError:
    """Why a request ended without a result."""
    if event.finish == CANCELLED:
        return ApiError(499, "the client has gone", code="cancelled")
    if event.finish == STOPPED:
        return ApiError(503, "the server stops", code="stopped")
    said = event.error or event.finish
    return ApiError(500, f"generation failed: {said}", code="generation_failed")


@contextmanager
def while_connected(call: Call, receive: Receive) -> Iterator[None]:
    """Cancel the call when the client goes away, and when the block is left before its end."""
    watcher = asyncio.ensure_future(gone(receive))
    watcher.add_done_callback(lambda _: call.cancel())
    try:
        yield
    finally:
        watcher.cancel()
        call.cancel()
