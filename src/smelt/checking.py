"""`smelt specs check`: hands one spec to the oracle, which lives with the tests of a clone.

The oracle imports transformers, and the package never does (docs/adr/0010): so it runs as a process
of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from smelt.errors import SmeltError, SpecError
from smelt.frontend.spec.library import LIBRARY, load, resolve
from smelt.frontend.tasks import supported

ORACLE = Path("tests", "oracle", "check_spec.py")


def clone() -> Path:
    """The clone that this package, or the working directory, is part of."""
    for root in (LIBRARY.parent, Path.cwd(), *Path.cwd().parents):
        if (root / ORACLE).is_file():
            return root
    raise SmeltError(
        "only a clone of smelt's repository can compare a spec with transformers",
        hint="run it there, after `pip install -e '.[torch,dev]'`; "
        "an installed smelt has no tests and no oracle",
    )


def check_spec(file: Path, **options: Path | str | None) -> int:
    """Run tiers 0 to 3 on a spec, which print as they go; the exit code.

    options: type (whose rows of tests/parity/cases to ask, if not the file name's), task and word
    (only those rows), config (a config.json to ask instead), checkpoint (a directory of weights).
    """
    given = {name: value for name, value in options.items() if value is not None}
    for path in (file, *(value for value in given.values() if isinstance(value, Path))):
        if not path.exists():
            raise SpecError("no such file", place=str(path))
    if not supported(set(resolve(load("", file)))):
        raise SpecError(f"{file.name} defines the entry of no task", hint="is it a base of others?")
    root = clone()
    words = [str(file.resolve())]
    for name, value in given.items():
        told = value.resolve() if isinstance(value, Path) else value
        words += ["-k" if name == "word" else f"--{name}", str(told)]
    command = [sys.executable, "-m", ".".join(ORACLE.with_suffix("").parts), *words]
    return subprocess.run(command, cwd=root, check=False).returncode
