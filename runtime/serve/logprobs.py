"""Log-probabilities in the two shapes that OpenAI has for them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from smelt.errors import UnsupportedError
from smelt.runtime.batching import Event
from smelt.runtime.constraint import words
from smelt.runtime.text import Text


class TokenNames:
    """Each token as text, and as bytes where the vocabulary is made of bytes."""

    def __init__(self, text: Text) -> None:
        self._text = text

    def name(self, token: int) -> str:
        """The token's text; bytes that are no character are U+FFFD."""
        data = self.data(token)
        return self._decoded(token) if data is None else bytes(data).decode("utf-8", "replace")

    def data(self, token: int) -> list[int] | None:
        """The token's bytes; None where they cannot be told."""
        if self._words is None or token >= len(self._words) or not self._words[token]:
            return None
        return list(self._words[token])

    def chat_entry(self, event: Event) -> dict[str, Any]:
        """One entry of `logprobs.content` of a chat."""
        assert event.token is not None and event.logprob is not None
        top = [self._scored(token, logprob) for token, logprob in event.top]
        return {**self._scored(event.token, event.logprob), "top_logprobs": top}

    def top(self, event: Event) -> dict[str, float]:
        """One entry of `top_logprobs` of a completion; tokens of the same text share one."""
        found: dict[str, float] = {}
        for token, logprob in event.top:
            found.setdefault(self.name(token), logprob)
        return found

    def _scored(self, token: int, logprob: float) -> dict[str, Any]:
        return {"token": self.name(token), "logprob": logprob, "bytes": self.data(token)}

    @cached_property
    def _words(self) -> tuple[bytes, ...] | None:
        try:
            return words(self._text)
        except UnsupportedError:
            return None

    def _decoded(self, token: int) -> str:
        return self._text.decode([token], skip_special=False)
