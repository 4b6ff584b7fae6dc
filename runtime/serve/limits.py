"""What every request passes first: its count, its key and the size of its body."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Collection

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smelt.runtime.serve.errors import ApiError
from smelt.runtime.serve.metrics import ServerMetrics
from smelt.runtime.serve.settings import ServeSettings


class Gate:
    """Counts requests by route and status, and asks for a key before anything of `/v1`."""

    def __init__(
        self, app: ASGIApp, metrics: ServerMetrics, keys: Collection[str], routes: Collection[str]
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._keys = [key.encode() for key in keys]
        self._routes = frozenset(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer 401."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        route = path if path in self._routes else "other"
        status = 499  # until an answer begins: the client has gone
        start = time.perf_counter()

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if path.startswith("/v1") and not self._opens(scope):
                await _no_key().response()(scope, receive, counted)
            else:
                await self._app(scope, receive, counted)
        finally:
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - start)

    def _opens(self, scope: Scope) -> bool:
        if not self._keys:
            return True
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        kind, _, key = given.partition(b" ")
        right = [hmac.compare_digest(key.strip(), known) for known in self._keys]
        return kind.lower() == b"bearer" and any(right)


def _no_key() -> ApiError:
    return ApiError(
        401,
        "the API key is missing or wrong; send it as `Authorization: Bearer …`",
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )


async def read_body(request: Request, settings: ServeSettings) -> bytes:
    """The whole body; ApiError 413 over the limit, 408 where it does not arrive."""
    told = request.headers.get("content-length", "0")
    if told.isdigit() and int(told) > settings.max_body:
        raise _too_large(int(told), settings.max_body)
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_time):
            async for part in request.stream():
                body += part
                if len(body) > settings.max_body:
                    raise _too_large(len(body), settings.max_body)
    except TimeoutError:
        raise ApiError(
            408,
            f"the body has not arrived within {settings.body_time:g} seconds",
            headers={"connection": "close"},
        ) from None
    return bytes(body)


async def gone(receive: Receive) -> None:
    """Wait until the client has closed the connection, or has its whole answer."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _too_large(size: int, most: int) -> ApiError:
    return ApiError(
        413,
        f"the body has {size} bytes or more, at most {most} are allowed",
        code="body_too_large",
        headers={"connection": "close"},
    )
