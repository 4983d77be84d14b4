"""Answering Ctrl-C, SIGTERM and a closed terminal: record the run as interrupted and leave, within a moment.

Leaving at once is safe, because nothing counts in the store before it is committed. Prefect would wait for its server,
which the terminal has interrupted as well, for minutes. A Python signal handler runs only when the main thread comes
back from C code (a search of neighbours may take long), so a thread waits for the signals instead.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress

from fractal_core.progress import Style
from fractal_core.store.runs import finished, list_runs, save_run
from fractal_core.store.workspace import Workspace

_WORDS = {
    signal.SIGINT: "Interrupted",
    signal.SIGTERM: "Stopped by SIGTERM",
    signal.SIGHUP: "Stopped because the terminal was closed",
}
_SHOW_CURSOR = b"\x1b[?25h"
# By whoever started the process, as far as a context under way has found; Prefect puts a handler over it.
_ignored: frozenset[signal.Signals] = frozenset()


@contextmanager
def stopping_at_once(workspace: Workspace, style: Style = "lines") -> Iterator[None]:
    """While the context lasts, a signal to end ends this process: exit code 128 + its number, one sentence.

    Does nothing outside the main thread, which alone may handle signals.

    Args:
        workspace: where runs of this process are recorded as interrupted.
        style: how this run speaks: in JSON if it is quiet, not at all if it is silent, otherwise in words.
    """
    with _hearing(lambda number: _leave(number, workspace, style)):
        yield


@contextmanager
def stop_requests(seconds: float) -> Iterator[threading.Event]:
    """Yield an event that is set by a signal to end; who has not left the context `seconds` later is ended by force.

    For commands that have something to put in order at the end. To be used in the main thread.
    """
    wanted, left = threading.Event(), threading.Event()

    def heed(number: signal.Signals) -> None:
        wanted.set()
        if not left.wait(seconds):
            os._exit(128 + number)

    with _hearing(heed):
        try:
            yield wanted
        finally:
            left.set()


@contextmanager
def _hearing(heed: Callable[[signal.Signals], None]) -> Iterator[None]:
    """While the context lasts, call `heed` in a thread of its own with each signal to end.

    Signals that the process was started to ignore (nohup, a job in the background) stay ignored.
    """
    global _ignored
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = {number: signal.getsignal(number) for number in _WORDS}
    outer = _ignored
    _ignored = outer | {number for number, handler in before.items() if handler is signal.SIG_IGN}
    caught = before.keys() - _ignored
    watcher = threading.Thread(target=_watch, args=(reader, caught, heed), daemon=True)
    watcher.start()
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        for number in before:
            # A signal that has no handler in Python would end the process before the thread hears of it.
            signal.signal(number, (lambda *_: None) if number in caught else signal.SIG_IGN)
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        _ignored = outer
        writer.close()
        watcher.join()
        reader.close()


def _watch(reader: socket.socket, caught: Set[signal.Signals], heed: Callable[[signal.Signals], None]) -> None:
    while heard := reader.recv(1):
        if heard[0] in caught:
            heed(signal.Signals(heard[0]))


def _leave(number: signal.Signals, workspace: Workspace, style: Style) -> None:
    try:
        with suppress(OSError):
            for run in list_runs(workspace):
                if run.state == "running" and (run.pid, run.host) == (os.getpid(), socket.gethostname()):
                    save_run(workspace, finished(run, "interrupted", f"stopped by {number.name}"))
        if style != "silent":
            words = f"{_WORDS[number]}; finished stages are kept, run again to go on."
            line = json.dumps({"error": words}) if style == "quiet" else f"error: {words}"
            cursor = _SHOW_CURSOR if sys.stderr.isatty() else b""
            with suppress(OSError):
                os.write(2, cursor + b"\n" + line.encode() + b"\n")
    finally:
        os._exit(128 + number)
