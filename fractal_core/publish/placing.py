"""Putting the finished file where the user wants it: `[export] directory`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fractal_core.config import RunConfig
from fractal_core.errors import StoreError
from fractal_core.store.artefact import Artefact
from fractal_core.store.canonical import file_digest

NAME = "labels.parquet"


def place_export(artefact: Artefact, config: RunConfig) -> Path:
    """Copy labels.parquet to the configured folder unless it is there as it should be; return where it can be read.

    Raises:
        StoreError: if the folder cannot be written.
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
        temporary = target.with_name(f".{NAME}.{os.getpid()}")
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written ({error.strerror}); change [export] directory.") from error
    return target
