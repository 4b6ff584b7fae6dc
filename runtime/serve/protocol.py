"""The bodies of requests, as OpenAI's clients send them; what is not listed is refused by name."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from smelt.runtime.serve.errors import ApiError

MAX_CHOICES = 128
MAX_PROMPTS = 2048
MAX_STOPS = 16
MAX_BIASES = 1024

Name = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Note = Annotated[str, StringConstraints(max_length=4096)]
Role = Literal["system", "developer", "user", "assistant", "tool"]
Prompt = str | list[int]


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _prompts(value: Any) -> list[Prompt]:
    """A string, strings, token ids, or lists of token ids."""
    wanted = "wants a string, a list of strings, token ids, or a list of lists of token ids"
    if isinstance(value, str) or _is_ids(value):
        return [value]
    if not isinstance(value, list) or not value:
        raise ValueError(wanted)
    if len(value) > MAX_PROMPTS:
        raise ValueError(f"has {len(value)} entries, at most {MAX_PROMPTS} are allowed")
    if all(isinstance(entry, str) for entry in value) or all(_is_ids(entry) for entry in value):
        return value
    raise ValueError(wanted)


def _is_ids(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(token, int) and not isinstance(token, bool) for token in value)
    )


def _biases(value: Any) -> Any:
    """Biases by token id; JSON has only strings for keys."""
    if not isinstance(value, dict):
        return value
    if len(value) > MAX_BIASES:
        raise ValueError(f"has {len(value)} tokens, at most {MAX_BIASES} are allowed")
    found = {}
    for key, bias in value.items():
        if not (key.isascii() and key.isdigit() and len(key) < 10):
            raise ValueError(f"has the key {key!r}, wants token ids")
        number = isinstance(bias, int | float) and not isinstance(bias, bool)
        if not number or not -100 <= bias <= 100:
            raise ValueError(f"has the bias {bias!r}, wants numbers in [-100, 100]")
        found[int(key)] = bias
    return found


def _content(value: Any) -> Any:
    """Text, or parts that are text."""
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise ValueError("wants a string or a list of parts")
    for at, part in enumerate(value):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise ValueError(f"part {at} has the type {kind!r}, this model reads only text")
        if not isinstance(part.get("text"), str) or set(part) != {"type", "text"}:
            raise ValueError(f"part {at} wants `type` and `text`, and nothing else")
    return value


Content = Annotated[str | list[dict[str, str]], BeforeValidator(_content)]
Prompts = Annotated[list[Prompt], BeforeValidator(_prompts), Field(strict=False)]


class Body(BaseModel):
    """A strict JSON object without unknown members."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class StreamOptions(Body):
    """What a stream carries beside its text."""

    include_usage: bool | None = None


class Sampling(Body):
    """What chat and plain completions share; null is the same as nothing."""

    model: Name
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: (
        Annotated[
            list[Annotated[str, StringConstraints(min_length=1, max_length=1024)]],
            BeforeValidator(_one_or_more),
            Field(max_length=MAX_STOPS),
        ]
        | None
    ) = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: Annotated[dict[int, float], BeforeValidator(_biases)] | None = None
    # ---- of smelt, as other servers have them
    top_k: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=1e6)] | None = None
    # ---- accepted, and without effect on the answer
    user: Note | None = None


class Function(Body):
    """A function that was called: its name, and its arguments as JSON."""

    name: str
    arguments: str


class ToolCall(Body):
    """One call in a message of the assistant."""

    id: str | None = None
    type: Literal["function"] = "function"
    function: Function
    index: int | None = None


class Message(Body):
    """One message of a conversation."""

    role: Role
    content: Content | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: None = None
    reasoning_content: str | None = None


class ToolFunction(Body):
    """A function that may be called."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Body):
    """What the model may call."""

    type: Literal["function"]
    function: ToolFunction


class ResponseFormat(BaseModel):
    """How the answer must look."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    type: Literal["text", "json_object", "json_schema"]


class ChatRequest(Sampling):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: ResponseFormat | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    """Of smelt, as other servers have it: variables of the chat template."""
    # ---- accepted, and without effect on the answer
    parallel_tool_calls: Literal[True] | None = None
    store: Literal[False] | None = None
    metadata: dict[str, str] | None = None
    service_tier: Literal["auto", "default"] | None = None
    safety_identifier: Note | None = None
    prompt_cache_key: Note | None = None
    modalities: list[Literal["text"]] | None = None


class CompletionRequest(Sampling):
    """`POST /v1/completions`."""

    prompt: Prompts
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: bool | None = None
    best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    suffix: None = None


class EmbeddingRequest(Body):
    """`POST /v1/embeddings`."""

    model: Name
    input: Prompts
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    # ---- accepted, and without effect on the answer
    user: Note | None = None


Request = TypeVar("Request", bound=Body)


def parse(kind: type[Request], body: bytes) -> Request:
    """The request in a body; ApiError 400 names the parameter that is wrong."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise _told(kind, dict(first)) from None


def _told(kind: type[Body], first: dict[str, Any]) -> ApiError:
    param = _path(kind, first["loc"])
    if first["type"] == "json_invalid":
        return ApiError(400, f"the body is not JSON: {first['msg']}", code="invalid_json")
    if not first["loc"]:
        return ApiError(400, "the body is not a JSON object", code="invalid_type")
    if first["type"] == "extra_forbidden":
        message = f"unrecognized parameter `{param}`"
        close = difflib.get_close_matches(str(first["loc"][-1]), kind.model_fields, n=1)
        if close and len(first["loc"]) == 1:
            message += f", did you mean `{close[0]}`?"
        return ApiError(400, message, param=param, code="unknown_parameter")
    if first["type"] == "missing":
        return ApiError(
            400, f"parameter `{param}` is missing", param=param, code="missing_required_parameter"
        )
    said = first["msg"].removeprefix("Value error, ")
    value = first["input"]
    if isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) < 64):
        said = f"is {value!r}; {said}"
    return ApiError(400, f"parameter `{param}`: {said}", param=param, code="invalid_value")


def _path(kind: type[Body], where: tuple[str | int, ...]) -> str:
    """`messages[0].content`; the names that pydantic gives to the kinds of a union are left out."""
    path = ""
    for step in where:
        if isinstance(step, int):
            path += f"[{step}]"
        elif not path:
            path = step
        elif step.isidentifier() and step not in ("str", "dict", "list", "int"):
            path += f".{step}"
    return path
