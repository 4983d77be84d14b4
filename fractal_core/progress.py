"""Telling the user how far a stage is: bars on a terminal, plain lines otherwise, nothing for machines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from fractal_core.store.runs import StageRecord
from fractal_core.store.stage import Progress as StageProgress

# Quiet: what is printed is for a program. Silent: another process says what became of this run.
Style = Literal["bars", "lines", "quiet", "silent"]

# What is counted by the pieces of work that stages report, by the first word of their description.
_UNITS = {
    "read": "bytes",
    "sort": "rows",
    "segment": "responses",
    "distil": "tokens",
    "embed": "characters",
    "index": "sentences",
    "neighbours": "sentences",
    "train": "steps",
    "pseudolabel": "epochs",
    "export": "sentences",
    "convert": "bytes",
    "score": "bytes",
}


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
        with Progress(*bar_columns(), console=self.console, transient=True) as display:
            task = display.add_task(description, total=total, unit=unit_of(description))
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
        """Print a line, unless quiet or silent."""
        if self.style in ("bars", "lines"):
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def bar_columns() -> tuple[ProgressColumn, ...]:
    """Return what a bar consists of: how much is done, how fast, and how long the rest takes; within 80 columns."""
    return (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )


def unit_of(description: str) -> str:
    """Return what the total of a piece of work counts; nothing if it is not known here."""
    return _UNITS.get(description.split(" ")[0], "")


class _Rate(ProgressColumn):
    """How much is done a second."""

    def render(self, task: Task) -> Text:
        """Return the rate of the last half minute; nothing before there is one."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{in_short(speed)} {task.fields['unit']}/s")


def in_short(number: float) -> str:
    """Write a number that is not negative with about three digits: 0.25, 12.5, 1.2k, 34.0M."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= factor:
            return f"{number / factor:.1f}{unit}"
    return f"{number:.1f}" if number >= 1 else f"{number:.2f}"


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
