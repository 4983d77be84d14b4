"""Digests of external files (input data, encoder weights), remembered while size and modification time stand."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from fractal_core.errors import InputError
from fractal_core.store.canonical import canonical_json, file_digest
from fractal_core.store.workspace import Workspace


def source_digests(workspace: Workspace, files: list[Path]) -> list[str]:
    """Return the sorted SHA-256 digests of `files`: their order, names and folders do not matter.

    Raises:
        InputError: if a file cannot be read.
    """
    memory = workspace.root / "source-digests.json"
    known = _load(memory)
    found: dict[str, list[str | int]] = {}
    for path in files:
        try:
            stat = path.stat()
            key = [stat.st_size, stat.st_mtime_ns]
            before = known.get(str(path))
            # A file replaced within the clock's resolution keeps its time, but not its inode.
            identity = [*key, stat.st_ino]
            found[str(path)] = before if before and before[1:] == identity else [file_digest(path), *identity]
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror}); check the path and its permissions."
            ) from error
    if any(known.get(name) != entry for name, entry in found.items()):
        # Only a memory: a workspace that can but be read can still be planned for, and a full disk is told by a stage.
        with suppress(OSError):
            workspace.write_file(memory, canonical_json({**known, **found}))
    return sorted(str(entry[0]) for entry in found.values())


def _load(path: Path) -> dict[str, list[str | int]]:
    try:
        content = json.loads(path.read_bytes())
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}
