"""smelt: an ahead-of-time compiler for Hugging Face checkpoints.

``compile`` makes an artifact of a checkpoint, ``open`` gives a session on an artifact. Both are
loaded
when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smelt.compiling import compile as compile
    from smelt.opening import open as open

__version__ = "0.1.0"
__all__ = ["__version__", "compile", "open"]

_HOMES = {"compile": "smelt.compiling", "open": "smelt.opening"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'smelt' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
