"""Chat and completions through the real client: what a session says, however it is asked for."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from smelt.runtime.session import Session
from tests.serve.byte_model import CONTEXT, NAME, NEVER_ENDS
from tests.serve.server import Server

ASKED: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hé?"}]
PROMPTS = ["one", "a longer prompt than that", "Ü"]


def said(session: Session, **options: Any) -> str:
    """What a session answers to the same messages."""
    return session.generate(messages=ASKED, **options).text


def pieces(stream: Any) -> tuple[str, list[str | None], Any]:
    """The text of a chat's stream, the reasons that it gives, and its usage."""
    text, reasons, usage = "", [], None
    for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reasons += [choice.finish_reason] if choice.finish_reason else []
        usage = chunk.usage or usage
    return text, reasons, usage


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.id == NAME and model.owned_by == "smelt"
    assert client.models.retrieve(NAME) == model


@pytest.mark.parametrize("tokens", [1, 7, 60])
def test_a_chat_says_what_a_session_says_streamed_or_not(
    client: openai.OpenAI, chat_session: Session, tokens: int
) -> None:
    want = chat_session.generate(messages=ASKED, max_new_tokens=tokens, temperature=0).wait()
    told: dict[str, Any] = {"model": NAME, "messages": ASKED, "max_tokens": tokens}
    whole = client.chat.completions.create(**told, temperature=0)
    text, reasons, usage = pieces(
        client.chat.completions.create(
            **told, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )
    assert whole.choices[0].message.content == want.text == text
    assert [whole.choices[0].finish_reason] == reasons
    assert reasons == ["stop" if want.finish == "eos" else "length"]
    assert whole.usage == usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (
        want.metrics.prompt_tokens,
        len(want.ids),
    )
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_stream_without_usage_has_none(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=NAME, messages=ASKED, max_tokens=3, stream=True, temperature=0
    )
    chunks = list(stream)
    assert all(len(chunk.choices) == 1 and chunk.usage is None for chunk in chunks)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_same_options_as_a_call_of_generate(
    client: openai.OpenAI, chat_session: Session
) -> None:
    table: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"seed": 5, "temperature": 0.9}, {"seed": 5, "temperature": 0.9}),
        ({"seed": 6, "top_p": 0.5}, {"seed": 6, "top_p": 0.5}),
        ({"top_p": 1}, {}),  # changes nothing, so it does not turn sampling on
        ({"presence_penalty": 1.5}, {"presence_penalty": 1.5}),
        ({"frequency_penalty": 2}, {"frequency_penalty": 2.0}),
        ({"logit_bias": {"65": 100}}, {"sequence_bias": [((65,), 100.0)]}),
        ({"max_completion_tokens": 5}, {"max_new_tokens": 5}),
        (
            {"extra_body": {"top_k": 3, "min_p": 0.1, "repetition_penalty": 1.3}, "seed": -2},
            {"top_k": 3, "min_p": 0.1, "repetition_penalty": 1.3, "seed": 2**64 - 3},
        ),
    ]
    for asked, options in table:
        if "max_completion_tokens" not in asked:
            asked, options = asked | {"max_tokens": 20}, options | {"max_new_tokens": 20}
        found = client.chat.completions.create(model=NAME, messages=ASKED, **asked)
        assert found.choices[0].message.content == said(chat_session, **options), asked


def test_an_answer_without_a_bound_fills_the_context(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(
        model=NAME, messages=[{"role": "user", "content": "x" * (CONTEXT - 100)}], logit_bias={}
    )
    assert found.usage is not None
    assert found.choices[0].finish_reason in ("length", "stop")
    if found.choices[0].finish_reason == "length":
        assert found.usage.total_tokens == CONTEXT


def test_choices_are_draws_with_the_next_seeds(client: openai.OpenAI) -> None:
    told: dict[str, Any] = {"model": NAME, "messages": ASKED, "max_tokens": 12, "temperature": 1.2}
    three = client.chat.completions.create(**told, n=3, seed=40)
    alone = [client.chat.completions.create(**told, seed=40 + at) for at in range(3)]
    texts = [choice.message.content for choice in three.choices]
    assert texts == [found.choices[0].message.content for found in alone]
    assert [choice.index for choice in three.choices] == [0, 1, 2] and len(set(texts)) > 1
    assert three.usage is not None and alone[0].usage is not None
    assert three.usage.prompt_tokens == alone[0].usage.prompt_tokens
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(**told, n=3, seed=40, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == texts


def test_stop_strings_end_the_text_before_them(
    client: openai.OpenAI, chat_session: Session
) -> None:
    whole = said(chat_session, max_new_tokens=40)
    stop = whole[5:8]
    told: dict[str, Any] = {"model": NAME, "messages": ASKED, "max_tokens": 40, "temperature": 0}
    want = said(chat_session, max_new_tokens=40, stop=[stop])
    for given in (stop, ["never there", stop]):
        found = client.chat.completions.create(**told, stop=given)
        assert found.choices[0].message.content == want == whole[: whole.index(stop)]
        assert found.choices[0].finish_reason == "stop"
        text, reasons, _ = pieces(client.chat.completions.create(**told, stop=given, stream=True))
        assert (text, reasons) == (want, ["stop"])


def test_logprobs_are_those_of_the_session(client: openai.OpenAI, chat_session: Session) -> None:
    want = chat_session.generate(messages=ASKED, max_new_tokens=9, logprobs=3).wait().completions[0]
    told: dict[str, Any] = {"model": NAME, "messages": ASKED, "max_tokens": 9, "logprobs": True}
    whole = client.chat.completions.create(**told, top_logprobs=3)
    assert whole.choices[0].logprobs is not None
    content = whole.choices[0].logprobs.content
    assert content is not None and len(content) == len(want.logprobs)
    for entry, scored in zip(content, want.logprobs, strict=True):
        assert entry.logprob == pytest.approx(scored.logprob, abs=1e-4)
        top = [other.logprob for other in entry.top_logprobs]
        assert top == pytest.approx([logprob for _, logprob in scored.top], abs=1e-4)
        assert entry.token in [other.token for other in entry.top_logprobs]  # it was greedy
    data = bytes(byte for entry in content for byte in entry.bytes or [])
    assert data.decode("utf-8", "replace") == want.text
    streamed = [
        entry
        for chunk in client.chat.completions.create(**told, stream=True)
        for choice in chunk.choices
        if choice.logprobs
        for entry in choice.logprobs.content or []
    ]
    assert [entry.bytes for entry in streamed] == [entry.bytes for entry in content]
    assert all(entry.top_logprobs == [] for entry in streamed)


def test_completions_take_texts_and_ids(client: openai.OpenAI, chat_session: Session) -> None:
    want = chat_session.generate(PROMPTS, max_new_tokens=10).texts
    ids = [chat_session.text.encode(prompt) for prompt in PROMPTS]
    told: dict[str, Any] = {"model": NAME, "max_tokens": 10, "temperature": 0}
    for prompt in (PROMPTS, ids):
        found = client.completions.create(prompt=prompt, **told)
        assert [choice.text for choice in found.choices] == want
        assert found.usage is not None and found.usage.prompt_tokens == sum(map(len, ids))
    for single in (PROMPTS[1], ids[1]):
        found = client.completions.create(prompt=single, **told)
        assert [choice.text for choice in found.choices] == want[1:2]
        streamed = client.completions.create(prompt=single, stream=True, **told)
        assert "".join(chunk.choices[0].text for chunk in streamed) == want[1]
    short = client.completions.create(model=NAME, prompt="one", logit_bias=NEVER_ENDS)
    assert short.usage is not None and short.usage.completion_tokens == 16


def test_completions_echo_and_count_offsets(client: openai.OpenAI, chat_session: Session) -> None:
    told: dict[str, Any] = {"model": NAME, "prompt": "Üone", "max_tokens": 8, "temperature": 0}
    plain = client.completions.create(**told).choices[0].text
    assert client.completions.create(**told, echo=True).choices[0].text == "Üone" + plain
    streamed = client.completions.create(**told, echo=True, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == "Üone" + plain
    scored = client.completions.create(**told, logprobs=2).choices[0].logprobs
    assert scored is not None and scored.tokens and scored.text_offset and scored.top_logprobs
    assert all(len(entry) <= 2 for entry in scored.top_logprobs)
    want = chat_session.generate("Üone", max_new_tokens=8, logprobs=0).wait().completions[0]
    assert scored.token_logprobs == pytest.approx([s.logprob for s in want.logprobs], abs=1e-4)
    assert scored.text_offset[0] == 0 and scored.text_offset == sorted(scored.text_offset)


def test_parts_tools_and_older_turns_reach_the_template(
    client: openai.OpenAI, chat_session: Session
) -> None:
    tools: list[Any] = [
        {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    ]
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    messages: list[Any] = [
        {"role": "developer", "content": [{"type": "text", "text": "Be "}, _part("brief.")]},
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "2", "tool_call_id": "c1"},
    ]
    rendered: list[Any] = [
        {"role": "system", "content": "Be brief."},
        messages[1],
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}],
        },
        messages[3],
    ]
    for asked, given in ((tools, tools), (None, None)):
        want = chat_session.generate(messages=rendered, tools=given, max_new_tokens=6)
        found = client.chat.completions.create(
            model=NAME, messages=messages, tools=asked or openai.omit, max_tokens=6
        )
        assert found.choices[0].message.content == want.text
        assert found.usage is not None
        assert found.usage.prompt_tokens == want.metrics.prompt_tokens


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def test_many_streams_at_once_say_what_each_says_alone(
    client: openai.OpenAI, chat_session: Session
) -> None:
    prompts = [f"client {at} says {'x' * (at % 7)}" for at in range(64)]
    want = [chat_session.generate(prompt, max_new_tokens=24).text for prompt in prompts]

    def ask(prompt: str) -> str:
        stream = client.completions.create(
            model=NAME, prompt=prompt, max_tokens=24, temperature=0, stream=True
        )
        return "".join(chunk.choices[0].text for chunk in stream)

    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(ask, prompts)) == want


def test_the_metrics_count_what_was_done(server: Server, client: openai.OpenAI) -> None:
    route = 'smelt_requests_total{route="/v1/completions",status="200"}'
    names = [route, "smelt_prompt_tokens_total", "smelt_generated_tokens_total"]
    names += ["smelt_time_to_first_token_seconds_count", "smelt_time_per_token_seconds_count"]
    before = [server.metric(name) for name in names]
    client.completions.create(model=NAME, prompt="four", max_tokens=6, logit_bias=NEVER_ENDS)
    after = [server.metric(name) for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 4, 6, 1, 5]
    assert server.metric("smelt_requests_running") == server.metric("smelt_requests_waiting") == 0
    assert json.loads(server.call("/health")[1]) == {"status": "ok"}
