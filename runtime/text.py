"""Text in, text out: the checkpoint's tokenizer, its chat template, and a streaming decoder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from smelt.errors import ArtifactError, SmeltError
from smelt.runtime.vocabularies import SLOW_FILES, tokenizer_json

if TYPE_CHECKING:  # 11 MB of libraries, which arrays alone do without
    from tokenizers import Tokenizer

    from smelt.runtime.template import ChatTemplate

# Every file of a checkpoint that `Text` reads; compile copies those that are there.
TEXT_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    *SLOW_FILES,
)
SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


@dataclass(frozen=True)
class Encoded:
    """One text, or pair of texts, as the model wants it; offsets are in characters."""

    ids: list[int]
    type_ids: list[int]
    special: list[bool]
    """True for tokens that the tokenizer added, such as [CLS]."""
    sequence: list[int | None]
    """0 for the first text's tokens, 1 for the second's."""
    offsets: list[tuple[int, int]]


class Text:
    """A tokenizer with its special tokens and chat templates; immutable and thread-safe."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        special: Mapping[str, str],
        templates: Mapping[str, str] | None = None,
    ) -> None:
        tokenizer.no_padding()  # files are often saved with the padding of somebody's last batch
        tokenizer.no_truncation()
        self.tokenizer = tokenizer
        self.special = dict(special)
        self._sources = dict(templates or {})
        self._parsed: dict[str, ChatTemplate] = {}

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> Text:
        """Build from the bytes of tokenizer files by name; see ``TEXT_FILES``."""
        from tokenizers import Tokenizer

        config = _json(files, "tokenizer_config.json")
        mapped = _json(files, "special_tokens_map.json")
        source = files.get("tokenizer.json") or tokenizer_json(files)
        try:
            tokenizer = Tokenizer.from_buffer(source)
        except Exception as error:  # the library raises plain Exception
            raise ArtifactError(
                f"tokenizer does not load: {error}", place="tokenizer.json"
            ) from None
        _add_missing(tokenizer, config)
        special: dict[str, str] = {}
        for name in SPECIAL:
            key = f"{name}_token"
            content = _content(config.get(key)) or _content(mapped.get(key))
            if content is not None:
                special[key] = content
        return cls(tokenizer, special, _templates(files, config))

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    def special_id(self, name: str) -> int | None:
        """The id of `bos`, `eos`, `unk`, `sep`, `pad`, `cls` or `mask`, if there is one."""
        token = self.special.get(f"{name}_token")
        found = None if token is None else self.tokenizer.token_to_id(token)
        return None if found is None else int(found)

    def encode(self, text: str, *, add_special: bool = True) -> list[int]:
        """The ids of a text."""
        return list(self.tokenizer.encode(_valid(text), add_special_tokens=add_special).ids)

    def encode_full(self, text: str, pair: str | None = None) -> Encoded:
        """The ids of a text or pair, with token types and offsets."""
        found = self.tokenizer.encode(_valid(text), None if pair is None else _valid(pair))
        return Encoded(
            ids=list(found.ids),
            type_ids=list(found.type_ids),
            special=[bool(m) for m in found.special_tokens_mask],
            sequence=list(found.sequence_ids),
            offsets=list(found.offsets),
        )

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of ids; a special token is left out unless asked for."""
        for token in ids:
            if not 0 <= token < 2**32:
                raise SmeltError(f"token {token} is not an id")
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=skip_special))

    def stream(self, context: Sequence[int] = ()) -> TextStream:
        """A decoder of one token at a time that continues after ``context``."""
        return TextStream(self, context)

    @property
    def has_chat(self) -> bool:
        """Whether there is a chat template."""
        return bool(self._sources)

    @property
    def templates(self) -> Mapping[str, str]:
        """The sources of the chat templates by name."""
        return self._sources

    def template(self, name: str) -> ChatTemplate:
        """A chat template, parsed when it is first asked for; SmeltError where it cannot be."""
        from smelt.runtime.template import ChatTemplate

        if name not in self._sources:
            known = ", ".join(sorted(self._sources))
            raise SmeltError(f"no chat template `{name}`, there are: {known}")
        if name not in self._parsed:
            place = f"chat template `{name}`"
            self._parsed[name] = ChatTemplate(self._sources[name], place=place)
        return self._parsed[name]

    def render_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        template: str | None = None,
        now: datetime | None = None,
        **variables: Any,
    ) -> str:
        """The text of a conversation; ``template`` picks one of several by name."""
        chosen = self._pick(template, with_tools=tools is not None)
        messages = [_without_unread_parts(chosen, m) for m in messages]
        return chosen.render(
            messages,
            tools=tools,
            add_generation_prompt=add_generation_prompt,
            now=now,
            **{**self.special, **variables},
        )

    def encode_chat(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> list[int]:
        """The ids of a conversation; the template writes the special tokens itself."""
        return self.encode(self.render_chat(messages, **options), add_special=False)

    def _pick(self, name: str | None, *, with_tools: bool) -> ChatTemplate:
        if not self._sources:
            raise SmeltError(
                "the model has no chat template", hint="give a prompt instead of messages"
            )
        if name is None:
            name = "tool_use" if with_tools and "tool_use" in self._sources else "default"
        return self.template(name)


class TextStream:
    """Turns tokens into text as they come; never emits half a character.

    A token's text can depend on its neighbours (leading spaces, bytes of one character), so each
    step decodes a window that begins at the last token whose text was settled. Bytes that can
    still become a character are held back; ``flush`` gives whatever is left.
    """

    _HELD = 8  # tokens held back at most; a character has four bytes

    def __init__(self, text: Text, context: Sequence[int] = ()) -> None:
        self._text = text
        self._window = list(context[-self._HELD :])
        self._settled = len(self._window)

    def push(self, token: int) -> str:
        """The text that this token completes; often a word, sometimes nothing."""
        self._window.append(token)
        return self._emit(final=False)

    def flush(self) -> str:
        """The rest at the end, incomplete bytes as U+FFFD."""
        return self._emit(final=True)

    def _emit(self, *, final: bool) -> str:
        before = self._text.decode(self._window[: self._settled])
        after = self._text.decode(self._window)
        held = len(self._window) - self._settled
        if not final and (after.endswith("\ufffd") and held < self._HELD):
            return ""
        if not after.startswith(before):
            # The new token changed settled text (a decoder that cleans up): emit only what follows.
            before = _common(before, after)
        if not final and len(after) <= len(before) and held < self._HELD:
            return ""
        self._window = self._window[self._settled :] or self._window
        self._settled = len(self._window)
        return after[len(before) :]


class StopStrings:
    """Watches streamed text for stop strings, also across token borders.

    ``push`` returns text that cannot be part of a stop string any more; once one was found,
    ``found`` names it and everything from its first character on is dropped.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found: str | None = None

    def push(self, text: str) -> str:
        """Take new text, give back what is safe to show."""
        if self.found is not None:
            return ""
        self._held += text
        at, stop = min(
            ((self._held.find(s), s) for s in self._stops if s in self._held),
            default=(-1, ""),
        )
        if at >= 0:
            self.found = stop
            safe, self._held = self._held[:at], ""
            return safe
        keep = max((_overlap(self._held, s) for s in self._stops), default=0)
        cut = len(self._held) - keep
        safe, self._held = self._held[:cut], self._held[cut:]
        return safe

    def flush(self) -> str:
        """What was held back, at the end."""
        rest, self._held = self._held, ""
        return "" if self.found is not None else rest


def _overlap(text: str, stop: str) -> int:
    """The longest end of ``text`` that is a beginning of ``stop``."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0


def _common(a: str, b: str) -> str:
    size = 0
    while size < min(len(a), len(b)) and a[size] == b[size]:
        size += 1
    return a[:size]


def _valid(text: str) -> str:
    """The text, or an error for lone surrogates, which have no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SmeltError(
            f"text has a lone surrogate at character {error.start}, wants Unicode text"
        ) from None
    return text


def _json(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    if name not in files:
        return {}
    try:
        value = json.loads(files[name])
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"not JSON: {error}", place=name) from None
    if not isinstance(value, dict):
        raise ArtifactError(f"holds a {type(value).__name__}, wants an object", place=name)
    return value


def _content(token: Any) -> str | None:
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _add_missing(tokenizer: Tokenizer, config: Mapping[str, Any]) -> None:
    """Add the tokens that only tokenizer_config.json knows, at the ids it gives."""
    from tokenizers import AddedToken

    listed = config.get("added_tokens_decoder") or {}
    for key, row in sorted(listed.items(), key=lambda item: int(item[0])):
        content = _content(row)
        if content is None or tokenizer.token_to_id(content) == int(key):
            continue
        if tokenizer.token_to_id(content) is None:
            flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
            token = AddedToken(content, **{f: bool(row[f]) for f in flags if f in row})
            add = tokenizer.add_special_tokens if row.get("special") else tokenizer.add_tokens
            add([token])
        if tokenizer.token_to_id(content) != int(key):
            found = tokenizer.token_to_id(content)
            raise ArtifactError(
                f"token `{content}` has id {found} in tokenizer.json and {key} here",
                place="tokenizer_config.json",
            )


def _templates(files: Mapping[str, bytes], config: Mapping[str, Any]) -> dict[str, str]:
    """The chat templates by name; a file of its own goes before tokenizer_config.json."""
    if "chat_template.jinja" in files:
        return {"default": files["chat_template.jinja"].decode("utf-8", "replace")}
    found = _json(files, "chat_template.json").get("chat_template") or config.get("chat_template")
    if isinstance(found, str):
        return {"default": found}
    if isinstance(found, list):
        return {str(row["name"]): str(row["template"]) for row in found}
    return {}


def _without_unread_parts(template: ChatTemplate, message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Join text parts to a string for a template that reads content only as a string."""
    content = message.get("content")
    if not isinstance(content, list) or template.reads_parts:
        return message
    texts = [part.get("text") for part in content if isinstance(part, Mapping)]
    if len(texts) != len(content) or any(not isinstance(t, str) for t in texts):
        raise SmeltError("the chat template reads text only, a message has other parts")
    return {**message, "content": "".join(str(t) for t in texts)}
