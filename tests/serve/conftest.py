"""The tiny artifacts that the servers of these tests have, and a server for most of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

import smelt
from smelt.runtime.session import Session
from tests.serve import byte_model
from tests.serve.server import Server, client_of, serving


@pytest.fixture(scope="session")
def chat_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny chat model for edge."""
    checkpoint = byte_model.save(tmp_path_factory.mktemp("bytes"))
    out = tmp_path_factory.mktemp("out") / f"{byte_model.NAME}.smelt"
    smelt.compile(checkpoint, target="edge", out=out, verify=False)
    return out


@pytest.fixture(scope="session")
def chat_session(chat_artifact: Path) -> Session:
    """The same model without a server: what it says is what the server must say."""
    return smelt.open(chat_artifact, threads=1)


@pytest.fixture(scope="session")
def server(chat_artifact: Path) -> Iterator[Server]:
    """One server for all tests that do not stop or fill it."""
    with serving(chat_artifact, "--rows", 4, "--threads", 1, "--waiting", 100) as started:
        yield started


@pytest.fixture(scope="session")
def client(server: Server) -> openai.OpenAI:
    """A client of that server."""
    return client_of(server)
