"""Ctrl-C and SIGTERM as exceptions, for commands that have to tidy up; one that Python drops is raised again.

This module imports nothing of the project: whoever writes a file may ask it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_heard: list[BaseException] = []


@contextmanager
def interruptible() -> Iterator[None]:
    """While the context lasts Ctrl-C raises KeyboardInterrupt and SIGTERM SystemExit, for what has to be tidied up.

    To be used in the main thread, and not inside of itself. Signals that the process was started to ignore stay so.

    Raises:
        KeyboardInterrupt, SystemExit: at the end of the context at the latest, unless it ends by another exception.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    _heard.clear()
    if before[signal.SIGINT] is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _hear)
    if before[signal.SIGTERM] is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _hear)
    try:
        yield
        heed()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _heard.clear()


def heed() -> None:
    """Raise again what a signal has raised, should it have been lost: Python drops what is raised in a finalizer.

    To be called before what cannot be taken back.

    Raises:
        KeyboardInterrupt, SystemExit: if a signal came since `interruptible` began that was not `answered`.
    """
    if _heard:
        raise _heard[-1]


def answered() -> None:
    """Say that the signals until now have been answered, by who catches what they raise and goes on."""
    _heard.clear()


def _hear(number: int, frame: FrameType | None) -> None:
    _heard.append(KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number))
    raise _heard[-1]
