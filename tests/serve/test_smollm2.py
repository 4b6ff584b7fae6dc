"""A real chat model behind the server: the same words, streamed, together and alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import smelt
from tests import models
from tests.serve.server import Server, client_of, serving

QUESTIONS = (
    "What is the capital of France?",
    "Name three colours.",
    "Say hello in Spanish and in German, please.",
    "Write one sentence about the sea.",
)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        checkpoint = models.smollm2_hf()
    except models.ModelUnavailable as error:
        pytest.skip(str(error))
    out = tmp_path_factory.mktemp("out") / "smollm2.smelt"
    smelt.compile(checkpoint, target="edge", quant="int8", out=out, verify=False)
    return out


@pytest.fixture(scope="module")
def server(artifact: Path) -> Iterator[Server]:
    with serving(artifact, "--rows", 4, "--context", 256) as started:
        yield started


def test_it_answers_as_a_session_does(artifact: Path, server: Server) -> None:
    session = smelt.open(artifact)
    want = [
        session.generate(messages=[{"role": "user", "content": asked}], max_new_tokens=16).text
        for asked in QUESTIONS
    ]
    client = client_of(server)

    def ask(question: str) -> str:
        messages: list[Any] = [{"role": "user", "content": question}]
        stream = client.chat.completions.create(
            model="smollm2", messages=messages, max_tokens=16, stream=True
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert [ask(question) for question in QUESTIONS] == want
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, [*QUESTIONS, *QUESTIONS])) == want * 2
    assert "Paris" in want[0]
    assert server.metric("smelt_prefix_reused_tokens_total") > 0  # they share a system prompt
