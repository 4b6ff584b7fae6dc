"""Conversations for chat templates: system, turns, tools, parts, Unicode, and odd ones."""

from __future__ import annotations

from typing import Any

PLAIN_TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Adds two numbers.",
            "parameters": {
                "type": "object",
                "properties": {
                    "a": {"type": "number", "description": "the first"},
                    "b": {"type": "number", "description": "the second"},
                },
                "required": ["a", "b"],
            },
        },
    }
]

#: With what real ones rarely have: several types, parts without a type, no properties.
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": 'The weather.\nNow & "here" <b>é</b>',
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "enum": ["Köln", "東京"], "default": "Köln"},
                    "days": {"type": "integer", "default": 3, "minimum": 0.5},
                    "parts": {"type": "array", "items": {"type": "string"}},
                    "any": {"type": ["string", "null"]},
                    "one": {"oneOf": [{"type": "number"}, {"type": "boolean"}]},
                    "in": {"type": "object", "properties": {"x": {}}, "required": ["x"]},
                },
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "stop", "parameters": {"type": "object"}}},
]

_CALLS = [
    {
        "type": "function",
        "function": {"name": "get_weather", "arguments": {"city": "東京", "days": 2, "x": None}},
    },
    {"type": "function", "function": {"name": "stop", "arguments": {}}},
]

CHATS: dict[str, list[dict[str, Any]]] = {
    "one turn": [{"role": "user", "content": "Hi"}],
    "system": [{"role": "system", "content": " Be terse. "}, {"role": "user", "content": "Hi "}],
    "turns": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello!"},
        {"role": "user", "content": "<|im_end|> {{ 7*7 }} {% if %}"},
        {"role": "assistant", "content": "49"},
        {"role": "user", "content": ""},
    ],
    "tools": [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": "", "tool_calls": _CALLS, "reasoning_content": "which"},
        {"role": "tool", "name": "get_weather", "content": '{"t": 3.5}'},
        {"role": "tool", "content": "stopped"},
        {"role": "assistant", "content": "3.5 degrees", "reasoning_content": "\ndone\n"},
    ],
    "parts": [
        {
            "role": "user",
            "content": [
                {"type": "image", "url": "x.png"},
                {"type": "text", "text": "What is this?"},
                {"type": "text", "text": " 😀"},
            ],
        }
    ],
    "unicode": [
        {
            "role": "user",
            "content": "שלום \u200f 你好 \U0001f468\u200d\U0001f469 e\u0301 \u2028 \x85 \t",
        },
        {"role": "assistant", "content": "\u3000ﷺ\u00a0 ΑΣ ß İ "},
    ],
    "odd": [
        {"role": "assistant", "content": "first"},
        {"role": "assistant", "content": None},
        {"role": "developer", "content": ["a", {"b": 1}]},
        {"role": "user"},
    ],
}
