"""Committing an artefact: its folder is renamed into place, then its manifest; readers see what a manifest lists."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fractal_core.store.artefact import Artefact
from fractal_core.store.faults import reach
from fractal_core.store.manifest import manifest_path
from fractal_core.store.using import in_use
from fractal_core.store.verifying import remember_content
from fractal_core.store.workspace import sync


def commit(artefact: Artefact, folder: Path) -> Artefact:
    """Publish what a stage wrote, all of it or nothing, and return the artefact.

    Args:
        artefact: what it will be, its manifest complete; the lock of its fingerprint is held.
        folder: where its files are now, on the file system of the workspace.

    Raises:
        OSError: if the workspace cannot be written.
    """
    workspace, stage, final = artefact.workspace, artefact.stage, artefact.folder
    for entry in artefact.manifest.files.values():
        sync(folder / entry.name)
    sync(folder)
    with in_use(workspace.root):
        # A folder here that no manifest lists is what a killed process left between the two renames.
        shutil.rmtree(final, ignore_errors=True)
        reach(stage, "before-rename")
        os.rename(folder, final)
        reach(stage, "after-rename")
        sync(workspace.artefacts)
        reach(stage, "before-manifest")
        workspace.write_file(manifest_path(workspace, stage, artefact.fingerprint), artefact.manifest.to_json())
    reach(stage, "after-manifest")
    for entry in artefact.manifest.entries:
        remember_content(final / entry.name, entry.sha256)
    return artefact
