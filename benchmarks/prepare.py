"""Installs peers and makes their models, once; says why where that cannot be done."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.engines import Engine, Step

HERE = Path(__file__).resolve().parent
#: What our artifacts depend on: when a file here changed, they are made again.
SOURCES = (
    "benchmarks/tables.py",
    *("backends", "frontend", "ir", "model_specs", "passes", "runtime", "src"),
)


class Missing(Exception):
    """An engine cannot be measured here; the message says why."""


def peers_folder() -> Path:
    """Where peers live: `$SMELT_PEERS`, else `~/.cache/smelt-peers`."""
    return Path(os.environ.get("SMELT_PEERS") or Path.home() / ".cache" / "smelt-peers")


def newest(names: Sequence[str]) -> float:
    """When a source among our files and folders changed last."""
    roots = [HERE.parent / name for name in names]
    files = [path for root in roots for path in (root, *root.rglob("*"))]
    return max(path.stat().st_mtime for path in files if path.suffix in (".py", ".arch"))


class Preparer:
    """Takes the steps of engines; a step that failed is not tried again in this run."""

    def __init__(
        self,
        folder: Path,
        sources: Mapping[str, Path],
        say: Callable[[str], None],
        seconds: float,
        *,
        as_prepared: bool = False,
    ) -> None:
        """``seconds`` for one command; ``as_prepared``: no command for a peer, what is there is."""
        self.folder = folder
        self._names = {"python": sys.executable, "here": str(HERE)}
        self._names |= {name: str(path) for name, path in sources.items()}
        self._say = say
        self._seconds = seconds
        self._as_prepared = as_prepared
        self._failed: dict[Step, str] = {}
        self._reasons = folder / "reasons.json"
        self._compiler_time = newest(SOURCES)
        folder.mkdir(parents=True, exist_ok=True)

    def source(self, name: str) -> Path:
        """A checkpoint."""
        return Path(self._names[name])

    def prepare(self, engine: Engine) -> Path:
        """The engine's model file or folder."""
        for step in engine.steps:
            if step in self._failed:
                raise Missing(self._failed[step])
            made = self.folder / step.makes
            # What our compiler wrote is of use for as long as the compiler is the same.
            ours = "smelt.cli" in step.words
            if made.exists() and not (ours and made.stat().st_mtime < self._compiler_time):
                continue
            if self._as_prepared and not ours:
                raise Missing(self._known().get(step.makes, "not prepared"))
            made.parent.mkdir(parents=True, exist_ok=True)
            try:
                words = [word.format(**self._names) for word in step.words]
            except KeyError as error:
                raise Missing(f"no checkpoint {error}") from None
            self._say(f"{engine.name}: {' '.join(words)}")
            reason = self._run(words)
            if not reason and made.suffix == ".done":
                made.touch()
            if not reason and not made.exists():
                reason = "the command made nothing"
            if reason:
                _remove(made)
                reason = f"`{' '.join(step.words)}`: {reason}"
                self._failed[step] = reason
            self._note(step, reason)
            if reason:
                raise Missing(reason)
        return self.folder / engine.artifact

    def _known(self) -> dict[str, str]:
        """Why what a step makes is not there, of every earlier run."""
        if not self._reasons.exists():
            return {}
        found: dict[str, str] = json.loads(self._reasons.read_text(encoding="utf-8"))
        return found

    def _note(self, step: Step, reason: str) -> None:
        known = {name: why for name, why in self._known().items() if name != step.makes}
        known |= {step.makes: reason} if reason else {}
        self._reasons.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")

    def _run(self, words: Sequence[str]) -> str:
        """Why a command failed; empty when it did not."""
        # Checkpoints are on this machine: no library needs to ask a hub for one.
        variables = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        try:
            done = subprocess.run(
                words,
                cwd=self.folder,
                env=variables,
                capture_output=True,
                text=True,
                timeout=self._seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"not done in {self._seconds:.0f} s"
        except OSError as error:
            return str(error)
        if done.returncode == 0:
            return ""
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        return f"exit {done.returncode}: {lines[-1].strip()}"


def _remove(made: Path) -> None:
    """Half of a model must not be taken for the whole."""
    if made.is_dir():
        shutil.rmtree(made)
    else:
        made.unlink(missing_ok=True)
