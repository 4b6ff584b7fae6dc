"""What an engine is here: a name, a worker, and the commands that install it and make its model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One command, run in the peers' folder unless what it makes is there.

    `{python}` is our own Python, `{here}` this folder, `{smollm2}`, `{qwen}`, … the checkpoints.
    A name that ends in `.done` is a mark, written after the command.
    """

    makes: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Engine:
    """One engine on one model file; `format` is what it is compared within."""

    name: str
    format: str
    model: str
    worker: str
    artifact: str
    steps: tuple[Step, ...]
    environment: str = ""
    """The folder of its virtual environment; empty: our own Python."""
    variables: tuple[tuple[str, str], ...] = ()
    needs: str = ""
    """A feature of the CPU without which there is no such row."""
    against: str = ""
    """The peers that it is to be as fast as, by the start of their names; empty: the goal's."""

    @property
    def ours(self) -> bool:
        """Whether it is smelt."""
        return self.name.startswith("smelt")


def step(makes: str, command: str) -> Step:
    """A step whose command's words have no spaces."""
    return Step(makes, tuple(command.split()))


def environment(name: str, *installs: str) -> tuple[Step, ...]:
    """A virtual environment, and pip's installs into it one after the other."""
    lines = [
        step(f"{name}/.{index}.done", f"{name}/bin/python -m pip install -q {packages}")
        for index, packages in enumerate(installs)
    ]
    return (step(f"{name}/bin/python", f"{{python}} -m venv {name}"), *lines)
