"""Checking what a stage reads before it is used: what is made of damaged numbers looks like any other result."""

from __future__ import annotations

from collections.abc import Mapping

from fractal_core.store.artefact import Artefact
from fractal_core.store.stage import Stage


def check_inputs(stage: Stage, upstream: Mapping[str, Artefact]) -> None:
    """Compare every file that a stage is to read with its SHA-256: once in a process, unless it is written again.

    Args:
        stage: what is to be computed.
        upstream: artefacts of the stages it reads from, by stage name.

    Raises:
        DamagedArtefactError: if a file is missing, of the wrong size or of other content than its manifest says.
    """
    for key in (*stage.reads, *stage.reads_files):
        origin, name = key.split(".", 1)
        upstream[origin].check(name, f"Stage {stage.name} cannot use its input: ")
