"""Where a command may write a file for its user: outside of the workspace, and over another file only by force."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from fractal_core.errors import UsageError
from fractal_core.store.workspace import Workspace


def check_outside(workspace: Workspace, output: Path) -> None:
    """Refuse a file in the workspace.

    Raises:
        UsageError: if `output` lies in it.
    """
    if output.resolve().is_relative_to(workspace.root.resolve()):
        raise UsageError(f"--output {output} lies in the workspace, which only stages write; name a file elsewhere.")


def check_free(
    output: Path, *, force: bool, read: Iterable[Path] = (), ours: Callable[[Path], bool] = lambda path: False
) -> None:
    """Refuse a file that is there already.

    Args:
        output: the file to write.
        force: whether it may be replaced.
        read: the files that the command reads, which are not replaced even by force.
        ours: tells of a file that is there whether it is an earlier result of the command, and may be replaced.

    Raises:
        UsageError: if `output` is not to be written.
    """
    if not output.exists():
        return
    if any(path.exists() and output.samefile(path) for path in read):
        raise UsageError(f"--output {output} is one of the files that are read; name another.")
    if not force and not ours(output):
        raise UsageError(f"--output {output} exists already; name another, or replace it with --force.")
