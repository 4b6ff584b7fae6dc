"""JSON schemas as patterns: the texts of the values that a schema allows, written one way.

Members come in the order of the schema, with at most a space after `,` and `:`; objects hold what
is listed and nothing else. A keyword that would be ignored wrongly is refused by name, and so is a
schema that contains itself, whose texts no pattern describes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from smelt.errors import SmeltError, UnsupportedError

_CHARACTER = (
    r'(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]'
    r"|\\u(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))"
)
# At most 18 digits: a model that has begun to count would not stop by itself.
_PLAIN = {
    "integer": r"-?(?:0|[1-9]\d{0,17})",
    "number": r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,17})?(?:[eE][+-]?\d{1,3})?",
    "boolean": "(?:true|false)",
    "null": "null",
}
# Keywords that say nothing about the text, or allow more than is written here.
_SILENT = {
    "title",
    "description",
    "default",
    "examples",
    "format",
    "$schema",
    "$id",
    "$defs",
    "definitions",
    "additionalProperties",
}
_KEYWORDS = {
    "string": {"minLength", "maxLength"},
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required"},
}
_SIGNS = set("\\^$.|?*+()[]{}")


def schema_pattern(schema: Any) -> str:
    """The pattern of a schema."""
    return _Writer(schema).write(schema, "#", ())


class _Writer:
    def __init__(self, root: Any) -> None:
        self._root = root

    def write(self, schema: Any, place: str, inside: tuple[str, ...]) -> str:
        if not isinstance(schema, Mapping):
            raise SmeltError(f"a schema is {schema!r}, wants an object", place=place)
        told = {key: value for key, value in schema.items() if key not in _SILENT}
        for key in ("$ref", "enum", "const", "anyOf", "oneOf", "type"):
            if key in told:
                break
        else:
            raise UnsupportedError("a schema without `type` allows any value", place=place)
        self._check(told, key, place)
        if key == "$ref":
            return self._reference(told["$ref"], place, inside)
        if key in ("enum", "const"):
            return _either([_literal(v) for v in ([told[key]] if key == "const" else told[key])])
        if key in ("anyOf", "oneOf"):
            parts = enumerate(told[key])
            return _either([self.write(s, f"{place}/{key}/{at}", inside) for at, s in parts])
        kinds = told["type"] if isinstance(told["type"], list) else [told["type"]]
        return _either([self._typed(kind, told, place, inside) for kind in kinds])

    def _check(self, told: Mapping[str, Any], key: str, place: str) -> None:
        known = {key}
        if key == "type":
            kinds = told["type"] if isinstance(told["type"], list) else [told["type"]]
            known = known.union(*(_KEYWORDS.get(str(kind), set()) for kind in kinds))
        if key in ("enum", "const"):
            known.add("type")
        for name in told:
            if name not in known:
                raise UnsupportedError(f"the schema's `{name}` is not built", place=place)

    def _reference(self, name: Any, place: str, inside: tuple[str, ...]) -> str:
        if not isinstance(name, str) or not name.startswith("#/"):
            raise UnsupportedError(f"the reference {name!r} leaves the schema", place=place)
        if name in inside:
            raise UnsupportedError(f"the schema `{name}` contains itself", place=place)
        found: Any = self._root
        for part in name[2:].split("/"):
            if not isinstance(found, Mapping) or part not in found:
                raise SmeltError(f"the schema has no `{name}`", place=place)
            found = found[part]
        return self.write(found, name, (*inside, name))

    def _typed(
        self, kind: Any, told: Mapping[str, Any], place: str, inside: tuple[str, ...]
    ) -> str:
        if kind in _PLAIN:
            return _PLAIN[kind]
        if kind == "string":
            counts = _counts(told.get("minLength", 0), told.get("maxLength"), place)
            return f'"{_CHARACTER}{counts}"'
        if kind == "array":
            return self._array(told, place, inside)
        if kind == "object":
            return self._object(told, place, inside)
        raise SmeltError(f"the schema has the type {kind!r}", place=place)

    def _array(self, told: Mapping[str, Any], place: str, inside: tuple[str, ...]) -> str:
        if "items" not in told:
            raise UnsupportedError("an array without `items` allows any value", place=place)
        item = self.write(told["items"], f"{place}/items", inside)
        least, most = told.get("minItems", 0), told.get("maxItems")
        _counts(least, most, place)
        if most == 0:
            return r"\[\]"
        rest = _counts(max(least - 1, 0), None if most is None else most - 1, place)
        full = f"{item}(?:, ?{item}){rest}"
        return rf"\[(?:{full})?\]" if least == 0 else rf"\[{full}\]"

    def _object(self, told: Mapping[str, Any], place: str, inside: tuple[str, ...]) -> str:
        members = told.get("properties")
        if not isinstance(members, Mapping):
            raise UnsupportedError("an object without `properties` allows any value", place=place)
        required = set(told.get("required", ()))
        if required - set(members):
            raise SmeltError(f"`required` has {sorted(required - set(members))}", place=place)
        texts = []
        for name, schema in members.items():
            value = self.write(schema, f"{place}/properties/{name}", inside)
            texts.append((f"{_literal(name)}: ?{value}", name in required))
        return r"\{" + _members(texts) + r"\}"


def _members(texts: list[tuple[str, bool]]) -> str:
    """Members in order, any of the optional ones left out, with commas between."""
    choices = []
    for at, (first, needed) in enumerate(texts):
        rest = "".join(f", ?{t}" if must else f"(?:, ?{t})?" for t, must in texts[at + 1 :])
        choices.append(first + rest)
        if needed:
            break
    else:
        choices.append("")
    return _either(choices)


def _either(choices: list[str]) -> str:
    return choices[0] if len(choices) == 1 else f"(?:{'|'.join(choices)})"


def _literal(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return "".join("\\" + sign if sign in _SIGNS else sign for sign in text)


def _counts(least: Any, most: Any, place: str) -> str:
    for count in (least, 0 if most is None else most):
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise SmeltError(f"the schema has the length {count!r}", place=place)
    if most is not None and most < least:
        raise SmeltError(f"the schema wants at least {least} and at most {most}", place=place)
    return f"{{{least},{'' if most is None else most}}}"
