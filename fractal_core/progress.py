"""Telling the user how far a stage is: bars on a terminal, plain lines otherwise, nothing for machines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from fractal_core.store.runs import StageRecord
from fractal_core.store.stage import Progress as StageProgress

Style = Literal["bars", "lines", "quiet"]


class _Silent:
    def advance(self, amount: int = 1) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Reporter:
    """Where progress and notes go."""

    style: Style
    console: Console

    @contextmanager
    def progress(self, description: str, total: int) -> Iterator[StageProgress]:
        """Show progress of one piece of work of `total` units while the context lasts."""
        if self.style != "bars":
            yield _Silent()
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as display:
            task = display.add_task(description, total=total)
            yield _Bar(display, task)

    def stage(self, record: StageRecord) -> None:
        """Say that a stage has ended."""
        rows = ", ".join(f"{count:,} {table}" for table, count in record.rows_out.items())
        how = "reused" if record.reused else f"{record.seconds:7.1f} s"
        self.line(f"{record.stage:12} {how:>9}  {rows}")

    def note(self, text: str) -> None:
        """Tell the user something about the result."""
        self.line(f"  note: {text}")

    def line(self, text: str) -> None:
        """Print a line, unless quiet."""
        if self.style != "quiet":
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)


class _Bar:
    """Updates a bar at most twenty times a second."""

    def __init__(self, display: Progress, task: object) -> None:
        self._display = display
        self._task = task
        self._pending = 0
        self._last = 0.0

    def advance(self, amount: int = 1) -> None:
        self._pending += amount
        now = time.monotonic()
        if now - self._last > 0.05:
            self._display.advance(self._task, self._pending)  # type: ignore[arg-type]
            self._pending, self._last = 0, now


_QUIET = Reporter("quiet", Console(stderr=True))
_current: ContextVar[Reporter] = ContextVar("reporter", default=_QUIET)


def current_reporter() -> Reporter:
    """Return the reporter in force; quiet if none was set."""
    return _current.get()


@contextmanager
def reporting(reporter: Reporter) -> Iterator[Reporter]:
    """Put a reporter in force while the context lasts."""
    token = _current.set(reporter)
    try:
        yield reporter
    finally:
        _current.reset(token)
