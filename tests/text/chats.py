"""Chat templates written here with the constructs of the models' own."""

from __future__ import annotations

from pathlib import Path

TEMPLATES = {
    path.stem: path.read_text("utf-8")
    for path in sorted(Path(__file__).with_name("templates").glob("*.jinja"))
}
