"""OpenAI's messages as chat templates read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from smelt.runtime.serve.errors import ApiError
from smelt.runtime.serve.protocol import ChatRequest, Message, ToolCall

# What the template is given anyway, or what only smelt may choose.
_TAKEN = frozenset(("messages", "tools", "documents", "add_generation_prompt", "template", "now"))


def template_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages with the roles and the shape of tool calls that templates know."""
    return [_template_message(message) for message in messages]


def _template_message(message: Message) -> dict[str, Any]:
    found = message.model_dump(exclude_none=True)
    if message.role == "developer":  # OpenAI's newer name
        found["role"] = "system"
    if message.content is None:
        found["content"] = ""
    if message.tool_calls:
        found["tool_calls"] = [_template_call(call) for call in message.tool_calls]
    return found


def _template_call(call: ToolCall) -> dict[str, Any]:
    """A call whose arguments are values: OpenAI's are JSON text, which templates would quote."""
    try:
        arguments = json.loads(call.function.arguments)
    except (ValueError, RecursionError):
        arguments = call.function.arguments
    found: dict[str, Any] = {"type": "function"}
    if call.id is not None:
        found["id"] = call.id
    return {**found, "function": {"name": call.function.name, "arguments": arguments}}


def template_tools(request: ChatRequest) -> list[dict[str, Any]] | None:
    """The tools that the template writes; none where the request chooses none."""
    choice = request.tool_choice
    if choice not in (None, "auto", "none"):
        raise ApiError(
            400,
            f"`tool_choice` is {json.dumps(choice)}, wants auto or none: "
            "this server cannot force a call",
            param="tool_choice",
            code="unsupported_value",
        )
    if not request.tools or choice == "none":
        return None
    return [tool.model_dump(exclude_none=True) for tool in request.tools]


def template_variables(request: ChatRequest) -> dict[str, Any]:
    """The other variables that a request gives the template."""
    given = request.chat_template_kwargs or {}
    for name in given:
        if name in _TAKEN:
            raise ApiError(
                400,
                f"`chat_template_kwargs` has `{name}`, which has a parameter of its own",
                param="chat_template_kwargs",
                code="unsupported_value",
            )
    return given
