"""Digests of external files: input data, encoder weights."""

from __future__ import annotations

from pathlib import Path

from fractal_core.errors import InputError
from fractal_core.store.remembering import RememberedDigests
from fractal_core.store.workspace import Workspace

MEMORY = "source-digests.json"


def source_digests(workspace: Workspace, files: list[Path]) -> list[str]:
    """Return the sorted SHA-256 digests of `files`: their order, names and folders do not matter.

    Raises:
        InputError: if a file cannot be read.
    """
    memory = RememberedDigests(workspace, MEMORY)
    found = []
    for path in files:
        try:
            found.append(memory.digest(path))
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror}); check the path and its permissions."
            ) from error
    memory.save()
    return sorted(found)
