"""A compiled template as bytes; `runtime/cpp/template/format.h` has the records."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from smelt.errors import UnsupportedError
from smelt.frontend.template.names import OPS

MAGIC = b"smelttpl"
VERSION = 1
_NUMBERS = {name: index for index, name in enumerate(OPS)}
MOST_SLOTS = 1 << 16


@dataclass
class Macro:
    """A macro: where its code is, the slots of its arguments, and all slots that it owns."""

    name: int
    entry: int = 0
    args: list[int] = field(default_factory=list)
    first_slot: int = 0
    slots: int = 0


class Program:
    """Collects code, strings, numbers and variables."""

    def __init__(self) -> None:
        self.code: list[tuple[int, int, int, int]] = []
        self.lines: list[int] = []
        self.line = 1
        self.slots: list[int] = []  # the name of each
        self.macros: list[Macro] = []
        self._strings: dict[bytes, int] = {}
        self._numbers: dict[bytes, int] = {}

    def emit(self, op: str, a: int = 0, b: int = 0, c: int = 0) -> int:
        """Add an instruction; its place."""
        self.code.append((_NUMBERS[op], a, b, c))
        self.lines.append(self.line)
        return len(self.code) - 1

    @property
    def here(self) -> int:
        """The place of the next instruction."""
        return len(self.code)

    def aim(self, *places: int) -> None:
        """Let the jumps at these places lead here."""
        for place in places:
            self.code[place] = (*self.code[place][:3], self.here)

    def string(self, text: str) -> int:
        """The number of a string."""
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise UnsupportedError("text that is no UTF-8", place=f"line {self.line}") from None
        return self._strings.setdefault(data, len(self._strings))

    def number(self, value: int | float) -> int:
        """The place of a number among the constants."""
        kind = "<d" if isinstance(value, float) else "<q"
        try:
            data = struct.pack(kind, value)
        except struct.error:
            raise UnsupportedError(
                f"the number {value} has more than 64 bits", place=f"line {self.line}"
            ) from None
        return self._numbers.setdefault(data, len(self._numbers))

    def slot(self, name: str) -> int:
        """A new variable."""
        if len(self.slots) + 1 >= MOST_SLOTS:
            raise UnsupportedError(f"chat template has more than {MOST_SLOTS} variables")
        self.slots.append(self.string(name))
        return len(self.slots) - 1

    def data(self, flags: int, variables: str, letters: bytes) -> bytes:
        """The whole file: code, lines, variables, macros, constants, strings, letters."""
        given = self.string(variables)
        code = b"".join(struct.pack("<BBHI", *row) for row in self.code)
        args: list[int] = []
        macros = b""
        for m in self.macros:
            row = (m.name, m.entry, len(args), len(m.args), m.first_slot, m.slots)
            macros += struct.pack("<6I", *row)
            args += m.args
        offsets = [0]
        for text in self._strings:
            offsets.append(offsets[-1] + len(text))
        parts = (
            code,
            struct.pack(f"<{len(self.lines)}I", *self.lines),
            struct.pack(f"<{len(self.slots)}I", *self.slots),
            macros,
            struct.pack(f"<{len(args)}I", *args),
            b"".join(self._numbers),
            struct.pack(f"<{len(offsets)}I", *offsets),
            b"".join(self._strings),
            letters,
        )
        head = 32 + 8 * len(parts)
        records, blob = b"", b""
        for part in parts:
            blob += b"\0" * (-len(blob) % 8)
            records += struct.pack("<II", head + len(blob), len(part))
            blob += part
        # The next file of an artifact is aligned behind it.
        blob += b"\0" * (-(head + len(blob)) % 64)
        counts = struct.pack("<IIQII", VERSION, flags, head + len(blob), given, 0)
        return MAGIC + counts + records + blob
