"""What killed processes left and nobody reads: temporary folders, lock files, folders that no manifest lists."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fractal_core.store.failures import PROBE
from fractal_core.store.locks import is_locked
from fractal_core.store.manifest import read_manifest
from fractal_core.store.runs import RunRecord
from fractal_core.store.workspace import Workspace

Kind = Literal["run", "artefact", "folder", "temporary", "lock"]

# Temporary folders of stages bear the name of the lock that their process holds.
_OF_A_STAGE = re.compile(r"(?P<lock>.+-[0-9a-f]{64})-\d+-[0-9a-f]{12}(-scratch)?")
_MADE_AND_MOVED_AT_ONCE = ("file-", "collected-", f"{PROBE}-")
_PROBED = ("artefacts", "locks", "manifests", "runs")
_DAY = 86_400.0


@dataclass(frozen=True)
class Garbage:
    """Something to remove: its name within the workspace, its size, and the files or folders it consists of."""

    kind: Kind
    name: str
    bytes: int
    paths: tuple[Path, ...]


def leftovers(workspace: Workspace, runs: Sequence[RunRecord]) -> list[Garbage]:
    """Return what nobody uses any more and no reader sees; call it inside `using.alone`.

    A folder without a manifest may be one that was superseded (computed again by force), which a run that goes on may
    have found before: it is none for as long as a run may use its fingerprint.

    Args:
        workspace: where to look.
        runs: the records of all runs.
    """
    temporary = [path for path in sorted(workspace.tmp.iterdir()) if _is_dead(path, workspace)]
    temporary += [path for folder in _PROBED for path in sorted((workspace.root / folder).glob(f"{PROBE}-*"))]
    locks = [path for path in sorted(workspace.locks.glob("*.lock")) if not is_locked(path)]
    return [
        *(_garbage(workspace, "folder", path) for path in _unlisted(workspace, runs)),
        *(_garbage(workspace, "temporary", path) for path in temporary),
        *(_garbage(workspace, "lock", path) for path in locks),
    ]


def may_use(runs: Sequence[RunRecord], stage: str, fingerprint: str) -> bool:
    """Tell whether a run that goes on uses this artefact, or has not come to its stage yet and may."""
    return any(run.state == "running" and run.fingerprints().get(stage, fingerprint) == fingerprint for run in runs)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; 0 for what is gone."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def split_name(name: str) -> tuple[str, str]:
    """Return stage and fingerprint of "stage-fingerprint", whatever comes after it."""
    stage, _, rest = name.partition("-")
    return stage, rest[:64]


def _garbage(workspace: Workspace, kind: Kind, path: Path) -> Garbage:
    return Garbage(kind, str(path.relative_to(workspace.root)), size_of(path), (path,))


def _unlisted(workspace: Workspace, runs: Sequence[RunRecord]) -> Iterator[Path]:
    manifests = [read_manifest(path)[0] for path in workspace.manifests.glob("*.json")]
    listed = {manifest.folder for manifest in manifests if manifest is not None}
    for path in sorted(workspace.artefacts.iterdir()):
        if path.name not in listed and not path.name.startswith(PROBE) and not may_use(runs, *split_name(path.name)):
            yield path


def _is_dead(path: Path, workspace: Workspace) -> bool:
    """Tell whether nobody writes to an entry of the temporary folder any more."""
    stage = _OF_A_STAGE.fullmatch(path.name)
    if stage is not None:
        return not is_locked(workspace.locks / f"{stage['lock']}.lock")
    # Files are written inside `using.in_use`, so nobody is at it now. Of what we do not know we wait for a day.
    return path.name.startswith(_MADE_AND_MOVED_AT_ONCE) or time.time() - path.stat().st_mtime > _DAY
