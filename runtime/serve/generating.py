"""A causal language model behind the batcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from smelt.errors import UnsupportedError
from smelt.runtime.batching import Batcher
from smelt.runtime.manifest import Manifest
from smelt.runtime.options import resolve
from smelt.runtime.serve.desk import Desk
from smelt.runtime.serve.logprobs import TokenNames
from smelt.runtime.serve.metrics import ServerMetrics
from smelt.runtime.serve.service import Endpoint, Service
from smelt.runtime.serve.settings import ServeSettings
from smelt.runtime.serve.tool_calls import writes_tool_calls
from smelt.runtime.text import Text

_SILENCE = 60.0  # seconds; no step takes as long


@dataclass
class GenerationService(Service):
    """What the endpoints that generate need."""

    desk: Desk = field(kw_only=True)
    batcher: Any = field(kw_only=True)
    context: int = field(kw_only=True)
    """Tokens that a row holds, prompt and answer together."""

    @cached_property
    def token_names(self) -> TokenNames:
        """For log-probabilities."""
        return TokenNames(self.text)

    @cached_property
    def reads_tool_calls(self) -> bool:
        """Whether calls of tools can be told from text."""
        name = "tool_use" if "tool_use" in self.text.templates else "default"
        source = self.text.templates.get(name)
        return source is not None and writes_tool_calls(source)

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """What answers a POST to each path."""
        from smelt.runtime.serve.chat import chat
        from smelt.runtime.serve.completions import completions

        return {"/v1/chat/completions": chat, "/v1/completions": completions}

    @property
    def told(self) -> str:
        """Its room, for people."""
        state = self.batcher.bytes()["state"] / 1e6
        return f"{self.settings.rows} rows of {self.context} tokens, {state:.0f} MB of state"

    @property
    def longest(self) -> int | None:
        """The most tokens of one request."""
        return self.context

    @property
    def alive(self) -> bool:
        """Whether the batcher works: with requests open, every step is heard of."""
        return self.desk.silence < _SILENCE

    def start(self) -> None:
        """Take requests from now on, in the running loop."""
        room = self.settings.rows + self.settings.waiting
        self.desk.start(self.batcher, self.metrics, room=room)

    def stop_all(self) -> None:
        """End every request with an error."""
        self.desk.stop_all()

    def close(self) -> None:
        """End the batcher's thread."""
        self.batcher.close(drain=False)


def open_generation(
    path: Path, manifest: Manifest, text: Text, settings: ServeSettings, opening: dict[str, Any]
) -> GenerationService:
    """The service of an edge artifact; SmeltError where it or its settings cannot be served."""
    resolve(manifest.generation)  # what generation_config.json asks for must be there
    desk = Desk()
    batcher = Batcher(
        path, rows=settings.rows, waiting=settings.waiting, on_events=desk.on_events, **opening
    )
    if not batcher.has_text:
        batcher.close(drain=False)
        raise UnsupportedError(
            f"the artifact has no compiled tokenizer: {manifest.tokenizer_refused}",
            place=str(path),
            hint="docs/tokenizer.md says what cannot be compiled",
        )
    metrics = ServerMetrics(batcher.stats)
    return GenerationService(
        manifest, text, settings, metrics, desk=desk, batcher=batcher, context=batcher.context
    )
