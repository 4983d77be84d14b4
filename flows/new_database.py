"""A new database of Prefect's is a copy of one made before: its migrations take seconds, however fast the machine.

One empty database of each version of Prefect is kept in the user's cache folder. It is a head start and nothing else:
the server that opens a copy checks it as it does any database, and without a copy the server makes its own.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from platformdirs import user_cache_path

from fractal_core.store.workspace import sync

NAME = "prefect.db"

_BESIDE = ("", "-wal", "-shm", "-journal")
_WITH_ROWS = "alembic_version"


def place(home: Path) -> bool:
    """Give Prefect's home a database, if it has none and one is kept; tell whether it is left to the server to make it.

    Nothing is done, and nothing left to be kept, if the user has said where Prefect's database is.
    """
    # What is beside a database that is gone would be taken for its newest changes.
    if _is_elsewhere() or any((home / f"{NAME}{end}").exists() for end in _BESIDE):
        return False
    return not any(_copy(content, home) for content in _kept())


def keep(home: Path) -> None:
    """Keep the database of Prefect's home for others, if it is empty; what cannot be written or read is left alone."""
    with suppress(OSError, sqlite3.Error):
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        scratch = folder / f"{os.getpid()}.tmp"
        try:
            with closing(sqlite3.connect(f"{(home / NAME).absolute().as_uri()}?mode=ro", uri=True)) as database:
                database.execute("VACUUM INTO ?", [str(scratch)])
            if _is_empty(scratch):
                os.replace(scratch, folder / f"{_prefix()}{sha256(scratch.read_bytes()).hexdigest()}.db")
        finally:
            scratch.unlink(missing_ok=True)


def _is_elsewhere() -> bool:
    return any(name.startswith("PREFECT_") and "_DATABASE_" in name for name in os.environ)


def _folder() -> Path:
    return user_cache_path("fractal", appauthor=False) / "prefect"


def _prefix() -> str:
    return f"empty-{version('prefect')}-"


def _kept() -> Iterator[bytes]:
    """Yield the content of what is kept, as it was written; its name says what its content must be."""
    for path in sorted(_folder().glob(f"{_prefix()}*.db")):
        with suppress(OSError):
            content = path.read_bytes()
            if path.name == f"{_prefix()}{sha256(content).hexdigest()}.db":
                yield content
            else:
                path.unlink()


def _copy(content: bytes, home: Path) -> bool:
    """Write a database whole or not at all, and never over another; tell whether there is one now."""
    scratch = home / f".{NAME}-{os.getpid()}"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch.write_bytes(content)
        sync(scratch)
        os.link(scratch, home / NAME)
    except FileExistsError:
        return True
    except OSError:
        return False
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
    return True


def _is_empty(path: Path) -> bool:
    """Tell whether a database has nothing of anybody's in it, only tables and which migrations they have seen."""
    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        filled = [name for name in tables if database.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone()]
    return filled == [_WITH_ROWS]
