"""The import arrows of the design, read from the source with `ast`; and the package table."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# folder -> the parts of smelt it may import, and the light third-party packages
ARROWS: dict[str, tuple[set[str], set[str]]] = {
    "ir": (
        {"smelt.ir", "smelt.errors"},
        {"numpy", "ml_dtypes"},
    ),
    "passes": (
        {"smelt.passes", "smelt.ir", "smelt.errors"},
        {"numpy", "ml_dtypes"},
    ),
    "frontend": (
        {"smelt.frontend", "smelt.ir", "smelt.model_specs", "smelt.errors"},
        {"numpy", "ml_dtypes", "safetensors", "huggingface_hub", "tokenizers", "jinja2"},
    ),
    "backends": (
        {
            "smelt.backends",
            "smelt.ir",
            "smelt.runtime.manifest",
            "smelt.runtime.engine",
            "smelt.runtime.folder",
            "smelt.runtime.weight_index",
            "smelt.runtime.artifact",
            "smelt.runtime.edge_format",
            # docs/adr/0008
            "smelt.passes.expand",
            "smelt.passes.plan_memory",
            "smelt.passes.check_memory",
            "smelt.errors",
        },
        {"numpy", "ml_dtypes", "safetensors"},
    ),
    "runtime": (
        {"smelt.runtime", "smelt.errors"},
        {"numpy", "ml_dtypes", "tokenizers", "jinja2", "pydantic"},
    ),
}

# Folders with packages of their own, which nothing else may import but inside a function.
OWN: dict[str, set[str]] = {
    "runtime/serve": {"starlette", "uvicorn", "prometheus_client"},
}

# Imported inside functions only, and only by these folders.
HEAVY: dict[str, set[str]] = {
    "torch": {"backends", "frontend", "runtime", "src"},
    "onnx": {"backends", "src"},
    "onnx_ir": {"backends"},
    "onnxscript": {"backends"},
    "onnxruntime": {"backends", "runtime", "src"},
    "tensorrt": {"backends", "runtime"},
    "tensorrt_rtx": {"backends", "runtime"},
}
NOWHERE = {"transformers"}


@dataclass(frozen=True)
class Import:
    """One imported module: its dotted name, where, and whether at the top of the module."""

    name: str
    line: int
    top: bool


def imports(path: Path) -> Iterator[Import]:
    """Every import of a file but those under `if TYPE_CHECKING`."""

    def walk(node: ast.AST, top: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, child.lineno, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno}: relative import"
                module = child.module or ""
                for alias in child.names:
                    # `from smelt import ir` and `from smelt.ir import types` name modules.
                    whole = f"{module}.{alias.name}" if module.startswith("smelt") else module
                    yield Import(whole, child.lineno, top)
            else:
                function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, top and not function)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), True)


def within(name: str, parts: set[str]) -> bool:
    """Whether a dotted name is one of the parts or lies below one."""
    return any(name == part or name.startswith(part + ".") for part in parts)


def outside(name: str, own: str, home: str) -> bool:
    """Whether an import reaches into a folder with packages of its own from another one."""
    return home != own and within(name, {"smelt." + own.replace("/", ".")})


def sources(folder: str) -> list[Path]:
    """The Python files of a top-level folder."""
    if folder == "src":
        return sorted((ROOT / "src" / "smelt").glob("*.py"))
    return sorted((ROOT / folder).rglob("*.py"))


def complaints(folder: str, path: Path) -> Iterator[str]:
    """What a file imports that it must not."""
    ours, light = ARROWS.get(folder, (None, None))
    parts = path.relative_to(ROOT).parts
    backend = parts[1] if folder == "backends" and len(parts) > 2 else None
    home = "/".join(parts[:-1])
    for found in imports(path):
        root = found.name.split(".")[0]
        where = f"{path.relative_to(ROOT)}:{found.line}: imports {found.name}"
        if within(found.name, NOWHERE):
            yield f"{where}; nothing in the package may"
        elif root in HEAVY:
            if found.top:
                yield f"{where} at the top of the module; do it inside the function"
            elif folder not in HEAVY[root]:
                yield f"{where}; only {sorted(HEAVY[root])} may"
        elif any(root in names for names in OWN.values()):
            if root not in OWN.get(home, ()):
                yield f"{where}; only {[name for name in OWN if root in OWN[name]]} may"
        elif root == "smelt":
            if found.top and any(outside(found.name, name, home) for name in OWN):
                yield f"{where} at the top of the module; do it inside the function"
            if ours is not None and not within(found.name, ours):
                yield f"{where}; {folder} may import {sorted(ours)}"
            names = found.name.split(".")
            if backend and names[1] == "backends" and len(names) > 2:
                other = ROOT / "backends" / names[2]
                if other.is_dir() and names[2] != backend:
                    yield f"{where}; backends never import one another"
        elif root not in sys.stdlib_module_names and light is not None and root not in light:
            yield f"{where}; {folder} may import {sorted(light)}"


@pytest.mark.parametrize("folder", [*ARROWS, "src"])
def test_imports_follow_the_arrows(folder: str) -> None:
    found = [line for path in sources(folder) for line in complaints(folder, path)]
    assert not found, "\n".join(found)


def test_files_stay_small() -> None:
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for folder in [*ARROWS, "src"]
        for path in sources(folder)
    }
    assert not {name: lines for name, lines in sizes.items() if lines > 600}


def test_every_file_of_the_root_is_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    table = project["tool"]["scikit-build"]["wheel"]["packages"]
    packaged = {
        source for source in table.values() if source.startswith("src/") and source.endswith(".py")
    }
    present = {str(path.relative_to(ROOT)) for path in sources("src")}
    assert packaged == present, f"add to or remove from pyproject: {sorted(packaged ^ present)}"
