"""A folder that appears as a whole: made beside its place, moved there when it is complete."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fractal_core.errors import StoreError, UsageError
from fractal_core.interruption import heed
from fractal_core.store.canonical import canonical_json
from fractal_core.store.workspace import sync

# Lists the files of an export. Hidden, so that `datasets` does not take it for data.
MARKER = ".fractal-export.json"


@contextmanager
def new_folder(target: Path, about: dict[str, Any], *, force: bool, spare: Sequence[Path]) -> Iterator[Path]:
    """Give a folder to write into; afterwards it takes the place of `target`, or is gone if something went wrong.

    An earlier export is replaced; a folder with anything else in it only by force. SIGKILL between the two renames
    leaves the earlier one beside its place, under a name that ends in -old.

    Args:
        target: the folder to make.
        about: what the marker says beside the names of the files.
        force: whether to replace a folder with other files in it.
        spare: files and folders that must not be replaced, nor be what the folder is made in.

    Raises:
        UsageError: if `target` is not to be replaced.
        StoreError: if it cannot be written.
    """
    target = target.resolve()
    _check(target, force, [path.resolve() for path in spare])
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{uuid.uuid4().hex[:12]}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        files = _files(temporary)
        (temporary / MARKER).write_bytes(canonical_json({**about, "files": files}))
        for name in (*files, MARKER):
            sync(temporary / name)
        heed()
        _put(temporary, target)
    except OSError as error:
        raise StoreError(
            f"{target} cannot be written ({error.strerror or error}); name another with --output."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check(target: Path, force: bool, spare: Sequence[Path]) -> None:
    for path in spare:
        if path.is_relative_to(target):
            raise UsageError(f"--output {target} would replace {path}; name another folder.")
    for path in spare:
        if path.is_dir() and (path / "workspace.json").is_file() and target.is_relative_to(path):
            raise UsageError(f"--output {target} lies in the workspace, which only stages write; name another folder.")
    if target.exists() and not target.is_dir():
        raise UsageError(f"--output {target} is a file; name a folder.")
    if target.is_dir():
        marker = next(target.rglob("workspace.json"), None)
        if marker is not None:
            raise UsageError(f"--output {target} would replace the workspace {marker.parent}; name another folder.")
    if target.is_dir() and not force:
        foreign = _foreign(target)
        if foreign:
            raise UsageError(
                f"--output {target} has other files than those of an earlier export ({foreign}); name another folder, "
                "or replace it as a whole with --force."
            )


def _foreign(target: Path) -> str | None:
    """Return a file that no export has put there, None if there is none."""
    try:
        known = set(json.loads((target / MARKER).read_bytes())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        known = set()
    return next((name for name in _files(target) if name not in known | {MARKER}), None)


def _files(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _put(folder: Path, target: Path) -> None:
    """Move a folder to its place; what was there is removed once the new one is in place, and put back if it fails."""
    if not target.exists():
        os.replace(folder, target)
    else:
        old = folder.with_name(f"{folder.name}-old")
        os.replace(target, old)
        try:
            os.replace(folder, target)
        except OSError:
            os.replace(old, target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    sync(target.parent)
