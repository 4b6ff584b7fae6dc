"""`POST /v1/completions`."""

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
from smelt.runtime.serve.protocol import CompletionRequest, Prompt, parse
from smelt.runtime.serve.service import check_ids, in_time
from smelt.runtime.serve.stream import REASONS, EventStream, Frames, gather, usage_of
from smelt.runtime.text import Text

DEFAULT_NEW = 16
"""New tokens where a request does not say, as OpenAI has it."""


async def completions(request: Request) -> Response:
    """Continue prompts, at once or as a stream."""
    service: GenerationService = request.app.state.service
    body = await read_body(request, service.settings)
    asked = parse(CompletionRequest, body)
    service.check_model(asked.model)
    count = asked.n or 1
    service.desk.check_room(len(asked.prompt) * count)
    _check(asked, count)
    prompts = await in_time(len(body), lambda: [_ids(p, service) for p in asked.prompt])
    wanted = []
    for ids in prompts:
        options = options_for(
            asked,
            service.manifest,
            prompt_tokens=len(ids),
            context=service.context,
            asked=asked.max_tokens,
            fallback=DEFAULT_NEW,
            logprobs=asked.logprobs,
        )
        wanted += [(ids, choice_of(options, index)) for index in range(count)]
    call = service.desk.open(wanted)
    tokens = sum(map(len, prompts))
    service.metrics.prompt.inc(tokens)
    names = None if asked.logprobs is None else service.token_names
    choices = [
        TextChoice(at * count + index, _echo(prompt, service.text) if asked.echo else "", names)
        for at, prompt in enumerate(asked.prompt)
        for index in range(count)
    ]
    head = service.head("cmpl", "text_completion")
    prompt_usage = {"prompt_tokens": tokens}
    if asked.stream:
        with_usage = bool(asked.stream_options and asked.stream_options.include_usage)
        frames = Frames(head, with_usage=with_usage)
        return EventStream(call, choices, frames, prompt_usage if with_usage else None)
    await gather(call, choices, request.receive)
    results = [choice.result() for choice in choices]
    return JSONResponse({**head, "choices": results, "usage": usage_of(prompt_usage, choices)})


def _check(asked: CompletionRequest, count: int) -> None:
    """ApiError 400 for what is known and cannot be done."""
    if asked.best_of is not None and asked.best_of != count:
        raise ApiError(
            400,
            f"`best_of` is {asked.best_of} and `n` {count}, this server gives all it makes",
            param="best_of",
            code="unsupported_value",
        )
    if asked.echo and asked.logprobs is not None:
        raise ApiError(
            400,
            "`echo` with `logprobs` asks for those of the prompt, which this server has not",
            param="echo",
            code="unsupported_value",
        )


def _ids(prompt: Prompt, service: GenerationService) -> list[int]:
    if isinstance(prompt, str):
        ids = service.text.encode(prompt)
    else:
        ids = prompt
        check_ids(ids, service.manifest, "prompt")
    if not ids:
        raise ApiError(400, "`prompt` has no tokens", param="prompt", code="invalid_value")
    return ids


def _echo(prompt: Prompt, text: Text) -> str:
    return prompt if isinstance(prompt, str) else text.decode(prompt)


class TextChoice:
    """One continuation while it is made."""

    def __init__(self, index: int, echo: str, names: TokenNames | None) -> None:
        self.tokens = 0
        self._index = index
        self._echo = echo
        self._names = names
        self._texts = [echo]
        self._length = len(echo)
        self._logprobs: dict[str, list[Any]] = _lists()
        self._finish: str | None = None

    def opening(self) -> list[str]:
        """The prompt, where it was asked for."""
        return [self._members(self._echo)] if self._echo else []

    def take(self, event: Event) -> list[str]:
        """The chunk of one token."""
        logprobs = None
        if event.token is not None:
            self.tokens += 1
            if self._names is not None and event.finish != "eos":
                logprobs = self._scored(event)
        self._texts.append(event.text)
        self._length += len(event.text)
        finish = None if event.finish is None else REASONS.get(event.finish)
        if not event.text and finish is None and logprobs is None:
            return []
        self._finish = finish
        return [self._members(event.text, logprobs, finish)]

    def result(self) -> dict[str, Any]:
        """The whole continuation."""
        return {
            "index": self._index,
            "text": "".join(self._texts),
            "logprobs": None if self._names is None else self._logprobs,
            "finish_reason": self._finish,
        }

    def _scored(self, event: Event) -> dict[str, list[Any]]:
        assert self._names is not None and event.token is not None
        found = _lists()
        found["tokens"].append(self._names.name(event.token))
        found["token_logprobs"].append(event.logprob)
        found["text_offset"].append(self._length)
        found["top_logprobs"].append(self._names.top(event))
        for key, values in found.items():
            self._logprobs[key] += values
        return found

    def _members(
        self, text: str, logprobs: dict[str, list[Any]] | None = None, finish: str | None = None
    ) -> str:
        scored = "null" if logprobs is None else json.dumps(logprobs)
        reason = "null" if finish is None else f'"{finish}"'
        return (
            f'"index": {self._index}, "text": {json.dumps(text)}, "logprobs": {scored}, '
            f'"finish_reason": {reason}'
        )


def _lists() -> dict[str, list[Any]]:
    return {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
