"""What an artifact's certificate says of its compiled tokenizer and chat templates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from smelt.chat_samples import CHATS, PLAIN_TOOLS, TOOLS
from smelt.errors import ParityError, SmeltError
from smelt.runtime import _edge
from smelt.runtime.artifact import TOKENIZER, Artifact, open_artifact, template_file
from smelt.runtime.certificate import TextCheck
from smelt.runtime.text import Text
from smelt.tokenizer_proof import compare_tokenizer

SEED = 5
STRINGS = 4000
_NOW = 1_709_200_000  # seconds: what the templates' clock shows
_UNSUPPORTED = 3  # the runtime's code for what a compiled template cannot do


def prove_text(path: Path) -> tuple[TextCheck, ...]:
    """Compare what an edge artifact compiled of its text files with the libraries.

    ParityError names the first string or conversation that differs, and both results.
    """
    artifact = open_artifact(path)
    manifest = artifact.manifest
    if not manifest.tokenizer:
        return ()
    try:
        text = Text.load({name: artifact.read(name) for name in manifest.tokenizer})
    except SmeltError:
        return ()  # nothing was compiled either: `tokenizer_refused` has the reason
    return (
        _tokenizer(artifact, text),
        *(_template(artifact, text, name) for name in sorted(text.templates)),
    )


def _tokenizer(artifact: Artifact, text: Text) -> TextCheck:
    library = f"tokenizers {version('tokenizers')}"
    if not artifact.holds(TOKENIZER):
        why = artifact.manifest.tokenizer_refused or "the artifact holds no tables"
        return TextCheck(part="tokenizer", library=library, not_compiled=why)
    compiled = _edge.Tokenizer.open(artifact.read(TOKENIZER))
    outcome = compare_tokenizer(text.tokenizer, compiled, STRINGS, SEED)
    if outcome.differences:
        raise ParityError(
            f"compiled tokenizer differs: {outcome.differences[0]}",
            place=TOKENIZER,
            hint="please report this with the model's tokenizer.json",
        )
    return TextCheck(
        part="tokenizer",
        library=library,
        seed=SEED,
        compared=outcome.strings,
        sequences=outcome.sequences,
    )


def _template(artifact: Artifact, text: Text, name: str) -> TextCheck:
    if artifact.holds(template_file(name)):
        return compare_template(text, name, artifact.read(template_file(name)))
    why = artifact.manifest.template_refused or "the artifact holds no code"
    return TextCheck(part=f"chat template {name}", library=_jinja2(), not_compiled=why)


def compare_template(text: Text, name: str, code: bytes) -> TextCheck:
    """Compare the code of a chat template with jinja2; ParityError where a conversation differs."""
    part = f"chat template {name}"
    compiled = _edge.Template.open(code)
    compared = refused = unsupported = 0
    for given in conversations():
        data = json.dumps(given)
        wanted = _rendered(text, name, given)
        found = _compiled(compiled, data)
        if wanted is None and (found is None or isinstance(found, _Error)):
            refused += 1
        elif found is None:
            unsupported += 1
        elif found == wanted:
            compared += 1
        else:
            raise ParityError(
                f"compiled {part} differs for {data!a}: compiled {_shown(found)}, "
                f"jinja2 {_shown(wanted)}",
                place=template_file(name),
                hint="please report this with the model's chat template",
            )
    return TextCheck(
        part=part,
        library=_jinja2(),
        compared=compared,
        refused=refused,
        unsupported=unsupported,
    )


def _jinja2() -> str:
    return f"jinja2 {version('jinja2')}"


def conversations() -> Iterator[dict[str, Any]]:
    """What templates are rendered with: each conversation, with and without tools and a prompt."""
    for messages in CHATS.values():
        for tools in (None, PLAIN_TOOLS, TOOLS):
            yield {"messages": messages, "tools": tools, "add_generation_prompt": True}
            more = {"enable_thinking": False, "date_string": "1 May"}
            yield {"messages": messages, "tools": tools, "add_generation_prompt": False, **more}


class _Error(str):
    """What the compiled template fails with."""


def _rendered(text: Text, name: str, given: dict[str, Any]) -> str | None:
    """What jinja2 gives; None where it fails."""
    try:
        return text.render_chat(**given, template=name, now=datetime.fromtimestamp(_NOW))
    except SmeltError:
        return None


def _compiled(compiled: Any, data: str) -> str | None:
    """What the compiled code gives; None where it says that it cannot do that."""
    try:
        return str(compiled.render(data.encode(), now=_NOW).decode())
    except RuntimeError as error:
        code, message = error.args
        return None if code == _UNSUPPORTED else _Error(message)


def _shown(value: str | None) -> str:
    if value is None or isinstance(value, _Error):
        return f"an error{'' if value is None else f' ({value})'}"
    return ascii(value if len(value) <= 2000 else value[:2000] + "…")
