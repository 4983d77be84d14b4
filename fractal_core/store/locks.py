"""One writer a fingerprint: a lock file with pid, host and time, held by flock so that it dies with its process."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from fractal_core.errors import StoreError

_POLL_SECONDS = 0.1
_NAMELESS_POLLS = 10
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class LockHeldError(StoreError):
    """Another process has the lock, and the caller does not want to wait; the message says which."""


@dataclass(frozen=True)
class Holder:
    """Who has a lock. `boot` tells machines apart where names do not: containers of one machine share it."""

    pid: int
    host: str
    since: str
    boot: str = ""

    def __str__(self) -> str:
        """Name the process as a user can find it."""
        return f"process {self.pid} on {self.host} (since {self.since})"

    @property
    def elsewhere(self) -> bool:
        """Tell whether it is on another machine, where this one cannot see if it lives."""
        return self.host != socket.gethostname() and not (self.boot and self.boot == _boot())


@contextmanager
def lock(
    path: Path, on_wait: Callable[[str], None], *, doing: str = "computing this", wait: bool = True
) -> Iterator[str | None]:
    """Hold the lock at `path`; wait if another process has it, calling `on_wait` once with who that is and since when.

    The kernel releases the lock when its holder dies, so what a dead process left is taken over at once. The life of a
    process on another machine cannot be checked: what it left is waited for until the user, who is told so, removes it.

    Args:
        path: the lock file; it is there while the lock is held.
        on_wait: hears whom we wait for.
        doing: what who holds this lock is doing, for the message.
        wait: raise LockHeldError instead of waiting if this is False.

    Yields:
        Whom we waited for, None if nobody.

    Raises:
        LockHeldError: if another process has the lock and `wait` is False.
    """
    descriptor, waited_for = _acquire(path, on_wait, doing, wait=wait)
    try:
        yield waited_for
    finally:
        with suppress(OSError):  # a lock file that stays is no lock without its holder
            path.unlink()
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Tell whether a process holds the lock at `path`, as far as that can be seen from here."""
    held, holder = _look(path)
    return held or holder is not None


def holder_elsewhere(path: Path) -> Holder | None:
    """Return who took the lock at `path` on another machine and may be dead by now; None if there is no such doubt."""
    held, holder = _look(path)
    return None if held else holder


def _look(path: Path) -> tuple[bool, Holder | None]:
    """Return whether the kernel knows a process that holds the lock, and who took it if that was on another machine."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False, None
    except PermissionError:
        return True, None
    try:
        # Two who ask at once must not take each other for the holder, so the question is for a shared lock.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True, None
    else:
        holder = _read_holder(path)
        return False, holder if holder is not None and holder.elsewhere else None
    finally:
        os.close(descriptor)


def _acquire(path: Path, on_wait: Callable[[str], None], doing: str, *, wait: bool) -> tuple[int, str | None]:
    waited_for: str | None = None
    polls = 0
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            free = _try_to_lock(descriptor, path)
            holder = _read_holder(path)
            if free and not (holder is not None and holder.elsewhere):
                _write_holder(descriptor)
                return descriptor, waited_for
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        polls += 1
        # Whoever only looks has the lock for a moment, and a holder has no name before it has written it.
        if waited_for is None and polls > (_NAMELESS_POLLS if holder is None else 1):
            waited_for = "another process" if holder is None else str(holder)
            advice = "" if holder is None else _advice(holder, path)
            if not wait:
                raise LockHeldError(f"{waited_for} is {doing} now{advice}.")
            on_wait(f"waiting for {waited_for}, which is {doing} now{advice}")
        time.sleep(_POLL_SECONDS)


def _try_to_lock(descriptor: int, path: Path) -> bool:
    """Lock the open file; False if another process has it, or if its last holder removed it meanwhile."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False


def _write_holder(descriptor: int) -> None:
    holder = Holder(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"), _boot())
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(asdict(holder)).encode(), 0)


def _read_holder(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _advice(holder: Holder, path: Path) -> str:
    if not holder.elsewhere:
        return ""
    return f"; whether it still lives cannot be seen from this machine: if it does not, delete {path}"


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
