"""Files that a command writes for its user do not go into the workspace."""

from __future__ import annotations

from pathlib import Path

from fractal_core.errors import UsageError
from fractal_core.store.workspace import Workspace


def check_outside(workspace: Workspace, output: Path) -> None:
    """Refuse a file in the workspace.

    Raises:
        UsageError: if `output` lies in it.
    """
    if output.resolve().is_relative_to(workspace.root):
        raise UsageError(f"--output {output} lies in the workspace, which only stages write; name a file elsewhere.")
