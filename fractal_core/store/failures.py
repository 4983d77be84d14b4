"""Faults of the storage (full, read-only, forbidden) in words: what is wrong, where, and what to do."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fractal_core.errors import FractalError, StoreError
from fractal_core.store.faults import reach
from fractal_core.store.workspace import Workspace

# Prefect's database and a small data set need about half of this.
LEAST_FREE = 16_000_000
# What names of files begin with that are made to find out whether a folder can be written, and removed at once.
PROBE = "probe"
# Libraries that write files themselves (safetensors, DuckDB, SQLite) say it in their own words.
_FULL_WORDS = ("no space left", "disk is full", "os error 28", "disk quota exceeded")
_ELSEWHERE = "name another workspace with --workspace"


def storage_failure(error: BaseException, root: Path) -> str | None:
    """Say what is wrong with the storage and what to do, if that is what an error is about; None if it is not.

    Args:
        error: what was raised while files below `root` were written or read.
        root: the workspace.
    """
    code = error.errno if isinstance(error, OSError) else None
    named = error.filename if isinstance(error, OSError) else None
    where = named if isinstance(named, str | Path) else root
    if code in (errno.ENOSPC, errno.EDQUOT) or any(words in str(error).lower() for words in _FULL_WORDS):
        return f"the disk of {root} is full{_free(root)}; free some space there, or {_ELSEWHERE}, and run again"
    if code == errno.EFBIG:
        return f"a file in {root} may not grow so large here; raise the limit (ulimit -f) and run again"
    if code == errno.EROFS:
        return f"{where} is on a file system mounted read-only; remount it for writing, or {_ELSEWHERE}, and run again"
    if code in (errno.EACCES, errno.EPERM):
        return (
            f"the user with id {os.geteuid()} has no permission for {where}; change its owner or mode, "
            f"or {_ELSEWHERE}, and run again"
        )
    if isinstance(error, OSError):
        return f"{where} cannot be used ({error.strerror or error}); mend that and run again"
    return None


def storage_error(doing: str, error: OSError, root: Path) -> StoreError:
    """Return the error to raise for a fault met while `doing` something (the start of the sentence)."""
    return StoreError(f"{doing}: {storage_failure(error, root)}.")


@contextmanager
def storing(doing: str, root: Path) -> Iterator[None]:
    """Turn faults of the storage, of whatever library, into a StoreError that begins with `doing`; let others pass.

    Raises:
        StoreError: if that is what an error raised in here is about.
    """
    try:
        yield
    except FractalError:
        raise
    except Exception as error:
        failure = storage_failure(error, root)
        if failure is None:
            raise
        raise StoreError(f"{doing}: {failure}.") from error


def check_writable(workspace: Workspace) -> None:
    """Find out, before anything is started, that a run can write.

    Raises:
        StoreError: if a folder of the workspace cannot be written or its disk has less than LEAST_FREE bytes free.
    """
    doing = f"The workspace {workspace.root} cannot be written"
    try:
        for folder in (workspace.artefacts, workspace.manifests, workspace.runs, workspace.locks, workspace.tmp):
            folder.mkdir(exist_ok=True)
            probe = folder / workspace.temporary(PROBE).name
            try:
                probe.touch()
                reach(folder.name, "probe")
            finally:
                probe.unlink(missing_ok=True)
        free = shutil.disk_usage(workspace.root).free
    except OSError as error:
        raise storage_error(doing, error, workspace.root) from error
    if free < LEAST_FREE:
        raise StoreError(
            f"The disk of {workspace.root} has {free / 1e6:.1f} MB free and a run needs {LEAST_FREE / 1e6:.0f} MB at "
            f"least; free some space there, or {_ELSEWHERE}, and run again."
        )


def _free(root: Path) -> str:
    try:
        return f" ({shutil.disk_usage(root).free / 1e6:.1f} MB free)"
    except OSError:
        return ""
