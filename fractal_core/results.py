"""The results of a completed run, for whoever hands them on, shows them or judges them: read from the store."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from pydantic import ValidationError

from fractal_core.config import RunConfig
from fractal_core.config_loading import load_config
from fractal_core.errors import StoreError, UsageError
from fractal_core.label_kinds import SettledKind, settled_kind
from fractal_core.pipeline import STAGE_NAMES
from fractal_core.planning import is_current, make_plan
from fractal_core.publish.placing import NAME
from fractal_core.store.artefact import Artefact, find_whole
from fractal_core.store.runs import RunRecord, list_runs
from fractal_core.store.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

_NAMED = 3
_REASONS = 3
_DOING = "The results cannot be used: "


@dataclass(frozen=True)
class Results:
    """A completed run: its record, its configuration, and the artefact of each of its stages."""

    record: RunRecord
    config: RunConfig
    config_path: Path
    artefacts: Mapping[str, Artefact]

    @property
    def workspace(self) -> Workspace:
        """Where they are."""
        return next(iter(self.artefacts.values())).workspace

    @property
    def kind(self) -> SettledKind:
        """What a response label is."""
        return settled_kind(self.config.input.label_kind, self.config.aggregation)

    def rows(self, name: str) -> int:
        """Return the rows of a table; 0 if the run has none of that name."""
        return next((a.rows_out[name] for a in self._newest_first() if name in a.manifest.tables), 0)

    def table(self, name: str, columns: tuple[str, ...]) -> pa.Table:
        """Read columns of a table; raises DamagedArtefactError."""
        return self._with(name).table(name, columns)

    def batches(self, name: str, columns: tuple[str, ...], rows: int) -> Iterator[pa.RecordBatch]:
        """Stream columns of a table, at most so many rows at once, in order."""
        return self._with(name).batches(name, columns, rows)

    def file(self, stage: str, name: str) -> Path:
        """Return the path of a file that a stage left."""
        artefact = self.artefacts[stage]
        artefact.check(name, _DOING)
        return artefact.path(name)

    def labels(self, rows: int) -> Iterator[pa.RecordBatch]:
        """Stream labels.parquet, the file that stage `export` made, at most so many rows at once."""
        names = tuple(pq.read_schema(self.file("export", NAME)).names)
        return self.artefacts["export"].batches(NAME, names, rows)

    def _with(self, name: str) -> Artefact:
        return next(artefact for artefact in self._newest_first() if name in artefact.manifest.tables)

    def _newest_first(self) -> list[Artefact]:
        # The last stage that writes a table of some name has the final one (scores are written twice).
        return list(self.artefacts.values())[::-1]


def find_results(
    workspace: Workspace,
    path: Path,
    settings: Sequence[str] = (),
    run_id: str | None = None,
    until: str = STAGE_NAMES[-1],
) -> Results:
    """Return the results of a configuration as it is now, or those of a named run over the same input.

    Nothing is computed.

    Args:
        workspace: where the results are.
        path: the configuration.
        settings: "section.key=value" overrides.
        run_id: the run; None for the newest completed one that did exactly what the configuration says.
        until: the last stage whose results are needed. Those of later ones are there if the run has them and its
            configuration said the same of these stages: it may have been evaluated against other gold labels.

    Raises:
        UsageError: if there is no run of that id, or it is one over another input.
        StoreError: if the results are not there, stale or damaged, or the run did not complete the stages needed.
    """
    config = load_config(path, settings)
    runs = list_runs(workspace)
    if run_id is not None:
        record, own = _named(runs, workspace, run_id, until)
        if own.input.path != config.input.path:
            raise UsageError(
                f"Run {run_id} read {own.input.path}, and {path} names {config.input.path}; name its own file."
            )
        return _of(workspace, record, own, path)
    plan = make_plan(workspace, config, config_path=str(path), until=until)
    if not is_current(plan):
        step = next(step for step in plan if step.decision != "reuse")
        more = f"; {len(step.reasons) - _REASONS} more" if len(step.reasons) > _REASONS else ""
        raise StoreError(
            f"The results of {path} are not there or stale: stage {step.stage} would run "
            f"({'; '.join(step.reasons[:_REASONS])}{more}); run `fractal run {path}` first."
        )
    wanted = {step.stage: step.artefact.fingerprint for step in plan if step.artefact is not None}
    found = [run for run in runs if run.state == "completed" and wanted.items() <= run.fingerprints().items()]
    if found:
        record = max(found, key=lambda run: len(_alike(run, config, wanted)))
        return _of(workspace, record, config, path, wanted.keys() | _alike(record, config, wanted))
    raise StoreError(f"No completed run has the results of {path}; run `fractal run {path}`, which computes nothing.")


def find_run(workspace: Workspace, run_id: str, until: str = STAGE_NAMES[-1]) -> Results:
    """Return the results of a named run, whatever has become of its configuration since.

    Args:
        workspace: where the results are.
        run_id: the run.
        until: as in `find_results`.

    Raises:
        UsageError: if there is no run of that id.
        StoreError: if the results are not there or damaged, or the run did not complete the stages needed.
    """
    record, config = _named(list_runs(workspace), workspace, run_id, until)
    return _of(workspace, record, config, Path(record.config_path))


def _named(runs: Sequence[RunRecord], workspace: Workspace, run_id: str, until: str) -> tuple[RunRecord, RunConfig]:
    record = next((run for run in runs if run.run_id == run_id), None)
    if record is None:
        newest = ", ".join(run.run_id for run in runs[:_NAMED])
        known = f"the newest are {newest}" if newest else "it has none"
        raise UsageError(f"There is no run {run_id} in {workspace.root}; {known}.")
    if record.state != "completed" or until not in record.fingerprints():
        last = f"after stage {record.stages[-1].stage}" if record.stages else "before its first stage"
        why = f" ({record.error})" if record.error else ""
        raise StoreError(
            f"Run {run_id} is {record.state} and ended {last}{why}; name one that completed stage {until}."
        )
    try:
        config = RunConfig.model_validate(record.config)
    except ValidationError as error:
        raise StoreError(
            f"The configuration of run {run_id} is one of another version of fractal; run again."
        ) from error
    return record, config


def _alike(record: RunRecord, config: RunConfig, needed: Collection[str]) -> set[str]:
    """Return the stages of a run, beside those needed, for which its configuration said what this one says."""
    now = config.model_dump(mode="json")
    return {name for name in record.fingerprints() if name not in needed and record.config.get(name) == now.get(name)}


def _of(
    workspace: Workspace, record: RunRecord, config: RunConfig, path: Path, stages: Collection[str] = STAGE_NAMES
) -> Results:
    marks = {name: mark for name, mark in record.fingerprints().items() if name in stages}
    artefacts = {name: _whole(workspace, name, mark) for name, mark in marks.items()}
    return Results(record, config, path, artefacts)


def _whole(workspace: Workspace, stage: str, fingerprint: str) -> Artefact:
    artefact, damage = find_whole(workspace, stage, fingerprint)
    if artefact is None:
        gone = damage or f"stage {stage} is no longer in the store"
        raise StoreError(f"{_DOING}{gone}; run again to compute it anew.")
    return artefact
