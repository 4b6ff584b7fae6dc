"""A program's text for people: weights inlined, layers that repeat shown once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

_NODE = re.compile(r"  (?P<name>%\d+) = (?P<body>.*?)(?:  @ (?P<source>.*))?$")
_WEIGHT = re.compile(r"(?:param|weight)\(\) \{.*?name='(?P<name>[^']*)'")
_VALUE = re.compile(r"%\d+")
_LONG = re.compile(r"(value=\([^)]{40})[^)]*\)")
_LAYER = re.compile(r"(?<=\.)(\d+)(?=\.|$)")


@dataclass(frozen=True)
class _Line:
    name: str
    body: str
    source: str

    @property
    def layer(self) -> str:
        """The part of the source up to its first number: `model.layers.3`."""
        found = _LAYER.search(self.source)
        return self.source[: found.end()] if found else ""


def fold_graph(text: str) -> str:
    """The text of ``print_program`` with parameters inlined and equal layers folded to one."""
    lines: list[str] = []
    body: list[str] | None = None
    for line in text.splitlines():
        if body is None and line.endswith("{"):
            lines.append(line)
            body = []
        elif body is not None and line == "}":
            lines += [*_body(body), "}"]
            body = None
        elif body is not None:
            body.append(line)
        else:
            lines.append(line)
    return "\n".join(_fold_weights(list(_fold_slots(lines)))) + "\n"


def _body(lines: list[str]) -> Iterator[str]:
    weights: dict[str, str] = {}
    nodes: list[_Line] = []
    rest: list[str] = []
    for line in lines:
        match = _NODE.match(line)
        if match is None:
            rest.append(line)
            continue
        weight = _WEIGHT.match(match["body"])
        if weight is not None:
            weights[match["name"]] = f"<{weight['name']}>"
            continue
        body = _VALUE.sub(lambda m: weights.get(m[0], m[0]), match["body"])
        nodes.append(_Line(match["name"], body, match["source"] or ""))
    yield from _layers(nodes)
    yield from rest


def _layers(nodes: list[_Line]) -> Iterator[str]:
    """Runs of one layer; runs that are equal but for the layer's number become one."""
    runs: list[list[_Line]] = []
    for node in nodes:
        if runs and runs[-1][0].layer == node.layer:
            runs[-1].append(node)
        else:
            runs.append([node])
    at = 0
    while at < len(runs):
        shape = _canonical(runs[at])
        last = at
        while runs[at][0].layer and last + 1 < len(runs) and _canonical(runs[last + 1]) == shape:
            last += 1
        if last > at:
            first, final = runs[at][0].layer, runs[last][0].layer
            yield f"  # {first} … {final}: {last - at + 1} times"
        yield from (_show(node, starred=last > at) for node in runs[at])
        at = last + 1


def _canonical(run: list[_Line]) -> tuple[str, ...]:
    """A run without its layer's number and without the absolute numbers of values."""
    inside = {node.name: f"%{index}" for index, node in enumerate(run)}
    return tuple(
        _starred(_VALUE.sub(lambda m: inside.get(m[0], "%in"), node.body), node.layer)
        + " @ "
        + _starred(node.source, node.layer)
        for node in run
    )


def _starred(text: str, layer: str) -> str:
    if not layer:
        return text
    head, _, _ = layer.rpartition(".")
    return re.sub(rf"{re.escape(layer)}(?=\.|'|>|$)", f"{head}.*", text)


def _show(node: _Line, *, starred: bool) -> str:
    body = _starred(node.body, node.layer) if starred else node.body
    body = _LONG.sub(r"\1…)", body)
    source = _starred(node.source, node.layer) if starred else node.source
    return f"  {node.name} = {body}" + (f"  @ {source}" if source else "")


def _fold_slots(lines: list[str]) -> Iterator[str]:
    """Slots that differ in the layer's number only, once."""
    counts: dict[str, int] = {}
    for line in lines:
        if line.startswith("slot "):
            key = _LAYER.sub("*", line)
            counts[key] = counts.get(key, 0) + 1
    shown: set[str] = set()
    for line in lines:
        if not line.startswith("slot "):
            yield line
            continue
        key = _LAYER.sub("*", line)
        if counts[key] == 1:
            yield line
        elif key not in shown:
            shown.add(key)
            yield f"{key}  # {counts[key]} times"


def _fold_weights(lines: list[str]) -> Iterator[str]:
    """Derived weights that differ in the layer's number only, once."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.startswith(("weight ", "func ")):
            blocks.append([])
        blocks[-1].append(line)
    keys = [_LAYER.sub("*", "\n".join(block)) for block in blocks]
    counts = Counter(keys)
    shown: set[str] = set()
    for block, key in zip(blocks, keys, strict=True):
        if counts[key] == 1:
            yield from block
        elif key not in shown:
            shown.add(key)
            first, *rest = key.split("\n")
            yield from (f"{first}  # {counts[key]} times", *rest)
