"""Which files a question may be answered from: those of whole artefacts, their content compared before it is read.

DuckDB has no setting to check the checksums of Parquet pages (2.0 reads flipped bits as values), so whole files are
compared with the SHA-256 of their manifest: those of the tables that the question names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fractal_core.store.artefact import Artefact, find_whole
from fractal_core.store.remembering import RememberedDigests
from fractal_core.store.runs import RunRecord
from fractal_core.store.verifying import is_verified, remember_content
from fractal_core.store.workspace import Workspace
from fractal_core.tables import TABLES

MEMORY = "table-digests.json"
# As much is read for every question (a quarter of a second); of more, what was not within a day.
ALWAYS_BYTES = 256_000_000
_DAY = 86_400.0


@dataclass(frozen=True)
class Found:
    """A table of a run, in a whole artefact."""

    run_id: str
    table: str
    artefact: Artefact

    @property
    def path(self) -> Path:
        """Its Parquet file."""
        return self.artefact.path(self.table)


def find_tables(workspace: Workspace, runs: Sequence[RunRecord], warn: Callable[[str], None]) -> list[Found]:
    """Return the tables of all runs, newest run first, but for artefacts that are seen to be damaged without reading.

    Args:
        workspace: where the artefacts are.
        runs: the records, newest first.
        warn: hears of each artefact that is left out.
    """
    found = []
    known: dict[tuple[str, str], Artefact | None] = {}
    for run in runs:
        for stage, fingerprint in run.fingerprints().items():
            key = (stage, fingerprint)
            if key not in known:
                known[key], damage = find_whole(workspace, stage, fingerprint)
                if known[key] is None:
                    warn(_left_out(stage, run.run_id, damage or "its manifest is missing"))
            artefact = known[key]
            if artefact is not None:
                found += [Found(run.run_id, name, artefact) for name in artefact.manifest.tables if name in TABLES]
    return found


def asked_for(sql: str, found: Sequence[Found], newest: str) -> list[Found]:
    """Return the tables that a question may read: those that it names, in whatever way.

    Args:
        sql: the question.
        found: all tables.
        newest: the run that schema `latest` is of.
    """
    every: set[str] = set()
    latest: set[str] = set()
    for schema, name in re.findall(r'(?:\b(latest)"?\s*\.\s*"?)?(\w+)', sql.lower()):
        (latest if schema else every).add(name)
    # The view of responses counts the sentences.
    for names in (every, latest):
        names |= {"sentences"} if "responses" in names else set()
    return [each for each in found if each.table in every or (each.table in latest and each.run_id == newest)]


def verified(
    workspace: Workspace, wanted: Sequence[Found], warn: Callable[[str], None]
) -> tuple[list[Found], set[tuple[str, str]]]:
    """Compare the content of tables with the SHA-256 they were written with.

    What is damaged is withdrawn, so that the next run computes it again.

    Args:
        workspace: where what was compared is remembered.
        wanted: the tables.
        warn: hears of each artefact that is damaged.

    Returns:
        Those that are whole, and (stage, fingerprint) of the artefacts that are not.
    """
    unread = {each.path: each for each in wanted if not is_verified(each.path, _sha256(each))}
    size = sum(each.artefact.manifest.tables[each.table].bytes for each in unread.values())
    memory = RememberedDigests(workspace, MEMORY, seconds=_DAY) if size > ALWAYS_BYTES else None
    damaged: set[tuple[str, str]] = set()
    for path, each in unread.items():
        artefact = each.artefact
        with suppress(OSError):  # what cannot be read is found below
            if memory is not None and memory.digest(path) == _sha256(each):
                remember_content(path, _sha256(each))
        damage = artefact.damage_of(each.table)
        if damage:
            artefact.withdraw(damage)
            damaged.add((artefact.stage, artefact.fingerprint))
            warn(_left_out(artefact.stage, each.run_id, damage))
    if memory is not None:
        memory.save()
    return [each for each in wanted if (each.artefact.stage, each.artefact.fingerprint) not in damaged], damaged


def _sha256(found: Found) -> str:
    return found.artefact.manifest.tables[found.table].sha256


def _left_out(stage: str, run_id: str, damage: str) -> str:
    return f"stage {stage} of run {run_id} is left out ({damage}); run again to compute it anew"
