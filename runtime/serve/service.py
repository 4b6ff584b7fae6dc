"""The model behind a server, as its endpoints see it: names, texts, and a way to be computed."""

from __future__ import annotations

import asyncio
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from smelt.errors import SmeltError
from smelt.runtime.manifest import Manifest
from smelt.runtime.serve.errors import ApiError, refused
from smelt.runtime.serve.metrics import ServerMetrics
from smelt.runtime.serve.settings import ServeSettings
from smelt.runtime.text import Text

#: Characters from which on a text is read in a thread, so that other answers go on.
LONG = 4096

Found = TypeVar("Found")
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass
class Service(ABC):
    """What every server has."""

    manifest: Manifest
    text: Text
    settings: ServeSettings
    metrics: ServerMetrics
    stopping: bool = False
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    @abstractmethod
    def endpoints(self) -> Mapping[str, Endpoint]:
        """What answers a POST to each path."""

    @property
    @abstractmethod
    def told(self) -> str:
        """Its room, for people."""

    @property
    @abstractmethod
    def longest(self) -> int | None:
        """The most tokens of one request, or of one text."""

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether requests are computed."""

    def start(self) -> None:  # noqa: B027 - not every server has something to do
        """Take requests from now on, in the running loop."""

    @abstractmethod
    def stop_all(self) -> None:
        """End every request with an error."""

    @abstractmethod
    def close(self) -> None:
        """End the threads."""

    @property
    def fingerprint(self) -> str:
        """OpenAI's `system_fingerprint`: the weights that answer."""
        return f"smelt-{self.manifest.source.fingerprint[:12]}"

    def check_model(self, asked: str) -> None:
        """ApiError 404 for another model than the one that is served."""
        if asked != self.settings.name:
            raise ApiError(
                404,
                f"model {asked!r} is not here, this server has {self.settings.name!r}",
                param="model",
                code="model_not_found",
            )

    def head(self, prefix: str, kind: str) -> dict[str, Any]:
        """What all chunks and results of a request begin with."""
        return {
            "id": f"{prefix}-{secrets.token_hex(12)}",
            "object": kind,
            "created": int(time.time()),
            "model": self.settings.name,
            "system_fingerprint": self.fingerprint,
        }


async def in_time(size: int, work: Callable[[], Found]) -> Found:
    """What a work on so many characters gives; SmeltErrors become answers with status 400."""
    try:
        return await asyncio.to_thread(work) if size > LONG else work()
    except SmeltError as error:
        raise refused(error) from None


def check_ids(ids: Sequence[int], manifest: Manifest, param: str) -> None:
    """ApiError 400 for a token that the vocabulary has not."""
    most = manifest.vocab_size
    for token in ids:
        if token < 0 or (most is not None and token >= most):
            raise ApiError(
                400,
                f"`{param}` has token {token}, the vocabulary has {most}",
                param=param,
                code="invalid_value",
            )
