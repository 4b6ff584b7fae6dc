"""Calls of tools in what a model writes, for templates whose way of writing them is one alone.

That way is `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, which Hermes began and Qwen and
others took over. Any other template's output stays text, as does a call that does not parse.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass

_OPEN = "<tool_call>"
_CLOSE = "</tool_call>"
# Templates that write something else than JSON between the same marks.
_OTHERS = ("<function=", "<arg_key>", "<parameter")


@dataclass(frozen=True)
class MadeCall:
    """One call; the arguments are JSON text."""

    id: str
    name: str
    arguments: str


def writes_tool_calls(template: str) -> bool:
    """Whether a template's calls are JSON between the marks."""
    known = (_OPEN, _CLOSE, "arguments", "name")
    return all(word in template for word in known) and not any(w in template for w in _OTHERS)


class ToolCallReader:
    """Takes text as it comes; gives text that belongs to no call, and whole calls."""

    def __init__(self) -> None:
        self._held = ""
        self._behind = False  # a call: the whitespace that follows belongs to it

    def push(self, text: str) -> tuple[str, list[MadeCall]]:
        """What is certain after this text."""
        self._held += text
        shown = ""
        calls: list[MadeCall] = []
        while _OPEN in self._held:
            before, _, inside = self._held.partition(_OPEN)
            shown += self._said(before)
            body, closed, rest = inside.partition(_CLOSE)
            if not closed:
                self._held = _OPEN + inside
                return shown, calls
            call = _read(body)
            if call is None:
                shown += self._said(_OPEN + body + _CLOSE)
            else:
                self._behind = True
                calls.append(call)
            self._held = rest
        cut = len(self._held) - _begun(self._held)
        shown += self._said(self._held[:cut])
        self._held = self._held[cut:]
        return shown, calls

    def flush(self) -> str:
        """What was held back, at the end: a call without an end is text."""
        rest, self._held = self._held, ""
        return self._said(rest)

    def _said(self, text: str) -> str:
        if self._behind:
            text = text.lstrip()
        self._behind = self._behind and not text
        return text


def _begun(text: str) -> int:
    """The length of the longest end of the text that can become an opening mark."""
    for size in range(min(len(text), len(_OPEN) - 1), 0, -1):
        if text.endswith(_OPEN[:size]):
            return size
    return 0


def _read(body: str) -> MadeCall | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        return None
    arguments = found.get("arguments", {})
    if not isinstance(arguments, dict):
        return None
    told = json.dumps(arguments, ensure_ascii=False)
    return MadeCall(f"call_{secrets.token_hex(12)}", found["name"], told)
