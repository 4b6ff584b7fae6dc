"""Chat templates: jinja2's immutable sandbox, as `transformers` sets it up, under a budget.

A template comes out of a checkpoint and may be hostile. Goals: the same bytes as `transformers` for
every honest template; for any other an error within about a second and a hundred megabytes. How:
each value that a template makes is weighed when it is made (characters and elements, shared parts
counted as often as they are reached), so no later step can be large; each step pays for its size.
Parsing pays too: jinja2 takes about 30 µs and 4 kB for a token, so their number is bounded.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property, wraps
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.lexer import Token, TokenStream
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from smelt.errors import ArtifactError, SmeltError, UnsupportedError

MAX_TEMPLATE = 1 << 18
MAX_TOKENS = 1 << 14  # words and signs inside tags; the largest of real templates has some thousand
MAX_WEIGHT = 1 << 20  # of one value, and of the output; grows with the input
MAX_STEPS = 1 << 20
MAX_INPUT = 1 << 26
MAX_DEPTH = 64

_STR_METHODS = frozenset(
    (  # noqa: SIM905 - a list of words reads best as words
        "capitalize casefold count endswith find format index isalnum isalpha isascii isdecimal "
        "isdigit islower isnumeric isspace istitle isupper join lower lstrip partition "
        "removeprefix removesuffix replace rfind rindex rpartition rsplit rstrip split splitlines "
        "startswith strip swapcase title upper"
    ).split()
)
# Random, or with a width that makes any text large, or made for HTML pages.
_DROPPED_FILTERS = ("random", "center", "wordwrap", "format", "urlize", "xmlattr", "filesizeformat")


class TooMuch(Exception):
    """A template went over its budget; raised through jinja2, turned into an UnsupportedError."""


class ChatTemplate:
    """One template, parsed once; ``render`` is thread-safe."""

    def __init__(self, source: str, *, place: str = "chat template") -> None:
        self.source = source
        self.place = place
        if len(source) > MAX_TEMPLATE:
            raise UnsupportedError(
                f"chat template has {len(source)} characters, at most {MAX_TEMPLATE} are allowed",
                place=place,
            )
        self._environment = _Environment()
        try:
            self._template = self._environment.from_string(source)
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            raise ArtifactError(
                f"chat template does not parse: {error.message}",
                place=f"{place}:{line}" if line else place,
            ) from None
        except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
            raise UnsupportedError(
                f"chat template is nested too deeply: {type(error).__name__}", place=place
            ) from None
        except TooMuch as error:
            raise UnsupportedError(f"chat template is refused: {error}", place=place) from None

    @cached_property
    def reads_parts(self) -> bool:
        """Whether content given as a list of parts is taken apart, not printed as a list."""
        mark = "smelt probes parts"
        parts = [{"type": "text", "text": mark}]
        try:
            text = self.render([{"role": "user", "content": parts}])
        except SmeltError:
            return False
        return mark in text and "'type'" not in text and '"type"' not in text

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        **variables: Any,
    ) -> str:
        """The text of a conversation, byte for byte that of `apply_chat_template`."""
        if not messages:
            raise SmeltError("a chat needs at least one message")
        given = {
            "messages": [_message(m) for m in messages],
            "tools": None if tools is None else list(tools),
            "documents": None if documents is None else list(documents),
            "add_generation_prompt": add_generation_prompt,
            **variables,
        }
        meter = _Meter()
        values = _plain(given, meter)
        self._environment.begin(meter, now)
        parts = []
        try:
            for part in self._template.generate(values):
                meter.output(part)
                parts.append(part)
        except TooMuch as error:
            raise UnsupportedError(
                f"chat template is stopped: {error}",
                place=self.place,
                hint="the template loops or grows without end; it may be hostile",
            ) from None
        except _Refused as error:
            raise SmeltError(
                f"chat template refuses the conversation: {error.message}", place=self.place
            ) from None
        except TemplateError as error:
            raise SmeltError(f"chat template fails: {error.message}", place=self.place) from None
        except RecursionError:
            raise UnsupportedError("chat template recurses too deeply", place=self.place) from None
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise SmeltError(f"chat template fails: {error}", place=self.place) from None
        finally:
            self._environment.end()
        return "".join(parts)


class _Refused(TemplateError):
    """The template called raise_exception."""


class _Meter:
    """Counts what one rendering has used."""

    def __init__(self) -> None:
        self.steps = 0
        self.written = 0
        self.max_steps = MAX_STEPS
        self.max_weight = MAX_WEIGHT

    def step(self, cost: int = 1) -> None:
        self.steps += cost
        if self.steps > self.max_steps:
            raise TooMuch(f"more than {self.max_steps} steps")

    def output(self, text: str) -> None:
        self.written += len(text)
        if self.written > self.max_weight:
            raise TooMuch(f"more than {self.max_weight} characters of output")

    def expect(self, size: int) -> None:
        """Refuse a value of this size before it is made."""
        if size > self.max_weight:
            raise TooMuch(f"a value of {size} characters or elements")

    def weigh(self, value: Any) -> Any:
        """Pay for a value and refuse one that is too heavy; returns it."""
        self.step(1 + (self.weight(value) >> 6))
        return value

    def weight(self, value: Any) -> int:
        """Characters and elements, shared parts counted as often as they are reached."""
        return self._weight(value, 0, 0)

    def _weight(self, value: Any, total: int, depth: int) -> int:
        if isinstance(value, str):
            total += len(value)
        elif isinstance(value, int):
            total += value.bit_length() >> 3
        elif isinstance(value, (list, tuple, set, Mapping, Namespace)):
            if depth > MAX_DEPTH:
                raise TooMuch(f"values nested more than {MAX_DEPTH} deep")
            self.step(1 + (len(value) >> 2) if not isinstance(value, Namespace) else 1)
            for item in _items(value):
                total = self._weight(item, total + 1, depth + 1)
        if total > self.max_weight:
            raise TooMuch(f"a value of more than {self.max_weight} characters and elements")
        return total


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, Namespace):
        value = dict(value._Namespace__attrs)
    if isinstance(value, Mapping):
        return (part for pair in value.items() for part in pair)
    items: Iterable[Any] = value
    return items


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox of `transformers`, with every step metered."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])

    def __init__(self) -> None:
        self._local = threading.local()
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, loopcontrols],
            finalize=self._weigh,
            optimized=False,  # constants must be folded under the budget, not while parsing
        )
        self.filters = {
            name: self._metered(function)
            for name, function in self.filters.items()
            if name not in _DROPPED_FILTERS
        }
        self.filters["tojson"] = self._metered(_tojson)
        self.filters["replace"] = self._metered(self._replace)
        self.filters["join"] = self._metered(self._join)
        self.filters["sum"] = self._metered(self._sum)
        self.filters["indent"] = self._metered(self._indented(self.filters["indent"]))
        self.filters["batch"] = self._metered(self._bounded_batch(self.filters["batch"]))
        self.filters["slice"] = self._metered(self._bounded_batch(self.filters["slice"]))
        self.filters["weigh"] = self._weigh
        self.filters["loop_over"] = self._loop_over
        self.filters["concat"] = self._concat
        self.globals.pop("lipsum", None)
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = self._strftime_now
        self.globals["dict"] = _DictMaker()
        self.globals["namespace"] = _Namespace

    def begin(self, meter: _Meter, now: datetime | None) -> None:
        """Start a rendering in this thread."""
        self._local.meter, self._local.now = meter, now

    def end(self) -> None:
        """End it: no value of one conversation outlives it."""
        self._local.meter = self._local.now = None

    @property
    def _meter(self) -> _Meter:
        meter: _Meter | None = getattr(self._local, "meter", None)
        return meter or _Meter()

    def _tokenize(
        self,
        source: str,
        name: str | None,
        filename: str | None = None,
        state: str | None = None,
    ) -> TokenStream:
        stream = super()._tokenize(source, name, filename, state)
        return TokenStream(_bounded(stream), name, filename)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _meter_nodes(tree)
        return tree

    # ---- what a template can do, each paid for ----

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str) and attr not in _STR_METHODS:
            return False
        if isinstance(obj, (int, float, bytes)):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            __self._check_str_call(owner, __obj.__name__, args)
        __self._meter.step()
        return __self._weigh(super().call(__context, __obj, *args, **kwargs))

    def _check_str_call(self, owner: str, name: str, args: tuple[Any, ...]) -> None:
        if name == "replace" and len(args) >= 2:
            self._expect_replace(owner, str(args[0]), str(args[1]))
        elif name == "join" and args and isinstance(args[0], (list, tuple)):
            self._meter.expect(sum(len(str(a)) + len(owner) for a in args[0]))
        elif name == "join" and args and not isinstance(args[0], (str, Mapping)):
            raise TooMuch("join over a sequence that is not a list")

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapper = super().wrap_str_format(value)
        if wrapper is not None and re.search(r":[^{}]*(\d{4}|\{)", str(value.__self__)):
            raise TooMuch("a format with a width of four digits")
        return wrapper

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            self._expect_product(left, right)
        elif operator == "**" and (
            not isinstance(right, (int, float)) or abs(right) > 64 or _bits(left) > 64
        ):
            raise TooMuch("a power with an operand over 64")
        elif (
            operator == "%" and isinstance(left, str) and re.search(r"%[^%a-zA-Z]*(\d{4}|\*)", left)
        ):
            raise TooMuch("a format with a width of four digits")
        return self._weigh(super().call_binop(context, operator, left, right))

    def _expect_product(self, left: Any, right: Any) -> None:
        for value, times in ((left, right), (right, left)):
            if isinstance(value, (str, list, tuple)) and isinstance(times, int):
                self._meter.expect(len(value) * max(times, 0))

    def _weigh(self, value: Any) -> Any:
        if not isinstance(value, (str, int, float, list, tuple, set, Mapping, Namespace)):
            return value
        return self._meter.weigh(value)

    def _loop_over(self, values: Iterable[Any], cost: int) -> Iterator[Any]:
        if isinstance(values, Undefined):
            yield from values
        for value in values:
            self._meter.step(cost)
            yield value

    def _concat(self, parts: Sequence[Any]) -> str:
        texts = [str(self._weigh(part)) for part in parts]
        self._meter.expect(sum(map(len, texts)))
        return "".join(texts)

    def _metered(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)  # keeps jinja2's mark of which first argument it wants
        def metered(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            self._meter.step()
            return self._weigh(result)

        return metered

    def _expect_replace(self, text: str, old: str, new: str) -> None:
        grown = (len(new) - len(old)) * (text.count(old) if old else len(text) + 1)
        self._meter.expect(len(text) + max(grown, 0))

    def _replace(self, value: Any, old: str, new: str, count: int | None = None) -> str:
        text = str(value)
        self._expect_replace(text, str(old), str(new))
        return text.replace(str(old), str(new), -1 if count is None else count)

    def _join(self, value: Iterable[Any], d: Any = "", attribute: str | int | None = None) -> str:
        items = value if attribute is None else (self.getitem(v, attribute) for v in value)
        texts = [str(self._weigh(item)) for item in items]
        self._meter.expect(sum(len(text) + len(str(d)) for text in texts))
        return str(d).join(texts)

    def _sum(self, iterable: Iterable[Any], attribute: str | None = None, start: Any = 0) -> Any:
        items = iterable if attribute is None else (self.getitem(v, attribute) for v in iterable)
        total = start
        for item in items:
            if not isinstance(item, (int, float)):
                raise TemplateError(f"sum wants numbers, not {type(item).__name__}")
            total += item
        return total

    def _indented(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(plain)
        def indent(s: str, width: int | str = 4, first: bool = False, blank: bool = False) -> Any:
            size = len(width) if isinstance(width, str) else width
            self._meter.expect(len(s) + size * (s.count("\n") + 1))
            return plain(s, width, first, blank)

        return indent

    def _bounded_batch(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(plain)
        def batch(value: Any, count: int, fill_with: Any = None) -> Any:
            self._meter.expect(count)
            return plain(value, count, fill_with)

        return batch

    def _strftime_now(self, format: str) -> str:
        if len(format) > 256 or re.search(r"%[^a-zA-Z%]*\d", format):
            raise TooMuch("a date format that is too long or has widths")
        return (self._local.now or datetime.now()).strftime(format)


class _Generation(Extension):
    """`{% generation %}` marks what the assistant said, for training; here it only renders it."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 wants a plain set here

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

    def _said(self, caller: Macro) -> str:
        return str(caller())


class _DictMaker:
    """`dict` without the attributes of the type."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)


class _Namespace(Namespace):
    """A namespace that holds no name with a leading underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, args = args[0], args[1:]
        values = dict(*args, **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace cannot hold `{name}`, which starts with an underscore")


def _bounded(tokens: Iterable[Token]) -> Iterator[Token]:
    """The tokens of a template, which the parser asks for one by one; TooMuch for too many."""
    for count, token in enumerate(tokens):
        if count >= MAX_TOKENS:
            raise TooMuch(f"more than {MAX_TOKENS} words and signs, at line {token.lineno}")
        yield token


def _raise_exception(message: Any) -> None:
    raise _Refused(str(message))


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    if indent is not None and not (isinstance(indent, int) and 0 <= indent <= 16):
        raise TooMuch(f"an indent of {indent!r}")
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _bits(value: Any) -> int:
    return value.bit_length() if isinstance(value, int) else 0


def _meter_nodes(tree: nodes.Template) -> None:
    """Wrap what makes or repeats values in filters that pay for it."""
    for node in list(tree.find_all(nodes.For)):
        text = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        cost = nodes.Const(1 + (text >> 6), lineno=node.lineno)
        node.iter = _filter(node.iter, "loop_over", [cost])
    for compare in list(tree.find_all(nodes.Compare)):
        compare.expr = _filter(compare.expr, "weigh")
    _replace_children(tree)


def _replace_children(node: nodes.Node) -> None:
    for field, value in node.iter_fields():
        if isinstance(value, nodes.Node):
            setattr(node, field, _wrapped(value))
        elif isinstance(value, list):
            value[:] = [_wrapped(v) if isinstance(v, nodes.Node) else v for v in value]


def _wrapped(node: nodes.Node) -> nodes.Node:
    _replace_children(node)
    if isinstance(node, nodes.Concat):
        return _filter(nodes.List(node.nodes, lineno=node.lineno), "concat")
    if isinstance(node, nodes.Tuple):
        return _filter(node, "weigh") if node.ctx == "load" else node
    return _filter(node, "weigh") if isinstance(node, nodes.List | nodes.Dict) else node


def _filter(node: nodes.Node, name: str, args: list[nodes.Expr] | None = None) -> nodes.Filter:
    return nodes.Filter(node, name, args or [], [], None, None, lineno=node.lineno)


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message without its None values, its reasoning under the names that templates read."""
    if not isinstance(message, Mapping):
        raise SmeltError(f"a message is a {type(message).__name__}, wants role and content")
    kept = {key: value for key, value in message.items() if value is not None}
    for key in ("reasoning_content", "thinking", "reasoning"):
        if key in kept:
            return {"thinking": kept[key], **kept, "reasoning_content": kept[key]}
    return kept


def _plain(given: dict[str, Any], meter: _Meter) -> dict[str, Any]:
    """A copy made of JSON types alone; the budget grows with its size."""
    meter.max_weight = meter.max_steps = MAX_INPUT
    weight = meter.weight(given)
    meter.steps = 0
    meter.max_steps = MAX_STEPS + weight
    meter.max_weight = MAX_WEIGHT + 8 * weight
    return {key: _copy(value) for key, value in given.items()}


def _copy(value: Any) -> Any:
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Mapping):
        return {_copy(key): _copy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copy(item) for item in value)
    if isinstance(value, str):
        return str.__str__(value)
    raise SmeltError(f"a chat holds a {type(value).__name__}, wants JSON values")
