"""Start, listen, and stop: the first signal drains, the second ends at once.

After the first SIGTERM or SIGINT nothing new is accepted and what runs may end, for the grace time;
what is left then ends with an error. Both ways the exit code is 0.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from smelt.errors import SmeltError
from smelt.runtime.serve.app import build_app
from smelt.runtime.serve.service import Service

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_BACKLOG = 2048
#: Seconds after the grace time before connections that still hang are cut.
_LAST = 3


def run(service: Service, *, on_listening: Callable[[str], None]) -> None:
    """Serve until a signal; ``on_listening`` hears the address."""
    settings = service.settings
    listener = _listen(settings.host, settings.port)
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        build_app(service),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=int(settings.grace) + _LAST,
    )
    shown = f"[{host}]" if ":" in host else host
    _Server(config, service, lambda: on_listening(f"http://{shown}:{port}")).run([listener])


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, service: Service, on_listening: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._service = service
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.start()
        await super().startup(sockets)
        self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.stopping = True
        last = asyncio.get_running_loop().call_later(
            self._service.settings.grace, self._service.stop_all
        )
        await super().shutdown(sockets)
        last.cancel()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Ours: uvicorn would raise the signal again at the end, and the exit code be its."""
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise SmeltError(
            f"cannot listen on {host} port {port}: {error.strerror}",
            hint="another --port, or 0 for a free one",
        ) from None
    listener.setblocking(False)
    return listener
