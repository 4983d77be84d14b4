"""Pieces of a stage's work, kept for the next time a result has to be made that needs them again.

A memory, no artefact: it is bounded, it may be deleted at any time, and whatever is wrong with it is answered by making
the pieces again. What it gives back is what was put there, by digest, under the code, parameters, sources and libraries
that the stage has now.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractal_core.store.recipe import Recipe
    from fractal_core.store.workspace import Workspace

NAME = "shelf.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS pieces (
    key BLOB PRIMARY KEY, content BLOB NOT NULL, digest BLOB NOT NULL, bytes INTEGER NOT NULL, used REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS by_use ON pieces (used, bytes);
"""
# Besides its own errors sqlite3 has some of Python's for a damaged file: text that is none, types that cannot be.
_ERRORS = (sqlite3.Error, OSError, ValueError, TypeError, OverflowError)
# Locked for long, not to be written, no room: the file is as it should be.
_NO_DAMAGE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_READONLY", "SQLITE_FULL", "SQLITE_CANTOPEN", "SQLITE_IOERR")
_AT_ONCE = 500
_SECONDS_TO_WAIT = 5.0
# The file is never more than this share of what is free on the disk beside it.
_SHARE_OF_FREE = 4


class Shelf:
    """The pieces of one stage as it is now."""

    def __init__(self, workspace: Workspace, recipe: Recipe, most_bytes: int) -> None:
        """Name the shelf of a workspace; it is opened when it is first used.

        Args:
            workspace: where it is.
            recipe: of the stage; what it reads from other stages does not matter.
            most_bytes: of all pieces in the workspace; 0 for no shelf.
        """
        self._path = workspace.root / NAME
        self._scope = replace(recipe.anew, inputs={}).fingerprint.encode()
        self._most = most_bytes
        self._since = time.time()
        self._connection: sqlite3.Connection | None = None
        self._bytes = 0

    def take(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the pieces that are there, by key."""
        found: dict[bytes, bytes] = {}
        names = {self._name(key): key for key in keys}
        for some in _batches(list(names), _AT_ONCE):
            with self._heeding() as connection:
                if connection is None:
                    break
                query = f"SELECT key, content, digest FROM pieces WHERE key IN ({','.join('?' * len(some))})"
                whole = [row for row in connection.execute(query, some) if _digest(row[1]) == row[2]]
                found |= {names[name]: content for name, content, _ in whole}
                used = [(self._since, name) for name, _, _ in whole]
                connection.executemany("UPDATE pieces SET used = ? WHERE key = ?", used)
                connection.commit()
        return found

    def put(self, pieces: Mapping[bytes, bytes]) -> None:
        """Keep pieces; those used longest ago make room, but none that this process has used."""
        with self._heeding() as connection:
            if connection is None or not pieces:
                return
            coming = sum(map(len, pieces.values()))
            self._make_room(connection, coming)
            if self._bytes + coming <= self._most:
                rows = [(self._name(k), c, _digest(c), len(c), self._since) for k, c in pieces.items()]
                connection.executemany("INSERT OR REPLACE INTO pieces VALUES (?, ?, ?, ?, ?)", rows)
                self._bytes += coming
            connection.commit()

    def close(self) -> None:
        """Close it for good."""
        self._most = 0
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection | None:
        if self._connection is None and self._most > 0:
            self._most = min(self._most, shutil.disk_usage(self._path.parent).free // _SHARE_OF_FREE)
            self._connection = sqlite3.connect(self._path, timeout=_SECONDS_TO_WAIT)
            self._connection.execute("PRAGMA page_size = 16384")  # pieces are of tens of kilobytes
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)
            self._bytes = self._connection.execute("SELECT coalesce(sum(bytes), 0) FROM pieces").fetchone()[0]
        return self._connection

    def _make_room(self, connection: sqlite3.Connection, coming: int) -> None:
        while self._bytes + coming > self._most:
            query = "SELECT key, bytes FROM pieces WHERE used < ? ORDER BY used LIMIT ?"
            oldest = connection.execute(query, (self._since, _AT_ONCE)).fetchall()
            if not oldest:
                return
            connection.executemany("DELETE FROM pieces WHERE key = ?", [(key,) for key, _ in oldest])
            self._bytes -= sum(size for _, size in oldest)

    def _name(self, key: bytes) -> bytes:
        return blake2b(self._scope + key, digest_size=16).digest()

    @contextmanager
    def _heeding(self) -> Iterator[sqlite3.Connection | None]:
        """Do without the shelf from the first error on; a damaged file is deleted."""
        try:
            connection = self._open()
        except _ERRORS as error:
            self._do_without(error)
            connection = None
        try:
            yield connection
        except _ERRORS as error:
            self._do_without(error)

    def _do_without(self, error: Exception) -> None:
        self.close()
        name = getattr(error, "sqlite_errorname", "")
        if not isinstance(error, OSError) and not name.startswith(_NO_DAMAGE):
            with suppress(OSError):
                for suffix in ("", "-wal", "-shm"):
                    self._path.with_name(NAME + suffix).unlink(missing_ok=True)


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


def _batches(names: Sequence[bytes], size: int) -> Iterator[list[bytes]]:
    rest = iter(names)
    while some := list(islice(rest, size)):
        yield some
