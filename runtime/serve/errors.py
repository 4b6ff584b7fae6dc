"""Refusals in OpenAI's shape: a status, a message, the parameter it is about, and a code."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from starlette.responses import JSONResponse

from smelt.errors import SmeltError

_KINDS = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_NAMED = re.compile(r"`([a-z_]+)`")


class ApiError(Exception):
    """What a request is answered with instead of a result."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers
        super().__init__(message)

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        found = {"message": self.message, "type": _KINDS.get(self.status, kind)}
        return {"error": {**found, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse(self.body(), self.status, headers=self.headers)


def refused(error: SmeltError, *, params: Collection[str] = ()) -> ApiError:
    """A refusal of the engine as an answer with status 400; it names the parameter if it can."""
    message = error.message if error.hint is None else f"{error.message} ({error.hint})"
    named = next((name for name in _NAMED.findall(error.message) if name in params), None)
    return ApiError(400, message, param=named, code="unsupported_value" if named else None)


def too_long(prompt: int, context: int, *, param: str, new: int | None = None) -> ApiError:
    """The prompt, or prompt and answer together, do not fit the context."""
    asked = f"the prompt has {prompt} tokens"
    if new is not None:
        asked += f" and {new} new ones are asked for, {prompt + new} together"
    return ApiError(
        400,
        f"{asked}; this model's maximum context length is {context} tokens",
        param=param,
        code="context_length_exceeded",
    )
