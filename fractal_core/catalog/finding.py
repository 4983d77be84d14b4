"""Which files a question may be answered from: those of whole artefacts, their content compared before it is read.

DuckDB has no setting to check the checksums of Parquet pages (2.0 reads flipped bits as values), so whole files are
compared with the SHA-256 of their manifest: those of the tables that the question names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class LeftOut:
    """A damaged artefact, from which no question is answered."""

    stage: str
    damage: str
    runs: tuple[str, ...]
    tables: frozenset[str]

    def __str__(self) -> str:
        """What is left out, why, and what to do."""
        return f"stage {self.stage} of run {self.runs[0]} is left out ({self.damage}); run again to compute it anew"


@dataclass(frozen=True)
class Named:
    """The tables that a question names, in whatever way: of all runs, and of schema `latest`, which is of one run."""

    every: frozenset[str]
    latest: frozenset[str]
    newest: str

    def has(self, table: str, run_id: str) -> bool:
        """Tell whether the question may read a table of a run."""
        return table in self.every or (table in self.latest and run_id == self.newest)

    def lacks(self, left_out: LeftOut) -> bool:
        """Tell whether rows that the question asks for are left out."""
        return any(self.has(table, run_id) for table in left_out.tables for run_id in left_out.runs)


def find_tables(workspace: Workspace, runs: Sequence[RunRecord], leave_out: Callable[[LeftOut], None]) -> list[Found]:
    """Return the tables of all runs, newest run first, but for artefacts that are seen to be damaged without reading.

    Args:
        workspace: where the artefacts are.
        runs: the records, newest first.
        leave_out: hears of each artefact that is left out.
    """
    found = []
    known: dict[tuple[str, str], Artefact | None] = {}
    damaged: dict[tuple[str, str], LeftOut] = {}
    for run in runs:
        for record in run.stages:
            key = (record.stage, record.fingerprint)
            if key not in known:
                known[key], damage = find_whole(workspace, *key)
                if known[key] is None:
                    what = damage or "its manifest is missing"
                    damaged[key] = LeftOut(record.stage, what, (), frozenset(record.rows_out))
            artefact = known[key]
            if artefact is None:
                damaged[key] = replace(damaged[key], runs=(*damaged[key].runs, run.run_id))
            else:
                found += [Found(run.run_id, name, artefact) for name in artefact.manifest.tables if name in TABLES]
    for each in damaged.values():
        leave_out(each)
    return found


def named_in(sql: str | None, newest: str) -> Named:
    """Return the tables that a question names; all of them without one.

    Args:
        sql: the question.
        newest: the run that schema `latest` is of.
    """
    if sql is None:
        return Named(frozenset(TABLES), frozenset(TABLES), newest)
    every: set[str] = set()
    latest: set[str] = set()
    for schema, name in re.findall(r'(?:\b(latest)"?\s*\.\s*"?)?(\w+)', sql.lower()):
        (latest if schema else every).add(name)
    # The view of responses counts the sentences.
    for names in (every, latest):
        names |= {"sentences"} if "responses" in names else set()
    return Named(frozenset(every), frozenset(latest), newest)


def not_come_to(newest: RunRecord, found: Sequence[Found], named: Named) -> list[str]:
    """Say which tables of schema `latest` a question names that the newest run has not come to, but another has.

    Args:
        newest: the run that schema `latest` is of.
        found: the tables of all runs, newest first.
        named: by the question.
    """
    there = {table for stage in newest.stages for table in stage.rows_out}
    others = {each.table: each.run_id for each in reversed(found) if each.table in named.latest - there}
    last = newest.stages[-1].stage if newest.stages else "nothing"
    return [
        f"latest is run {newest.run_id}, which stopped after {last}, so latest.{table} is empty; run {run_id} has that "
        f"table: FROM {table} WHERE run_id = '{run_id}'"
        for table, run_id in sorted(others.items())
    ]


def verified(
    workspace: Workspace, wanted: Sequence[Found], leave_out: Callable[[LeftOut], None]
) -> tuple[list[Found], set[tuple[str, str]]]:
    """Compare the content of tables with the SHA-256 they were written with.

    What is damaged is withdrawn, so that the next run computes it again.

    Args:
        workspace: where what was compared is remembered.
        wanted: the tables.
        leave_out: hears of each artefact that is damaged.

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
            leave_out(LeftOut(artefact.stage, damage, (each.run_id,), frozenset(artefact.manifest.tables)))
    if memory is not None:
        memory.save()
    return [each for each in wanted if (each.artefact.stage, each.artefact.fingerprint) not in damaged], damaged


def _sha256(found: Found) -> str:
    return found.artefact.manifest.tables[found.table].sha256
