"""Calls of tools in text, however the text is cut."""

from __future__ import annotations

import json

import pytest
from openai.types.chat import ChatCompletionChunk

from smelt.runtime.batching import Event
from smelt.runtime.serve.chat import ChatChoice
from smelt.runtime.serve.stream import Frames
from smelt.runtime.serve.tool_calls import ToolCallReader, writes_tool_calls
from tests.serve.byte_model import TEMPLATE

ADD = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": "ü"}}\n</tool_call>'
NOW = '<tool_call>{"name": "now"}</tool_call>'

#: what the model writes, the text that is shown, the calls that are made
TABLE: dict[str, tuple[str, str, list[tuple[str, object]]]] = {
    "text alone": ("a < b <tool", "a < b <tool", []),
    "a call": (ADD, "", [("add", {"a": 1, "b": "ü"})]),
    "text, then two calls": (
        f"Let me see.\n{ADD}\n{NOW}\n",
        "Let me see.\n",
        [("add", {"a": 1, "b": "ü"}), ("now", {})],
    ),
    "text behind": (f"{NOW} \n done", "done", [("now", {})]),
    "no JSON": ("<tool_call>add(1)</tool_call>", "<tool_call>add(1)</tool_call>", []),
    "no name": ('<tool_call>{"a": 1}</tool_call>', '<tool_call>{"a": 1}</tool_call>', []),
    "no end": ("<tool_call>" + ADD[11:-12], "<tool_call>" + ADD[11:-12], []),
    "no object": (
        '<tool_call>{"name": "x", "arguments": 3}</tool_call>',
        '<tool_call>{"name": "x", "arguments": 3}</tool_call>',
        [],
    ),
}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("name", TABLE)
def test_calls_are_found_wherever_the_text_is_cut(name: str, size: int) -> None:
    written, shown, made = TABLE[name]
    reader = ToolCallReader()
    text, calls = "", []
    for start in range(0, len(written), size):
        more, found = reader.push(written[start : start + size])
        text += more
        calls += found
    text += reader.flush()
    assert text == shown
    assert [(call.name, json.loads(call.arguments)) for call in calls] == made
    assert len({call.id for call in calls}) == len(calls)


def test_only_templates_that_write_json_between_the_marks_are_read() -> None:
    assert writes_tool_calls(TEMPLATE)
    assert not writes_tool_calls("{{ messages[0].content }}")
    assert not writes_tool_calls(TEMPLATE.replace('{"name"', "<function="))


def test_a_choice_gives_calls_as_the_client_reads_them() -> None:
    written = f"One moment.\n{ADD}{NOW}"
    choice = ChatChoice(0, None, reads_calls=True)
    members = choice.opening()
    for at, letter in enumerate(written):
        finish = "eos" if at == len(written) - 1 else None
        members += choice.take(Event(1, 7, letter, None, finish))
    head = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    frame = Frames(head, with_usage=False).frame
    chunks = [
        ChatCompletionChunk.model_validate_json(frame(m).removeprefix("data: ")) for m in members
    ]
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(delta.content or "" for delta in deltas) == "One moment.\n"
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert [(c.index, c.function and c.function.name) for c in calls] == [(0, "add"), (1, "now")]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    whole = choice.result()
    assert whole["finish_reason"] == "tool_calls"
    assert whole["message"]["content"] == "One moment.\n"
    assert [call["id"] for call in whole["message"]["tool_calls"]] == [call.id for call in calls]
    assert json.loads(whole["message"]["tool_calls"][0]["function"]["arguments"])["b"] == "ü"
    assert choice.tokens == len(written)
