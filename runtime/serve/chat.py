"""`POST /v1/chat/completions`."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from smelt.runtime.batching import Event
from smelt.runtime.serve.asked import choice_of, options_for
from smelt.runtime.serve.errors import ApiError
from smelt.runtime.serve.generating import GenerationService
from smelt.runtime.serve.limits import read_body
from smelt.runtime.serve.logprobs import TokenNames
from smelt.runtime.serve.messages import template_messages, template_tools, template_variables
from smelt.runtime.serve.protocol import ChatRequest, parse
from smelt.runtime.serve.service import in_time
from smelt.runtime.serve.stream import REASONS, EventStream, Frames, gather, usage_of
from smelt.runtime.serve.tool_calls import MadeCall, ToolCallReader


async def chat(request: Request) -> Response:
    """Answer a conversation, at once or as a stream."""
    service: GenerationService = request.app.state.service
    body = await read_body(request, service.settings)
    asked = parse(ChatRequest, body)
    service.check_model(asked.model)
    count = asked.n or 1
    service.desk.check_room(count)
    _check(asked, service)
    tools = template_tools(asked)
    messages, variables = template_messages(asked.messages), template_variables(asked)
    ids = await in_time(
        len(body), lambda: service.text.encode_chat(messages, tools=tools, **variables)
    )
    options = options_for(
        asked,
        service.manifest,
        prompt_tokens=len(ids),
        context=service.context,
        asked=asked.max_completion_tokens or asked.max_tokens,
        fallback=None,
        logprobs=(asked.top_logprobs or 0) if asked.logprobs else None,
    )
    call = service.desk.open([(ids, choice_of(options, index)) for index in range(count)])
    service.metrics.prompt.inc(len(ids))
    names = service.token_names if asked.logprobs else None
    reads_calls = tools is not None and service.reads_tool_calls
    choices = [ChatChoice(index, names, reads_calls=reads_calls) for index in range(count)]
    prompt = {"prompt_tokens": len(ids)}
    if asked.stream:
        head = service.head("chatcmpl", "chat.completion.chunk")
        with_usage = bool(asked.stream_options and asked.stream_options.include_usage)
        frames = Frames(head, with_usage=with_usage)
        return EventStream(call, choices, frames, prompt if with_usage else None)
    await gather(call, choices, request.receive)
    return JSONResponse(
        {
            **service.head("chatcmpl", "chat.completion"),
            "choices": [choice.result() for choice in choices],
            "usage": usage_of(prompt, choices),
        }
    )


def _check(asked: ChatRequest, service: GenerationService) -> None:
    """ApiError 400 for what is known and cannot be done."""
    if not service.text.has_chat:
        raise ApiError(
            400,
            f"model {asked.model!r} has no chat template; /v1/completions continues a text",
            param="messages",
            code="unsupported_value",
        )
    if asked.max_tokens and asked.max_completion_tokens:
        raise ApiError(
            400,
            f"`max_tokens` is {asked.max_tokens} and `max_completion_tokens` "
            f"{asked.max_completion_tokens}, wants one of the two",
            param="max_tokens",
            code="invalid_value",
        )
    if asked.top_logprobs is not None and not asked.logprobs:
        raise ApiError(
            400,
            f"`top_logprobs` is {asked.top_logprobs}, and `logprobs` is not true",
            param="top_logprobs",
            code="invalid_value",
        )
    if asked.response_format is not None and asked.response_format.type != "text":
        raise ApiError(
            400,
            f"`response_format` is {asked.response_format.type}, this server gives text alone",
            param="response_format",
            code="unsupported_value",
        )


class ChatChoice:
    """One answer of a chat while it is made."""

    def __init__(self, index: int, names: TokenNames | None, *, reads_calls: bool) -> None:
        self.tokens = 0
        self._start = f'"index": {index}, "delta": '
        self._index = index
        self._names = names
        self._reader = ToolCallReader() if reads_calls else None
        self._texts: list[str] = []
        self._calls: list[MadeCall] = []
        self._logprobs: list[dict[str, Any]] = []
        self._finish: str | None = None

    def opening(self) -> list[str]:
        """The role."""
        return [self._members('{"role": "assistant", "content": ""}')]

    def take(self, event: Event) -> list[str]:
        """The chunks of one token."""
        text, logprobs = event.text, "null"
        written = []
        if event.token is not None:
            self.tokens += 1
            if self._names is not None and event.finish != "eos":
                entry = self._names.chat_entry(event)
                self._logprobs.append(entry)
                logprobs = json.dumps({"content": [entry], "refusal": None})
        calls: list[MadeCall] = []
        if self._reader is not None:
            text, calls = self._reader.push(text)
            if event.finish is not None:
                text += self._reader.flush()
        if text or logprobs != "null":
            self._texts.append(text)
            written.append(self._members(f'{{"content": {json.dumps(text)}}}', logprobs))
        for call in calls:
            written.append(self._called(call))
        if event.finish is not None and (reason := REASONS.get(event.finish)):
            called = bool(self._calls) and reason == "stop"
            self._finish = "tool_calls" if called else reason
            written.append(self._members("{}", finish=f'"{self._finish}"'))
        return written

    def result(self) -> dict[str, Any]:
        """The whole message."""
        text = "".join(self._texts)
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if self._calls:
            message["content"] = text or None
            message["tool_calls"] = [_openai_call(call) for call in self._calls]
        logprobs = None
        if self._names is not None:
            logprobs = {"content": self._logprobs, "refusal": None}
        return {
            "index": self._index,
            "message": message,
            "logprobs": logprobs,
            "finish_reason": self._finish,
        }

    def _called(self, call: MadeCall) -> str:
        told = {"index": len(self._calls), **_openai_call(call)}
        self._calls.append(call)
        return self._members(json.dumps({"tool_calls": [told]}))

    def _members(self, delta: str, logprobs: str = "null", finish: str = "null") -> str:
        return f'{self._start}{delta}, "logprobs": {logprobs}, "finish_reason": {finish}'


def _openai_call(call: MadeCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}
