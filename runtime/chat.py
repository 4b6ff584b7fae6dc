"""A conversation that remembers what was said, and keeps the state of what it has read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from smelt.errors import SmeltError
from smelt.runtime.generate import Piece
from smelt.runtime.metrics import Metrics

if TYPE_CHECKING:
    from smelt.runtime.session import Session


class Chat:
    """Messages so far; ``send`` streams the next reply."""

    def __init__(self, session: Session, system: str | None, options: Mapping[str, Any]) -> None:
        self._session = session
        self._options = {"num_return_sequences": 1, **options}
        _one_reply(self._options)
        self.messages: list[dict[str, Any]] = []
        self.metrics = Metrics()
        """Of the last reply."""
        if system is not None:
            self.messages.append({"role": "system", "content": system})

    def send(self, text: str, **options: Any) -> Iterator[Piece]:
        """Say something; the pieces of the reply come as they are made.

        A reply that is not read to its end is kept as far as it was read.
        """
        _one_reply(options)
        asked = {"role": "user", "content": text}
        generation = self._session.generate(
            messages=[*self.messages, asked], reuse=True, **{**self._options, **options}
        )
        self.messages.append(asked)
        self.metrics = generation.metrics
        return self._replies(generation)

    def say(self, text: str, **options: Any) -> str:
        """Say something and wait for the whole reply."""
        return "".join(piece.text for piece in self.send(text, **options))

    def _replies(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        reply = {"role": "assistant", "content": ""}
        self.messages.append(reply)
        for piece in pieces:
            reply["content"] += piece.text
            yield piece


def _one_reply(options: Mapping[str, Any]) -> None:
    wanted = options.get("num_return_sequences", 1)
    if wanted != 1:
        raise SmeltError(
            f"`num_return_sequences` is {wanted}, a conversation has one reply",
            hint="generate(messages=...) gives several",
        )
