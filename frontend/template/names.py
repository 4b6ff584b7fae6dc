"""What a template may use: the numbers and arguments that `runtime/cpp/template/format.h` knows."""

from __future__ import annotations

from typing import Any

OPS = (
    *("end", "text", "write", "string", "int", "float", "special", "load", "store", "resolve"),
    *("clear", "copy", "jump", "jump_false", "and", "or", "not", "binary", "negate", "compare"),
    *("concat", "attr", "item", "slice", "list", "tuple", "dict", "call", "method", "filter"),
    *("test", "for", "next", "break", "keep", "unpack", "capture", "captured", "set_attr"),
    *("macro", "return", "pop", "dup"),
)
SPECIALS = ("missing", "undefined", "none", "false", "true")
BINARY = ("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow")
COMPARE = ("eq", "ne", "lt", "lteq", "gt", "gteq", "in", "notin")
FUNCTIONS = ("range", "namespace", "dict", "raise_exception", "strftime_now")


class _Absent:
    """An argument without a default."""


ABSENT = _Absent()
Signature = tuple[tuple[str, Any], ...]


def _takes(*names: str, **defaults: Any) -> Signature:
    return (*((name, ABSENT) for name in names), *defaults.items())


_NO = _takes()
#: The arguments behind the value that is filtered; those of map and its like are special.
FILTERS: dict[str, Signature] = {
    "trim": _takes(chars=None),
    "length": _NO,
    "upper": _NO,
    "lower": _NO,
    "capitalize": _NO,
    "title": _NO,
    "replace": _takes("old", "new", count=None),
    "join": _takes(d="", attribute=None),
    "first": _NO,
    "last": _NO,
    "tojson": _takes(ensure_ascii=False, indent=None, separators=None, sort_keys=False),
    "default": _takes(default_value="", boolean=False),
    "items": _NO,
    "list": _NO,
    "string": _NO,
    "int": _takes(default=0),
    "float": _takes(default=0.0),
    "map": _NO,
    "map_attribute": _takes("attribute", default=None),
    "select": _NO,
    "reject": _NO,
    "selectattr": _NO,
    "rejectattr": _NO,
    "reverse": _NO,
    "sort": _takes(reverse=False, case_sensitive=False, attribute=None),
    "dictsort": _takes(case_sensitive=False, by="key", reverse=False),
    "safe": _NO,
    "abs": _NO,
    "indent": _takes(width=4, first=False, blank=False),
    "unique": _takes(case_sensitive=False, attribute=None),
    "sum": _takes(attribute=None, start=0),
    "min": _takes(case_sensitive=False, attribute=None),
    "max": _takes(case_sensitive=False, attribute=None),
}
FILTER_NUMBERS = {name: index for index, name in enumerate(FILTERS)}
FILTER_ALIASES = {"count": "length", "d": "default"}
#: Filters that must know the letters of all scripts.
CASED = {"upper", "lower", "capitalize", "title", "sort", "dictsort", "unique", "min", "max"}

TESTS: dict[str, int] = {  # to the number of arguments
    "defined": 0,
    "undefined": 0,
    "none": 0,
    "string": 0,
    "mapping": 0,
    "iterable": 0,
    "boolean": 0,
    "true": 0,
    "false": 0,
    "sequence": 0,
    "number": 0,
    "integer": 0,
    "float": 0,
    "callable": 0,
    "odd": 0,
    "even": 0,
    "divisibleby": 1,
    "eq": 1,
    "ne": 1,
    "lt": 1,
    "le": 1,
    "gt": 1,
    "ge": 1,
    "in": 1,
}
TEST_NUMBERS = {name: index for index, name in enumerate(TESTS)}
TEST_ALIASES = {
    "==": "eq",
    "equalto": "eq",
    "!=": "ne",
    "<": "lt",
    "lessthan": "lt",
    "<=": "le",
    ">": "gt",
    "greaterthan": "gt",
    ">=": "ge",
}

#: Methods of strings, then of mappings, then of loops.
METHODS: dict[str, Signature] = {
    "strip": _takes(chars=None),
    "lstrip": _takes(chars=None),
    "rstrip": _takes(chars=None),
    "split": _takes(sep=None, maxsplit=-1),
    "rsplit": _takes(sep=None, maxsplit=-1),
    "splitlines": _takes(keepends=False),
    "startswith": _takes("prefix"),
    "endswith": _takes("suffix"),
    "upper": _NO,
    "lower": _NO,
    "title": _NO,
    "capitalize": _NO,
    "replace": _takes("old", "new", count=-1),
    "join": _takes("iterable"),
    "find": _takes("sub"),
    "rfind": _takes("sub"),
    "count": _takes("sub"),
    "index": _takes("sub"),
    "removeprefix": _takes("prefix"),
    "removesuffix": _takes("suffix"),
    "isdigit": _NO,
    "isspace": _NO,
    "items": _NO,
    "keys": _NO,
    "values": _NO,
    "get": _takes("key", default=None),
    "cycle": _NO,
}
METHOD_NUMBERS = {name: index for index, name in enumerate(METHODS)}
#: What changes a value, on lists and mappings: a call always fails.
HIDDEN_METHODS = {
    *("append", "clear", "extend", "insert", "pop", "popitem", "remove", "setdefault", "sort"),
    "update",
}
CASED_METHODS = {"upper", "lower", "title", "capitalize", "isdigit"}
