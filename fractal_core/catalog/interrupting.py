"""Ctrl-C in a long query: DuckDB looks for signals between its tasks only, and one task may take minutes."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb


@contextmanager
def heeding_interrupts(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """While the context lasts, Ctrl-C ends what the connection is doing at once.

    Does nothing outside the main thread, which alone hears of signals.

    Raises:
        KeyboardInterrupt: if that happened.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    watcher = threading.Thread(target=_watch, args=(reader, connection), daemon=True)
    watcher.start()
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    except (duckdb.InterruptException, RuntimeError) as error:
        if "interrupted" not in str(error).lower():
            raise
        raise KeyboardInterrupt from error
    finally:
        signal.set_wakeup_fd(wakeup)
        writer.close()
        watcher.join()
        reader.close()


def _watch(reader: socket.socket, connection: duckdb.DuckDBPyConnection) -> None:
    while heard := reader.recv(1):
        if heard[0] in (signal.SIGINT, signal.SIGTERM):
            connection.interrupt()
