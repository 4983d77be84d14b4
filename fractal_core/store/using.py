"""Who may change what the store lists: many that use it, or one that clears it up.

The lock is held for moments only, by the kernel (flock), so that it dies with its process. Computing a stage does not
hold it; the locks of the stages tell that.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "use.lock"


@contextmanager
def in_use(root: Path) -> Iterator[None]:
    """Hold the workspace at `root` in common with others: nothing that is there is collected meanwhile."""
    with _held(root, fcntl.LOCK_SH):
        yield


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold the workspace at `root` alone: no one is between finding an artefact and recording it, nor commits one.

    Do not write with `Workspace.write_file` inside: it holds the workspace in common, and would wait for ever.
    """
    with _held(root, fcntl.LOCK_EX):
        yield


@contextmanager
def _held(root: Path, how: int) -> Iterator[None]:
    descriptor = _open(root / NAME)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """Open the lock file, making it if need be; of another user's workspace it can only be read, which is enough."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EROFS) or not path.exists():
            raise
    return os.open(path, os.O_RDONLY)
