"""Putting the finished file where the user wants it: `[export] directory`."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path

from fractal_core.config import RunConfig
from fractal_core.errors import StoreError
from fractal_core.store.artefact import Artefact
from fractal_core.store.canonical import file_digest
from fractal_core.store.faults import reach
from fractal_core.store.workspace import sync

NAME = "labels.parquet"
_BLOCK = 1 << 20
_DAY = 86_400.0


def place_export(artefact: Artefact, config: RunConfig) -> Path:
    """Copy labels.parquet to the configured folder unless it is there as it should be; return where it can be read.

    The copy has the content that the stage wrote, and appears as a whole.

    Raises:
        StoreError: if the folder cannot be written.
        DamagedArtefactError: if the file to copy is damaged; what is in the folder stays as it is.
    """
    source = artefact.path(NAME)
    if not config.export.directory:
        return source
    target = Path(config.export.directory) / NAME
    entry = artefact.manifest.files[NAME]
    try:
        if target.is_file() and target.stat().st_size == entry.bytes and file_digest(target) == entry.sha256:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target.parent)
        temporary = target.with_name(f".{NAME}.{os.getpid()}-{uuid.uuid4().hex[:12]}")
        try:
            if _copy(source, temporary) == entry.sha256:
                reach(NAME, "temporary")
                os.replace(temporary, target)
                sync(target.parent)
                return target
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        damage = artefact.damage(deep=True)
        if damage:
            raise artefact.withdrawn(damage) from error
        raise StoreError(f"{target} cannot be written ({error.strerror}); change [export] directory.") from error
    raise artefact.withdrawn(artefact.damage(deep=True) or f"{source} was read with other content than was written")


def _copy(source: Path, target: Path) -> str:
    """Copy a file to disk and return the SHA-256 of what was copied."""
    state = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while block := reader.read(_BLOCK):
            state.update(block)
            writer.write(block)
        writer.flush()
        os.fsync(writer.fileno())
    return state.hexdigest()


def _remove_abandoned(folder: Path) -> None:
    """Remove copies that killed processes left unfinished; one of today may be another process's."""
    for path in folder.glob(f".{NAME}.*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _DAY:
                path.unlink()
