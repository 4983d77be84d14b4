"""The workspace folder: where artefacts, manifests, run records and locks lie, and how files get there whole."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from fractal_core.errors import StoreError
from fractal_core.store.faults import reach
from fractal_core.store.using import in_use

VERSION = 1


@dataclass(frozen=True)
class Workspace:
    """Paths of a workspace. Readers follow manifests only; `tmp` and unlisted folders are invisible to them."""

    root: Path

    @property
    def artefacts(self) -> Path:
        """One folder a committed (or abandoned) artefact."""
        return self.root / "artefacts"

    @property
    def manifests(self) -> Path:
        """One JSON file a committed artefact."""
        return self.root / "manifests"

    @property
    def runs(self) -> Path:
        """One JSON file a run."""
        return self.root / "runs"

    @property
    def locks(self) -> Path:
        """Lock files of the stages being computed."""
        return self.root / "locks"

    @property
    def tmp(self) -> Path:
        """Unfinished work; on the same file system as the artefacts, so that a rename publishes it."""
        return self.root / "tmp"

    @property
    def prefect(self) -> Path:
        """Prefect's home, unless the user has one."""
        return self.root / "prefect"

    def temporary(self, kind: str) -> Path:
        """Return a fresh path in `tmp` that says which process it belongs to."""
        return self.tmp / f"{kind}-{os.getpid()}-{uuid.uuid4().hex[:12]}"

    def write_file(self, path: Path, content: bytes) -> None:
        """Write a file so that it is either absent (or as it was) or complete, even after a power cut."""
        with in_use(self.root):
            temporary = self.temporary("file")
            try:
                with temporary.open("wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
                reach(path.name, "temporary")
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
            sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file's content or a folder's entries to disk, so that they survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_workspace(root: Path, *, create: bool = True) -> Workspace:
    """Return the workspace at `root`, making it if `create`.

    Raises:
        StoreError: if it is missing (and not to be created), of a newer version, no workspace, or not writable.
    """
    workspace = Workspace(root.resolve())
    marker = workspace.root / "workspace.json"
    if marker.is_file():
        _check_version(marker)
        return workspace
    if not create and workspace.tmp.is_dir():
        raise StoreError(
            f"{marker} is missing; run `fractal run CONFIG`, which writes it again and keeps what is there."
        )
    if not create:
        raise StoreError(
            f"There is no workspace at {root}; run `fractal run CONFIG` first, or name one with --workspace."
        )
    if workspace.root.is_dir() and any(workspace.root.iterdir()) and not workspace.tmp.is_dir():
        raise StoreError(f"{root} is a folder with other files in it, not a workspace; name another with --workspace.")
    try:
        # tmp first: whoever is killed in here leaves what is seen to be a workspace.
        for folder in (workspace.tmp, workspace.artefacts, workspace.manifests, workspace.runs, workspace.locks):
            folder.mkdir(parents=True, exist_ok=True)
        workspace.write_file(workspace.root / ".gitignore", b"*\n")
        workspace.write_file(marker, json.dumps({"version": VERSION}).encode())
    except OSError as error:
        raise StoreError(
            f"The workspace {root} cannot be written ({error.strerror}); choose another with --workspace."
        ) from error
    return workspace


def _check_version(marker: Path) -> None:
    repair = f"delete {marker} (it holds nothing but the version) and run again, every artefact is kept"
    try:
        found = json.loads(marker.read_bytes())["version"]
        if not isinstance(found, int) or found < 1:
            raise ValueError(f"version {found!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = " ".join(str(error).split())
        raise StoreError(f"{marker} is damaged ({type(error).__name__}: {what}); {repair}.") from error
    if found > VERSION:
        raise StoreError(
            f"The workspace {marker.parent} has version {found}, this fractal knows up to {VERSION}; update fractal or "
            f"name another with --workspace, or, if no newer fractal was here, {repair}."
        )
