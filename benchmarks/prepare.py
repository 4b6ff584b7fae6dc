"""Installs peers and makes their models, once; says why where that cannot be done."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.engines import Engine, Step

HERE = Path(__file__).resolve().parent


class Missing(Exception):
    """An engine cannot be measured here; the message says why."""


def peers_folder() -> Path:
    """Where peers live: `$SMELT_PEERS`, else `~/.cache/smelt-peers`."""
    return Path(os.environ.get("SMELT_PEERS") or Path.home() / ".cache" / "smelt-peers")


class Preparer:
    """Takes the steps of engines; a step that failed is not tried again."""

    def __init__(
        self, folder: Path, sources: Mapping[str, str], say: Callable[[str], None], seconds: float
    ) -> None:
        self._folder = folder
        self._names = {"python": sys.executable, "here": str(HERE), **sources}
        self._say = say
        self._seconds = seconds
        self._failed: dict[Step, str] = {}
        self._done: set[Step] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def prepare(self, engine: Engine) -> Path:
        """The engine's model file or folder."""
        for step in engine.steps:
            if step in self._failed:
                raise Missing(self._failed[step])
            made = self._folder / step.makes
            # Our own file is as old as the compiler that wrote it: anew in each run.
            if made.exists() and (step in self._done or not engine.ours):
                continue
            self._done.add(step)
            made.parent.mkdir(parents=True, exist_ok=True)
            words = [word.format(**self._names) for word in step.words]
            self._say(f"{engine.name}: {' '.join(words)}")
            reason = self._run(words)
            if not reason and made.suffix == ".done":
                made.touch()
            if not reason and not made.exists():
                reason = "the command made nothing"
            if reason:
                self._failed[step] = f"`{' '.join(step.words)}`: {reason}"
                raise Missing(self._failed[step])
        return self._folder / engine.artifact

    def _run(self, words: Sequence[str]) -> str:
        """Why a command failed; empty when it did not."""
        # Checkpoints are on this machine: no library needs to ask a hub for one.
        variables = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        try:
            done = subprocess.run(
                words,
                cwd=self._folder,
                env=variables,
                capture_output=True,
                text=True,
                timeout=self._seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode == 0:
            return ""
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        return f"exit {done.returncode}: {lines[-1].strip()}"
