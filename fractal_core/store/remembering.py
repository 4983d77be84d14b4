"""SHA-256 of files, remembered in the workspace while size, modification time and inode stand."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from fractal_core.store.canonical import file_digest, read_sealed, sealed_json
from fractal_core.store.verifying import identity
from fractal_core.store.workspace import Workspace

_Entry = list[str | int]


class RememberedDigests:
    """Digests that this or another process has taken; only a memory, which may be lost without harm."""

    def __init__(self, workspace: Workspace, name: str, *, seconds: float | None = None) -> None:
        """Read what is remembered.

        Args:
            workspace: where the memory is a file called `name`. A damaged one is forgotten.
            name: of the file.
            seconds: how long a digest is remembered, None for ever.
        """
        self._workspace = workspace
        self._path = workspace.root / name
        self._oldest = 0 if seconds is None else int(time.time() - seconds)
        self._known = _load(self._path)
        self._new: dict[str, _Entry] = {}

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file, reading it unless it is remembered; raises OSError if it cannot be read."""
        now = list(identity(path))
        known = self._known.get(str(path))
        # Of a clock that was set back nothing follows.
        if known is None or known[1:4] != now or not self._oldest <= int(known[4]) <= time.time():
            known = self._known[str(path)] = self._new[str(path)] = [file_digest(path), *now, int(time.time())]
        return str(known[0])

    def save(self) -> None:
        """Write what is new, and forget files that are gone."""
        if not self._new:
            return
        # Another process may have written meanwhile.
        entries = {**_load(self._path), **self._new}
        kept = {name: entry for name, entry in entries.items() if Path(name).exists()}
        # Where nothing can be written, files are digested again: a plan and a query need no more than to read.
        with suppress(OSError):
            self._workspace.write_file(self._path, sealed_json({"files": kept}))
        self._new.clear()


def _load(path: Path) -> dict[str, _Entry]:
    """Return name -> [SHA-256, size, modification time, inode, when it was digested]."""
    try:
        return dict(read_sealed(path.read_bytes(), needed=True)["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
