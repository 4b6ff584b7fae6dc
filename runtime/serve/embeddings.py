"""`POST /v1/embeddings`."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from smelt.runtime.embedding import pooling_of
from smelt.runtime.engine import Array, Engine
from smelt.runtime.feed import limit_of
from smelt.runtime.serve.embedder import Embedder
from smelt.runtime.serve.errors import ApiError
from smelt.runtime.serve.limits import gone, read_body
from smelt.runtime.serve.metrics import ServerMetrics
from smelt.runtime.serve.protocol import EmbeddingRequest, Prompt, parse
from smelt.runtime.serve.service import Endpoint, Service, check_ids, in_time
from smelt.runtime.serve.settings import ServeSettings
from smelt.runtime.text import Encoded, Text


@dataclass
class EmbeddingService(Service):
    """An encoder behind an embedder."""

    embedder: Embedder = field(kw_only=True)

    def encode(self, prompt: Prompt) -> Encoded:
        """A text or token ids as the encoder reads them; ApiError 400 where they are too long."""
        if isinstance(prompt, str):
            if not prompt:
                raise ApiError(400, "`input` has an empty string", param="input")
            row = self.text.encode_full(prompt)
        else:
            check_ids(prompt, self.manifest, "input")
            count = len(prompt)
            row = Encoded(prompt, [0] * count, [False] * count, [0] * count, [(0, 0)] * count)
        most = self.longest
        if most is not None and len(row.ids) > most:
            raise ApiError(
                400,
                f"a text of `input` has {len(row.ids)} tokens; this model's maximum context "
                f"length is {most} tokens",
                param="input",
                code="context_length_exceeded",
            )
        return row

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """What answers a POST to each path."""
        return {"/v1/embeddings": embeddings}

    @property
    def told(self) -> str:
        """Its room, for people."""
        return f"vectors of {self.dim} numbers, {self.embedder.rows} texts at a time"

    @property
    def alive(self) -> bool:
        """Whether the embedder works."""
        return self.embedder.alive

    def stop_all(self) -> None:
        """End every request with an error."""
        self.embedder.stop_all()

    def close(self) -> None:
        """End the embedder's thread."""
        self.embedder.close()

    @property
    def longest(self) -> int | None:
        """The most tokens of one text."""
        bounds = (
            self.manifest.context,
            limit_of(self.manifest, "seq"),
            pooling_of(self.manifest).max_length,
        )
        return min((bound for bound in bounds if bound), default=None)

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        (hidden,) = (
            output
            for output in self.manifest.function("main").outputs
            if output.name == "last_hidden_state"
        )
        return int(hidden.shape[-1])


def embedding_service(engine: Engine, text: Text, settings: ServeSettings) -> EmbeddingService:
    """The service of an encoder of any target."""
    embedder = Embedder(engine, text, rows=settings.rows, waiting=settings.waiting)
    metrics = ServerMetrics(embedder.stats)
    return EmbeddingService(engine.manifest, text, settings, metrics, embedder=embedder)


async def embeddings(request: Request) -> Response:
    """One vector for each text."""
    service: EmbeddingService = request.app.state.service
    body = await read_body(request, service.settings)
    asked = parse(EmbeddingRequest, body)
    service.check_model(asked.model)
    _check_dimensions(asked, service.dim)
    rows = await in_time(len(body), lambda: [service.encode(prompt) for prompt in asked.input])
    work = asyncio.ensure_future(service.embedder.embed(rows))
    watcher = asyncio.ensure_future(gone(request.receive))
    try:
        await asyncio.wait((work, watcher), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ApiError(499, "the client has gone", code="cancelled")
        vectors = work.result()
    finally:
        watcher.cancel()
        work.cancel()
    tokens = sum(len(row.ids) for row in rows)
    service.metrics.prompt.inc(tokens)
    as_text = asked.encoding_format == "base64"
    data = [
        {"object": "embedding", "index": at, "embedding": _base64(v) if as_text else v.tolist()}
        for at, v in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    found = {"object": "list", "data": data, "model": service.settings.name, "usage": usage}
    return JSONResponse(found)


def _check_dimensions(asked: EmbeddingRequest, size: int) -> None:
    if asked.dimensions not in (None, size):
        raise ApiError(
            400,
            f"`dimensions` is {asked.dimensions}, this model's vectors have {size}",
            param="dimensions",
            code="unsupported_value",
        )


def _base64(vector: Array) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
