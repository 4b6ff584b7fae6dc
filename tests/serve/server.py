"""A real server in its own process, on a free port of the loopback, for tests of its endpoints."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

STOP_SECONDS = 60


@dataclass
class Server:
    """A running `smelt serve`."""

    process: subprocess.Popen[str]
    url: str
    """Without `/v1`."""

    def call(
        self, path: str, body: bytes | dict[str, Any] | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of one plain HTTP request; POST where there is a body."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read(), dict(answer.headers.items())
        except urllib.error.HTTPError as error:
            return error.code, error.read(), dict(error.headers.items())

    def refusal(self, path: str, body: bytes | dict[str, Any]) -> dict[str, Any]:
        """The `error` of an answer, with its status."""
        status, found, _ = self.call(path, body)
        error: dict[str, Any] = json.loads(found)["error"]
        return {"status": status, **error}

    def metric(self, name: str) -> float:
        """The value of a metric, labels included in its name; 0 where it is not there."""
        for line in self.call("/metrics")[1].decode().splitlines():
            if line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def serving(artifact: Path, *words: object) -> Iterator[Server]:
    """Serve an artifact on a free port until the block ends."""
    command = [sys.executable, "-m", "smelt.cli", "serve", str(artifact), "--port", "0"]
    process = subprocess.Popen(
        [*command, *map(str, words)], stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        yield Server(process, _url(process))
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOP_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def _url(process: subprocess.Popen[str]) -> str:
    """What the server says when it listens."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "http://" in line:
            return line.split()[-1].removesuffix("/v1")
    raise AssertionError(f"the server ended with {process.wait()}:\n{''.join(said)}")


def client_of(server: Server, key: str = "none") -> openai.OpenAI:
    """The real client, without its retries: an error must be seen."""
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=120)


def eventually(true: Callable[[], bool]) -> None:
    """Wait for something that must come; the bound only keeps a failing test from hanging."""
    for _ in range(600):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it never came")
