"""Who serves a workspace, for as long as they do: a schedule, or Prefect's UI. Others learn the address from here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from fractal_core.store.canonical import canonical_json
from fractal_core.store.locks import LockHeldError, is_locked, lock
from fractal_core.store.workspace import Workspace

Kind = Literal["schedule", "ui"]


@dataclass(frozen=True)
class Service:
    """What a process serves: where its UI is, and of a schedule the configuration, when it runs, and on overlap what.

    `when` is in words; `since` is in ISO 8601, UTC.
    """

    kind: Kind
    url: str
    pid: int
    host: str
    since: str
    config: str = ""
    when: str = ""
    overlap: str = ""


@contextmanager
def serving(workspace: Workspace, key: str, *, doing: str) -> Iterator[Callable[[Service], None]]:
    """Be the one process that serves `key` in this workspace; what is yielded is to be told what others shall know.

    Raises:
        LockHeldError: if another process serves it; the message says which.
    """
    path = _path(workspace, key)
    with ExitStack() as held:
        try:
            held.enter_context(lock(_lock(workspace, key), lambda text: None, doing=doing, wait=False))
        except LockHeldError as error:
            words = str(error).removesuffix(".")
            raise LockHeldError(f"{words}; end it first (`fractal status` lists it).") from error

        def announce(service: Service) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            workspace.write_file(path, canonical_json(asdict(service)))

        try:
            yield announce
        finally:
            with suppress(OSError):
                path.unlink()


def list_services(workspace: Workspace) -> list[Service]:
    """Return what is being served, schedules first; what a killed process said of itself is left out."""
    found = []
    for path in sorted(_folder(workspace).glob("*.json")):
        if is_locked(_lock(workspace, path.stem)):
            with suppress(OSError, ValueError, TypeError):
                found.append(Service(**json.loads(path.read_bytes())))
    return sorted(found, key=lambda service: service.kind)


def _folder(workspace: Workspace) -> Path:
    return workspace.prefect / "services"


def _path(workspace: Workspace, key: str) -> Path:
    return _folder(workspace) / f"{key}.json"


def _lock(workspace: Workspace, key: str) -> Path:
    return workspace.locks / f"service-{key}.lock"
