"""`weights.json`: where each weight of a folder artifact lies, with a checksum of its own.

The manifest's hashes say that a file is damaged; this says which weight, and so which layer.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

INDEX = "weights.json"
_PIECE = 1 << 20


@dataclass(frozen=True)
class Span:
    """The bytes of one weight in a file, and their CRC-32."""

    name: str
    offset: int
    bytes: int
    crc: int


@dataclass
class WeightIndex:
    """The spans of one weights file, gathered while it is written."""

    file: str
    spans: list[Span] = field(default_factory=list)

    def add(self, name: str, offset: int, data: Any) -> None:
        """Note a weight; ``data`` is anything with a buffer of bytes."""
        view = memoryview(data)
        self.spans.append(Span(name, offset, view.nbytes, zlib.crc32(view)))

    def write(self, folder: Path) -> None:
        """Store the index beside its weights file."""
        text = {"file": self.file, "weights": [asdict(span) for span in self.spans]}
        (folder / INDEX).write_text(json.dumps(text, separators=(",", ":")), encoding="utf-8")


def damaged_weight(folder: Path) -> str | None:
    """The first weight whose bytes do not have their checksum; None where no index tells.

    The folder may be damaged anywhere, the index too: then nothing is named.
    """
    try:
        index = json.loads((folder / INDEX).read_bytes())
        with (folder / Path(index["file"]).name).open("rb") as file:
            for span in index["weights"]:
                if _crc(file, int(span["offset"]), int(span["bytes"])) != span["crc"]:
                    return str(span["name"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return None


def _crc(file: Any, offset: int, size: int) -> int:
    file.seek(offset)
    crc = 0
    while size > 0 and (piece := file.read(min(_PIECE, size))):
        crc = zlib.crc32(piece, crc)
        size -= len(piece)
    return crc if size == 0 else -1
