"""Speed of a server under one and under many streaming clients.

    smelt serve model.smelt --port 8080 --rows 64
    python -m tests.serve.load --port 8080 --clients 64 --tokens 64

Prints tokens a second of one client and of all together, their ratio, the slowest and the fastest
client, errors, and what the server itself has counted. The clients speak raw HTTP over the loopback
and look into nothing but the last bytes of a stream, so that they cost little of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

HOST = "127.0.0.1"
_KEPT = 4096  # bytes of a stream's end, where its usage is
_SUBJECTS = ("the sea", "a mountain", "winter", "bread", "trains", "chess", "a garden", "dust")


@dataclass
class Client:
    """One stream and what came of it."""

    prompt: str
    start: float = 0.0
    first: float | None = None
    """When the first token came."""
    end: float = 0.0
    longest_gap: float = 0.0
    """Between two arrivals of text."""
    tokens: int = 0
    error: str | None = None

    @property
    def rate(self) -> float:
        """Tokens a second, from the request to its end."""
        return self.tokens / (self.end - self.start)


@dataclass
class Round:
    """What one crowd of clients measured."""

    clients: list[Client]
    seconds: float
    cpu: float = 0.0
    """Seconds that the server's process has used."""

    @property
    def tokens(self) -> int:
        """Of all together."""
        return sum(client.tokens for client in self.clients)

    @property
    def rate(self) -> float:
        """Tokens a second of all together."""
        return self.tokens / self.seconds


class _Stream(asyncio.Protocol):
    def __init__(self, client: Client, request: bytes, done: asyncio.Future[None]) -> None:
        self._client = client
        self._request = request
        self._done = done
        self._tail = b""
        self._last = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._client.start = self._last = time.perf_counter()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        client = self._client
        if client.first is None:
            # The role comes before any token; the next data is text.
            if b'"content": ""' not in data and b"data: " in data:
                client.first = now
        else:
            client.longest_gap = max(client.longest_gap, now - self._last)
        self._last = now
        self._tail = (self._tail + data)[-_KEPT:]

    def connection_lost(self, error: Exception | None) -> None:
        self._client.end = time.perf_counter()
        _, marked, usage = self._tail.rpartition(b'"completion_tokens": ')
        if marked and b"data: [DONE]" in usage:
            self._client.tokens = int(usage[: usage.index(b",")])
        else:
            self._client.error = (str(error or "") + self._tail[-300:].decode("utf-8", "replace"))[
                -300:
            ]
        if not self._done.done():
            self._done.set_result(None)


async def stream(port: int, model: str, client: Client, tokens: int, bias: str) -> None:
    """One chat of so many tokens, greedy."""
    told = {
        "model": model,
        "messages": [{"role": "user", "content": client.prompt}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "logit_bias": {bias: -100} if bias else None,
    }
    body = json.dumps(told).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    request = head.encode() + body
    try:
        await loop.create_connection(lambda: _Stream(client, request, done), HOST, port)
        await done
    except OSError as error:
        client.error = str(error)


async def crowd(port: int, model: str, count: int, tokens: int, bias: str) -> Round:
    """So many clients at once, each with a prompt of its own."""
    clients = [Client(f"Tell story {at} about {_SUBJECTS[at % 8]}.") for at in range(count)]
    start = time.perf_counter()
    await asyncio.gather(*(stream(port, model, client, tokens, bias) for client in clients))
    return Round(clients, time.perf_counter() - start)


async def fetch(port: int, path: str) -> str:
    """The body of one answer."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n".encode())
    found = await reader.read()
    writer.close()
    return found.partition(b"\r\n\r\n")[2].decode()


async def cpu_seconds(port: int) -> float:
    """What the server's process has used so far."""
    lines = (await fetch(port, "/metrics")).splitlines()
    return float(next(x for x in lines if x.startswith("process_cpu_seconds_total")).split()[1])


async def measure(port: int, clients: int, tokens: int, rounds: int, bias: str) -> None:
    """One client and the crowd in turn, and what was found."""
    model = json.loads(await fetch(port, "/v1/models"))["data"][0]["id"]
    await crowd(port, model, 1, 8, bias)  # warm
    single: list[Round] = []
    many: list[Round] = []
    for _ in range(rounds):
        for found, count in ((single, 1), (many, clients)):
            before = await cpu_seconds(port)
            found.append(await crowd(port, model, count, tokens, bias))
            found[-1].cpu = await cpu_seconds(port) - before
    report(single, many)


def report(single: Sequence[Round], many: Sequence[Round]) -> None:
    """Print medians and the worst."""
    one = statistics.median(found.rate for found in single)
    all_ = statistics.median(found.rate for found in many)
    everyone = [client for found in [*single, *many] for client in found.clients]
    errors = [client.error for client in everyone if client.error is not None]
    crowded = [client for found in many for client in found.clients if client.error is None]
    rates = sorted(client.rate for client in crowded)
    firsts = sorted(c.first - c.start for c in crowded if c.first is not None)
    print(f"one client       {one:8.1f} tokens/s {[round(r.rate, 1) for r in single]}")
    print(f"{len(many[0].clients)} clients       {all_:8.1f} tokens/s {_rounded(many)}")
    print(f"ratio            {all_ / one:8.2f}")
    if rates:
        print(
            f"a client's rate  {rates[0]:8.2f} slowest, {statistics.median(rates):.2f} median, "
            f"{rates[-1]:.2f} fastest tokens/s ({rates[-1] / rates[0]:.2f} times)"
        )
        print(
            f"first token      {firsts[0]:8.2f} soonest, {statistics.median(firsts):.2f} median, "
            f"{firsts[-1]:.2f} latest s"
        )
        print(f"longest pause    {max(client.longest_gap for client in crowded):8.2f} s")
        alone, together = (1e3 * sum(r.cpu for r in f) / _tokens(f) for f in (single, many))
        print(
            f"server's CPU     {together:8.3f} ms a token of the crowd, {alone:.3f} of one client"
        )
    print(f"errors           {len(errors):8d} of {len(everyone)}")
    for said in errors[:3]:
        print(f"  {said}")


def _tokens(rounds: Sequence[Round]) -> int:
    return sum(found.tokens for found in rounds)


def _rounded(rounds: Sequence[Round]) -> list[float]:
    return [round(found.rate, 1) for found in rounds]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--never", default="", help="An id that may not come: the model's end.")
    asked = parser.parse_args()
    asyncio.run(measure(asked.port, asked.clients, asked.tokens, asked.rounds, asked.never))
