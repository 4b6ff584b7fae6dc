"""Compares compiled chat templates with jinja2 on the conversations of a certificate.

python -m tests.text.compare_templates     all real templates that `tests.models` and
                                           `tests.text.vocabularies` can fetch, each text once
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers import models as kinds

from smelt.errors import ParityError, SmeltError
from smelt.frontend.checkpoint.gguf_file import GgufFile
from smelt.frontend.template import compile_template
from smelt.runtime.text import Text
from smelt.text_proof import compare_template
from tests import models
from tests.text.vocabularies import counter

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}


def real() -> Iterator[tuple[str, str]]:
    """Names and sources of the templates inside real models."""
    for path in sorted(models.llama_cpp_templates().glob("*.jinja")):
        yield path.stem, path.read_text()
    for path in sorted(models.llama_cpp_vocabularies().glob("*.gguf")):
        yield path.stem, _of_gguf(path)
    yield "smollm2", _of_gguf(models.smollm2_gguf())
    for folder in sorted(counter().iterdir()):
        file = folder / "chat_template.jinja"
        config = json.loads((folder / "tokenizer_config.json").read_text())
        found = file.read_text() if file.is_file() else config.get("chat_template")
        rows = found if isinstance(found, list) else [{"name": "", "template": found or ""}]
        for row in rows:
            yield f"{folder.name} {row['name']}".strip(), row["template"]


def _of_gguf(path: Path) -> str:
    return str(GgufFile(path).metadata.get("tokenizer.chat_template") or "")


def main(say: Callable[[str], object] = print) -> int:
    """Print what was refused, what differs, and the counts; the number of those that differ."""
    seen = {""}
    templates = texts = refused = unsupported = differ = 0
    for name, source in real():
        if source in seen:
            continue
        seen.add(source)
        try:
            text = Text(Tokenizer(kinds.BPE()), SPECIAL, {"default": source})
            joins = not text.template("default").reads_parts
            given = {"tools": None, "documents": None, "add_generation_prompt": True, **SPECIAL}
            check = compare_template(
                text, "default", compile_template(source, given, join_parts=joins)
            )
        except ParityError as error:
            say(f"{name}: {error}")
            differ += 1
            continue
        except SmeltError as error:
            say(f"{name}: not compiled: {error.message}")
            continue
        templates, texts = templates + 1, texts + check.compared
        refused, unsupported = refused + check.refused, unsupported + check.unsupported
    say(
        f"{len(seen) - 1} templates, {templates} compiled, {differ} with differences,"
        f" {texts} equal texts, {refused} conversations refused by both,"
        f" {unsupported} only when compiled"
    )
    return differ


if __name__ == "__main__":
    sys.exit(main())
