"""Clients that leave, signals that come, and what is left of the running requests."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from tests.serve.byte_model import NAME, NEVER_ENDS
from tests.serve.server import Server, client_of, eventually, serving

TOLD: dict[str, Any] = {"model": NAME, "prompt": "x", "logit_bias": NEVER_ENDS}
WORDS = ("--rows", 1, "--threads", 1)


def started(server: Server, tokens: int) -> tuple[Any, Iterator[Any]]:
    """A stream whose first token has come."""
    stream = client_of(server).completions.create(**TOLD, max_tokens=tokens, stream=True)
    chunks = iter(stream)
    next(chunks)
    return stream, chunks


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_client_that_leaves_gives_its_row_back(chat_artifact: Path, stream: bool) -> None:
    with serving(chat_artifact, *WORDS) as server:
        address = urlsplit(server.url)
        body = json.dumps({**TOLD, "max_tokens": 4000, "stream": stream}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(head.encode() + body)
            eventually(lambda: server.metric("smelt_generated_tokens_total") > 0)
        eventually(lambda: server.metric('smelt_finished_total{reason="cancelled"}') == 1)
        eventually(lambda: server.metric("smelt_requests_running") == 0)
        found = client_of(server).completions.create(**TOLD, max_tokens=5)
        assert found.usage is not None and found.usage.completion_tokens == 5
        assert server.metric("smelt_generated_tokens_total") < 4000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
def test_a_signal_lets_running_requests_end(chat_artifact: Path, number: int) -> None:
    with serving(chat_artifact, *WORDS) as server:
        _, chunks = started(server, 1500)
        server.process.send_signal(number)
        rest = list(chunks)
        assert rest[-1].choices[0].finish_reason == "length"
        assert server.process.wait(60) == 0
        with pytest.raises(openai.APIConnectionError):
            client_of(server).models.list()


def test_after_the_grace_time_a_stream_ends_with_an_error(chat_artifact: Path) -> None:
    with serving(chat_artifact, *WORDS, "--grace", 0) as server:
        _, chunks = started(server, 4000)
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(openai.APIError, match="the server stops"):
            list(chunks)
        assert server.process.wait(60) == 0


def test_a_second_signal_ends_at_once(chat_artifact: Path) -> None:
    with serving(chat_artifact, *WORDS, "--grace", 600) as server:
        stream, _ = started(server, 4000)
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: refuses(server))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) in (128 + signal.SIGTERM, 0)
        stream.close()


def refuses(server: Server) -> bool:
    """Whether nothing new is accepted."""
    address = urlsplit(server.url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=5).close()
    except OSError:
        return True
    return False


def test_what_cannot_be_served_says_why(tmp_path: Path, chat_artifact: Path) -> None:
    def serve(*words: object) -> tuple[int, str]:
        command = [sys.executable, "-m", "smelt.cli", "serve", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stderr

    missing = serve(tmp_path / "nothing.smelt")
    assert missing[0] != 0 and "nothing.smelt" in missing[1]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said = serve(chat_artifact, "--port", taken.getsockname()[1])
    assert code == 1 and "cannot listen on 127.0.0.1" in said
