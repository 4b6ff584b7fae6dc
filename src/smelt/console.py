"""What the command line shows: progress with time left, errors, tables, and JSON for scripts.

Results go to stdout, everything else to stderr, so that output can be piped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from smelt.errors import SmeltError

ERR = Console(stderr=True, highlight=False)


class Bars:
    """Hears ``(what, done, total)`` and draws one bar for each thing that is done in turn.

    ``total`` 0 is unknown. A count may also be the last word of ``what``: ``artifact main 3/32``.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet or not ERR.is_terminal
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=ERR,
        )
        self._task: TaskID | None = None
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that so much of a thing is done."""
        if self._quiet:
            return
        key, _, last = what.rpartition(" ")
        number, slash, count = last.partition("/")
        if slash and number.isdigit() and count.isdigit():
            what, done, total = key, int(number), int(count)
        if what != self._what:
            self._finish()
            self._what = what
            self._task = self._progress.add_task(escape(what), total=total or None)
        assert self._task is not None
        self._progress.update(self._task, completed=done, total=total or None)

    def _finish(self) -> None:
        if self._task is not None:
            task = self._progress.tasks[-1]
            total = task.total if task.total is not None else max(task.completed, 1)
            self._progress.update(self._task, total=total, completed=total)

    def __enter__(self) -> Bars:
        if not self._quiet:
            self._progress.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if not self._quiet:
            if kind is None:
                self._finish()
            self._progress.stop()


def show_error(error: SmeltError, *, as_json: bool) -> None:
    """Print an error to stderr: message, place, excerpt, hint."""
    if as_json:
        fields = ("message", "place", "excerpt", "hint")
        found = {name: getattr(error, name) for name in fields if getattr(error, name)}
        kind = type(error).__name__
        print(json.dumps({"error": {"kind": kind, **found}}, ensure_ascii=False), file=sys.stderr)
        return
    ERR.print(f"[bold red]error[/]: {escape(error.message)}", soft_wrap=True)
    if error.place:
        ERR.print(f"  [blue]-->[/] {escape(error.place)}", soft_wrap=True)
    for line in (error.excerpt or "").splitlines():
        ERR.print(f"   [blue]|[/] {escape(line)}", soft_wrap=True)
    if error.hint:
        ERR.print(f"\n[bold cyan]hint[/]: {escape(error.hint)}", soft_wrap=True)


def say(text: str) -> None:
    """A line for people, to stderr."""
    ERR.print(escape(text), soft_wrap=True)


def print_json(data: Any) -> None:
    """A result for scripts, to stdout."""
    print(json.dumps(data, ensure_ascii=False, indent=2, default=str))


def write(text: str) -> None:
    """A result for people, to stdout, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A table to stdout; numbers to the right."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        numbers = index > 0 and all(
            row[index][:1].isdigit() or row[index][:1] == "-" for row in rows
        )
        made.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(escape(cell) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 240  # nobody to wrap lines for
    console.print(made)


@contextmanager
def reported(*, as_json: bool) -> Iterator[None]:
    """Turn errors into messages and exit codes: a SmeltError's own, 130 for an interrupt."""
    try:
        yield
    except SmeltError as error:
        show_error(error, as_json=as_json)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        ERR.print("interrupted")
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader of our output has gone; say nothing, as `head` expects.
        sys.stderr.close()
        raise SystemExit(141) from None
    except OSError as error:
        place = str(error.filename) if error.filename else None
        wrapped = SmeltError(error.strerror or str(error), place=place)
        show_error(wrapped, as_json=as_json)
        raise SystemExit(1) from None
