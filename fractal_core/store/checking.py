"""Checking what a stage reads before it is used: each file's content once in a process, unless it is written again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fractal_core.errors import StoreError
from fractal_core.store.artefact import Artefact, FileEntry
from fractal_core.store.canonical import file_digest
from fractal_core.store.stage import Stage

# What was found to have the content its manifest says, by name, SHA-256 and what changes when a file is written.
_seen: set[tuple[Path, str, int, int, int]] = set()


class DamagedInputError(StoreError):
    """An input of a stage is damaged; it has been withdrawn, so that stage `origin` will be computed again."""

    def __init__(self, message: str, origin: str) -> None:
        """Say what is damaged, and which stage made it."""
        super().__init__(message)
        self.origin = origin


def check_inputs(stage: Stage, upstream: Mapping[str, Artefact]) -> None:
    """Check what a stage is about to read: what is made of damaged numbers looks like any other result.

    Args:
        stage: what is to be computed.
        upstream: artefacts of the stages it reads from, by stage name.

    Raises:
        DamagedInputError: if a file is missing, of the wrong size or of other content than its manifest says.
    """
    for key in (*stage.reads, *stage.reads_files):
        origin, name = key.split(".", 1)
        damage = damage_of(upstream[origin], name)
        if damage:
            upstream[origin].withdraw(damage)
            raise DamagedInputError(
                f"Stage {stage.name} cannot use its input: {damage}; run again, and stage {origin} computes it anew.",
                origin,
            )


def damage_of(artefact: Artefact, name: str) -> str | None:
    """Say what is wrong with an artefact or the content of one of its tables or files; None if it is whole."""
    damage = artefact.damage()
    if damage:
        return damage
    entry = artefact.manifest.tables.get(name) or artefact.manifest.files[name]
    path = artefact.folder / entry.name
    identity = _identity(path, entry)
    if identity not in _seen:
        if file_digest(path) != entry.sha256:
            return f"{path} has other content than its manifest says"
        _seen.add(identity)
    return None


def remember_content(artefact: Artefact) -> None:
    """Take the files of an artefact that this process has just written and digested as checked."""
    for entry in (*artefact.manifest.tables.values(), *artefact.manifest.files.values()):
        _seen.add(_identity(artefact.folder / entry.name, entry))


def _identity(path: Path, entry: FileEntry) -> tuple[Path, str, int, int, int]:
    stat = path.stat()
    return path, entry.sha256, stat.st_size, stat.st_mtime_ns, stat.st_ino
