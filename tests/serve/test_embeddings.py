"""Embeddings through the real client, beside those of a session, on two targets."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

import smelt
from smelt.runtime.session import Session
from tests import tiny
from tests.serve.server import Server, client_of, serving

NAME = "encoder"
TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w10 w11"]


@pytest.fixture(scope="module", params=["edge", "torch"])
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = tiny.bert(tmp_path_factory.mktemp("bert"))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(95))]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    out = tmp_path_factory.mktemp("out") / NAME
    out = out.with_suffix(".smelt") if request.param == "edge" else out
    smelt.compile(folder, target=request.param, out=out, task="feature_extraction", verify=False)
    return out


@pytest.fixture(scope="module")
def session(artifact: Path) -> Session:
    return smelt.open(artifact)


@pytest.fixture(scope="module")
def server(artifact: Path) -> Iterator[Server]:
    with serving(artifact, "--rows", 8) as started:
        yield started


def test_vectors_are_those_of_the_session(server: Server, session: Session) -> None:
    client = client_of(server)
    want = session.embed(TEXTS)
    for encoding in ("float", "base64"):
        found = client.embeddings.create(model=NAME, input=TEXTS, encoding_format=encoding)
        vectors = [_vector(entry.embedding) for entry in found.data]
        np.testing.assert_allclose(vectors, want, rtol=0, atol=1e-5)
        assert [entry.index for entry in found.data] == [0, 1, 2]
        counts = [len(session.text.encode(text)) for text in TEXTS]
        assert found.usage.prompt_tokens == found.usage.total_tokens == sum(counts)
    single = client.embeddings.create(model=NAME, input=TEXTS[1])
    np.testing.assert_allclose(_vector(single.data[0].embedding), want[1], rtol=0, atol=1e-5)
    ids = [session.text.encode(text) for text in TEXTS]
    by_ids = client.embeddings.create(model=NAME, input=ids, dimensions=want.shape[1])
    vectors = [_vector(entry.embedding) for entry in by_ids.data]
    np.testing.assert_allclose(vectors, want, rtol=0, atol=1e-5)


def _vector(found: Any) -> np.ndarray[Any, Any]:
    """A vector, whichever way the client has left it."""
    if isinstance(found, str):
        return np.frombuffer(base64.b64decode(found), "<f4")
    return np.asarray(found, np.float32)


def test_texts_of_many_clients_share_batches(server: Server, session: Session) -> None:
    texts = [[f"w{at} w{at + 1} " * (1 + at % 9), f"w{at}"] for at in range(32)]
    want = [session.embed(pair) for pair in texts]

    def ask(pair: list[str]) -> Any:
        found = client_of(server).embeddings.create(model=NAME, input=pair, encoding_format="float")
        return [entry.embedding for entry in found.data]

    with ThreadPoolExecutor(16) as pool:
        np.testing.assert_allclose(list(pool.map(ask, texts)), want, rtol=0, atol=1e-5)
    assert server.metric("smelt_requests_waiting") == 0


def test_what_cannot_be_embedded_is_refused(server: Server) -> None:
    def refused(**said: Any) -> tuple[int, str | None, str]:
        found = server.refusal("/v1/embeddings", {"model": NAME, "input": "w1", **said})
        return found["status"], found["param"], found["message"]

    status, param, message = refused(input="w1 " * 100)
    assert (status, param) == (400, "input") and "102 tokens" in message and "64" in message
    status, param, message = refused(dimensions=7)
    assert (status, param) == (400, "dimensions") and "is 7" in message and "36" in message
    assert refused(input="")[:2] == (400, "input")
    assert refused(input=["w1", ""])[:2] == (400, "input")
    assert refused(input=[])[:2] == (400, "input")
    assert refused(input=[[1, 99]])[:2] == (400, "input")
    assert refused(encoding_format="int8")[:2] == (400, "encoding_format")
    assert refused(truncate=True)[:2] == (400, "truncate")
    assert refused(model="other")[0] == 404
    chat = {"model": NAME, "messages": [{"role": "user", "content": "w1"}]}
    found = server.refusal("/v1/chat/completions", chat)
    assert (found["status"], found["code"]) == (404, "endpoint_not_served")
    assert "feature_extraction" in found["message"]
    with pytest.raises(openai.BadRequestError, match="is 64 tokens"):
        client_of(server).embeddings.create(model=NAME, input="w1 " * 100)
