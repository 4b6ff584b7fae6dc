"""What a server refuses: the status, the parameter that it names, and both values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.serve.byte_model import CONTEXT, NAME, NEVER_ENDS
from tests.serve.server import Server, client_of, eventually, serving

CHAT = "/v1/chat/completions"
PLAIN = "/v1/completions"
HELLO = [{"role": "user", "content": "Hello"}]
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]

#: endpoint, what the request says beside the least it must, status, parameter, part of the message
TABLE: list[tuple[str, dict[str, Any], int, str | None, str]] = [
    (CHAT, {"model": "other"}, 404, "model", "'other' is not here, this server has 'tiny'"),
    (CHAT, {"temprature": 1}, 400, "temprature", "did you mean `temperature`"),
    (CHAT, {"temperature": 2.5}, 400, "temperature", "is 2.5"),
    (CHAT, {"temperature": "1"}, 400, "temperature", "is '1'"),
    (CHAT, {"temperature": 1e-9}, 400, "temperature", "1e-09"),
    (CHAT, {"top_p": 0}, 400, "top_p", "is 0"),
    (CHAT, {"n": 0}, 400, "n", "is 0"),
    (CHAT, {"n": 128}, 400, "n", "128 answers"),
    (CHAT, {"max_tokens": 0}, 400, "max_tokens", "is 0"),
    (CHAT, {"max_tokens": 5, "max_completion_tokens": 5}, 400, "max_tokens", "one of the two"),
    (CHAT, {"max_tokens": CONTEXT}, 400, "max_tokens", f"length is {CONTEXT} tokens"),
    (CHAT, {"top_logprobs": 2}, 400, "top_logprobs", "not true"),
    (CHAT, {"top_logprobs": 21, "logprobs": True}, 400, "top_logprobs", "is 21"),
    (PLAIN, {"logprobs": 6}, 400, "logprobs", "is 6"),
    (CHAT, {"stop": ["a", ""]}, 400, "stop[1]", "at least 1"),
    (CHAT, {"stop": 3}, 400, "stop", "is 3"),
    (CHAT, {"logit_bias": {"x": 1}}, 400, "logit_bias", "'x'"),
    (CHAT, {"logit_bias": {"1": 101}}, 400, "logit_bias", "101"),
    (CHAT, {"logit_bias": {"999999": 1}}, 400, "logit_bias", "999999"),
    (CHAT, {"presence_penalty": -3}, 400, "presence_penalty", "is -3"),
    (CHAT, {"seed": 2**70}, 400, "seed", ""),
    (CHAT, {"messages": []}, 400, "messages", "at least 1"),
    (CHAT, {"messages": [{"role": "robot", "content": ""}]}, 400, "messages[0].role", "'robot'"),
    (CHAT, {"messages": IMAGE}, 400, "messages[0].content", "'image_url'"),
    (CHAT, {"messages": [{"role": "user", "content": "\ud800"}]}, 400, None, ""),
    (CHAT, {"tool_choice": "required"}, 400, "tool_choice", "cannot force"),
    (CHAT, {"tools": [{"type": "web"}]}, 400, "tools[0].type", "'web'"),
    (CHAT, {"response_format": {"type": "xml"}}, 400, "response_format.type", "'xml'"),
    (CHAT, {"stream_options": {"flush": True}}, 400, "stream_options.flush", "unrecognized"),
    (CHAT, {"store": True}, 400, "store", "is True"),
    (CHAT, {"functions": []}, 400, "functions", "unrecognized"),
    (CHAT, {"chat_template_kwargs": {"tools": []}}, 400, "chat_template_kwargs", "`tools`"),
    (CHAT, {"logit_bias": dict.fromkeys(map(str, range(1025)), 1)}, 400, "logit_bias", "1025"),
    (PLAIN, {"prompt": ["x"] * 200}, 400, "n", "200 answers"),
    (PLAIN, {"prompt": ["x"] * 3000}, 400, "prompt", "3000 entries"),
    (PLAIN, {"prompt": ""}, 400, "prompt", "no tokens"),
    (PLAIN, {"prompt": []}, 400, "prompt", "wants a string"),
    (PLAIN, {"prompt": [1, "a"]}, 400, "prompt", "wants a string"),
    (PLAIN, {"prompt": [1, 100000]}, 400, "prompt", "token 100000"),
    (PLAIN, {"prompt": [-1]}, 400, "prompt", "token -1"),
    (PLAIN, {"prompt": "x" * CONTEXT}, 400, "prompt", f"{CONTEXT} tokens"),
    (PLAIN, {"best_of": 3}, 400, "best_of", "is 3"),
    (PLAIN, {"suffix": "end"}, 400, "suffix", "'end'"),
    (PLAIN, {"echo": True, "logprobs": 0}, 400, "echo", "those of the prompt"),
]


@pytest.mark.parametrize(
    ("path", "said", "status", "param", "message"),
    TABLE,
    ids=[f"{at}-{'-'.join(row[1])}" for at, row in enumerate(TABLE)],
)
def test_a_request_is_refused_by_name(
    server: Server, path: str, said: dict[str, Any], status: int, param: str | None, message: str
) -> None:
    least = {"messages": HELLO} if path == CHAT else {"prompt": "Hello"}
    found = server.refusal(path, {"model": NAME, **least, **said})
    assert (found["status"], found["param"]) == (status, param), found
    assert message in found["message"]
    assert set(found) == {"status", "message", "type", "param", "code"}


def test_null_is_the_same_as_nothing(server: Server) -> None:
    nothing = dict.fromkeys(
        ("temperature", "stop", "n", "tools", "user", "logit_bias", "stream", "response_format")
    )
    body = {"model": NAME, "messages": HELLO, "max_tokens": 2, **nothing}
    assert server.call(CHAT, body)[0] == 200


def test_what_changes_no_answer_is_accepted(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(
        model=NAME,
        messages=[{"role": "user", "content": "Hello"}],
        max_tokens=2,
        user="somebody",
        metadata={"a": "b"},
        store=False,
        service_tier="auto",
        parallel_tool_calls=True,
        response_format={"type": "text"},
    )
    assert found.usage is not None and found.usage.completion_tokens <= 2


def test_bodies_that_are_no_requests(server: Server) -> None:
    for body in (b"", b"{", b"[1]", b"\xff\xfe", b'{"a":' * 5000, b"null", b"\x00" * 64):
        found = server.refusal(CHAT, body)
        assert found["status"] == 400 and "the body is not" in found["message"], body
    assert server.refusal(CHAT, {"model": NAME})["param"] == "messages"


def test_routes_that_are_not_there(server: Server) -> None:
    assert server.refusal("/v1/nothing", {})["status"] == 404
    assert server.refusal("/health", {})["status"] == 405
    assert server.call(CHAT)[0] == 405
    found = server.refusal("/v1/embeddings", {"model": NAME, "input": "x"})
    assert (found["status"], found["code"]) == (404, "endpoint_not_served")
    assert "causal_lm" in found["message"]


def test_the_client_raises_what_was_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="context length is 4096") as caught:
        client.completions.create(model=NAME, prompt="x" * 5000)
    assert caught.value.code == "context_length_exceeded" and "5000 tokens" in str(caught.value)
    with pytest.raises(openai.NotFoundError, match="not here"):
        client.models.retrieve("other")


def test_keys_sizes_and_names(chat_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMELT_API_KEY", "right")
    words = ("--rows", 1, "--threads", 1, "--max-body", "2KB", "--name", "my/model")
    with serving(chat_artifact, *words) as server:
        assert client_of(server, "right").models.list().data[0].id == "my/model"
        assert client_of(server, "right").models.retrieve("my/model").id == "my/model"
        for key in ("wrong", "right1", "righ"):
            with pytest.raises(openai.AuthenticationError, match="API key"):
                client_of(server, key).models.list()
        assert server.call("/v1/models")[0] == 401
        assert server.call("/health")[0] == server.call("/metrics")[0] == 200
        long = {"model": "my/model", "prompt": "x" * 3000}
        status, body, _ = server.call(PLAIN, long, authorization="Bearer right")
        assert status == 413 and "at most 2000 are allowed" in json.loads(body)["error"]["message"]


def test_a_full_queue_says_when_to_come_back(chat_artifact: Path) -> None:
    with serving(chat_artifact, "--rows", 1, "--threads", 1, "--waiting", 1) as server:
        client = client_of(server)
        told: dict[str, Any] = {"model": NAME, "prompt": "x", "logit_bias": NEVER_ENDS}
        streams = [client.completions.create(**told, max_tokens=4000, stream=True)]
        next(iter(streams[0]))  # it has the row
        streams.append(client.completions.create(**told, max_tokens=1, stream=True))
        with pytest.raises(openai.RateLimitError) as caught:
            client.completions.create(**told, max_tokens=1)
        assert int(caught.value.response.headers["retry-after"]) >= 1
        streams[0].close()
        assert "".join(chunk.choices[0].text for chunk in streams[1]) is not None
        found = client.completions.create(**told, max_tokens=3)
        assert found.usage is not None and found.usage.completion_tokens == 3


def test_no_choice_of_a_request_stays_when_one_finds_no_room(chat_artifact: Path) -> None:
    with serving(chat_artifact, "--rows", 1, "--threads", 1, "--waiting", 3) as server:
        client = client_of(server)
        told: dict[str, Any] = {"model": NAME, "prompt": "x", "logit_bias": NEVER_ENDS}
        stream = client.completions.create(**told, max_tokens=4000, stream=True)
        next(iter(stream))
        with pytest.raises(openai.RateLimitError):
            client.completions.create(**told, n=4, max_tokens=1)
        eventually(lambda: server.metric("smelt_requests_waiting") == 0)
        stream.close()
